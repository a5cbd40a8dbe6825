"""The gate: what happens to one queued packet, one sensor event, one timer.

This file joins the engine to the kernel's verdicts. It knows the marks and the modes' ways to act; it
knows no socket, no rule and no configuration, and its clock is an argument. ``receive`` runs once a
packet: nothing in it logs, allocates what it need not, or asks twice. Whatever goes wrong in there, the
packet gets an answer: accepted in monitor, dropped in enforce.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from guard.core.engine import Engine
from guard.core.event import EVENT_TYPES, Event
from guard.core.flow import Flow
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.verdict import Decision, Direction, Mode, Scope, Verdict
from guard.histogram import VERDICT_BOUNDS_NS, Histogram
from guard.netfilter.marks import ACCEPT_MASK, CONDEMNED, DEVICE_SHIFT, QUIET_MASK, get_device, is_upstream
from guard.netfilter.queue import DROP, KEEP, Pause, condemn, give
from guard.onlookers import Audit, Messenger, Witness
from guard.tally import Tally, Target
from guard.trace import Settings

if TYPE_CHECKING:
    from netfilterqueue import Packet

BATCH_NS: Final = 5_000_000
"""A full queue never empties: after 5 ms of packets the sensors and the owner get their turn."""
SAMPLE_NS: Final = 10_000_000
"""The time to a verdict is taken of one packet in 10 ms, the first of those read together."""

_AT_FIRST: Final = -1  # in place of when the batch ends: the first packet will tell
_ACCEPT: Final = Verdict.ACCEPT
_HOLD: Final = Verdict.HOLD
_REFUSE: Final = Verdict.REFUSE
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


@dataclass(slots=True)
class Settled:
    """How the waiting of a device's packets ended: they passed, or they were refused."""

    released: int = 0
    refused: int = 0


class _Row:
    """What the highest byte of a mark says of a packet; ``passing``: whatever the verdict, it passes."""

    __slots__ = ("device", "direction", "passing", "settled", "upstream")

    def __init__(self, device: str, settled: Settled, upstream: bool, passing: bool) -> None:  # noqa: FBT001  # two facts
        self.device = device
        self.settled = settled
        self.upstream = upstream
        self.direction = Direction.UPSTREAM if upstream else Direction.DOWNSTREAM
        self.passing = passing


@mypyc_attr(acyclic=True)
class _Wait:
    """A packet that waits for its verdict; ``packet`` is None where it has passed (monitor, pause)."""

    __slots__ = ("device", "packet", "settled", "target")

    def __init__(self, device: str, settled: Settled, target: Target, packet: Packet | None) -> None:
        self.device = device
        self.settled = settled  # the device's
        self.target = target
        self.packet = packet


def _nothing(_device: str) -> Mapping[Decision, tuple[int, int]]:
    return {}


