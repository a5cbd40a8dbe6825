"""Ways around the engine that were found and closed; ``tests/cases`` shows them as captures."""

from __future__ import annotations

from dataclasses import replace

from guard.core.budget import Budget
from guard.core.engine import DeviceSettings, Engine
from guard.core.event import MuteEvent, MuteState
from guard.core.verdict import Direction, Mode, Reason, Verdict
from tests import wire
from tests.conversation import DEVICE, POLICY, Conversation, describe, make_engine
from tests.wire import ACK, PSH, SYN


def test_a_new_syn_does_not_pardon_what_the_peer_still_reads() -> None:
    """The peer only challenges a SYN inside a live connection: it goes on with the old numbers."""
    talk = Conversation().establish()
    refused = talk.seq
    assert describe(talk.send(wire.app_data(100))) == "app_data justified refuse flow no_interaction"
    assert describe(talk.send(flags=SYN, at=refused - 1)) == "handshake accept connection_setup"
    talk.answer(ack=refused)  # the challenge
    talk.wake()
    got = describe(talk.send(wire.app_data(100), at=refused))
    assert got == "app_data expected refuse packet not_connected"


def test_a_new_life_begins_with_the_peers_answer() -> None:
    talk = Conversation().establish()
    assert talk.send(wire.app_data(100)).reason is Reason.NO_INTERACTION
    talk.seq = talk.isn = 70_000
    talk.peer_seq = 5_000_000
    talk.establish()


def test_an_answer_to_another_syn_begins_no_life() -> None:
    talk = Conversation().establish()
    talk.send(flags=SYN, at=500_000)
    talk.answer(flags=SYN | ACK, ack=400_001)
    assert talk.send(wire.client_hello(), at=500_001).reason is Reason.NOT_CONNECTED


def test_the_device_cannot_begin_the_condemned_anew_as_the_server() -> None:
    talk = Conversation().establish()
    refused = talk.seq
    talk.send(wire.app_data(100))
    talk.send(flags=SYN, at=refused - 2)
    talk.send(flags=SYN | ACK, at=refused - 1)
    talk.answer(ack=refused)
    talk.wake()
    assert talk.send(wire.app_data(100), at=refused).reason is Reason.NOT_CONNECTED


def test_a_forged_connection_from_the_peer_pardons_nothing() -> None:
    talk = Conversation().establish()
    refused = talk.seq
    talk.send(wire.app_data(100))
    forged = talk.make(Direction.DOWNSTREAM, b"", seq=refused - 1, ack=0, flags=SYN)
    talk.receive(forged)  # the device sends it, with the peer's address as its own
    talk.wake()
    assert talk.send(wire.app_data(100), at=refused).reason is Reason.NOT_CONNECTED


def test_handshakes_are_charged_in_whatever_order_they_come() -> None:
    hello = wire.client_hello(padding=3000)
    limit = Budget(0.0, len(hello) + 100)
    engine = make_engine(policy=replace(POLICY, budgets={**POLICY.budgets, "handshake": limit}))
    talk = Conversation(engine).open()
    start = talk.seq
    assert talk.send(hello[6:], at=start + 6).reason is Reason.OUT_OF_ORDER
    assert talk.send(hello[:6], at=start).reason is Reason.HANDSHAKE
    assert talk.send(hello[6:], at=start + 6).reason is Reason.RETRANSMISSION
    other = Conversation(engine, port=50_000).open()
    start = other.seq
    assert other.send(hello[6:], at=start + 6).reason is Reason.OUT_OF_ORDER
    assert describe(other.send(hello[:6], at=start)) == "app_data justified refuse flow handshake_budget"


def test_a_header_cut_in_two_is_charged_whole() -> None:
    hello = wire.client_hello()
    limit = Budget(0.0, len(hello) - 1)
    engine = make_engine(policy=replace(POLICY, budgets={**POLICY.budgets, "handshake": limit}))
    talk = Conversation(engine).open()
    assert talk.send(hello[:4]).reason is Reason.SPLIT_HEADER
    assert talk.send(hello[4:5]).reason is Reason.HANDSHAKE_BUDGET


