"""What the threads hand to the loop: a closed set of notes, and a queue one can wait for.

No note holds audio.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections import deque
from typing import NamedTuple

from hardware.scripted import Step


class Level(NamedTuple):
    """An edge of the pin: lit or not, since ``t`` (s)."""

    lit: bool
    t: float


class Scored(NamedTuple):
    """A detector's score, of audio that ended at ``t``."""

    word: str
    score: float
    t: float
    source: str


class Frame(NamedTuple):
    """Whether 20 ms of audio that ended at ``t`` sound like speech."""

    speech: bool
    t: float


class Hearing(NamedTuple):
    """Whether a microphone with a detector is at work."""

    hears: bool


class Trouble(NamedTuple):
    """A line for the owner about a part; said when it changes."""

    part: str
    text: str


class Stop(NamedTuple):
    """End of the work."""


Note = Level | Scored | Frame | Hearing | Trouble | Step | Stop


class Inbox:
    """Notes from any thread or signal handler, for one loop."""

    def __init__(self) -> None:
        self._notes: deque[Note] = deque()
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def put(self, *notes: Note) -> None:
        """Add notes and wake the loop."""
        if notes:
            self._notes.extend(notes)
            os.eventfd_write(self._wakeup, 1)

    def wait(self, timeout: float) -> list[Note]:
        """Return the notes there are, waiting at most ``timeout`` seconds for the first."""
        if not self._notes:
            select.select([self._wakeup], [], [], max(0.0, timeout))
        with contextlib.suppress(BlockingIOError):  # nothing was put since the last look
            os.eventfd_read(self._wakeup)
        notes = []
        while self._notes:
            notes.append(self._notes.popleft())
        return notes

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._wakeup)
