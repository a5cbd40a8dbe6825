"""What becomes of one packet: verdicts carried out by mode, always an answer, time that moves on."""

from __future__ import annotations

import itertools

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Decision, Direction, Mode, Reason, Verdict, decision
from guard.gate import BATCH_NS, SAMPLE_NS, Acting, Gate
from guard.netfilter.marks import CONDEMNED, UNJUDGED, make_upstream_mark
from guard.netfilter.queue import Pause
from guard.rules import load_policy
from guard.trace import Settings
from tests.gate_doubles import (
    ACCEPT,
    CUT,
    DOWN,
    DROP,
    DROPPED,
    HOLD,
    UNANSWERED,
    UP,
    FakeFlow,
    FakePacket,
    Messenger,
    Notes,
    Refused,
    make_gate,
    offer,
    receive,
)


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
            offer(gate, packet)
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
    now = BATCH_NS + 1
    packet = FakePacket()
    with pytest.raises(Pause):
        offer(gate, packet)
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
    assert receive(gate).answer == DROPPED
    now = BATCH_NS
    packet = FakePacket()
    with pytest.raises(Pause):
        offer(gate, packet)
    assert packet.answer == DROPPED


def test_new_settings_are_noted_before_they_count() -> None:
    gate, engine = make_gate(Mode.ENFORCE)
    gate.witness = notes = Notes()
    engine.timer = 0.5
    gate.set_settings(Settings({"kitchen": DeviceSettings()}), load_policy())
    assert [told[0] for told in engine.told] == ["timer", "policy"]
    assert [what for what, _ in notes.notes] == ["timer", "settings"]
    assert notes.notes[-1][1] / 1e9 == engine.told[-1][1]


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
