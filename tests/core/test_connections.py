"""How a connection begins, and what its sequence numbers mean for a packet."""

from __future__ import annotations

import dataclasses

import pytest

from guard.core.verdict import Mode
from tests import wire
from tests.conversation import (
    CONTROL,
    DEVICE,
    MASK,
    PAYLOADS,
    POLICY,
    SETUP,
    Conversation,
    describe,
    make_engine,
)
from tests.wire import ACK, FIN, PSH, SYN

# -- the beginning of a flow -------------------------------------------------------------------------


def test_opening_a_connection() -> None:
    talk = Conversation()
    assert describe(talk.send(flags=SYN)) == SETUP
    assert talk.engine.get_flow_name() == "tcp 10.0.0.2:46619 > 52.4.1.9:443 #1"
    assert describe(talk.send(at=talk.isn, flags=SYN)) == "retransmit accept connection_setup"
    assert describe(talk.send(at=talk.isn + 5, flags=SYN)) == SETUP
    assert talk.engine.get_flow_name() == "tcp 10.0.0.2:46619 > 52.4.1.9:443 #2"


def test_a_new_life_forgets_the_old_one() -> None:
    talk = Conversation().establish()
    again = Conversation(talk.engine, isn=5_000_000).open()
    assert again.up(PAYLOADS["ping"]) == "app_data justified refuse flow no_interaction"  # before a handshake
    assert talk.engine.get_status(DEVICE, now=talk.now).flows == 1


def test_connections_have_a_rate() -> None:
    engine = make_engine()
    answers = [describe(Conversation(engine, port=10_000 + number).send(flags=SYN)) for number in range(200)]
    burst = int(POLICY.budgets["connection"].burst)
    assert answers[:burst] == [SETUP] * burst
    assert set(answers[burst:]) == {"app_data justified refuse packet connection_rate"}
    assert engine.get_status(DEVICE, now=100.0).flows == burst


def test_a_syn_carries_nothing() -> None:
    for state in ("wake", "mute"):
        talk = Conversation().play(state)
        answer = describe(talk.send(b"fast open", flags=SYN))
        assert answer.endswith("refuse packet syn_payload")
        assert describe(talk.send(at=talk.isn, flags=SYN)) == "retransmit accept connection_setup"


def test_only_the_answer_to_the_syn_was_seen() -> None:
    talk = Conversation()
    talk.seq = talk.isn + 1
    talk.answer(flags=SYN | ACK)
    talk.play("""
        up client_hello              handshake accept handshake
        down server_hello
        up key_exchange+ccs+finished handshake accept handshake
        up ping                      syn accept heartbeat
    """)


def test_the_cloud_is_never_seen() -> None:
    talk = Conversation()
    talk.send(flags=SYN)
    talk.play("""
        up client_hello     handshake accept handshake
        up ccs+finished     handshake accept handshake
        up ping             syn accept heartbeat
        up beat             syn accept heartbeat
        up voice            app_data justified refuse flow no_interaction
    """)


def test_a_connection_from_outside_is_no_clients_handshake() -> None:
    talk = Conversation()
    talk.answer(flags=SYN)
    assert describe(talk.send(flags=SYN | ACK)) == SETUP
    talk.answer()
    talk.play("up client_hello app_data justified refuse flow inbound_flow")


def test_in_mid_stream_heartbeats_are_known_by_their_length() -> None:
    lengths = {str(length): wire.app_data(length) for length in (41, 33, 28, 53)}
    talk = Conversation(mode=Mode.MONITOR)
    talk.play("""
        up 41   app_data justified refuse flow midstream
        up 33   syn accept heartbeat after_virtual_reset
        up 41   syn accept heartbeat after_virtual_reset
        up 28   syn accept heartbeat after_virtual_reset
        up 41   app_data justified refuse flow heartbeat_too_soon after_virtual_reset
        up 53   app_data justified refuse flow no_interaction after_virtual_reset
        up client_hello app_data justified refuse flow midstream after_virtual_reset
    """, lengths)  # fmt: skip


