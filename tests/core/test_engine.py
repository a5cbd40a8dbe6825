from __future__ import annotations

import dataclasses
import ssl

import pytest

from guard.core.event import AliveEvent, MuteEvent, MuteState, WakeEvent
from guard.core.policy import Action
from guard.core.verdict import Direction, Mode, Reason
from tests import wire
from tests.conversation import DEVICE, MASK, PAYLOADS, POLICY, Conversation, describe, make_engine
from tests.tls_peer import TlsPeer
from tests.wire import ACK, FIN, PSH, RST, SYN, URG

UP, DOWN = Direction.UPSTREAM, Direction.DOWNSTREAM
NO_INTERACTION = "app_data justified refuse flow no_interaction"
CONDEMNED = "app_data justified refuse flow condemned"
EXPECTED = "app_data expected accept interaction"
SETUP = "handshake accept connection_setup"
CONTROL = "ack accept tcp_control"


# -- the three justifications ------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("isn", [1000, MASK - 2000])
def test_a_day_of_an_echo(version: int, isn: int) -> None:
    Conversation(version=version, isn=isn).establish().play("""
        up ping     syn accept heartbeat
        ack
        wait 30
        up ping     syn accept heartbeat
        ack
        wake
        up voice    app_data expected accept interaction
        up voice    app_data expected accept interaction
        ack
        wait 7.9
        up voice    app_data expected accept interaction
        ack
        wait 20
        up voice    app_data justified refuse flow no_interaction
        up voice    app_data justified refuse flow condemned
        up ping     syn refuse flow condemned
    """)


def test_muted_is_not_justified_whatever_was_heard() -> None:
    Conversation().establish().play("""
        wake
        mute
        up voice    app_data not_justified refuse flow muted
    """)
    Conversation().establish().play("""
        mute
        wake
        up voice    app_data not_justified refuse flow muted
    """)


def test_unmuting_does_not_bring_an_interaction_back() -> None:
    Conversation().establish().play("""
        wake
        mute
        unmute
        up voice    app_data justified refuse flow no_interaction
    """)


def test_an_unknown_state_counts_as_muted() -> None:
    Conversation().establish().play("""
        wake
        unknown
        up voice    app_data not_justified refuse flow mute_unknown
    """)


def test_muting_condemns_what_has_voice_on_its_way() -> None:
    Conversation().establish().play("""
        wake
        up voice    app_data expected accept interaction
        mute
        up ping     syn refuse flow condemned
    """)
    Conversation().establish().play("""
        wake
        up voice    app_data expected accept interaction
        ack
        mute
        up ping     syn accept heartbeat
    """)


def test_an_interaction_has_a_cap() -> None:
    talk = Conversation().establish()
    talk.wake()
    record = wire.app_data(16_000)
    answers = [talk.up(record) for _ in range(40)]
    accepted = answers.count(EXPECTED)
    assert 200_000 < accepted * len(record) <= 300_000
    assert answers[accepted] == "app_data expected refuse flow interaction_cap"
    assert set(answers[accepted + 1 :]) == {"app_data expected refuse flow condemned"}


def test_what_a_condemned_flow_offers_does_not_use_up_the_interaction() -> None:
    engine = make_engine()
    dead = Conversation(engine).establish()
    dead.play("up voice app_data justified refuse flow no_interaction")
    live = Conversation(engine, port=50000).establish()
    live.wake()
    for _ in range(1000):
        dead.send(PAYLOADS["voice"])
    assert live.up(PAYLOADS["voice"]) == EXPECTED


def test_devices_are_judged_apart() -> None:
    engine = make_engine(devices=("kitchen", "bedroom"))
    kitchen = Conversation(engine, device="kitchen").establish()
    bedroom = Conversation(engine, device="bedroom").establish()  # the same addresses and ports
    kitchen.wake()
    bedroom.mute()
    assert kitchen.up(PAYLOADS["voice"]) == EXPECTED
    assert bedroom.up(PAYLOADS["voice"]) == "app_data not_justified refuse flow muted"
    assert kitchen.up(PAYLOADS["voice"]) == EXPECTED
    assert engine.get_status("kitchen", now=kitchen.now).condemned_flows == 0
    assert engine.get_status("bedroom", now=kitchen.now).condemned_flows == 1
    refused = [row for row in engine.counters("kitchen") if row[1].verdict == "refuse"]
    assert refused == []


