"""The engine's straight way comes to what the long one comes to.

Nearly every packet takes the straight way; an engine that cannot find a flow by it must use the long one
for each packet. Both are told the same hostile scripts and the same well-behaved traffic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, WakeEvent
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.verdict import Decision, Direction, Mode
from guard.rules import load_policy
from tests.bench.traffic import generate_tls
from tests.properties.hostile import DEVICE, TIGHT, Step, generate_steps

HELD = dataclasses.replace(load_policy(), hold_s=0.3)
REFUSED = dataclasses.replace(load_policy(), hold_s=0.0)


def make_engine(
    policy: Policy, mode: Mode, *, balanced: bool, straight: bool = True, list_records: bool = True
) -> Engine:
    engine = Engine(policy, {DEVICE: DeviceSettings(balanced=balanced)}, mode=mode, list_records=list_records)
    if not straight:
        engine._devices[DEVICE].by_key = {}  # finds nothing
    return engine


def tell_released(released: list[Held]) -> list[tuple[int, Decision]]:
    """Return what became of which packet."""
    return [(held.packet_id, held.answer) for held in released]


def tell(engine: Engine, steps: Iterable[Step]) -> list[Any]:
    """Play the steps; return all that the engine says about them."""
    said: list[Any] = []
    for step in steps:
        now = step[0]
        while (due := engine.get_timer()) is not None and due <= now:
            said.append(tell_released(engine.handle_timer(now=now)))
        if len(step) == 3:
            answer = engine.receive_packet(step[2], device=DEVICE, direction=step[1], now=now)
            facts = engine.facts
            said.append((answer, facts.payload_bytes, list(facts.records), engine.get_flow_name()))
        elif isinstance(step[1], Mode):
            engine.set_mode(step[1])
        else:
            said.append(tell_released(engine.receive_event(step[1], device=DEVICE, now=now)))
    said.append(sorted(map(str, engine.counters(DEVICE))))
    assert engine.engine_errors == 0
    return said


def generate_traffic(seed: int) -> list[Step]:
    """Return TLS connections as they are, with losses, repeats, changes of order, events and switches."""
    chance = Random(seed)
    packets = list(generate_tls(1200, flows=chance.choice([1, 2, 5]), seed=seed))
    lost, again, swapped = (chance.choice([0.0, 0.002, 0.02]) for _ in range(3))
    steps: list[Step] = []
    now = 0.0
    for direction, packet in packets:
        if chance.random() < lost:
            continue
        now += chance.choice([0.0001, 0.001, 0.01, 0.02, 1.0 if chance.random() < 0.05 else 0.02])
        steps.append((now, Direction(direction), packet))
        if chance.random() < again:
            steps.append((now, *chance.choice(steps[-20:])[1:]))
        if chance.random() < swapped and len(steps) > 3:
            (one, *rest), (two, *other) = steps[-2], steps[-1]
            steps[-2:] = [(one, *other), (two, *rest)]
        if chance.random() < 0.004:
            state = chance.choice(list(MuteState))
            events: list[Event] = [WakeEvent(now, "alexa"), MuteEvent(now, state), AliveEvent(now, state)]
            steps.append((now, chance.choice(events)))
        if chance.random() < 0.002:
            steps.append((now, chance.choice(list(Mode))))
    return steps


@pytest.mark.parametrize("balanced", [False, True], ids=["strict", "balanced"])
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("policy", [HELD, REFUSED, TIGHT], ids=["held", "refused", "tight"])
def test_both_ways_say_the_same(policy: Policy, mode: Mode, balanced: bool) -> None:
    for seed in range(4):
        for steps in (generate_traffic(seed), list(generate_steps(seed, 400))):
            straight = tell(make_engine(policy, mode, balanced=balanced), steps)
            long = tell(make_engine(policy, mode, balanced=balanced, straight=False), steps)
            assert straight == long, f"seed {seed}"


def forget_records(said: list[Any]) -> list[Any]:
    """Return what was said but for the records of each packet."""
    return [row if isinstance(row, list) else (*row[:2], *row[3:]) for row in said]


@pytest.mark.parametrize("balanced", [False, True], ids=["strict", "balanced"])
def test_records_are_listed_for_who_asks_and_change_no_answer(balanced: bool) -> None:
    for seed in range(4):
        for steps in (generate_traffic(seed), list(generate_steps(seed, 400))):
            listed = tell(make_engine(HELD, Mode.ENFORCE, balanced=balanced), steps)
            silent = tell(make_engine(HELD, Mode.ENFORCE, balanced=balanced, list_records=False), steps)
            assert any(row[2] for row in listed if isinstance(row, tuple))
            assert not any(row[2] for row in silent if isinstance(row, tuple))
            assert forget_records(listed) == forget_records(silent)
