"""Refused stays refused: random plays of a hostile sender against the engine and a modelled receiver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guard.core.budget import Budget
from guard.core.engine import DeviceSettings, Engine
from guard.core.policy import Policy
from guard.core.verdict import Mode
from guard.rules import load_policy
from tests.model.interleaving import DEVICE, Outcome, Play

PLAYS = 1000
BATCH = 100
STEPS = 80
FOUND = (6459, 7551, 9427, 11183, 11396, 11696)  # plays that found a hole, beyond the first thousand
NOTHING = Budget(0.0, 0.0)
PLENTY = Budget(1e9, 1e9)


def make_policy(*, hold_s: float) -> Policy:
    """Return the policy with exact limits: an interaction lasts ``listen_s``, its flows get nothing after."""
    policy = load_policy()
    exact = {
        "lineage": NOTHING,
        "retransmit": NOTHING,
        "connection": PLENTY,
        "handshake": PLENTY,
        "ack": PLENTY,
    }
    return replace(policy, hold_s=hold_s, max_s=policy.listen_s, budgets={**policy.budgets, **exact})


def play(seed: int, *, hold_s: float) -> Outcome:
    policy = make_policy(hold_s=hold_s)
    balanced = seed % 4 == 3
    engine = Engine(policy, {DEVICE: DeviceSettings(balanced=balanced)}, mode=Mode.ENFORCE)
    return Play(engine, seed, listen_s=policy.listen_s, strict=not balanced).run(STEPS)


@pytest.mark.parametrize("hold_s", [0.0, 0.8], ids=["refused at once", "held"])
@pytest.mark.parametrize("first", range(0, PLAYS, BATCH))
def test_nothing_arrives_that_was_not_allowed(first: int, hold_s: float) -> None:
    delivered = refused = held = 0
    for seed in range(first, first + BATCH):
        outcome = play(seed, hold_s=hold_s)
        assert outcome.problems == [], f"play {seed}"
        delivered += outcome.delivered
        refused += outcome.refused
        held += outcome.held
    assert delivered > 10_000  # of bytes, in interactions: the plays are not about nothing
    assert refused > 500  # of packets
    assert bool(held) is (hold_s > 0) or held  # balanced probes for a voice in any case


@pytest.mark.parametrize("seed", FOUND)
def test_found_once(seed: int) -> None:
    assert play(seed, hold_s=0.8).problems == []


def test_a_play_is_always_the_same() -> None:
    assert play(7, hold_s=0.8) == play(7, hold_s=0.8)
