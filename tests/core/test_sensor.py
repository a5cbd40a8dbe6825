"""What the sensor's reports and its silence do to the engine."""

from __future__ import annotations

import dataclasses

import pytest

from guard.core.event import AliveEvent, MuteEvent, MuteState
from guard.core.policy import Action
from guard.core.verdict import Reason
from tests.conversation import DEVICE, PAYLOADS, POLICY, Conversation, make_engine


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