def _ignore(_event: Event, _device: str) -> None:
    """Take no notice."""


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
        self.messenger: Messenger | None = None
        self.tally: Tally | None = None  # who sums up what is refused
        self.before_event: Callable[[Event, str], None] = _ignore
        self.after_event: Callable[[Event, str], None] = _ignore
        self.paused: set[str] = set()  # devices that are judged and carried out as in monitor
        self.fast_path = False  # the rules are such that verdicts make connections quiet
        # what the kernel decided of a device by itself: packets and bytes by what the gate would have said
        self.read_kernel: Callable[[str], Mapping[Decision, tuple[int, int]]] = _nothing
        self.open = False  # before: the packets of an earlier gate's rules, answered as ``starting``
        self.starting = 0
        self.unknown_devices = 0
        self.verdict_times = Histogram(VERDICT_BOUNDS_NS)  # of the packets that were timed
        self._clock = clock
        self._last_ns = 0
        self._pause_ns = 0
        self._sample_ns = 0  # the next packet from then on is timed
        self._look_ns = 0  # the earlier of the two: the one question that every packet asks
        self._passing = self.acting is Acting.PASSING
        self._waiting = 0  # verdicts that are to come
        self._kept: dict[_Wait, None] = {}  # those whose packet waits in the kernel's queue, in order
        self.settled = {name: Settled() for name in self.devices}
        self.events = {name: dict.fromkeys(EVENT_TYPES.values(), 0) for name in self.devices}
        self._rows = self._make_rows()

    def _make_rows(self) -> list[_Row | None]:
        """Return by a mark's highest byte whose packet it is."""
        return [self._make_row(mark << DEVICE_SHIFT) for mark in range(256)]

    def _make_row(self, mark: int) -> _Row | None:
        number = get_device(mark)
        if not 1 <= number <= len(self.devices):
            return None
        device = self.devices[number - 1]
        return _Row(device, self.settled[device], is_upstream(mark), self._passes(device))

    def _passes(self, device: str) -> bool:
        return self._passing or device in self.paused

    def set_acting(self, acting: Acting) -> None:
        """Carry out verdicts this way from the next packet on."""
        self.acting = acting
        self._passing = acting is Acting.PASSING
        self._rows = self._make_rows()
        self._let_pass()

    def set_paused(self, device: str, *, paused: bool) -> None:
        """Let everything of ``device`` pass, judged as in monitor; or no longer."""
        ns = self._read_ns()
        mode = Mode.MONITOR if paused else self.engine_mode
        if self.witness is not None:
            self.witness.mode(mode, device, ns)
        self.engine.set_mode(mode, device=device)
        (self.paused.add if paused else self.paused.discard)(device)
        self._rows = self._make_rows()
        self._let_pass()

    def read_clock(self) -> float:
        """Return the time in seconds, later than every time returned before."""
        return self._read_ns() / 1e9

    def _read_ns(self) -> int:
        ns = self._clock()
        if ns <= self._last_ns:
            ns = self._last_ns + 1
        self._last_ns = ns
        return ns

    def start_batch(self) -> None:
        """Let ``receive`` raise ``Pause`` once ``BATCH_NS`` have passed from the first packet on."""
        self._pause_ns = _AT_FIRST
        self._look_ns = 0

    def end_batch(self) -> None:
        """Let ``receive`` raise ``Pause`` after the packet in hand: somebody else needs the turn."""
        self._pause_ns = 0
        self._look_ns = 0

    def receive(self, packet: Packet, mark: int, payload: bytes, ns: int) -> int:
        """Judge one queued packet, read at ``ns``, and return its answer.

        Pause, the answer given, when the batch is over.
        """
        row = self._rows[mark >> DEVICE_SHIFT]
        if row is None or not self.open:
            return self._receive_unjudged(packet, mark, row, ns)
        try:
            if ns <= self._last_ns:
                ns = self._last_ns + 1
            self._last_ns = ns
            now = ns / 1e9
            engine = self.engine  # called by its name: compiled, that is a call in C
            if now >= engine.timer:
                self._serve_timer(ns)
            device, direction, passing = row.device, row.direction, row.passing
            if self.witness is not None:
                self.witness.packet(payload, device, direction, ns)
            decision = engine.receive_packet(payload, device=device, direction=direction, now=now)
            verdict = decision.verdict
            if verdict is _ACCEPT or (passing and verdict is not _HOLD):
                if self.fast_path and self._is_quiet(mark):
                    answer = mark & QUIET_MASK
                else:  # downstream the mark stays: a condemned connection is still reset
                    answer = mark & ACCEPT_MASK if row.upstream else mark
            elif verdict is _HOLD:
                answer = self._hold(packet, mark, row)
            elif decision.scope is _FLOW and self.acting is Acting.CONDEMNING:
                answer = condemn(mark, packet.hook)
                self._tell(packet, payload, mark, now, engine.facts.flow)
            else:
                answer = DROP
            if verdict is _REFUSE and self.tally is not None:
                self.tally.note(device, self._get_target(), decision, len(payload), ns, passing)
            if self.audit is not None:
                self.audit.packet(payload, device, direction, ns, decision)
        except BaseException:
            give(packet, self._answer_fault(mark))
            raise
        if ns >= self._look_ns:
            self._look_up(packet, answer, ns)
        return answer

    def _is_quiet(self, mark: int) -> bool:
        """Say whether the kernel may pass acknowledgements on the connection of the packet in hand."""
        flow = self.engine.facts.flow
        return flow is not None and flow.is_quiet() and not mark & CONDEMNED

    def _look_up(self, packet: Packet, answer: int, ns: int) -> None:
        """Time the packet that was received at ``ns`` when one is due. Pause when the batch is over."""
        if ns >= self._sample_ns:
            self.verdict_times.add(self._clock() - ns)
            self._sample_ns = ns + SAMPLE_NS
        if self._is_over(ns):
            give(packet, answer)
            raise Pause
        self._look_ns = min(self._pause_ns, self._sample_ns)

    def _is_over(self, ns: int) -> bool:
        """Say whether the batch is over, at the packet that was received at ``ns``."""
        if self._pause_ns == _AT_FIRST:
            self._pause_ns = ns + BATCH_NS
        return ns >= self._pause_ns

    def receive_event(self, event: Event, *, device: str) -> None:
        """Tell the engine of a sensor event, now."""
        self.before_event(event, device)
        ns = self._read_ns()
        if ns / 1e9 >= self.engine.timer:
            self._serve_timer(ns)
        if self.witness is not None:
            self.witness.event(event, device, ns)
        self.events[device][EVENT_TYPES[type(event)]] += 1
        self._release(self.engine.receive_event(event, device=device, now=ns / 1e9), ns)
        self.after_event(event, device)

    def handle_timer(self) -> None:
        """Let the engine do what is due."""
        ns = self._read_ns()
        if ns / 1e9 >= self.engine.timer:
            self._serve_timer(ns)

    def set_mode(self, mode: Mode) -> None:
        """Let the engine judge as in ``mode`` from now on; how it is carried out is ``set_acting``'s."""
        ns = self._read_ns()
        if self.witness is not None:
            self.witness.mode(mode, "", ns)
        self.engine.set_mode(mode)
        self.engine_mode = mode

    def set_settings(self, settings: Settings, policy: Policy) -> None:
        """Let the engine judge by ``settings`` from now on; ``policy`` is made of their limits."""
        ns = self._read_ns()
        if ns / 1e9 >= self.engine.timer:
            self._serve_timer(ns)
        if self.witness is not None:
            self.witness.settings(settings, ns)
        self.engine.set_policy(policy, settings.devices, now=ns / 1e9)

    def finish(self) -> None:
        """Settle what waits as if nobody spoke any more; after that nothing may be received.

        Each wait ends at its own time, which may lie ahead: so a replay of the recording says the same.
        """
        while self._waiting and self.engine.timer < inf:
            self._last_ns = max(self._read_ns(), ceil(self.engine.timer * 1e9))
            self._serve_timer(self._last_ns)

    def _serve_timer(self, ns: int) -> None:
        if self.witness is not None:
            self.witness.timer(ns)
        self._release(self.engine.handle_timer(now=ns / 1e9), ns)

    def _get_target(self) -> Target:
        facts = self.engine.facts
        flow = facts.flow
        return flow if flow is not None else (facts.protocol, facts.key)

    def _hold(self, packet: Packet, mark: int, row: _Row) -> int:
        """Let a packet wait in the kernel's queue; in monitor it passes at once, and its verdict waits."""
        held = self.engine.facts.held
        if held is None or held.packet_id != self.engine.facts.packet_id:
            raise RuntimeError("a packet is held of which the engine does not know")
        wait = _Wait(row.device, row.settled, self._get_target(), None if row.passing else packet)
        held.ticket = wait
        self._waiting += 1
        if row.passing:
            return mark & ACCEPT_MASK
        self._kept[wait] = None
        return KEEP

    def _let_pass(self) -> None:
        """Let what waits in the kernel's queue of devices that pass do so: only its verdict waits on."""
        for wait in list(self._kept):
            packet = wait.packet
            if packet is not None and self._passes(wait.device):
                wait.packet = None  # whatever becomes of the sending: it has its answer
                del self._kept[wait]
                give(packet, packet.get_mark() & ACCEPT_MASK)

    def _release(self, released: list[Held], ns: int) -> None:
        """Carry out what was decided of packets that wait: all of it, then raise the first OSError."""
        fault: OSError | None = None
        for held in released:
            wait = held.ticket
            if not isinstance(wait, _Wait):
                continue
            held.ticket = None
            self._waiting -= 1
            try:
                self._settle(wait, held, ns)
            except OSError as error:
                fault = fault or error
        if released and self.audit is not None:
            self.audit.release(released, ns)
        if fault is not None:
            raise fault

    def _settle(self, wait: _Wait, held: Held, ns: int) -> None:
        packet, decision = wait.packet, held.answer
        if packet is not None:
            del self._kept[wait]
        if decision.verdict is _ACCEPT:
            wait.settled.released += 1
        else:
            wait.settled.refused += 1
            if self.tally is not None:
                self.tally.note(wait.device, wait.target, decision, held.octets, ns, packet is None)
        if packet is None:
            return  # in monitor it has passed already
        mark = packet.get_mark()
        if decision.verdict is _ACCEPT or self._passes(wait.device):
            give(packet, mark & ACCEPT_MASK)
        elif decision.scope is _FLOW and self.acting is Acting.CONDEMNING:
            give(packet, condemn(mark, packet.hook))
            flow = None if isinstance(wait.target, tuple) else wait.target
            self._tell(packet, packet.get_payload(), mark, ns / 1e9, flow)
        else:
            give(packet, DROP)

    def _tell(self, packet: Packet, payload: bytes, mark: int, now: float, flow: Flow | None) -> None:
        """Have the receiver of a refused packet told that its connection has ended."""
        if self.messenger is not None and flow is not None:
            self.messenger.reset(
                payload,
                mark=mark,
                hook=packet.hook,
                interface=packet.indev,
                now=now,
                life=flow.life,
                expected=flow.up.unacked_seq,
            )

    def _receive_unjudged(self, packet: Packet, mark: int, row: _Row | None, ns: int) -> int:
        if row is None:
            self.unknown_devices += 1
        else:
            self.starting += 1
        answer = self._answer_fault(mark)
        if self._is_over(ns):
            give(packet, answer)
            raise Pause
        return answer

    def _answer_fault(self, mark: int) -> int:
        """Return the answer for a packet about which nothing is known."""
        return mark & ACCEPT_MASK if self._passing else DROP