# -- monitor and enforce -----------------------------------------------------------------------------


def test_monitor_judges_each_packet_and_marks_what_enforce_would_have_cut() -> None:
    Conversation(mode=Mode.MONITOR).establish().play("""
        up ping     syn accept heartbeat
        up voice    app_data justified refuse flow no_interaction
        ack
        up voice    app_data justified refuse flow no_interaction after_virtual_reset
        ack
        wait 30
        up ping     syn accept heartbeat after_virtual_reset
        wake
        up voice    app_data expected accept interaction
        ack
        wait 30
        up ping     syn accept heartbeat
        up voice    app_data justified refuse flow no_interaction
        ack
        wait 3601
        up ping     app_data justified refuse flow midstream
    """)


def test_a_virtual_reset_is_over_after_a_while() -> None:
    talk = Conversation(mode=Mode.MONITOR).establish()
    talk.play("up voice app_data justified refuse flow no_interaction\nack")
    for _ in range(120):
        talk.wait(30)
        assert talk.up(PAYLOADS["ping"]).startswith("syn accept heartbeat")
        talk.ack()
    assert talk.up(PAYLOADS["voice"]) == NO_INTERACTION


def test_the_mode_can_be_switched_at_any_time() -> None:
    talk = Conversation(mode=Mode.MONITOR).establish()
    talk.play("""
        up voice    app_data justified refuse flow no_interaction
        ack
    """)
    talk.engine.set_mode(Mode.ENFORCE)
    talk.play("""
        wait 1
        up ping     syn accept heartbeat
        up voice    app_data justified refuse flow no_interaction
        up voice    app_data justified refuse flow condemned
    """)
    talk.engine.set_mode(Mode.MONITOR)
    talk.play("up voice app_data justified refuse flow no_interaction")
    talk.engine.set_mode(Mode.ENFORCE)
    talk.play("up voice app_data justified refuse flow condemned")


def test_of_a_condemned_flow_only_a_reset_passes() -> None:
    talk = Conversation().establish()
    talk.play("up voice app_data justified refuse flow no_interaction")
    assert describe(talk.send(flags=ACK)) == "ack refuse flow condemned"
    assert describe(talk.send(flags=FIN | ACK)) == "ack refuse flow condemned"
    assert describe(talk.send(b"x", flags=RST | ACK)) == "app_data justified refuse flow condemned"
    assert describe(talk.send(flags=RST)) == CONTROL


def test_the_same_syn_does_not_revive_a_condemned_flow_and_another_does() -> None:
    talk = Conversation().establish()
    talk.play("up voice app_data justified refuse flow no_interaction")
    assert describe(talk.send(at=talk.isn, flags=SYN)) == "retransmit refuse flow condemned"
    assert talk.up(PAYLOADS["ping"]) == "syn refuse flow condemned"
    again = Conversation(talk.engine, isn=77_000_000, now=talk.now).establish()
    assert again.up(PAYLOADS["ping"]) == "syn accept heartbeat"


def test_a_condemned_flow_is_not_forgotten_because_it_was_reset() -> None:
    talk = Conversation().establish()
    talk.play("up voice app_data justified refuse flow no_interaction")
    talk.send(flags=RST)
    for _ in range(10):
        talk.wait(60)
    talk.wake()
    assert talk.send(PAYLOADS["voice"]).reason is Reason.CONDEMNED


def test_condemned_flows_give_way_to_live_ones() -> None:
    """Each redial leaves refused bytes that are never acknowledged: they must not lock the device out."""
    engine = make_engine()
    live = Conversation(engine).establish()
    record = wire.app_data(14_000)
    for number in range(900):
        talk = Conversation(engine, port=2000 + number, now=100.0 + 3 * number)
        talk.open()
        talk.send(wire.client_hello())
        talk.answer(PAYLOADS["server_hello"])
        talk.send(PAYLOADS["key_exchange"] + PAYLOADS["ccs"] + PAYLOADS["finished"])
        assert talk.up(record) == NO_INTERACTION
    assert live.up(PAYLOADS["ping"]) == "syn accept heartbeat"


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