def test_bytes_before_the_first_one_seen_are_no_retransmission() -> None:
    talk = Conversation(mode=Mode.MONITOR)
    first = talk.seq
    talk.send(PAYLOADS["voice"])
    talk.ack()
    assert describe(talk.send(b"secret", at=first - 6)).startswith("app_data justified refuse flow midstream")
    assert describe(talk.send(b"secret" + PAYLOADS["voice"], at=first - 6)).startswith(
        "app_data justified refuse flow midstream"
    )


def test_the_table_of_flows_has_an_end() -> None:
    policy = dataclasses.replace(POLICY, max_flows=3)
    engine = make_engine(policy=policy)
    for number in range(3):
        Conversation(engine, port=10_000 + number).open()
    extra = Conversation(engine, port=20_000)
    assert describe(extra.send(flags=SYN)) == "handshake refuse packet flow_table_full"
    extra.wake()
    assert describe(extra.send(b"x")) == "app_data expected refuse packet flow_table_full"
    assert engine.get_status(DEVICE, now=100.0).flows == 3
    extra.wait(POLICY.tcp_idle_s + POLICY.sweep_s)
    assert engine.get_status(DEVICE, now=extra.now).flows == 0
    assert describe(extra.send(at=5, flags=SYN)) == SETUP


def test_a_closed_flow_is_forgotten_early_and_sweeping_ends() -> None:
    talk = Conversation().establish()
    talk.send(flags=FIN | ACK)
    talk.answer(flags=FIN | ACK)
    talk.wait(POLICY.closed_idle_s + POLICY.sweep_s)
    assert talk.engine.get_status(DEVICE, now=talk.now).flows == 0
    assert talk.engine.get_timer() is None


# -- sequence numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("isn", [1000, MASK - 2000, MASK - 1600])
def test_a_retransmission_gets_what_its_bytes_get_now(isn: int) -> None:
    talk = Conversation(isn=isn).establish()
    at = talk.seq
    talk.play("up ping syn accept heartbeat")
    talk.wake()
    talk.play("up voice app_data expected accept interaction")
    both = PAYLOADS["ping"] + PAYLOADS["voice"]
    assert describe(talk.send(both[:20], at=at)) == "retransmit accept retransmission"
    assert describe(talk.send(both[10:60], at=at + 10)) == "retransmit accept interaction"
    talk.wait(9)
    assert describe(talk.send(both[:20], at=at)) == "retransmit accept retransmission"
    assert describe(talk.send(both[60:], at=at + 60)) == "retransmit refuse flow no_interaction"
    assert describe(talk.send(both[:20], at=at)) == "retransmit refuse flow condemned"


def test_other_bytes_in_the_same_place() -> None:
    talk = Conversation().establish()
    talk.wake()
    at = talk.seq
    talk.play("up voice app_data expected accept interaction")
    changed = PAYLOADS["voice"][:-1] + b"!"
    assert describe(talk.send(changed, at=at)) == "app_data expected refuse flow overlap_mismatch"
    talk = Conversation().establish()
    talk.wake()
    at = talk.seq
    talk.play("up voice app_data expected accept interaction")
    longer = changed + PAYLOADS["voice"]
    assert describe(talk.send(longer, at=at)) == "app_data expected refuse flow overlap_mismatch"


def test_beyond_a_gap_nothing_can_be_judged_and_nothing_is_condemned() -> None:
    talk = Conversation().establish()
    at = talk.seq
    ping, beat = PAYLOADS["ping"], PAYLOADS["beat"]
    for state in ("wake", "mute", "unmute"):
        talk.play(state)
        answer = talk.send(beat, at=at + len(ping))
        assert describe(answer).split()[2:] == ["refuse", "packet", "out_of_order"]
    assert talk.up(ping) == "syn accept heartbeat"
    assert describe(talk.send(beat, at=at + len(ping))) == "retransmit accept retransmission"
    talk.seq += len(beat)
    talk.play("ack")
    assert describe(talk.send(ping)) == "app_data justified refuse flow heartbeat_too_soon"


