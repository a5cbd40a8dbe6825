"""The gate: what happens to one queued packet, one sensor event, one timer.

This file joins the engine to the kernel's verdicts. It knows the marks and the modes' ways to act; it
knows no socket, no rule and no configuration, and its clock is an argument. ``receive`` runs once a
packet: nothing in it logs, allocates what it need not, or asks twice. Whatever goes wrong in there, the
packet gets an answer: accepted in monitor, dropped in enforce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, Protocol

from guard.core.engine import Engine
from guard.core.event import Event
from guard.core.verdict import Decision, Direction, Mode, Scope, Verdict
from guard.netfilter.marks import ACCEPT_MASK, DEVICE_SHIFT, get_device, is_upstream
from guard.netfilter.queue import condemn

if TYPE_CHECKING:
    from netfilterqueue import Packet

BATCH_NS: Final = 5_000_000
"""A full queue never empties: after 5 ms of packets the sensors and the owner get their turn."""

_ACCEPT: Final = Verdict.ACCEPT
_HOLD: Final = Verdict.HOLD
_FLOW: Final = Scope.FLOW


class Acting(Enum):
    """How verdicts are carried out."""

    PASSING = "passing"
    """Monitor: every packet passes, whatever the verdict."""
    CONDEMNING = "condemning"
    """Enforce: a refused flow is marked, the rules reset both ends."""
    DROPPING = "dropping"
    """While the rules change: refusals are dropped, since no rule may be there to meet a mark."""


ACTING: Final = {Mode.MONITOR: Acting.PASSING, Mode.ENFORCE: Acting.CONDEMNING}


class Witness(Protocol):
    """Who writes down what the engine was told, in that order; ``ns`` is the engine's clock."""

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int) -> None:
        """Note one packet."""

    def event(self, event: Event, device: str, ns: int) -> None:
        """Note one event."""

    def mode(self, mode: Mode, ns: int) -> None:
        """Note that the mode was switched."""

    def timer(self, ns: int) -> None:
        """Note that the engine's timer was served."""


Audit = Callable[[bytes, str, Direction, int, Decision], None]
"""Called after each packet with packet, device, direction, nanoseconds and the decision."""


class Pause(Exception):  # noqa: N818  # leaves netfilterqueue's loop; no error
    """The batch is over."""


