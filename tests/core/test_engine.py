"""The engine as a whole: justifications, modes, failures, facts."""

from __future__ import annotations

import pytest

from guard.core.event import WakeEvent
from guard.core.tls import RecordJudge
from guard.core.verdict import Mode, Reason
from tests import wire
from tests.conversation import (
    CONTROL,
    DEVICE,
    DOWN,
    EXPECTED,
    MASK,
    NO_INTERACTION,
    PAYLOADS,
    UP,
    Conversation,
    describe,
    make_engine,
)
from tests.wire import ACK, FIN, RST, SYN

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


# -- failures ----------------------------------------------------------------------------------------


def test_a_fault_in_the_engine_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Conversation().establish()

    class Broken(RecordJudge):
        def judge_record(self, *_: object) -> int:
            raise ZeroDivisionError("forced")

    flow = talk.engine.facts.flow
    assert flow is not None
    monkeypatch.setattr(flow.client, "judge", Broken())
    monkeypatch.setattr(flow.server, "judge", Broken())
    talk.wake()
    assert talk.up(PAYLOADS["ping"]) == "app_data expected refuse packet engine_error"
    assert talk.engine.engine_errors == 1
    talk.answer(PAYLOADS["ping"])  # what the cloud sends passes all the same
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
