"""Any bytes get an answer, and the answers keep what they promise."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core import flow as flow_module
from guard.core.verdict import Direction, Mode, PacketClass, Reason
from tests import wire
from tests.properties.bounded import BOUNDED, FEWER
from tests.properties.hostile import TIGHT, Watch, generate_steps

seeds = st.integers(0, 1 << 32)
WITHOUT_HOLD = dataclasses.replace(TIGHT, hold_s=0.0)


@BOUNDED
@given(st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=120)), max_size=40))
def test_garbage(packets: list[tuple[Direction, bytes]]) -> None:
    watch = Watch()
    watch.play((float(number), direction, packet) for number, (direction, packet) in enumerate(packets))


@BOUNDED
@given(st.binary(max_size=80), st.sampled_from(Direction), st.booleans(), st.integers(0, 255))
def test_garbage_behind_an_ip_header(body: bytes, direction: Direction, newer: bool, protocol: int) -> None:
    packet = wire.ipv6(body, protocol=protocol) if newer else wire.ipv4(body, protocol=protocol)
    Watch().play([(1.0, direction, packet)] * 3)


@FEWER
@given(seeds, st.sampled_from(Mode), st.booleans(), st.sampled_from([TIGHT, WITHOUT_HOLD]))
def test_hostile_connections(seed: int, mode: Mode, sensor: bool, policy: object) -> None:
    chosen = TIGHT if policy is TIGHT else WITHOUT_HOLD
    Watch(chosen, sensor=sensor, mode=mode).play(generate_steps(seed, 600))


@FEWER
@given(seeds)
def test_the_same_again_gets_the_same_answers(seed: int) -> None:
    steps = list(generate_steps(seed, 400))
    first, second = Watch(), Watch()
    first.play(steps)
    second.play(steps)
    assert first.answers == second.answers


def test_the_lives_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_module, "MAX_LIVES", 20)
    watch = Watch()
    syns = [wire.ipv4(wire.tcp(source_port=1024 + number, flags=wire.SYN)) for number in range(200)]
    watch.play((float(100 * number), Direction.UPSTREAM, syn) for number, syn in enumerate(syns))


def test_the_scripts_reach_every_class_and_most_reasons() -> None:
    classes: set[PacketClass | None] = set()
    reasons: set[Reason] = set()
    for seed in range(12):
        for policy in (TIGHT, WITHOUT_HOLD):
            watch = Watch(policy, mode=Mode.MONITOR if seed % 2 else Mode.ENFORCE)
            watch.play(generate_steps(seed, 600))
            classes |= {answer.packet_class for answer in watch.seen}
            reasons |= {answer.reason for answer in watch.seen}
    assert classes == set(PacketClass)
    assert len(reasons) >= 30, sorted(reasons)