class Gate:
    """The engine between the queue and the kernel's verdicts."""

    def __init__(
        self, engine: Engine, devices: Sequence[str], *, clock: Callable[[], int], mode: Mode
    ) -> None:
        """``devices`` in the order of their numbers; ``clock`` gives monotonic nanoseconds."""
        self.engine = engine
        self.devices = tuple(devices)
        self.engine_mode = mode
        self.acting = ACTING[mode]
        self.witness: Witness | None = None
        self.audit: Audit | None = None
        self.open = False  # before: the packets of an earlier gate's rules, answered as ``starting``
        self.starting = 0
        self.unknown_devices = 0
        self._clock = clock
        self._last_ns = 0
        self._pause_ns = 0
        self._passing = self.acting is Acting.PASSING
        self._held: dict[int, Packet] = {}
        self._rows = [self._make_row(mark << DEVICE_SHIFT) for mark in range(256)]
        self._receive_packet = engine.receive_packet

    def _make_row(self, mark: int) -> tuple[str, Direction] | None:
        number = get_device(mark)
        if not 1 <= number <= len(self.devices):
            return None
        direction = Direction.UPSTREAM if is_upstream(mark) else Direction.DOWNSTREAM
        return self.devices[number - 1], direction

    def set_acting(self, acting: Acting) -> None:
        """Carry out verdicts this way from the next packet on."""
        self.acting = acting
        self._passing = acting is Acting.PASSING

    def read_clock(self) -> float:
        """Return the time in seconds, later than every time returned before."""
        return self._read_ns() / 1e9

    def _read_ns(self) -> int:
        ns = self._clock()
        if ns <= self._last_ns:
            ns = self._last_ns + 1
        self._last_ns = ns
        return ns

    def get_timeout(self) -> float:
        """Return the seconds until the engine's timer, 0 when it is due, ``inf`` when there is none."""
        return max(0.0, self.engine.timer - self._clock() / 1e9)

    def start_batch(self) -> None:
        """Let ``receive`` raise ``Pause`` once ``BATCH_NS`` have passed."""
        self._pause_ns = self._clock() + BATCH_NS

    def end_batch(self) -> None:
        """Let ``receive`` raise ``Pause`` after the packet in hand: somebody else needs the turn."""
        self._pause_ns = 0

    def receive(self, packet: Packet) -> None:
        """Judge one queued packet and tell the kernel. Pause when the batch is over."""
        answered = False
        try:
            mark = packet.get_mark()
            row = self._rows[mark >> DEVICE_SHIFT]
            if row is None or not self.open:
                self._answer_unjudged(packet, row)
                answered = True
                if self._clock() >= self._pause_ns:
                    raise Pause
                return
            ns = self._clock()
            if ns <= self._last_ns:
                ns = self._last_ns + 1
            self._last_ns = ns
            now = ns / 1e9
            if now >= self.engine.timer:
                self._serve_timer(ns)
            payload = packet.get_payload()
            device, direction = row
            if self.witness is not None:
                self.witness.packet(payload, device, direction, ns)
            decision = self._receive_packet(payload, device=device, direction=direction, now=now)
            if decision.verdict is _ACCEPT or self._passing:
                if direction:  # downstream: the mark stays as it is, a condemned connection is still reset
                    packet.accept()
                else:
                    packet.set_mark(mark & ACCEPT_MASK)
                    packet.accept()
            elif decision.verdict is _HOLD:
                packet.retain()
                self._held[self.engine.facts.packet_id] = packet
            elif decision.scope is _FLOW and self.acting is Acting.CONDEMNING:
                condemn(packet)
            else:
                packet.drop()
            answered = True
            if self.audit is not None:
                self.audit(payload, device, direction, ns, decision)
        except BaseException:
            if not answered:
                self._answer_fault(packet)
            raise
        if ns >= self._pause_ns:
            raise Pause

    def receive_event(self, event: Event, *, device: str) -> None:
        """Tell the engine of a sensor event, now."""
        ns = self._read_ns()
        if ns / 1e9 >= self.engine.timer:
            self._serve_timer(ns)
        if self.witness is not None:
            self.witness.event(event, device, ns)
        self._release(self.engine.receive_event(event, device=device, now=ns / 1e9))

    def handle_timer(self) -> None:
        """Let the engine do what is due."""
        ns = self._read_ns()
        if ns / 1e9 >= self.engine.timer:
            self._serve_timer(ns)

    def set_mode(self, mode: Mode) -> None:
        """Let the engine judge as in ``mode`` from now on; how it is carried out is ``set_acting``'s."""
        ns = self._read_ns()
        if self.witness is not None:
            self.witness.mode(mode, ns)
        self.engine.set_mode(mode)
        self.engine_mode = mode

    def _serve_timer(self, ns: int) -> None:
        if self.witness is not None:
            self.witness.timer(ns)
        self._release(self.engine.handle_timer(now=ns / 1e9))

    def _release(self, released: Iterable[tuple[int, Decision]]) -> None:
        for packet_id, decision in released:
            packet = self._held.pop(packet_id, None)
            if packet is None:
                continue  # in monitor nothing is held
            if decision.verdict is _ACCEPT or self._passing:
                packet.set_mark(packet.get_mark() & ACCEPT_MASK)
                packet.accept()
            elif decision.scope is _FLOW and self.acting is Acting.CONDEMNING:
                condemn(packet)
            else:
                packet.drop()

    def _answer_unjudged(self, packet: Packet, row: object) -> None:
        if row is None:
            self.unknown_devices += 1
        else:
            self.starting += 1
        self._answer_fault(packet)

    def _answer_fault(self, packet: Packet) -> None:
        if self._passing:
            packet.set_mark(packet.get_mark() & ACCEPT_MASK)
            packet.accept()
        else:
            packet.drop()
