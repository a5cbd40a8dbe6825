"""What stands around the gate in its tests: queued packets, an engine told what to answer, listeners."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from guard.core.event import Event
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.verdict import (
    Decision,
    Direction,
    Justification,
    Mode,
    PacketClass,
    Reason,
    Scope,
    Verdict,
    decision,
)
from guard.gate import Gate
from guard.netfilter.marks import UNJUDGED, make_upstream_mark
from guard.netfilter.queue import hand_over
from guard.trace import Settings

FOREIGN = 0x00ABCDEF
UP = make_upstream_mark(1) | FOREIGN
DOWN = UP & ~UNJUDGED
ACCEPT = decision(PacketClass.ACK, None, Verdict.ACCEPT, None, Reason.TCP_CONTROL)
DROP = decision(
    PacketClass.APP_DATA, Justification.JUSTIFIED, Verdict.REFUSE, Scope.PACKET, Reason.OUT_OF_ORDER
)
CUT = decision(PacketClass.APP_DATA, Justification.NOT_JUSTIFIED, Verdict.REFUSE, Scope.FLOW, Reason.MUTED)
HOLD = decision(PacketClass.APP_DATA, Justification.JUSTIFIED, Verdict.HOLD, None, Reason.NO_INTERACTION)
UNANSWERED = None
DROPPED = "drop"


class FakePacket:
    """A queued packet, as netfilterqueue shows one."""

    hook = 2  # NF_INET_FORWARD
    indev = 7

    def __init__(self, mark: int = UP) -> None:
        self.mark = mark
        self.answer: str | int | None = UNANSWERED
        self.retained = False
        self.fault: OSError | None = None  # of sending the verdict

    def get_mark(self) -> int:
        return self.mark

    def set_mark(self, mark: int) -> None:
        self.mark = mark

    def get_payload(self) -> bytes:
        return b"\x45\0\0\x14"

    def retain(self) -> None:
        self.retained = True

    def accept(self) -> None:
        assert self.answer is UNANSWERED
        if self.fault is not None:
            raise self.fault
        self.answer = self.mark

    def drop(self) -> None:
        assert self.answer is UNANSWERED
        if self.fault is not None:
            raise self.fault
        self.answer = DROPPED


class ScriptedEngine:
    """Says what the test wants it to say, and remembers what it was told."""

    def __init__(self, *answers: Decision | BaseException) -> None:
        self.answers = list(answers)
        self.timer = float("inf")
        self.told: list[tuple[Any, ...]] = []
        self.released: list[tuple[int, Decision]] = []  # what becomes of which packet
        self.facts = self
        self.held: Held | None = None
        self.waiting: dict[int, Held] = {}
        self.packet_id = 0
        self.flow: Any = None
        self.protocol = 17
        self.key = b""

    def receive_packet(self, packet: bytes, *, device: str, direction: Direction, now: float) -> Decision:
        self.packet_id += 1
        self.told.append(("packet", device, direction, now))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        if answer is HOLD:
            self.held = self.waiting[self.packet_id] = Held(self.packet_id, now, 0, 4, HOLD, after=False)
        return answer

    def receive_event(self, event: Event, *, device: str, now: float) -> list[Held]:
        self.told.append(("event", device, now))
        return self._release()

    def handle_timer(self, *, now: float) -> list[Held]:
        self.told.append(("timer", now))
        self.timer = float("inf")
        return self._release()

    def _release(self) -> list[Held]:
        for number, answer in self.released:
            self.waiting[number].answer = answer
        return [self.waiting[number] for number, _ in self.released]

    def set_mode(self, mode: Mode, *, device: str | None = None) -> None:
        self.told.append(("mode", mode) if device is None else ("mode", mode, device))

    def set_policy(self, policy: Policy, devices: object, *, now: float) -> None:
        self.told.append(("policy", now))


def make_gate(
    mode: Mode, *answers: Decision | BaseException, clock: Callable[[], int] | None = None
) -> tuple[Gate, ScriptedEngine]:
    """Return an open gate for two devices, its batch begun, and the engine that gives it these answers."""
    engine = ScriptedEngine(*answers)
    ticks: Iterator[int] = iter(range(1_000_000_000, 2_000_000_000, 1000))
    gate = Gate(engine, ["kitchen", "bath"], clock=clock or ticks.__next__, mode=mode)  # type: ignore[arg-type]  # a double
    gate.open = True
    gate.start_batch()
    return gate, engine


def receive(gate: Gate, mark: int = UP) -> FakePacket:
    """Give the gate a packet with this mark; return the packet, answered or not."""
    packet = FakePacket(mark)
    offer(gate, packet)
    return packet


def offer(gate: Gate, packet: FakePacket) -> None:
    """Give the gate this packet."""
    hand_over(gate.receive, gate._clock, packet)  # type: ignore[arg-type]  # a double


class Book:
    """An audit."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, int]] = []

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int, decision: Decision) -> None:
        self.rows.append((decision, ns))

    def release(self, released: Sequence[Held], ns: int) -> None:
        self.rows.append(([(held.packet_id, held.answer) for held in released], ns))


class Notes:
    """A witness."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, int]] = []

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int) -> None:
        self.notes.append(("packet", ns))

    def event(self, event: Event, device: str, ns: int) -> None:
        self.notes.append(("event", ns))

    def mode(self, mode: Mode, device: str, ns: int) -> None:
        self.notes.append((f"{device} {mode.value}".strip(), ns))

    def settings(self, settings: Settings, ns: int) -> None:
        self.notes.append(("settings", ns))

    def timer(self, ns: int) -> None:
        self.notes.append(("timer", ns))


class Messenger:
    """Remembers whom it was to tell."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def reset(self, packet: bytes, **facts: Any) -> None:
        self.told.append(facts)


class FakeFlow:
    """What a messenger is told of a flow."""

    life = 3

    class up:  # noqa: N801  # stands for an attribute
        unacked_seq = 77


class Refused:
    """A tally that keeps every note."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def note(self, *note: Any) -> None:
        self.notes.append(note)
