"""What audio is on the sensing side, and how interleaved frames of a sound card become it.

Everything behind the microphone speaks 16 kHz, mono, signed 16-bit little-endian, one ``bytes`` a
channel. This file converts formats and keeps the sample clock; it opens nothing.
"""

from __future__ import annotations

import sys
from array import array
from typing import NamedTuple, Protocol

RATE = 16_000  # samples a second; what every detector was trained on
SAMPLE_BYTES = 2
BLOCK_SECONDS = 0.02  # 20 ms: the longest that a detection waits for its block
DRIFT = 2e-4  # a sound card's clock differs from the machine's by less than 200 ppm
REANCHOR_S = 0.25  # later than this against the sample clock, samples were lost


class Block(NamedTuple):
    """A piece of audio: one ``bytes`` a channel, all equally long; ``end`` (s) is its last sample's time."""

    channels: tuple[bytes, ...]
    end: float

    @property
    def seconds(self) -> float:
        """Return how long the block is."""
        return len(self.channels[0]) / SAMPLE_BYTES / RATE


class Microphone(Protocol):
    """Whatever gives blocks. Opened when made; every fault is a MicrophoneError."""

    name: str
    overruns: int  # how often samples were lost, since it was opened

    def read(self) -> Block | None:
        """Return the next block, waiting for it; None when the audio has ended for good."""

    def interrupt(self) -> None:
        """Make a waiting ``read`` return soon; may be called from another thread."""

    def close(self) -> None:
        """Let go of the device."""


def split_channels(frames: bytes, *, channels: int, sample_bytes: int) -> tuple[bytes, ...]:
    """Return the channels of interleaved little-endian frames, as 16-bit samples.

    ``sample_bytes`` 2 is S16_LE; 4 is S32_LE, of which the upper half is kept.
    """
    words = array("h")
    words.frombytes(frames)
    if sys.byteorder == "big":
        words.byteswap()
    step = sample_bytes // SAMPLE_BYTES  # 16-bit words a sample; the last of them is the upper half
    split = [words[step * channel + step - 1 :: step * channels] for channel in range(channels)]
    if sys.byteorder == "big":
        for samples in split:
            samples.byteswap()
    return tuple(samples.tobytes() for samples in split)


class SampleClock:
    """Turn a count of samples into time.

    A block is read after its last sample was taken, late by whatever the scheduler did. The smallest
    lateness seen is the best estimate of the stream's start; it may drift, and starts afresh after a gap.
    """

    def __init__(self, rate: int = RATE) -> None:
        self._rate = rate
        self._samples = 0
        self._start: float | None = None  # when sample 0 was taken, as far as we know

    def receive(self, samples: int, *, now: float) -> float:
        """Return when the last of ``samples`` more samples was taken; never after ``now``."""
        self._samples += samples
        start = now - self._samples / self._rate
        if self._start is None or start < self._start or start > self._start + REANCHOR_S:
            self._start = start
        else:
            self._start = min(start, self._start + DRIFT * samples / self._rate)
        return self._start + self._samples / self._rate

    def restart(self) -> None:
        """Forget the stream's start: samples were lost."""
        self._samples = 0
        self._start = None
