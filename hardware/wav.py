"""A microphone that plays a WAV file: the same blocks, from a file and not from a sound card.

In real time it gives silence until told to play, as a room does until somebody speaks.
"""

from __future__ import annotations

import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

from hardware.audio import BLOCK_SECONDS, RATE, SAMPLE_BYTES, Block, split_channels
from hardware.errors import MicrophoneError

BLOCK_SAMPLES = int(RATE * BLOCK_SECONDS)
BLOCK_BYTES = BLOCK_SAMPLES * SAMPLE_BYTES
MAX_SECONDS = 3600  # of audio in one file, four channels of which are 460 MB


def read_wav(path: Path) -> tuple[bytes, ...]:
    """Return the channels of a 16 kHz, 16-bit WAV file. MicrophoneError says what is wrong with it."""
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            declared = file.getnframes()
            if (width, rate) != (SAMPLE_BYTES, RATE):
                raise MicrophoneError(
                    f"{path} has {rate} Hz and {8 * width} bits, not {RATE} Hz and 16; convert it: "
                    f"sox {path} -r {RATE} -b 16 converted.wav"
                )
            if declared > MAX_SECONDS * RATE:
                raise MicrophoneError(f"{path} is longer than an hour; cut it")
            frames = file.readframes(declared)
    except OSError as error:
        raise MicrophoneError(f"{path} cannot be read: {error.strerror}; give a WAV file") from None
    except (wave.Error, EOFError) as error:
        raise MicrophoneError(
            f"{path} is no WAV file ({str(error) or 'it ends too early'}); convert it"
        ) from None
    if not frames or len(frames) != declared * channels * width:
        raise MicrophoneError(f"{path} is cut short: it holds fewer samples than it says; convert it anew")
    return split_channels(frames, channels=channels, sample_bytes=width)


def cut_blocks(channels: tuple[bytes, ...], *, start: float) -> Iterator[Block]:
    """Yield ``channels`` in blocks of 20 ms, the last one filled up with silence; ``start`` in seconds."""
    for number, offset in enumerate(range(0, len(channels[0]), BLOCK_BYTES), start=1):
        pieces = tuple(
            samples[offset : offset + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0") for samples in channels
        )
        yield Block(pieces, start + number * BLOCK_SECONDS)


class WavMicrophone:
    """A Microphone in real time: silence, and the file whenever ``play`` is called."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = path.name
        self.overruns = 0
        self._channels = read_wav(path)
        self._silence = tuple(bytes(BLOCK_BYTES) for _ in self._channels)
        self._clock = clock
        self._start: float | None = None  # of the first block; set by the first read
        self._blocks = 0
        self._playing: Iterator[Block] = iter(())
        self._interrupted = threading.Event()

    def play(self) -> None:
        """Play the file from its beginning; may be called from another thread."""
        self._playing = cut_blocks(self._channels, start=0.0)

    def read(self) -> Block | None:
        """Return the next block when its time has come; None after ``interrupt``."""
        if self._start is None:
            self._start = self._clock()
            self._blocks = 0
        self._blocks += 1
        end = self._start + self._blocks * BLOCK_SECONDS
        if self._interrupted.wait(max(0.0, end - self._clock())):
            return None
        block = next(self._playing, None)
        return Block(self._silence if block is None else block.channels, end)

    def interrupt(self) -> None:
        """Make a waiting ``read`` return None."""
        self._interrupted.set()

    def close(self) -> None:
        """Fall silent. The file stays: a later ``read`` begins anew."""
        self._playing = iter(())
        self._start = None
