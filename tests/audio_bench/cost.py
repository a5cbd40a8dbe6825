"""What a detector costs: ``python -m tests.audio_bench.cost NAME CHANNELS``, a process of its own.

Prints JSON: CPU seconds a second of audio for all channels together, and by how many MB the resident
memory of a Python process with NumPy grows.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np

from hardware.audio import RATE
from hardware.detectors import make_detector
from hardware.wav import BLOCK_BYTES
from tests.audio_bench.scenes import make_coloured
from tests.bench.process import read_memory

SECONDS = 30


def main(names: str, channels: int) -> None:
    """Feed half a minute of noise to one detector a channel, of each of ``names`` (joined by ``+``)."""
    noise = make_coloured(np.random.default_rng(1), RATE, 1.0)
    audio = (noise * 800).astype("<i2").tobytes() * SECONDS
    before = read_memory(os.getpid()).resident
    detectors = [make_detector(name, ["alexa"]) for name in names.split("+") for _ in range(channels)]
    began = time.process_time()
    for offset in range(0, len(audio), BLOCK_BYTES):
        for detector in detectors:
            detector.receive_audio(audio[offset : offset + BLOCK_BYTES])
    spent = time.process_time() - began
    memory = read_memory(os.getpid()).resident - before
    print(json.dumps({"cpu": spent / SECONDS, "memory_mb": memory / 1024}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
