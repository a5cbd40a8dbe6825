"""Let everything of one Echo pass for a while, because its owner said so.

A pause is monitor for one device: it is judged and counted, and all of it passes. It ends at its time, by
``resume``, by a switch of the mode, with the gate itself (a restart begins without any), and at once when the
microphone is muted: who presses that button means it, and while muted nothing passes. This file knows when;
how is the gate's (``Gate.set_paused``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from guard.core.event import AliveEvent, Event, MuteEvent, MuteState
from guard.core.verdict import Mode
from guard.durations import check_duration
from guard.errors import ControlError
from guard.gate import Gate

if TYPE_CHECKING:
    from guard.telemetry.log import Log

SHORTEST: Final = 1.0
LONGEST: Final = 86400.0  # seconds; who wants more wants monitor


class NotePause(Protocol):
    """Who writes a pause down: when it begins, and again when it has ended."""

    def __call__(
        self, device: str, began: float, until: float, ended: float | None = None, cause: str = ""
    ) -> None:
        """Take times on the gate's clock; ``cause`` is what ended it."""


class Pauses:
    """Which devices are paused, and until when."""

    def __init__(self, gate: Gate, *, log: Log, clock: Callable[[], float]) -> None:
        """``clock`` is the gate's, in seconds."""
        self.note: NotePause | None = None
        self.on_begin: Callable[[str], None] | None = None  # called when a device is paused, with its name
        self._gate = gate
        self._log = log
        self._clock = clock
        self._pauses: dict[str, tuple[float, float]] = {}  # device -> when it began and when it ends
        gate.before_event = self.hear

    def begin(self, devices: Sequence[str], seconds: float) -> None:
        """Pause ``devices`` from now on for ``seconds``: all of them, or ControlError and none."""
        check_duration(seconds, SHORTEST, LONGEST)
        if self._gate.engine_mode is Mode.MONITOR:
            raise ControlError(
                "the gate is in monitor, so everything passes already; there is nothing to pause"
            )
        for device in devices:
            if self._gate.engine.get_device(device).context.mute is MuteState.MUTED:
                raise ControlError(
                    f"{device} is muted, and nothing passes while it is; press its microphone button first"
                )
        now = self._gate.read_clock()
        for device in devices:
            if device in self._pauses:
                self._end(device, "paused anew", now)
            self._pauses[device] = (now, now + seconds)
            self._gate.set_paused(device, paused=True)
            if self.on_begin is not None:
                self.on_begin(device)
            self._log.warning("paused", device=device, seconds=round(seconds))
            if self.note is not None:
                self.note(device, now, now + seconds)

    def end(self, devices: Sequence[str], cause: str) -> list[str]:
        """End the pauses of ``devices`` and return whose there were."""
        now = self._gate.read_clock()
        ended = [device for device in devices if device in self._pauses]
        for device in ended:
            self._end(device, cause, now)
        return ended

    def end_all(self, cause: str) -> None:
        """End every pause."""
        self.end(list(self._pauses), cause)

    def hear(self, event: Event, device: str) -> None:
        """End the pause of a device that is being muted; to be called before the engine is told."""
        if device in self._pauses and _mutes(event):
            self.end([device], "muted")

    def handle_timer(self) -> None:
        """End the pauses whose time is up."""
        now = self._clock()
        self.end([device for device, (_, until) in self._pauses.items() if until <= now], "its time was up")

    def get_due(self) -> float:
        """Return when the next pause ends, ``inf`` when there is none."""
        return min(until for _, until in self._pauses.values()) if self._pauses else inf

    def get_left(self, device: str, *, now: float) -> float | None:
        """Return how long ``device`` is still paused; None when it is not."""
        pause = self._pauses.get(device)
        return None if pause is None else max(0.0, pause[1] - now)

    def _end(self, device: str, cause: str, now: float) -> None:
        began, until = self._pauses.pop(device)
        self._gate.set_paused(device, paused=False)
        self._log.warning("resumed", device=device, cause=cause)
        if self.note is not None:
            self.note(device, began, until, now, cause)


def _mutes(event: Event) -> bool:
    if isinstance(event, MuteEvent):
        return event.state is MuteState.MUTED
    return isinstance(event, AliveEvent) and event.mute is MuteState.MUTED
