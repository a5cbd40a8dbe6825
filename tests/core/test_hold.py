"""Packets that wait for a wake word: released in order, refused in time, bounded, never in another's way."""

from __future__ import annotations

import dataclasses

import pytest

from guard.core.verdict import Direction, Mode, Verdict
from tests import wire
from tests.conversation import DEVICE, EXPECTED, describe
from tests.waiting import HELD, VOICE, WAITS, Waiting


def test_the_utterance_is_released_in_order_when_the_word_is_heard() -> None:
    talk = Waiting()
    talk.establish()
    assert [talk.up(VOICE) for _ in range(3)] == [WAITS] * 3
    assert talk.held == (3, 3 * len(VOICE))
    talk.wait(0.7)
    talk.hear(late=0.2)
    assert talk.take() == [EXPECTED] * 3
    assert talk.held == (0, 0)
    assert talk.up(VOICE) == EXPECTED


def test_without_a_word_it_is_refused_in_time_and_the_flow_with_it() -> None:
    talk = Waiting()
    talk.establish()
    talk.up(VOICE)
    talk.wait(0.3)
    talk.up(VOICE)
    talk.wait(0.49)
    assert talk.take() == []
    talk.wait(0.02)
    assert talk.take() == [
        "app_data justified refuse flow no_interaction",
        "app_data justified refuse flow condemned",
    ]
    talk.hear()
    assert talk.up(VOICE) == "app_data expected refuse flow condemned"


def test_monitor_says_the_same_and_flags_what_comes_later() -> None:
    talk = Waiting(mode=Mode.MONITOR)
    talk.establish()
    assert talk.up(VOICE) == WAITS
    assert talk.up(VOICE) == WAITS
    talk.wait(1.0)
    assert talk.take() == ["app_data justified refuse flow no_interaction"] * 2
    assert talk.up(VOICE) == f"{WAITS} after_virtual_reset"
    talk.hear()
    assert talk.take() == [EXPECTED], "an interaction ends the virtual reset"


def test_muting_refuses_at_once() -> None:
    talk = Waiting()
    talk.establish()
    talk.up(VOICE)
    talk.wait(0.1)
    talk.mute()
    assert talk.take() == ["app_data not_justified refuse flow muted"]
    talk.hear()
    assert talk.take() == []
    assert talk.up(VOICE) == "app_data not_justified refuse flow condemned"


def test_payload_waits_its_turn_and_acknowledgements_do_not() -> None:
    talk = Waiting()
    talk.establish()
    talk.wait(100.0)
    assert talk.up(VOICE) == WAITS
    assert talk.up(wire.PING_GCM) == "syn hold awaiting_wake_word"
    assert describe(talk.send(flags=wire.ACK)) == "ack accept tcp_control"
    assert describe(talk.send(flags=wire.ACK | wire.FIN)) == "ack hold awaiting_wake_word"
    talk.hear()
    assert talk.take() == [EXPECTED, "syn accept heartbeat", "ack accept tcp_control"]


def test_other_connections_are_not_delayed() -> None:
    talk = Waiting()
    talk.establish()
    other = Waiting(engine=talk.engine, port=40_001)
    other.establish()
    assert talk.up(VOICE) == WAITS
    assert other.up(wire.PING_GCM) == "syn accept heartbeat"


def test_what_waits_and_is_offered_again_waits_once() -> None:
    talk = Waiting()
    talk.establish()
    first = talk.seq
    talk.up(VOICE)
    talk.up(VOICE)
    again = talk.send(VOICE, at=first)
    recut = talk.send(VOICE + VOICE, at=first)
    assert describe(again) == describe(recut) == "retransmit refuse packet held"
    assert talk.held == (2, 2 * len(VOICE))
    talk.hear()
    assert talk.take() == [EXPECTED] * 2


def test_a_word_does_not_explain_what_came_long_before_it() -> None:
    talk = Waiting(policy=dataclasses.replace(HELD, pre_roll_s=0.5))
    talk.establish()
    talk.up(VOICE)
    talk.wait(0.6)
    talk.hear()
    assert talk.take() == ["app_data justified refuse flow no_interaction"]


