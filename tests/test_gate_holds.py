"""What waits in the gate: until its release, a switch, a pause or the end, and answered once."""

from __future__ import annotations

import pytest

from guard.core.event import WakeEvent
from guard.core.verdict import Mode
from guard.gate import Acting, Settled
from guard.netfilter.marks import CONDEMNED, UNJUDGED, make_upstream_mark
from tests.gate_doubles import (
    ACCEPT,
    CUT,
    DROP,
    DROPPED,
    HOLD,
    UNANSWERED,
    UP,
    Book,
    Notes,
    make_gate,
    receive,
)


def test_held_packets_wait_for_their_release() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD, HOLD, HOLD, ACCEPT)
    first, second, third = (receive(gate) for _ in range(3))
    assert [packet.answer for packet in (first, second, third)] == [UNANSWERED] * 3
    assert first.retained
    engine.released = [(1, ACCEPT), (2, CUT)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert (first.answer, second.answer) == (UP & ~UNJUDGED, UP | CONDEMNED)
    engine.released = [(3, DROP)]
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


def test_a_packet_that_was_to_pass_and_could_not_is_answered_once_and_the_others_later() -> None:
    gate, engine = make_gate(Mode.ENFORCE, HOLD, HOLD, HOLD)
    packets = [receive(gate) for _ in range(3)]
    packets[0].fault = OSError(105, "full")
    with pytest.raises(OSError, match="full"):
        gate.set_acting(Acting.PASSING)
    packets[0].fault = None
    engine.released = [(1, DROP), (2, DROP), (3, DROP)]
    gate.receive_event(WakeEvent(1.0, "alexa"), device="kitchen")
    assert [packet.answer for packet in packets] == [UNANSWERED, UP & ~UNJUDGED, UP & ~UNJUDGED]
    assert gate.settled["kitchen"] == Settled(refused=3)


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
