"""What becomes of one packet: verdicts carried out by mode, always an answer, time that moves on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import Event, MuteEvent, MuteState, WakeEvent
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
from guard.gate import BATCH_NS, SAMPLE_NS, Acting, Gate, Settled
from guard.netfilter.marks import CONDEMNED, UNJUDGED, make_upstream_mark
from guard.netfilter.queue import Pause
from guard.rules import load_policy
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
        self.released: list[tuple[int, Decision]] = []
        self.facts = self
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
        return answer

    def receive_event(self, event: Event, *, device: str, now: float) -> list[tuple[int, Decision]]:
        self.told.append(("event", device, now))
        return self.released

    def handle_timer(self, *, now: float) -> list[tuple[int, Decision]]:
        self.told.append(("timer", now))
        self.timer = float("inf")
        return self.released

    def set_mode(self, mode: Mode, *, device: str | None = None) -> None:
        self.told.append(("mode", mode) if device is None else ("mode", mode, device))

    def set_policy(self, policy: Policy, devices: object, *, now: float) -> None:
        self.told.append(("policy", now))


def make_gate(
    mode: Mode, *answers: Decision | BaseException, clock: Callable[[], int] | None = None
) -> tuple[Gate, ScriptedEngine]:
    engine = ScriptedEngine(*answers)
    ticks: Iterator[int] = iter(range(1_000_000_000, 2_000_000_000, 1000))
    gate = Gate(engine, ["kitchen", "bath"], clock=clock or ticks.__next__, mode=mode)  # type: ignore[arg-type]  # a double
    gate.open = True
    gate.start_batch()
    return gate, engine


def receive(gate: Gate, mark: int = UP) -> FakePacket:
    packet = FakePacket(mark)
    gate.receive(packet)  # type: ignore[arg-type]  # a double
    return packet


@pytest.mark.parametrize(
    ("mode", "acting", "answer", "expected"),
    [
        (Mode.ENFORCE, None, ACCEPT, UP & ~UNJUDGED),
        (Mode.ENFORCE, None, DROP, DROPPED),
        (Mode.ENFORCE, None, CUT, UP | CONDEMNED),
        (Mode.ENFORCE, Acting.DROPPING, ACCEPT, UP & ~UNJUDGED),
        (Mode.ENFORCE, Acting.DROPPING, DROP, DROPPED),
        (Mode.ENFORCE, Acting.DROPPING, CUT, DROPPED),
        (Mode.MONITOR, None, ACCEPT, UP & ~UNJUDGED),
        (Mode.MONITOR, None, DROP, UP & ~UNJUDGED),
        (Mode.MONITOR, None, CUT, UP & ~UNJUDGED),
        (Mode.MONITOR, None, HOLD, UP & ~UNJUDGED),
        (Mode.MONITOR, Acting.DROPPING, CUT, DROPPED),
    ],
)
def test_a_verdict_is_carried_out_as_the_mode_has_it(
    mode: Mode, acting: Acting | None, answer: Decision, expected: str | int
) -> None:
    gate, _ = make_gate(mode, answer)
    if acting is not None:
        gate.set_acting(acting)
    assert receive(gate).answer == expected


def test_downstream_passes_with_its_mark_as_it_is() -> None:
    downstream = decision(None, None, Verdict.ACCEPT, None, Reason.DOWNSTREAM)
    for mode in Mode:
        gate, engine = make_gate(mode, downstream)
        assert receive(gate, DOWN | CONDEMNED).answer == DOWN | CONDEMNED
        assert engine.told[0][1:3] == ("kitchen", Direction.DOWNSTREAM)


def test_device_and_direction_come_from_the_mark() -> None:
    gate, engine = make_gate(Mode.MONITOR, ACCEPT, ACCEPT)
    receive(gate, make_upstream_mark(2))
    receive(gate, make_upstream_mark(1) | CONDEMNED)
    assert [told[1:3] for told in engine.told] == [
        ("bath", Direction.UPSTREAM),
        ("kitchen", Direction.UPSTREAM),
    ]


@pytest.mark.parametrize("number", [0, 3, 63])
def test_a_mark_of_no_device_never_reaches_the_engine(number: int) -> None:
    for mode, expected in ((Mode.ENFORCE, DROPPED), (Mode.MONITOR, number << 24)):
        gate, engine = make_gate(mode)
        assert receive(gate, UNJUDGED | number << 24).answer == expected
        assert engine.told == []
        assert gate.unknown_devices == 1


def test_until_it_is_open_the_gate_answers_unjudged() -> None:
    for mode, expected in ((Mode.ENFORCE, DROPPED), (Mode.MONITOR, UP & ~UNJUDGED)):
        gate, engine = make_gate(mode)
        gate.open = False
        assert receive(gate).answer == expected
        assert engine.told == []
        assert gate.starting == 1


@pytest.mark.parametrize("fault", [RuntimeError("bug"), MemoryError(), KeyboardInterrupt()])
def test_a_fault_is_answered_and_passed_on(fault: BaseException) -> None:
    for mode, expected in ((Mode.ENFORCE, DROPPED), (Mode.MONITOR, UP & ~UNJUDGED)):
        gate, _ = make_gate(mode, fault)
        packet = FakePacket()
        with pytest.raises(type(fault)):
            gate.receive(packet)  # type: ignore[arg-type]  # a double
        assert packet.answer == expected


def test_time_is_strictly_increasing_even_when_the_clock_is_not() -> None:
    gate, engine = make_gate(Mode.MONITOR, *[ACCEPT] * 50, clock=lambda: 5_000_000_000)
    for _ in range(50):
        receive(gate)
    gate.receive_event(WakeEvent(5.0, "alexa"), device="kitchen")
    times = [told[-1] for told in engine.told]
    assert all(earlier < later for earlier, later in itertools.pairwise(times))


def test_a_due_timer_comes_before_the_packet_and_the_event() -> None:
    gate, engine = make_gate(Mode.MONITOR, ACCEPT)
    engine.timer = 0.5
    receive(gate)
    engine.timer = 0.5
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    engine.timer = 0.5
    gate.handle_timer()
    gate.handle_timer()
    assert [told[0] for told in engine.told] == ["timer", "packet", "timer", "event", "timer"]
    assert engine.told[0][-1] == engine.told[1][-1]


def test_a_full_queue_lets_the_others_have_their_turn() -> None:
    now = 0
    gate, _ = make_gate(Mode.MONITOR, ACCEPT, ACCEPT, clock=lambda: now)
    assert receive(gate).answer is not UNANSWERED
    now = BATCH_NS
    packet = FakePacket()
    with pytest.raises(Pause):
        gate.receive(packet)  # type: ignore[arg-type]  # a double
    assert packet.answer is not UNANSWERED


def test_one_packet_in_ten_milliseconds_is_timed() -> None:
    now = 0

    def clock() -> int:
        nonlocal now
        now += 30_000  # what passes between two looks at it
        return now

    gate, _ = make_gate(Mode.MONITOR, *[ACCEPT] * 4, clock=clock)
    receive(gate)
    receive(gate)
    gate.start_batch()
    receive(gate)  # a new batch, but too early for another
    assert (sum(gate.verdict_times.counts), gate.verdict_times.total) == (1, 30_000)
    now += SAMPLE_NS
    gate.start_batch()
    receive(gate)
    assert (sum(gate.verdict_times.counts), gate.verdict_times.total) == (2, 60_000)
    assert gate.verdict_times.counts[gate.verdict_times.bounds.index(50_000)] == 2


def test_the_packet_that_ends_a_batch_is_timed_when_one_is_due() -> None:
    now = 0
    gate, _ = make_gate(Mode.MONITOR, ACCEPT, ACCEPT, clock=lambda: now)
    receive(gate)
    now = SAMPLE_NS + BATCH_NS
    with pytest.raises(Pause):
        receive(gate)
    assert sum(gate.verdict_times.counts) == 2


def test_whoever_needs_the_turn_gets_it_after_the_packet_in_hand() -> None:
    gate, _ = make_gate(Mode.MONITOR, ACCEPT, ACCEPT)
    receive(gate)
    gate.end_batch()
    with pytest.raises(Pause):
        receive(gate)


def test_events_are_counted_by_type() -> None:
    gate, _ = make_gate(Mode.MONITOR)
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    gate.receive_event(MuteEvent(1.0, MuteState.MUTED), device="kitchen")
    gate.receive_event(WakeEvent(2.0, "alexa"), device="kitchen")
    assert gate.events["kitchen"] == {"mute": 1, "wake": 2, "voice": 0, "alive": 0}
    assert not any(gate.events["bath"].values())


def test_a_flood_before_opening_ends_its_batch_too() -> None:
    now = 0
    gate, _ = make_gate(Mode.ENFORCE, clock=lambda: now)
    gate.open = False
    now = BATCH_NS
    packet = FakePacket()
    with pytest.raises(Pause):
        gate.receive(packet)  # type: ignore[arg-type]  # a double
    assert packet.answer == DROPPED


def test_held_packets_wait_for_their_release() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD, HOLD, HOLD, ACCEPT)
    first, second, third = (receive(gate) for _ in range(3))
    assert [packet.answer for packet in (first, second, third)] == [UNANSWERED] * 3
    assert first.retained
    engine.released = [(1, ACCEPT), (2, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert (first.answer, second.answer) == (UP & ~UNJUDGED, UP | CONDEMNED)
    engine.released = [(3, DROP), (99, ACCEPT)]
    engine.timer = 0.0
    gate.handle_timer()
    assert third.answer == DROPPED
    assert gate.settled["kitchen"] == Settled(released=1, refused=2)
    assert gate.settled["bath"] == Settled()


def test_a_verdict_that_cannot_be_sent_keeps_nothing_behind_it_waiting() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD, HOLD, HOLD)
    gate.audit = book = Book()
    packets = [receive(gate) for _ in range(3)]
    faults = [OSError(105, "first"), OSError(105, "second")]
    for packet, fault in zip(packets, faults, strict=False):
        packet.fault = fault
    engine.released = [(1, ACCEPT), (2, DROP), (3, ACCEPT)]
    with pytest.raises(OSError, match="first"):
        gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert [packet.answer for packet in packets] == [UNANSWERED, UNANSWERED, UP & ~UNJUDGED]
    assert gate.settled["kitchen"] == Settled(released=2, refused=1)
    assert book.rows[-1][0] == [(1, ACCEPT), (2, DROP), (3, ACCEPT)]


def test_in_monitor_a_held_packet_has_passed_and_its_verdict_is_counted() -> None:
    gate, engine = make_gate(Mode.MONITOR, HOLD, HOLD)
    assert [receive(gate).answer for _ in range(2)] == [UP & ~UNJUDGED] * 2
    engine.released = [(1, ACCEPT), (2, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert gate.settled["kitchen"] == Settled(released=1, refused=1)


def test_a_switch_to_monitor_lets_what_waits_pass_at_once() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD, HOLD)
    first, second = receive(gate), receive(gate)
    gate.set_acting(Acting.DROPPING)
    before = first.answer
    gate.set_acting(Acting.PASSING)
    assert [before, first.answer, second.answer] == [UNANSWERED, UP & ~UNJUDGED, UP & ~UNJUDGED]
    engine.released = [(1, CUT), (2, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")  # answered once, and no more
    assert gate.settled["kitchen"] == Settled(refused=2)


def test_while_the_rules_change_nothing_held_is_condemned_by_a_mark() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD)
    packet = receive(gate)
    gate.set_acting(Acting.DROPPING)
    engine.released = [(1, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert packet.answer == DROPPED


class Book:
    """An audit."""

    def __init__(self) -> None:
        self.rows: list[tuple[object, int]] = []

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int, decision: Decision) -> None:
        self.rows.append((decision, ns))

    def release(self, released: Sequence[tuple[int, Decision]], ns: int) -> None:
        self.rows.append((list(released), ns))


def test_at_the_end_what_waits_is_settled_at_its_own_time() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD)
    gate.witness, gate.audit = notes, book = Notes(), Book()
    packet = receive(gate)
    engine.timer = 99.5
    engine.released = [(1, CUT)]
    gate.finish()
    assert packet.answer == UP | CONDEMNED
    assert notes.notes[-1] == ("timer", 99_500_000_000)
    assert book.rows[-1] == ([(1, CUT)], 99_500_000_000)
    gate.finish()
    assert len(notes.notes) == 2


def test_new_settings_are_noted_before_they_count() -> None:
    gate, engine = make_gate(Mode.ENFORCE)
    gate.witness = notes = Notes()
    engine.timer = 0.5
    gate.set_settings(Settings({"kitchen": DeviceSettings()}), load_policy())
    assert [told[0] for told in engine.told] == ["timer", "policy"]
    assert [what for what, _ in notes.notes] == ["timer", "settings"]
    assert notes.notes[-1][1] / 1e9 == engine.told[-1][1]


class Messenger:
    """Remembers whom it was to tell."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def reset(self, packet: bytes, **facts: Any) -> None:
        self.told.append(facts)


