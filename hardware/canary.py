"""Is the detector alive? Play it a clip it must know.

A detector that has died answers "no wake word" for ever, exactly as one in a quiet room does. The clip
``sounds/alexa.wav`` is synthesised (sounds/README.md); other words than "alexa" have no clip.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from hardware.audio import BLOCK_SECONDS
from hardware.detectors import Detector
from hardware.errors import DetectorError
from hardware.wav import BLOCK_BYTES, cut_blocks, read_wav

CLIP = Path(__file__).with_name("sounds") / "alexa.wav"
WORD = "alexa"
LEAD_BLOCKS = 25  # 0.5 s of silence before it: a streaming model needs a past (0.2 s were enough)
TAIL_BLOCKS = 75  # 1.5 s of silence after the clip: the slowest detector answers within it


def check(detector: Detector, *, threshold: float, wait: Callable[[float], object] | None = None) -> None:
    """Play the clip to ``detector`` and reset it; DetectorError when it does not know the word.

    ``wait`` (seconds) gives a detector that answers from elsewhere its time after each block of the tail.
    """
    detector.reset()
    heard = 0.0
    for _ in range(LEAD_BLOCKS):
        detector.receive_audio(bytes(BLOCK_BYTES))
    for block in cut_blocks(_read_clip(), start=0.0):
        heard = max([heard, *(score.score for score in detector.receive_audio(block.channels[0]))])
    for _ in range(TAIL_BLOCKS):
        if heard >= threshold:
            break
        heard = max([heard, *(score.score for score in detector.receive_audio(bytes(BLOCK_BYTES)))])
        if wait is not None:
            wait(BLOCK_SECONDS)
    detector.reset()
    if heard < threshold:
        raise DetectorError(
            f'the wake-word detector does not know a recorded "{WORD}" (score {heard:.2f}, threshold '
            f"{threshold:.2f}): it is dead, or sense.wake.threshold is too high"
        )


@functools.cache
def _read_clip() -> tuple[bytes, ...]:
    return read_wav(CLIP)
