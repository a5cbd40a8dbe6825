"""Recording from ALSA, by ``arecord`` as a process of its own.

A driver that hangs then hangs a process that can be killed, and not us. Its raw frames come through a
pipe; its complaints come on stderr and are read: an overrun is counted, an end is explained. Nothing of
the audio is kept.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from collections.abc import Callable
from typing import IO

from hardware.audio import BLOCK_SECONDS, RATE, Block, SampleClock, split_channels
from hardware.errors import MicrophoneError
from hardware.microphones import SAMPLE_BYTES, Plan, explain, get_environment, get_options

PERIOD_FRAMES = int(RATE * BLOCK_SECONDS)
BUFFER_FRAMES = 25 * PERIOD_FRAMES  # half a second: what the machine may be late by without an overrun
MAX_BLOCKS = 10  # given at once after a delay
MAX_SAID = 4096


class ArecordMicrophone:
    """A Microphone on an ALSA capture device."""

    def __init__(self, plan: Plan, *, stall_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Start recording as ``plan`` says; silence of the pipe for ``stall_s`` is a fault."""
        self.name = plan.device
        self.overruns = 0
        self._plan = plan
        self._frame_bytes = SAMPLE_BYTES[plan.format] * plan.channels
        self._block_bytes = PERIOD_FRAMES * self._frame_bytes
        self._stall_s = stall_s
        self._clock = clock
        self._samples = SampleClock()
        self._pending = b""
        self._said = ""
        self._interrupted, self._interrupt = os.pipe()
        self._ending = threading.Lock()
        self._ended = False
        buffering = (f"--period-size={PERIOD_FRAMES}", f"--buffer-size={BUFFER_FRAMES}")
        try:
            self._process = subprocess.Popen(
                ["arecord", "-q", "-D", plan.device, *get_options(plan), *buffering],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=get_environment(),
                process_group=0,  # Ctrl-C is for us: we end it
            )
        except FileNotFoundError:
            self._close_pipes()
            raise MicrophoneError("arecord is not installed; sudo apt install alsa-utils") from None
        self._audio: IO[bytes] = _own(self._process.stdout)
        self._complaints: IO[bytes] = _own(self._process.stderr)
        os.set_blocking(self._complaints.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._audio, selectors.EVENT_READ)
        self._selector.register(self._interrupted, selectors.EVENT_READ)

    def read(self) -> Block | None:
        """Return the next block, one to ten times 20 ms; None after ``interrupt``."""
        deadline = self._clock() + self._stall_s
        while len(self._pending) < self._block_bytes:
            ready = self._selector.select(max(0.0, deadline - self._clock()))
            now = self._clock()
            if any(key.fileobj == self._interrupted for key, _ in ready):
                return None
            if not ready:
                raise MicrophoneError(f"the microphone {self.name} is silent for {self._stall_s} s: stalled")
            data = os.read(self._audio.fileno(), MAX_BLOCKS * self._block_bytes)
            self._listen_to_complaints()
            if not data:
                self._process.wait()
                self._listen_to_complaints()
                raise explain(self.name, self._said)
            self._pending += data
            self._end = self._samples.receive(len(data) // self._frame_bytes, now=now)
        whole = len(self._pending) // self._block_bytes * self._block_bytes
        frames, self._pending = self._pending[:whole], self._pending[whole:]
        left = len(self._pending) / self._frame_bytes / RATE
        channels = split_channels(
            frames, channels=self._plan.channels, sample_bytes=SAMPLE_BYTES[self._plan.format]
        )
        return Block(channels, self._end - left)

    def interrupt(self) -> None:
        """Make a waiting ``read`` return None."""
        with self._ending:
            if not self._ended:
                os.write(self._interrupt, b"\0")

    def close(self) -> None:
        """End arecord, by force: a hanging driver heeds nothing else."""
        self._process.kill()
        self._process.wait()
        self._audio.close()
        self._complaints.close()
        self._selector.close()
        with self._ending:
            self._ended = True
            self._close_pipes()

    def _close_pipes(self) -> None:
        os.close(self._interrupted)
        os.close(self._interrupt)

    def _listen_to_complaints(self) -> None:
        said = self._complaints.read()
        if not said:
            return
        text = said.decode(errors="replace")
        self._said = (self._said + text)[-MAX_SAID:]
        lost = text.count("overrun!!!")
        if lost:
            self.overruns += lost
            self._samples.restart()


def _own(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