def test_voice_sent_out_of_order_is_judged_when_it_is_offered_again() -> None:
    talk = Conversation().establish()
    at = talk.seq
    talk.send(PAYLOADS["voice"], at=at + 46)
    assert talk.up(PAYLOADS["ping"]) == "syn accept heartbeat"
    assert describe(talk.send(PAYLOADS["voice"], at=at + 46)) == "retransmit refuse flow no_interaction"


def test_a_gap_that_the_peer_acknowledged_is_given_up() -> None:
    talk = Conversation(mode=Mode.MONITOR).establish()
    at = talk.seq
    talk.seq += 500  # never seen here
    talk.ack()
    assert describe(talk.send(PAYLOADS["ping"])) == "app_data justified refuse flow stream_gap"
    talk.ack()
    assert describe(talk.send(PAYLOADS["beat"])) == "syn accept heartbeat after_virtual_reset"
    # the bytes of the gap come after all: nobody can say that they are what was acknowledged
    assert describe(talk.send(bytes(300), at=at)).startswith("app_data justified refuse flow stream_gap")


def test_records_behind_a_gap_that_the_peer_acknowledged_show_with_the_next_packet() -> None:
    talk = Conversation(mode=Mode.MONITOR).establish()
    facts = talk.engine.facts
    talk.seq += 500  # never seen here
    for _ in range(2):
        talk.send(PAYLOADS["ping"])
        assert facts.records == []
    talk.ack()
    assert facts.records == []
    other = Conversation(talk.engine, port=50_000).establish()
    other.send(PAYLOADS["ping"])
    assert facts.records == [(23, 41)]
    beat = (23, len(PAYLOADS["beat"]) - 5)
    talk.send(PAYLOADS["beat"])
    assert facts.records == [(23, 41), (23, 41), beat]
    talk.send(PAYLOADS["beat"])
    assert facts.records == [beat]


def test_an_early_acknowledgement_does_not_turn_voice_into_a_retransmission() -> None:
    talk = Conversation().establish()
    talk.answer(ack=talk.seq + 100_000)
    answer = talk.send(PAYLOADS["voice"])
    assert describe(answer) == "app_data justified refuse flow stream_gap"


def test_the_acknowledgement_of_a_fin_is_no_gap() -> None:
    talk = Conversation().establish()
    at = talk.seq
    talk.send(PAYLOADS["ping"], flags=FIN | ACK | PSH)
    talk.answer(flags=FIN | ACK)
    assert describe(talk.send(PAYLOADS["ping"], at=at, flags=FIN | ACK)) == "retransmit accept retransmission"
    assert describe(talk.send(at=at + 46, flags=FIN | ACK)) == CONTROL


def test_a_keep_alive_may_repeat_one_byte() -> None:
    talk = Conversation().open()
    assert describe(talk.send(b"\x00", at=talk.seq - 1)) == "retransmit accept retransmission"
    talk.play("""
        up client_hello              handshake accept handshake
        down server_hello
        up key_exchange+ccs+finished handshake accept handshake
        ack
        up ping                      syn accept heartbeat
        ack
    """)
    assert describe(talk.send(b"?", at=talk.seq - 1)) == "retransmit accept retransmission"
    talk.play("up beat syn accept heartbeat")  # framing did not move


def test_what_is_never_acknowledged_is_not_kept_for_ever() -> None:
    policy = dataclasses.replace(POLICY, unacked_flow_bytes=5000)
    talk = Conversation(make_engine(policy=policy)).establish()
    talk.wake()
    answers = [talk.up(wire.app_data(995)) for _ in range(8)]
    assert "app_data expected refuse flow retransmission_buffer" in answers
