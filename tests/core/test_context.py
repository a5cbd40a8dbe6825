"""What of the room justifies a packet: the mute state, the interaction, a sensor that is heard or lost."""

from __future__ import annotations

import math

import pytest

from guard.core.context import Context
from guard.core.event import AliveEvent, MuteEvent, MuteState, VoiceEvent, WakeEvent
from guard.core.verdict import Justification, Reason
from tests.conversation import POLICY

MUTED, UNMUTED, UNKNOWN = MuteState.MUTED, MuteState.UNMUTED, MuteState.UNKNOWN
NOT_JUSTIFIED, JUSTIFIED, EXPECTED = (
    Justification.NOT_JUSTIFIED,
    Justification.JUSTIFIED,
    Justification.EXPECTED,
)


def make(*, sensor: bool = False) -> Context:
    return Context(POLICY, sensor=sensor)


def test_without_a_sensor_the_device_is_unmuted() -> None:
    context = make()
    assert context.justify(0.0) is JUSTIFIED
    assert (context.mute, context.closed, context.alive_until) == (UNMUTED, None, math.inf)


def test_with_a_sensor_nothing_is_justified_until_it_is_heard() -> None:
    context = make(sensor=True)
    assert (context.justify(0.0), context.closed) == (NOT_JUSTIFIED, Reason.STARTING)
    context.receive(WakeEvent(0.0, "alexa"), 0.0)
    assert (context.justify(0.0), context.interactions) == (NOT_JUSTIFIED, 0)
    context.receive(AliveEvent(1.0, UNMUTED), 1.0)
    assert (context.justify(1.0), context.closed) == (JUSTIFIED, None)


@pytest.mark.parametrize(
    ("state", "closed"), [(MUTED, Reason.MUTED), (UNKNOWN, Reason.MUTE_UNKNOWN), (UNMUTED, None)]
)
def test_each_mute_state(state: MuteState, closed: Reason | None) -> None:
    for event in (MuteEvent(5.0, state), AliveEvent(5.0, state)):
        context = make()
        context.receive(WakeEvent(4.0, "alexa"), 4.0)
        context.receive(event, 5.0)
        assert context.closed is closed
        assert context.justify(5.0) is (EXPECTED if closed is None else NOT_JUSTIFIED)


def test_an_interaction_counts_from_the_wake_word() -> None:
    context = make()
    context.receive(WakeEvent(10.0, "alexa"), 10.4)
    assert context.interaction_until == 10.0 + POLICY.listen_s
    assert context.justify(17.99) is EXPECTED
    assert context.justify(18.0) is JUSTIFIED


def test_a_wake_word_from_the_future_counts_as_now() -> None:
    context = make()
    context.receive(WakeEvent(1e9, "alexa"), 10.0)
    assert context.interaction_until == 10.0 + POLICY.listen_s


def test_a_wake_word_that_is_too_old_counts_for_nothing() -> None:
    context = make()
    context.receive(WakeEvent(1.0, "alexa"), 9.0)
    assert (context.justify(9.0), context.interactions) == (JUSTIFIED, 0)


def test_the_same_wake_word_again_and_an_older_one_change_nothing() -> None:
    context = make()
    context.receive(WakeEvent(10.0, "alexa"), 10.0)
    context.interaction_bytes -= 1000
    before = (context.interaction_until, context.interaction_bytes)
    context.receive(WakeEvent(10.0, "alexa"), 10.1)
    context.receive(WakeEvent(7.0, "alexa"), 10.2)
    assert (context.interaction_until, context.interaction_bytes) == before
    assert context.interactions == 1
    context.receive(WakeEvent(12.0, "alexa"), 12.0)
    assert (context.interaction_until, context.interactions) == (20.0, 2)
    assert context.interaction_bytes > before[1]


def test_whatever_extends_an_interaction_it_ends() -> None:
    context = make()
    context.receive(WakeEvent(0.0, "alexa"), 0.0)
    now = 0.0
    while context.justify(now) is EXPECTED:
        context.hear_voice(now)
        context.hear_answer(now)
        now += 0.5
        assert now < 2 * POLICY.max_s
    assert now == pytest.approx(POLICY.max_s, abs=0.5)
    allowance = (POLICY.pre_roll_s + POLICY.max_s) * POLICY.voice_bytes_per_s
    assert context.interaction_bytes <= allowance + 1


