"""The sensing process's datagrams, turned into events that can be believed.

Each device with a sensor has a datagram socket of its own, so an event needs no device's name and one
sensor cannot speak for another. A datagram is one line of ``guard.core.event``. What comes from the
wrong user, is malformed, lies in the past or in the future, or comes too fast is counted and thrown
away; it never opens the gate. A report of "muted" is exempt from the rate limit: it can only close.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from enum import StrEnum
from math import inf
from pathlib import Path

from guard.core.event import (
    MAX_LINE_BYTES,
    AliveEvent,
    Event,
    EventError,
    MuteEvent,
    MuteState,
    TraceHeader,
    parse_line,
)
from guard.unix_socket import CREDENTIALS_SPACE, UnixSocket, get_sender_uid

MAX_AGE = 3.0  # seconds; what the shipped policy says
MAX_AHEAD = 0.01  # seconds; sender and gate read the same CLOCK_MONOTONIC
BATCH = 32  # datagrams read before the packets get their turn again


class Rejection(StrEnum):
    """Why a datagram was thrown away; a closed set, each a label in metrics."""

    FORGED = "forged"
    MALFORMED = "malformed"
    STALE = "stale"
    FUTURE = "future"
    FLOOD = "flood"


class SensorSocket:
    """One device's sensor."""

    def __init__(
        self,
        path: Path,
        *,
        uids: Collection[int],
        max_per_second: int,
        listed: bool,
        now: float,
        max_age: float = MAX_AGE,
    ) -> None:
        """Bind ``path``. ``uids`` may speak; ``listed``: users beside the gate's own are among them.

        ``max_age`` is the silence (s) that makes the sensor lost: older than that, an event says nothing.
        """
        self._bound = UnixSocket(path, socket.SOCK_DGRAM, key="sensors.socket", listed=listed)
        self._bound.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._uids = frozenset(uids)
        self.max_age = max_age
        self._state_t = -inf  # of the mute state accepted last
        self._max_per_second = max_per_second
        self._window_start = -1.0
        self._window_count = 0
        self.heard: float | None = None  # when the last event was accepted
        self.hears: bool | None = None  # a microphone and a detector are at work, as it said last
        self.accepted = 0
        self.lost = 0  # how often it fell silent
        self._silent = False
        self._listening_since = now
        self.rejected = dict.fromkeys(Rejection, 0)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._bound.socket.fileno()

    def close(self) -> None:
        """Close the socket and remove its file."""
        self._bound.close()

    def receive(self, *, now: float) -> list[Event]:
        """Return the events that wait, at most ``BATCH`` datagrams of them, in order."""
        events = []
        for _ in range(BATCH):
            try:
                line, ancillary, flags, _address = self._bound.socket.recvmsg(
                    MAX_LINE_BYTES + 1, CREDENTIALS_SPACE
                )
            except BlockingIOError:
                break
            result = self._read(line, get_sender_uid(ancillary), flags, now)
            if isinstance(result, Rejection):
                self.rejected[result] += 1
            else:
                self.accepted += 1
                self.heard = now
                events.append(result)
        return events

    def notice_silence(self, *, now: float) -> bool:
        """Return True once when the sensor has fallen silent; it was counted in ``lost`` then."""
        heard = self._listening_since if self.heard is None else self.heard
        silent = now - heard > self.max_age
        fell = silent and not self._silent
        self._silent = silent
        if silent:
            self.hears = None
        self.lost += fell
        return fell

    def _read(self, line: bytes, uid: int | None, flags: int, now: float) -> Event | Rejection:
        if uid not in self._uids:
            return Rejection.FORGED
        if flags & socket.MSG_TRUNC:
            return Rejection.MALFORMED
        try:
            event = parse_line(line)
        except EventError:
            return Rejection.MALFORMED
        if isinstance(event, TraceHeader):
            return Rejection.MALFORMED
        if event.t < now - self.max_age:
            return Rejection.STALE
        if event.t > now + MAX_AHEAD:
            return Rejection.FUTURE
        if self._is_flood(now) and not _closes(event):
            return Rejection.FLOOD
        if isinstance(event, MuteEvent | AliveEvent):
            if event.t < self._state_t and not _closes(event):
                return Rejection.STALE  # a newer state is known: what was said before it opens nothing
            self._state_t = max(self._state_t, event.t)
            if isinstance(event, AliveEvent):
                self.hears = event.hears
        return event

    def _is_flood(self, now: float) -> bool:
        if now - self._window_start >= 1.0:
            self._window_start = now
            self._window_count = 0
        self._window_count += 1
        return self._window_count > self._max_per_second


def _closes(event: Event) -> bool:
    if isinstance(event, MuteEvent):
        return event.state is MuteState.MUTED
    return isinstance(event, AliveEvent) and event.mute is MuteState.MUTED