# -- payload that no receiver reads for certain ------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "reason", "scope"), [(URG | ACK, "urgent_data", "flow"), (RST | ACK, "rst_payload", "packet")]
)
def test_urgent_bytes_and_bytes_in_a_reset(flags: int, reason: str, scope: str) -> None:
    for state, justification in (("wake", "expected"), ("mute", "not_justified"), ("ack", "justified")):
        talk = Conversation().establish().play(state)
        answer = describe(talk.send(PAYLOADS["ping"], flags=flags))
        assert answer == f"app_data {justification} refuse {scope} {reason}"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "malformed"),
        (b"\x45" + bytes(19), "malformed"),
        (wire.ipv4(wire.tcp(b"voice", flags=SYN | FIN)), "malformed"),
        (wire.ipv4(wire.tcp(b"voice"), fragment=0x2000), "fragment"),
        (wire.ipv6(wire.tcp(b"voice"), extensions=[(wire.FRAGMENT, wire.extension())]), "fragment"),
        (wire.ipv4(wire.tcp(b"voice"))[:-1], "truncated"),
        (wire.ipv4(wire.udp(b"voice"), protocol=wire.UDP)[:-1], "truncated"),
    ],
)
def test_what_cannot_be_read_is_refused_inside_an_interaction_too(packet: bytes, reason: str) -> None:
    talk = Conversation()
    assert describe(talk.receive(packet)) == f"app_data justified refuse packet {reason}"
    talk.wake()
    assert describe(talk.receive(packet)) == f"app_data expected refuse packet {reason}"
    talk.mute()
    assert describe(talk.receive(packet)) == f"app_data not_justified refuse packet {reason}"
    assert describe(talk.receive(packet, DOWN)) == "accept downstream"


EXCEPTIONS = {
    Reason.MALFORMED: b"\x45" + bytes(30),
    Reason.FRAGMENT: wire.ipv4(wire.tcp(b"voice"), fragment=1),
    Reason.TRUNCATED: wire.ipv4(wire.tcp(b"voice"))[:-1],
    Reason.MIDSTREAM: wire.ipv4(wire.tcp(b"voice")),
}


@pytest.mark.parametrize("reason", EXCEPTIONS)
@pytest.mark.parametrize("action", Action)
def test_an_exception_does_what_the_policy_says_and_never_opens_the_gate_while_muted(
    reason: Reason, action: Action
) -> None:
    policy = dataclasses.replace(POLICY, exceptions={**POLICY.exceptions, reason: action})
    talk = Conversation(make_engine(policy=policy))
    answer = describe(talk.receive(EXCEPTIONS[reason]))
    if action is Action.ACCEPT:
        assert answer == "app_data justified accept exception_accepted"
    else:
        scope = "flow" if action is Action.DROP_FLOW else "packet"
        assert answer == f"app_data justified refuse {scope} {reason}"
    talk = Conversation(make_engine(policy=policy)).play("mute")
    assert talk.receive(EXCEPTIONS[reason]).verdict == "refuse"


# -- failures ----------------------------------------------------------------------------------------


def test_a_fault_in_the_engine_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Conversation().establish()

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("forced")

    monkeypatch.setattr(talk.engine._devices[DEVICE], "get_flow", fail)
    talk.wake()
    assert talk.up(PAYLOADS["ping"]) == "app_data expected refuse packet engine_error"
    assert talk.engine.engine_errors == 1
    talk.answer(b"x")  # what the cloud sends passes all the same
    assert talk.engine.engine_errors == 2
    monkeypatch.undo()
    reasons = {row[1].reason: row[2] for row in talk.engine.counters(DEVICE) if row[0] is UP}
    assert reasons[Reason.ENGINE_ERROR] == 1


def test_a_device_that_was_not_set_up() -> None:
    engine = make_engine()
    packet = wire.ipv4(wire.tcp(b"x"))
    answer = engine.receive_packet(packet, device="garage", direction=UP, now=1.0)
    assert describe(answer) == "app_data refuse packet engine_error"
    answer = engine.receive_packet(packet, device="garage", direction=DOWN, now=1.0)
    assert describe(answer) == "accept downstream"