class FakeFlow:
    life = 3

    class up:  # noqa: N801  # stands for an attribute
        unacked_seq = 77


def test_the_far_end_of_a_refused_connection_is_told_when_the_verdict_is_out() -> None:
    gate, engine = make_gate(Mode.ENFORCE, CUT, ACCEPT, DROP, HOLD, CUT)
    gate.messenger = messenger = Messenger()
    engine.flow = FakeFlow()
    for _ in range(4):
        receive(gate)
    engine.flow = None  # a datagram's refusal has nobody to tell
    receive(gate)
    assert [(told["mark"], told["life"], told["expected"]) for told in messenger.told] == [(UP, 3, 77)]
    engine.released = [(4, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert [(told["hook"], told["interface"], told["life"]) for told in messenger.told] == [(2, 7, 3)] * 2


@pytest.mark.parametrize(("mode", "acting"), [(Mode.MONITOR, None), (Mode.ENFORCE, Acting.DROPPING)])
def test_nobody_is_told_where_nothing_is_cut(mode: Mode, acting: Acting | None) -> None:
    gate, engine = make_gate(mode, CUT)
    gate.messenger = messenger = Messenger()
    engine.flow = FakeFlow()
    if acting is not None:
        gate.set_acting(acting)
    receive(gate)
    assert messenger.told == []


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


def test_the_witness_hears_all_that_the_engine_is_told() -> None:
    gate, engine = make_gate(Mode.MONITOR, ACCEPT)
    gate.witness = notes = Notes()
    engine.timer = 0.5
    receive(gate)
    gate.receive_event(MuteEvent(1.0, MuteState.MUTED), device="kitchen")
    gate.set_mode(Mode.ENFORCE)
    engine.timer = 0.5
    gate.handle_timer()
    assert [what for what, _ in notes.notes] == ["timer", "packet", "event", "enforce", "timer"]
    assert [ns / 1e9 for what, ns in notes.notes if what != "enforce"] == [
        told[-1] for told in engine.told if told[0] != "mode"
    ]


def test_the_scripted_engine_is_like_the_real_one() -> None:
    settings = {"kitchen": DeviceSettings(), "bath": DeviceSettings()}
    engine = Engine(load_policy(), devices=settings, mode=Mode.ENFORCE)
    gate = Gate(engine, ["kitchen", "bath"], clock=lambda: 1_000_000_000, mode=Mode.ENFORCE)
    gate.open = True
    gate.start_batch()
    assert receive(gate).answer == DROPPED  # four bytes are no packet
    gate.receive_event(MuteEvent(1.0, MuteState.MUTED), device="kitchen")
    gate.handle_timer()
    gate.set_mode(Mode.MONITOR)
    gate.set_acting(Acting.PASSING)
    assert receive(gate).answer == UP & ~UNJUDGED
    assert engine.facts.packet_id == 2


class Refused:
    """A tally that keeps every note."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def note(self, *note: Any) -> None:
        self.notes.append(note)


def test_each_refusal_is_tallied_once_and_nothing_else_is() -> None:
    gate, engine = make_gate(Mode.ENFORCE, ACCEPT, DROP, HOLD, HOLD, CUT)
    gate.tally = refused = Refused()  # type: ignore[assignment]  # a double
    for _ in range(4):
        receive(gate)
    engine.released = [(3, ACCEPT), (4, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    gate.set_paused("kitchen", paused=True)
    receive(gate)
    target = (17, b"")
    assert [(note[0], note[1], note[2], note[3], note[5]) for note in refused.notes] == [
        ("kitchen", target, DROP, 4, False),
        ("kitchen", target, CUT, 4, False),
        ("kitchen", target, CUT, 4, True),
    ]


def test_a_paused_device_passes_and_the_others_do_not() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD, HOLD, CUT, DROP, HOLD, CUT, CUT)
    bath = make_upstream_mark(2)
    waiting, other = receive(gate), receive(gate, bath)
    gate.set_paused("kitchen", paused=True)
    assert (waiting.answer, other.answer) == (UP & ~UNJUDGED, UNANSWERED)
    assert receive(gate).answer == UP & ~UNJUDGED
    assert receive(gate, bath).answer == DROPPED
    assert receive(gate).answer == UP & ~UNJUDGED
    engine.released = [(1, CUT), (2, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert other.answer == bath | CONDEMNED
    gate.set_acting(Acting.DROPPING)
    assert receive(gate).answer == UP & ~UNJUDGED
    gate.set_acting(Acting.CONDEMNING)
    gate.set_paused("kitchen", paused=False)
    assert receive(gate).answer == UP | CONDEMNED
    modes = [told[1:] for told in engine.told if told[0] == "mode"]
    assert modes == [(Mode.MONITOR, "kitchen"), (Mode.ENFORCE, "kitchen")]