def test_muting_ends_an_interaction_for_good() -> None:
    context = make()
    context.receive(WakeEvent(10.0, "alexa"), 10.0)
    context.receive(MuteEvent(11.0, MUTED), 11.0)
    context.receive(MuteEvent(12.0, UNMUTED), 12.0)
    context.receive(WakeEvent(10.0, "alexa"), 12.1)  # reported twice
    assert context.justify(12.1) is JUSTIFIED


def test_the_age_of_a_state_counts_from_its_beginning() -> None:
    context = make()
    context.receive(MuteEvent(1.0, MUTED, "led"), 1.0)
    context.receive(AliveEvent(2.0, MUTED), 2.0)
    context.receive(MuteEvent(3.0, MUTED, "manual"), 3.0)
    assert (context.mute_since, context.heard_at, context.mute_source) == (1.0, 3.0, "led")
    context.receive(MuteEvent(4.0, UNMUTED, "manual"), 4.0)
    assert (context.mute_since, context.heard_at, context.mute_source) == (4.0, 4.0, "manual")


def test_a_lost_sensor_is_unknown_and_closes() -> None:
    context = make(sensor=True)
    context.receive(AliveEvent(1.0, UNMUTED), 1.0)
    assert context.alive_until == 1.0 + POLICY.alive_timeout_s
    context.receive(WakeEvent(2.0, "alexa"), 2.0)
    context.lose_sensor(4.0)
    assert (context.mute, context.closed, context.mute_since) == (UNKNOWN, Reason.SENSOR_LOST, 4.0)
    assert (context.justify(4.0), context.alive_until) == (NOT_JUSTIFIED, math.inf)
    context.receive(AliveEvent(9.0, UNMUTED), 9.0)
    assert context.justify(9.0) is JUSTIFIED


def test_with_a_sensor_each_mute_report_is_a_sign_of_life() -> None:
    context = make(sensor=True)
    context.receive(MuteEvent(1.0, UNMUTED), 1.0)
    assert context.alive_until == 1.0 + POLICY.alive_timeout_s
    context = make()
    context.receive(MuteEvent(1.0, UNMUTED), 1.0)
    assert context.alive_until == math.inf


def test_speech_in_the_room_extends_an_interaction_and_never_opens_one() -> None:
    context = make()
    context.receive(VoiceEvent(1.0), 1.0)
    assert (context.justify(1.0), context.interactions) == (JUSTIFIED, 0)
    context.receive(WakeEvent(10.0, "alexa"), 10.0)
    context.receive(VoiceEvent(12.0), 12.0)
    assert (context.interaction_until, context.extended_by) == (18.0, "wake_word")
    context.receive(VoiceEvent(1e9), 17.9)  # from the future: now
    assert context.interaction_until == pytest.approx(17.9 + POLICY.voice_linger_s)
    assert (context.extended_by, context.interactions) == ("speech", 1)
    end = context.interaction_until
    context.receive(VoiceEvent(17.0), 19.0)  # of long ago
    context.receive(VoiceEvent(end), end)  # too late
    assert (context.interaction_until, context.justify(end)) == (end, JUSTIFIED)


def test_speech_while_muted_counts_for_nothing() -> None:
    context = make()
    context.receive(WakeEvent(10.0, "alexa"), 10.0)
    context.receive(MuteEvent(11.0, MUTED), 11.0)
    context.receive(VoiceEvent(11.5), 11.5)
    context.receive(MuteEvent(12.0, UNMUTED), 12.0)
    context.receive(VoiceEvent(12.1), 12.1)
    assert context.justify(12.1) is JUSTIFIED


def test_speech_does_not_go_on_beyond_the_longest_interaction() -> None:
    context = make()
    context.receive(WakeEvent(0.0, "alexa"), 0.0)
    now = 0.0
    while context.justify(now) is EXPECTED:
        now += 0.5
        context.receive(VoiceEvent(now), now)
        assert now < 2 * POLICY.max_s
    assert now == pytest.approx(POLICY.max_s, abs=0.5)