@pytest.mark.parametrize("late", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_a_late_word_releases_everything(late: float) -> None:
    talk = Waiting()
    talk.establish()
    talk.up(VOICE)
    talk.wait(late)
    talk.hear()
    assert talk.take() == [EXPECTED]


def test_datagrams_wait_as_well() -> None:
    talk = Waiting()
    packet = wire.ipv4(wire.udp(bytes(1200), target_port=443), protocol=wire.UDP)
    assert describe(talk.receive(packet)) == "app_data justified hold opaque_datagram"
    talk.wait(1.0)
    assert talk.take() == ["app_data justified refuse packet opaque_datagram"]
    talk.receive(packet)
    talk.hear()
    assert talk.take() == [EXPECTED]


@pytest.mark.parametrize(
    "limits", [{"hold_flow_packets": 3}, {"hold_flow_bytes": 3 * len(VOICE)}, {"hold_device_packets": 3}]
)
def test_more_than_may_wait_is_refused_with_its_flow(limits: dict[str, int]) -> None:
    talk = Waiting(policy=dataclasses.replace(HELD, **limits))  # type: ignore[arg-type]  # any field
    talk.establish()
    assert [talk.up(VOICE) for _ in range(3)] == [WAITS] * 3
    assert talk.up(VOICE) == "app_data justified refuse flow hold_full"
    talk.wait(0.0)
    assert set(talk.take()) == {"app_data justified refuse flow condemned"}
    assert talk.held == (0, 0)


def test_what_waits_is_counted_once_and_when_it_is_settled() -> None:
    talk = Waiting()
    talk.establish()

    def count() -> int:
        rows = talk.engine.counters(DEVICE)
        return sum(packets for direction, _, packets, _ in rows if direction is Direction.UPSTREAM)

    before = count()
    talk.up(VOICE)
    assert count() == before
    talk.hear()
    assert count() == before + 1
    assert all(answer.verdict is not Verdict.HOLD for _, answer, _, _ in talk.engine.counters(DEVICE))


# -- connections of an interaction, and the balanced policy ------------------------------------------


def send_voice(talk: Waiting, records: int = 5) -> list[str]:
    said = []
    for _ in range(records):
        said.append(talk.up(VOICE))
        talk.wait(0.02)
    return said


def test_a_song_goes_on_after_the_interaction_and_a_voice_does_not() -> None:
    talk = Waiting()
    talk.hear()
    talk.establish()
    talk.wait(30.0)
    assert talk.up(wire.app_data(700)) == "app_data expected accept lineage"
    said = send_voice(talk)
    assert said[0] == "app_data justified hold probing"
    assert all(words.split()[2] == "hold" for words in said)
    talk.wait(1.0)
    first, *rest = talk.take()
    assert first == "app_data justified refuse flow voice_like"
    assert set(rest) == {"app_data justified refuse flow condemned"}


def test_a_single_record_as_long_as_a_voices_is_released_after_the_probe() -> None:
    talk = Waiting()
    talk.hear()
    talk.establish()
    talk.wait(30.0)
    assert talk.up(VOICE) == "app_data justified hold probing"
    talk.wait(0.14)
    assert talk.take() == []
    talk.wait(0.02)
    assert talk.take() == ["app_data expected accept lineage"]


def test_a_voice_on_a_connection_of_an_older_interaction_waits_for_its_own_word() -> None:
    talk = Waiting()
    talk.hear()
    talk.establish()
    talk.wait(30.0)
    send_voice(talk, 10)
    talk.hear()
    assert talk.take() == [EXPECTED] * 10


def test_a_connection_from_before_the_interaction_is_none_of_its_own() -> None:
    talk = Waiting()
    talk.establish()
    talk.hear()
    assert talk.up(wire.app_data(700)) == EXPECTED
    talk.wait(30.0)
    assert talk.up(wire.app_data(700)) == WAITS


def test_lineage_has_a_budget_and_ends_when_muted() -> None:
    talk = Waiting()
    talk.hear()
    talk.establish()
    talk.wait(30.0)
    passed = 0
    while talk.up(wire.app_data(1200)) == "app_data expected accept lineage":
        passed += 1205
    assert 0 < passed <= HELD.budgets["lineage"].burst
    talk.mute()
    other = Waiting(engine=talk.engine, port=40_001)
    other.establish()
    assert other.up(wire.app_data(700)) == "app_data not_justified refuse flow muted"


def test_balanced_lets_control_traffic_through_and_no_voice() -> None:
    talk = Waiting(balanced=True)
    talk.establish()
    assert talk.up(wire.app_data(1400)) == "app_data justified accept control_budget"
    send_voice(talk)
    talk.wait(1.0)
    assert talk.take()[0] == "app_data justified refuse flow voice_like"
    other = Waiting(engine=talk.engine, port=40_001)
    other.open()
    assert other.up(b"GET / HTTP/1.1\r\n\r\n") == "not_relevant hold opaque_payload"


# -- how long an interaction lasts -------------------------------------------------------------------


def test_a_voice_keeps_the_interaction_open_but_not_for_ever() -> None:
    talk = Waiting()
    talk.establish()
    talk.hear()
    for _ in range(2950):  # 59 s
        assert talk.up(VOICE) == EXPECTED
        talk.wait(0.02)
        talk.ack()
    talk.wait(1.1)
    assert talk.up(VOICE) == WAITS


def test_silence_ends_it() -> None:
    talk = Waiting()
    talk.establish()
    talk.hear()
    talk.wait(HELD.listen_s - 0.01)
    assert talk.up(wire.app_data(700)) == EXPECTED
    talk.wait(0.02)
    assert talk.up(wire.app_data(700)) == WAITS


@pytest.mark.parametrize(("follow_up_s", "words"), [(15.0, EXPECTED), (0.0, WAITS)])
def test_a_follow_up_turn_needs_no_word(follow_up_s: float, words: str) -> None:
    talk = Waiting(policy=dataclasses.replace(HELD, follow_up_s=follow_up_s))
    talk.establish()
    talk.hear()
    send_voice(talk, 10)
    talk.wait(2.0)
    talk.down(wire.app_data(4000))  # the answer
    talk.wait(10.0)
    assert talk.up(VOICE) == words


def test_the_interaction_has_a_cap_in_bytes() -> None:
    talk = Waiting()
    talk.establish()
    talk.hear()
    allowed = (HELD.pre_roll_s + HELD.listen_s) * HELD.voice_bytes_per_s
    sent = 0
    record = wire.app_data(1395)
    while (words := talk.up(record)) == EXPECTED:
        talk.ack()
        sent += len(record)
    assert words == "app_data expected refuse flow interaction_cap"
    assert allowed - len(record) < sent <= allowed