# -- the sensor --------------------------------------------------------------------------------------


def test_with_a_sensor_the_gate_starts_closed() -> None:
    Conversation(make_engine(sensor=True)).establish().play("""
        wake
        up voice    app_data not_justified refuse flow starting
    """)
    Conversation(make_engine(sensor=True)).establish().play("""
        alive unmuted
        wake
        up voice    app_data expected accept interaction
    """)


def test_a_silent_sensor_is_lost_and_found_again() -> None:
    talk = (
        Conversation(make_engine(sensor=True))
        .establish()
        .play("""
        alive unmuted
        wait 2.9
        alive unmuted
        wake
        wait 2.9
        up voice    app_data expected accept interaction
        wait 0.2
        up voice    app_data not_justified refuse flow sensor_lost
    """)
    )
    status = talk.engine.get_status(DEVICE, now=talk.now)
    assert (status.mute, status.closed) == (MuteState.UNKNOWN, Reason.SENSOR_LOST)
    assert status.mute_age == pytest.approx(0.1)
    assert status.interaction_until is None
    Conversation(talk.engine, port=50000, now=talk.now).establish().play("""
        alive unmuted
        wake
        up voice    app_data expected accept interaction
    """)


def test_a_sensor_that_dies_after_one_report_is_lost_too() -> None:
    Conversation(make_engine(sensor=True)).establish().play("""
        unmute
        wait 3.1
        wake
        up voice    app_data not_justified refuse flow sensor_lost
    """)


def test_losing_the_sensor_while_muted_opens_nothing_whatever_the_policy_says() -> None:
    exceptions = {**POLICY.exceptions, Reason.SENSOR_LOST: Action.ACCEPT}
    policy = dataclasses.replace(POLICY, exceptions=exceptions)
    for state, answer in (
        ("unmuted", "app_data expected accept interaction"),
        ("muted", "app_data not_justified refuse flow sensor_lost"),
    ):
        Conversation(make_engine(policy=policy, sensor=True)).establish().play(f"""
            alive {state}
            wait 3.1
            wake
            up voice    {answer}
        """)


@pytest.mark.parametrize("reason", [Reason.SENSOR_LOST, Reason.STARTING])
def test_a_lost_sensor_refuses_in_the_scope_that_the_policy_gives(reason: Reason) -> None:
    exceptions = {**POLICY.exceptions, reason: Action.DROP_PACKET}
    policy = dataclasses.replace(POLICY, exceptions=exceptions)
    talk = Conversation(make_engine(policy=policy, sensor=True)).establish()
    if reason is Reason.SENSOR_LOST:
        talk.play("alive unmuted\nwait 3.1")
    assert talk.up(PAYLOADS["voice"]) == f"app_data not_justified refuse packet {reason}"
    assert talk.up(PAYLOADS["ping"]) == "syn accept heartbeat"


def test_the_status_tells_the_state_its_age_and_its_source() -> None:
    talk = Conversation(make_engine(sensor=True))
    assert talk.engine.get_status(DEVICE, now=talk.now).mute_age is None
    talk.tell(AliveEvent(100.0, MuteState.UNMUTED))
    talk.wait(1)
    talk.tell(AliveEvent(101.0, MuteState.UNMUTED))
    talk.tell(MuteEvent(101.0, MuteState.MUTED, "hand"))
    talk.wait(2)
    talk.tell(AliveEvent(103.0, MuteState.MUTED))
    talk.wait(0.5)
    status = talk.engine.get_status(DEVICE, now=talk.now)
    assert (status.mute, status.mute_age, status.mute_source) == (MuteState.MUTED, 2.5, "hand")
    assert (status.sensor_age, status.closed) == (0.5, Reason.MUTED)


# -- real TLS ----------------------------------------------------------------------------------------