def test_while_muted_nothing_passes_that_cannot_be_compared() -> None:
    talk = Conversation().establish()
    first = talk.isn + 1
    for _ in range(6):
        talk.wait(30)
        assert talk.send(wire.PING_GCM).reason is Reason.HEARTBEAT
        talk.ack()
    assert talk.send(b"\xee" * 40, at=first).reason is Reason.RETRANSMISSION  # a budget allows it
    talk.mute()
    got = describe(talk.send(b"\xee" * 40, at=first))
    assert got == "retransmit refuse packet budget_exhausted"


def test_a_keep_alive_passes_while_muted() -> None:
    talk = Conversation().establish()
    talk.ack()
    talk.mute()
    got = describe(talk.send(b"\x00", at=talk.seq - 1, flags=ACK))
    assert got == "retransmit accept retransmission"


def test_extension_headers_are_no_free_ride() -> None:
    talk = Conversation(version=6).establish()
    segment = wire.tcp(seq=talk.seq, ack=talk.peer_seq, flags=ACK | PSH)
    packet = wire.ipv6(segment, extensions=[(wire.DESTINATION, wire.extension(100))])
    assert describe(talk.receive(packet)) == "app_data justified refuse packet header_options"
    talk.wake()
    assert describe(talk.receive(packet)) == "app_data expected refuse packet header_options"


def test_what_waits_behind_others_is_judged_anew_when_muted() -> None:
    """A packet that only waited for its turn was accepted before the microphone was muted."""
    engine = Engine(POLICY, {DEVICE: DeviceSettings(balanced=True)}, mode=Mode.ENFORCE)
    talk = Conversation(engine).establish()
    assert describe(talk.send(wire.app_data(353))) == "app_data justified hold probing"
    talk.wait(0.01)
    assert describe(talk.send(wire.app_data(500))) == "app_data justified hold awaiting_wake_word"
    released = engine.receive_event(MuteEvent(talk.now, MuteState.MUTED), device=DEVICE, now=talk.now)
    assert [describe(held.answer) for held in released] == [
        "app_data not_justified refuse flow muted",
        "app_data justified refuse flow condemned",
    ]


def test_a_split_header_does_not_open_the_way_for_what_waits_behind_it() -> None:
    policy = replace(POLICY, hold_s=0.8)
    engine = Engine(policy, {DEVICE: DeviceSettings(balanced=True)}, mode=Mode.ENFORCE)
    talk = Conversation(engine).establish()
    assert describe(talk.send(b"\x17")) == "app_data justified hold split_header"
    assert talk.send(b"\x03\x03\x01\x61" + bytes(0x161)).verdict is Verdict.HOLD
    released = engine.receive_event(MuteEvent(talk.now, MuteState.MUTED), device=DEVICE, now=talk.now)
    assert all(held.answer.verdict is Verdict.REFUSE for held in released)


def test_what_waits_ends_with_its_connection() -> None:
    policy = replace(POLICY, hold_s=0.8)
    engine = make_engine(policy=policy)
    talk = Conversation(engine).establish()
    assert talk.send(wire.app_data(100)).verdict is Verdict.HOLD
    talk.send(flags=SYN, at=500_000)
    due = engine.get_timer()
    assert due is not None
    assert due <= talk.now
    [held] = engine.handle_timer(now=talk.now)
    assert describe(held.answer) == "app_data justified refuse flow condemned"


def test_control_traffic_that_was_lost_may_be_sent_again() -> None:
    """Sent again it costs the budget again, and ends no connection while there is some."""
    control = Budget(0.0, 1000.0)
    policy = replace(POLICY, budgets={**POLICY.budgets, "control": control})
    engine = Engine(policy, {DEVICE: DeviceSettings(balanced=True)}, mode=Mode.ENFORCE)
    talk = Conversation(engine).establish()
    place = talk.seq
    assert describe(talk.send(wire.app_data(395))) == "app_data justified accept control_budget"
    assert describe(talk.send(wire.app_data(395), at=place)) == "retransmit accept control_budget"
    got = describe(talk.send(wire.app_data(395), at=place))
    assert got == "retransmit refuse flow no_interaction"
