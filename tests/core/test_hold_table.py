"""Whose wait ends first: known at any time, as by a look at everybody, and without one."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from functools import partial
from math import inf
from types import FrameType
from typing import Any

import pytest

from guard.build import COMPILED, get_build
from guard.core.flow import Flow
from guard.core.hold import Held, HoldTable, Waiting
from guard.core.judge import AWAITING
from guard.core.verdict import Mode
from tests.conversation import DEVICE, Conversation
from tests.waiting import HELD, VOICE, WAITS
from tests.waiting import Waiting as Talk

GAP_S = 0.002  # between the first packets of two connections that wait


def hold_many(count: int) -> list[Conversation]:
    """Return the connections of one device, a packet of each waiting; the waits end one by one."""
    first = Talk()
    talks: list[Conversation] = [
        first,
        *(Conversation(first.engine, port=1024 + number) for number in range(count - 1)),
    ]
    for talk in talks:
        talk.establish()
    for number, talk in enumerate(talks):
        talk.now += number * GAP_S
        assert talk.up(VOICE) == WAITS
    return talks


def count_lines(work: Callable[[], object]) -> int:
    """Return how many lines of Python it takes: a loop's each time anew."""
    lines = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def test_the_end_of_a_wait_takes_no_look_at_those_who_go_on_waiting() -> None:
    counts = []
    for count in (2, 300):
        engine = hold_many(count)[0].engine
        due = engine.timer
        counts.append(count_lines(partial(engine.handle_timer, now=due)))
        assert engine.get_status(DEVICE, now=due).held_packets == count - 1
        assert engine.timer == pytest.approx(due + GAP_S)
    assert counts[0] == counts[1]
    assert counts[0] > 20 or get_build() == COMPILED  # which runs no line of Python


def test_voices_that_are_to_be_looked_at_again_are_not_looked_at_before() -> None:
    counts = []
    for count in (2, 20):
        talks = hold_many(count)
        for talk in talks:
            talk.now = talks[-1].now
            for _ in range(16):  # faster than anybody speaks: what was said before a wake word
                assert talk.up(VOICE) == WAITS
                talk.now += 0.001
        watch = talks[0].engine.get_device(DEVICE).watch
        due = watch.get_deadline()
        assert due < inf
        counts.append(count_lines(watch.get_deadline) + count_lines(partial(watch.look_again, due - 0.001)))
        assert watch.get_deadline() == due
        watch.look_again(due + 1.0)
        assert watch.get_deadline() == inf
        assert watch.unheard == 1
    assert counts[0] == counts[1]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_the_first_end_and_who_is_due_are_those_that_a_look_at_all_finds(seed: int) -> None:
    chance = random.Random(seed)
    engine = hold_many(12)[0].engine
    engine.handle_timer(now=engine.timer + 12 * GAP_S)
    flows: list[Flow | None] = [None, *engine.get_device(DEVICE).flows]
    table = HoldTable(HELD)
    now = 0.0
    most = 0
    for number in range(4000):
        now += chance.choice([0.0, 0.0, 0.001, 0.05])
        flow = chance.choice(flows)
        hold = table.get(flow)
        held = Held(number, now, 10, 60, AWAITING, after=False)
        if hold is None:
            table.begin(flow, number, held, chance.choice(list(Waiting)))
        elif chance.random() < 0.2:
            table.join(hold, held)
        elif chance.random() < 0.3:
            table.take(hold, chance.choice([inf, now]))
        elif chance.random() < 0.2:
            table.wait_on(hold)
        else:
            table.end_at(hold, now + chance.choice([0.0, 0.1, 0.2]))
        assert table.get_deadline() == min((hold.deadline for hold in table), default=inf)
        for due in (now, now + 0.1):
            assert table.get_due(due) == [hold for hold in table if hold.deadline <= due]
        most = max(most, len(table.get_due(now)))
    assert most > 2


@pytest.mark.parametrize("mode", Mode)
def test_waits_that_end_together_end_in_the_order_in_which_they_began(mode: Mode) -> None:
    first = Talk(mode=mode)
    talks: list[Conversation] = [first, *(Conversation(first.engine, port=1024 + n) for n in range(9))]
    for talk in talks:
        talk.establish()
        talk.now = 200.0
    numbers = []
    for talk in reversed(talks):
        talk.up(VOICE)
        numbers.append(first.engine.facts.packet_id)
    released = first.engine.handle_timer(now=200.0 + HELD.hold_s)
    assert [held.packet_id for held in released] == numbers
