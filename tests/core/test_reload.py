"""Other limits for a running engine: at once, with every connection and budget as it is."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network

import pytest

from guard.core.budget import Budget, TokenBucket
from guard.core.engine import DeviceSettings
from guard.core.policy import Endpoint, Policy
from guard.core.verdict import Reason
from tests import wire
from tests.conversation import DEVICE, POLICY, Conversation, make_engine

OTHER = {"other": wire.app_data(500)}
REFUSED = "app_data justified refuse flow no_interaction"


def change(talk: Conversation, policy: Policy = POLICY, *, balanced: bool = False) -> None:
    talk.engine.set_policy(policy, {DEVICE: DeviceSettings(balanced=balanced)}, now=talk.now)


def test_the_policy_changes_on_an_open_connection() -> None:
    talk = Conversation().establish()
    change(talk, balanced=True)
    talk.play("up other  app_data justified accept control_budget\nack", OTHER)
    change(talk)
    talk.play(f"up other  {REFUSED}", OTHER)


def test_what_was_condemned_stays_condemned() -> None:
    talk = Conversation().establish().play(f"up other  {REFUSED}", OTHER)
    change(talk, balanced=True)
    talk.play("up other  app_data justified refuse flow condemned", OTHER)


def test_the_context_stays_as_it_is() -> None:
    talk = Conversation().establish().play("mute")
    change(talk, dataclasses.replace(POLICY, listen_s=30.0), balanced=True)
    talk.play("up other  app_data not_justified refuse flow muted", OTHER)
    talk = Conversation().establish().play("wake")
    change(talk, dataclasses.replace(POLICY, listen_s=1.0))
    talk.play("wait 5\nup other  app_data expected accept interaction", OTHER)
    status = talk.engine.get_status(DEVICE, now=talk.now)
    assert (status.interaction_cause, status.interactions) == ("wake_word", 1)


def test_packets_wait_from_now_on() -> None:
    talk = Conversation().establish()
    change(talk, dataclasses.replace(POLICY, hold_s=0.8))
    talk.play("up other  app_data justified hold awaiting_wake_word", OTHER)
    change(talk)
    assert talk.engine.get_status(DEVICE, now=talk.now).held_packets == 1
    [held] = talk.engine.handle_timer(now=talk.now + 0.9)
    assert held.answer.reason is Reason.NO_INTERACTION


@pytest.mark.parametrize("times", [1, 50])
def test_no_reload_fills_a_budget(times: int) -> None:
    bucket = TokenBucket(Budget(per_hour=3600, burst=100))
    assert bucket.take(100, 10.0)
    for _ in range(times):
        bucket.change(Budget(per_hour=3600, burst=100), 10.0)
    assert not bucket.take(1, 10.0)
    bucket.change(Budget(per_hour=7200, burst=1000), 15.0)
    assert bucket.take(5, 15.0)
    assert not bucket.take(1, 15.0)
    assert bucket.take(2, 16.0)


def test_a_smaller_budget_takes_away_what_was_saved_up() -> None:
    bucket = TokenBucket(Budget(per_hour=3600, burst=100))
    bucket.change(Budget(per_hour=3600, burst=10), 0.0)
    assert bucket.tokens == 10


def test_the_control_budget_is_not_filled_up() -> None:
    policy = dataclasses.replace(POLICY, budgets={**POLICY.budgets, "control": Budget(0, 1600)})
    talk = Conversation(make_engine(policy=policy)).establish()
    passed = 0
    for _ in range(6):
        change(talk, policy, balanced=True)
        passed += talk.send(wire.app_data(500)).reason is Reason.CONTROL_BUDGET
    assert passed == 3


def test_endpoints_keep_what_they_have_used() -> None:
    row = Endpoint(80, ip_network("0.0.0.0/0"), Budget(0, 300))
    policy = dataclasses.replace(POLICY, endpoints=(row,))
    talk = Conversation(peer_port=80).open()
    passed = 0
    for _ in range(6):
        change(talk, policy)
        passed += talk.send(b"GET / HTTP/1.1\r\n" * 6).reason is Reason.ALLOWED_ENDPOINT
    assert passed == 3
    change(talk)
    other = Conversation(talk.engine, peer_port=80, port=50000).open()
    assert other.send(b"GET / HTTP/1.1\r\n").reason is Reason.OPAQUE_PAYLOAD
