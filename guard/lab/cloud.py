"""The simulated cloud: answers what it understands and counts every byte that reached it.

Its counts are the lab's truth. They are taken behind the receiving kernel's TCP and behind TLS, by
device, phase, kind and item, and beside them the bytes of application-data records that TCP delivered
but that never became whole (a piece of a record is a leak as well).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any

from guard.lab import frames
from guard.lab.frames import HEARTBEATS, Frame, Kind
from guard.lab.session import Session, SessionLostError


class Cloud:
    """Every host an Echo talks to. ``devices`` tells who dials, by address."""

    def __init__(self, *, context: ssl.SSLContext, devices: dict[str, str]) -> None:
        self._context = context
        self._devices = devices
        self._phase = 0
        self._sessions: set[Session] = set()
        self._received: Counter[tuple[str, int, int, int]] = Counter()
        self._cut: Counter[tuple[str, int]] = Counter()
        self._versions: dict[str, str] = {}
        self._first: dict[tuple[str, int, int], float] = {}

    def make_session(self) -> Session:
        """Return the server's end of a new connection."""
        return Session(
            self._context,
            server_side=True,
            on_frame=self._receive,
            on_open=self._sessions.add,
            on_lost=self._forget,
        )

    def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command of the runner and answer it."""
        return _COMMANDS[command["do"]](self, command)

    def start_phase(self, command: dict[str, Any]) -> dict[str, Any]:
        """Count pieces of records under another phase from now on."""
        self._phase = command["phase"]
        return {}

    def report(self, _command: dict[str, Any]) -> dict[str, Any]:
        """Return what arrived; ``first``: when the first record of an item did."""
        cut = self._cut.copy()
        for session in self._sessions:
            cut += self._get_cut(session)
        return {
            "received": [[*key, count] for key, count in sorted(self._received.items())],
            "cut": [[*key, count] for key, count in sorted(cut.items())],
            "versions": self._versions,
            "first": [[*key, t] for key, t in sorted(self._first.items())],
        }

    def stop(self, _command: dict[str, Any]) -> dict[str, Any]:
        """Let every connection go."""
        for session in tuple(self._sessions):
            session.close()
        return {}

    def _device(self, session: Session) -> str:
        return self._devices.get(session.peer[0], session.peer[0])

    def _forget(self, session: Session) -> None:
        self._sessions.discard(session)
        self._cut += self._get_cut(session)

    def _get_cut(self, session: Session) -> Counter[tuple[str, int]]:
        return Counter({(self._device(session), self._phase): session.received.cut_bytes})

    def _receive(self, session: Session, frame: Frame) -> None:
        device = self._device(session)
        self._versions[device] = session.version or ""
        self._received[device, frame.phase, frame.kind, frame.item] += frame.size
        now = asyncio.get_running_loop().time()
        self._first.setdefault((device, frame.phase, frame.item), now)
        with contextlib.suppress(SessionLostError):  # counted already; there is nobody left to answer
            session.send(_answer(frame))


def _answer(frame: Frame) -> list[Frame]:
    if frame.kind in HEARTBEATS:
        return [Frame(Kind.REPLY_END, frame.phase, frame.item, frame.size)]
    if frame.kind not in _ANSWERS:
        return []
    kind, end, total = _ANSWERS[frame.kind]
    return frames.bulk(kind, end, frame.phase, frame.item, total=total)


# the last frame of an item -> what comes back: kind, kind of its last frame, bytes
_ANSWERS = {
    Kind.VOICE_END: (Kind.ANSWER, Kind.ANSWER_END, 6_000),
    Kind.REQUEST_END: (Kind.SONG, Kind.SONG_END, 35_200),  # 2.2 s at 128 kbit/s
    Kind.TELEMETRY_END: (Kind.REPLY_END, Kind.REPLY_END, 1),
    Kind.STATE_END: (Kind.REPLY_END, Kind.REPLY_END, 1),
}
_COMMANDS: dict[str, Callable[[Cloud, dict[str, Any]], dict[str, Any]]] = {
    "phase": Cloud.start_phase,
    "report": Cloud.report,
    "stop": Cloud.stop,
}
