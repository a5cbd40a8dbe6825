"""A simulated Echo: what it sends, when, and how it takes a refusal.

It keeps two sessions up for good (the gateway, and the one of the 91 s beat), opens one for each
burst of metrics and for each song, and speaks on the gateway. It knows nothing of the gate. How it
takes a loss is its temperament: the eager one redials and sends again at once, the lazy one backs off
and speaks only on a session that is up and idle. Time comes from the event loop, connections from
``dial``: the same code runs on the kernel's TCP and in the simulation's virtual time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from guard.lab import frames
from guard.lab.frames import Frame, Kind
from guard.lab.session import Session, SessionLostError

PING_PERIOD_S = 30.0
BEAT_PERIOD_S = 91.0
HOSTS = ("gateway", "beat", "metrics", "media")
_DIAL_S = 3.0
_ANSWER_S = 3.0
_STEADY_S = 3.0  # a session that lived this long counts as recovered
_PRE_ROLL_S = 0.25
_PRE_ROLL_WRITES = 8
_SONG_GAP_S = 2.2  # between requests, as a player of 2022 was seen to ask for the next piece

Dial = Callable[[Callable[[], Session], str], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class Temperament:
    """How a device takes the loss of a connection. Times in seconds, real ones."""

    redial_s: float
    backoff: float
    longest_s: float
    attempts: int
    speaks_only_when_ready: bool


TEMPERAMENTS = {
    "eager": Temperament(0.02, 1.0, 0.02, attempts=3, speaks_only_when_ready=False),
    "lazy": Temperament(1.0, 2.0, 8.0, attempts=1, speaks_only_when_ready=True),
}


class Echo:
    """One simulated device."""

    def __init__(self, temperament: str, *, context: ssl.SSLContext, dial: Dial, period_scale: float) -> None:
        self._temperament = TEMPERAMENTS[temperament]
        self._context = context
        self._dial = dial
        self._scale = period_scale
        self._phase = 0
        self._sessions: dict[str, Session] = {}
        self._speaking = False
        self._heartbeat_due: set[Session] = set()
        self._waiting: dict[tuple[int, int], asyncio.Future[None]] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._errands: set[asyncio.Task[None]] = set()
        self._sent: Counter[tuple[int, int, int]] = Counter()  # phase, kind, item -> bytes
        self._heard: Counter[int] = Counter()  # phase -> bytes from the cloud
        self._dials: Counter[int] = Counter()
        self._resets: Counter[int] = Counter()
        self._succeeded: set[tuple[int, int]] = set()
        self._declined: set[tuple[int, int]] = set()
        self._began: dict[tuple[int, int], float] = {}

    def handle(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command of the runner and answer it."""
        return _COMMANDS[command["do"]](self, command)

    def start(self, _command: dict[str, Any]) -> dict[str, Any]:
        """Bring both lasting sessions up."""
        for host, kind, size, period in (
            ("gateway", Kind.PING, frames.PING_BYTES, PING_PERIOD_S),
            ("beat", Kind.BEAT, frames.BEAT_BYTES, BEAT_PERIOD_S),
        ):
            keeper = self._keep(host, kind, size, period * self._scale)
            self._keepers.append(asyncio.ensure_future(keeper))
        return {}

    def start_phase(self, command: dict[str, Any]) -> dict[str, Any]:
        """Drop whatever is unfinished and count what follows under another phase."""
        self._cancel_errands()
        self._phase = command["phase"]
        return {}

    def run_errand(self, command: dict[str, Any]) -> dict[str, Any]:
        """Begin to send an item; the answer does not wait for it."""
        make = _ERRANDS[command["errand"]]
        errand = asyncio.ensure_future(make(self, command["item"], command["seconds"]))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)
        return {}

    def report(self, _command: dict[str, Any]) -> dict[str, Any]:
        """Return the device's own counts.

        ``began``: when the first byte of an item was written; ``declined``: commands it could not even begin.
        """
        return {
            "connected": sorted(self._sessions),
            "sent": [[*key, count] for key, count in sorted(self._sent.items())],
            "heard": sorted(self._heard.items()),
            "dials": sorted(self._dials.items()),
            "resets": sorted(self._resets.items()),
            "succeeded": sorted(self._succeeded),
            "declined": sorted(self._declined),
            "began": [[*key, t] for key, t in sorted(self._began.items())],
        }

    def stop(self, _command: dict[str, Any]) -> dict[str, Any]:
        """Let every connection go."""
        self._cancel_errands()
        for keeper in self._keepers:
            keeper.cancel()
        for session in self._sessions.values():
            session.close()
        return {}

    def _cancel_errands(self) -> None:
        for errand in tuple(self._errands):
            errand.cancel()
        self._speaking = False

    # Sessions

    async def _open(self, host: str) -> Session | None:
        self._dials[self._phase] += 1

        def make() -> Session:
            return Session(
                self._context,
                server_hostname=f"{host}.cloud.example",
                on_frame=self._receive,
                on_lost=self._count_loss,
            )

        session = None
        try:
            async with asyncio.timeout(_DIAL_S):
                session = await self._dial(make, host)
                await session.ready
        except (OSError, TimeoutError):
            if session is not None:
                session.abort()
            return None
        return session

    async def _keep(self, host: str, kind: Kind, size: int, period: float) -> None:
        temperament = self._temperament
        loop = asyncio.get_running_loop()
        wait = temperament.redial_s
        while True:
            opened = loop.time()
            session = await self._open(host)
            if session is not None:
                self._sessions[host] = session
                await self._beat(session, kind, size, period)
                del self._sessions[host]
                if loop.time() - opened >= _STEADY_S:
                    wait = temperament.redial_s
            await asyncio.sleep(wait)
            wait = min(wait * temperament.backoff, temperament.longest_s)

    async def _beat(self, session: Session, kind: Kind, size: int, period: float) -> None:
        while not await _wait(session.lost, period):
            if session in self._heartbeat_due:  # the last one was never answered
                session.abort()
                break
            self._heartbeat_due.add(session)
            try:
                self._send(session, [Frame(kind, self._phase, 0, size)])
            except SessionLostError:  # lost in this very moment
                break
        self._heartbeat_due.discard(session)

    def _receive(self, session: Session, frame: Frame) -> None:
        self._heard[frame.phase] += frame.size
        if frame.item == 0:
            self._heartbeat_due.discard(session)
        elif frame.kind in (Kind.REPLY_END, Kind.ANSWER_END, Kind.SONG_END):
            waiting = self._waiting.get((frame.phase, frame.item))
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def _count_loss(self, session: Session) -> None:
        if session.was_reset:
            self._resets[self._phase] += 1

    def _send(self, session: Session, outgoing: Iterable[Frame]) -> None:
        outgoing = list(outgoing)
        now = asyncio.get_running_loop().time()
        session.send(outgoing)
        for frame in outgoing:
            self._began.setdefault((frame.phase, frame.item), now)
            self._sent[frame.phase, frame.kind, frame.item] += frame.size

    async def _exchange(self, session: Session, item: int, send: Coroutine[Any, Any, None]) -> bool:
        """Send, then wait for the cloud's last word on ``item``. False when the session was lost."""
        key = (self._phase, item)
        waiting = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            await send
            await asyncio.wait(
                {waiting, session.lost}, timeout=_ANSWER_S, return_when=asyncio.FIRST_COMPLETED
            )
        except SessionLostError:
            return False
        finally:
            del self._waiting[key]
        if not waiting.done():
            session.abort()
        return waiting.done()

    # Errands

    async def report_metrics(self, item: int, _seconds: float) -> None:
        """Send a burst of telemetry on a connection of its own."""
        for _attempt in range(self._temperament.attempts):
            session = await self._open("metrics")
            if session is None:
                continue
            done = await self._exchange(
                session, item, self._burst(session, frames.telemetry(self._phase, item))
            )
            session.close()
            if done:
                self._succeeded.add((self._phase, item))
                return

    async def report_state(self, item: int, _seconds: float) -> None:
        """Report settings on the gateway session."""
        for _attempt in range(self._temperament.attempts):
            session = await self._gateway()
            if session is not None and await self._exchange(
                session, item, self._burst(session, frames.state(self._phase, item))
            ):
                self._succeeded.add((self._phase, item))
                return

    async def speak(self, item: int, seconds: float) -> None:
        """Upload an utterance and wait for the answer."""
        if self._temperament.speaks_only_when_ready and (self._speaking or "gateway" not in self._sessions):
            self._declined.add((self._phase, item))
            return  # "Sorry, I'm having trouble understanding right now"
        self._speaking = True
        for _attempt in range(self._temperament.attempts):
            session = await self._gateway()
            if session is not None and await self._exchange(
                session, item, self._utter(session, item, seconds)
            ):
                self._succeeded.add((self._phase, item))
                break
        self._speaking = False

    async def play(self, item: int, seconds: float) -> None:
        """Stream a song piece by piece on a connection of its own."""
        session = await self._open("media")
        if session is None:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        done = True
        while done and loop.time() < end:
            done = await self._exchange(
                session, item, self._burst(session, frames.request(self._phase, item))
            )
            if await _wait(session.lost, _SONG_GAP_S):
                done = False
        session.close()
        if done:
            self._succeeded.add((self._phase, item))

    async def _gateway(self) -> Session | None:
        """Return the gateway session, waiting a little for it to come back."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _DIAL_S
        while loop.time() < end:
            session = self._sessions.get("gateway")
            if session is not None and not session.lost.done():
                return session
            await asyncio.sleep(self._temperament.redial_s)
        return None

    async def _burst(self, session: Session, outgoing: list[Frame]) -> None:
        self._send(session, outgoing)

    async def _utter(self, session: Session, item: int, seconds: float) -> None:
        outgoing = frames.utterance(self._phase, item, seconds=seconds)
        steady = frames.OPENING_FRAMES + frames.PRE_ROLL_FRAMES
        self._send(session, outgoing[: frames.OPENING_FRAMES])
        step = frames.PRE_ROLL_FRAMES // _PRE_ROLL_WRITES
        for start in range(frames.OPENING_FRAMES, steady, step):
            self._send(session, outgoing[start : start + step])
            await asyncio.sleep(_PRE_ROLL_S / _PRE_ROLL_WRITES)
        loop = asyncio.get_running_loop()
        due = loop.time()
        for unit in outgoing[steady:]:
            self._send(session, [unit])
            due += 1 / frames.UNITS_A_SECOND
            await asyncio.sleep(max(0.0, due - loop.time()))


async def _wait(future: asyncio.Future[None], seconds: float) -> bool:
    """Return whether ``future`` was done within ``seconds``."""
    done, _pending = await asyncio.wait({future}, timeout=seconds)
    return bool(done)


_COMMANDS: dict[str, Callable[[Echo, dict[str, Any]], dict[str, Any]]] = {
    "start": Echo.start,
    "phase": Echo.start_phase,
    "errand": Echo.run_errand,
    "report": Echo.report,
    "stop": Echo.stop,
}
_ERRANDS: dict[str, Callable[[Echo, int, float], Coroutine[Any, Any, None]]] = {
    "telemetry": Echo.report_metrics,
    "state": Echo.report_state,
    "voice": Echo.speak,
    "song": Echo.play,
}