def shake_hands(talk: Conversation, peer: TlsPeer, *, cut: int = 1400) -> list[str]:
    """Play a real handshake in segments of ``cut`` bytes; return what the device's segments were."""
    answers = []
    for direction, data in peer.handshake():
        for at in range(0, len(data), cut):
            if direction is UP:
                answers.append(talk.up(data[at : at + cut]))
            else:
                talk.down(data[at : at + cut])
    return answers


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ip", [4, 6])
def test_a_real_handshake_is_handshake_and_the_first_record_is_not(version: ssl.TLSVersion, ip: int) -> None:
    talk, peer = Conversation(version=ip).open(), TlsPeer(version)
    assert set(shake_hands(talk, peer)) == {"handshake accept handshake"}
    [(_, ping)] = peer.write(UP, bytes(17))
    assert talk.up(ping) == "syn accept heartbeat"
    [(_, answer)] = peer.write(DOWN, bytes(17))
    talk.down(answer)
    [(_, voice)] = peer.write(UP, bytes(89))
    assert talk.up(voice) == NO_INTERACTION


@pytest.mark.parametrize("ciphers", ["ECDHE+AESGCM", "ECDHE+CHACHA20", "ECDHE-ECDSA-AES128-SHA256"])
def test_the_heartbeats_of_real_suites(ciphers: str) -> None:
    talk = Conversation().open()
    peer = TlsPeer(ssl.TLSVersion.TLSv1_2, ciphers=f"{ciphers}:@SECLEVEL=0")
    assert set(shake_hands(talk, peer)) == {"handshake accept handshake"}
    for plaintext, answer in (
        (17, "syn accept heartbeat"),
        (4, "syn accept heartbeat"),
        (89, NO_INTERACTION),
    ):
        [(_, record)] = peer.write(UP, bytes(plaintext))
        assert talk.up(record) == answer
        talk.ack()


def test_a_real_hello_retry_request() -> None:
    talk = Conversation().open()
    peer = TlsPeer(ssl.TLSVersion.TLSv1_3, curve="secp521r1")
    flights = len(shake_hands(talk, peer))
    assert flights >= 3  # hello, hello again, Finished
    [(_, voice)] = peer.write(UP, bytes(89))
    assert talk.up(voice) == NO_INTERACTION


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_resumption(version: ssl.TLSVersion) -> None:
    first = TlsPeer(version)
    first.handshake()
    first.write(DOWN, b"ticket")
    first.read(DOWN)
    talk = Conversation().open()
    peer = TlsPeer(version, client=first.client_context, session=first.client.session)
    assert set(shake_hands(talk, peer)) == {"handshake accept handshake"}
    [(_, voice)] = peer.write(UP, bytes(89))
    assert talk.up(voice) == NO_INTERACTION


# -- facts -------------------------------------------------------------------------------------------


def test_facts_are_about_the_packet_received_last() -> None:
    talk = Conversation().establish()
    facts = talk.engine.facts
    before = facts.packet_id
    talk.send(PAYLOADS["ping"] + PAYLOADS["voice"][:3])
    assert (facts.packet_id, facts.payload_bytes, list(facts.records)) == (before + 1, 49, [(23, 41)])
    talk.send(PAYLOADS["voice"][3:])
    assert list(facts.records) == [(23, 353)]
    talk.receive(wire.ipv4(wire.udp(b"query"), protocol=wire.UDP))
    assert (facts.flow, facts.payload_bytes, list(facts.records)) == (None, 5, [])
    assert talk.engine.get_flow_name().startswith("udp 10.0.0.2:40000 > 52.4.1.9:53")
    talk.answer(b"x")
    assert talk.engine.get_flow_name() == "tcp 10.0.0.2:46619 > 52.4.1.9:443 #1"


def test_every_packet_is_counted() -> None:
    talk = Conversation().establish()
    talk.play("wake\nup voice app_data expected accept interaction")
    assert sum(row[2] for row in talk.engine.counters(DEVICE)) == talk.engine.facts.packet_id


def test_a_wake_word_reported_late_does_not_shorten_the_interaction() -> None:
    talk = Conversation().establish()
    talk.wake()
    talk.wait(1)
    talk.tell(WakeEvent(95.0, "alexa"))
    talk.wait(6)
    assert talk.up(PAYLOADS["voice"]) == EXPECTED
