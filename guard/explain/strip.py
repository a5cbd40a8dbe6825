"""A capture's time as a strip of characters: how much was sent, and what became of it.

Knows: buckets of time, heights and the worst answer in each. Refuses to know: screens; colours are names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from guard.core.verdict import Decision, Direction, Verdict
from guard.explain.story import Mark, Occasion, Step, Story, Turn

BLOCKS = " ▁▂▃▄▅▆▇█"
SMALLEST = 40.0  # bytes that are worth the lowest block: a heartbeat
LETTERS = {"wake": "W", "mute": "M", "mode": "!", "settings": "!", "end": "·"}
COLOURS = {Verdict.ACCEPT: "green", Verdict.HOLD: "yellow", Verdict.REFUSE: "red"}
_WORSE = [Verdict.ACCEPT, Verdict.HOLD, Verdict.REFUSE]
CUTS = {Mark.CONDEMNED: "✂", Mark.VIRTUAL_RESET: "✂"}


class Cell(NamedTuple):
    """One character and its colour ("" for none)."""

    text: str
    colour: str


def get_final(step: Step) -> Decision:
    """Return what a step's packets were told in the end; the worst of it."""
    answers = [*step.outcomes] or [step.decision]
    return max(answers, key=lambda answer: _WORSE.index(answer.verdict))


def draw_steps(
    steps: Iterable[Step], direction: Direction, *, span: tuple[float, float], width: int
) -> list[Cell]:
    """Return one cell for each of ``width`` parts of ``span`` (first and last second)."""
    sizes = [0.0] * width
    worst: list[Verdict | None] = [None] * width
    for step in steps:
        if step.direction is not direction:
            continue
        first, last = _place(step.began, span, width), _place(step.ended, span, width)
        verdict = get_final(step).verdict
        for place in range(first, last + 1):
            sizes[place] += step.bytes / (last - first + 1)
            before = worst[place]
            if before is None or _WORSE.index(verdict) > _WORSE.index(before):
                worst[place] = verdict
    largest = max(sizes, default=0.0)
    return [
        Cell(BLOCKS[_height(size, largest)], "blue" if direction else COLOURS[verdict])
        if verdict is not None
        else Cell(" ", "")
        for size, verdict in zip(sizes, worst, strict=True)
    ]


def draw_room(
    occasions: Iterable[Occasion], stories: Iterable[Story], *, span: tuple[float, float], width: int
) -> list[Cell]:
    """Return what happened in the room and which connections were cut, on the same scale."""
    cells = [Cell(" ", "")] * width
    for story in stories:
        for turn in story.turns():
            if turn.mark in CUTS and span[0] <= turn.at <= span[1]:
                cells[_place(turn.at, span, width)] = Cell(CUTS[turn.mark], "red")
    for occasion in occasions:
        if span[0] <= occasion.at <= span[1]:
            cells[_place(occasion.at, span, width)] = Cell(LETTERS[occasion.kind], "cyan")
    return cells


def find_span(stories: Iterable[Story], turns: Iterable[Turn] = ()) -> tuple[float, float]:
    """Return the first and last second of what is told."""
    stories = list(stories)
    ends = [story.ended for story in stories] + [turn.at for turn in turns]
    first = min((story.began for story in stories), default=0.0)
    return first, max([first, *ends])


def _place(at: float, span: tuple[float, float], width: int) -> int:
    length = span[1] - span[0]
    share = (at - span[0]) / length if length > 0 else 0.0
    return min(width - 1, max(0, int(share * width)))


def _height(size: float, largest: float) -> int:
    """Return the index of a block: bytes on a logarithmic scale, so that heartbeats can be seen."""
    if size <= 0:
        return 1
    if largest <= SMALLEST:
        return len(BLOCKS) - 1
    share = math.log(max(size, SMALLEST) / SMALLEST) / math.log(largest / SMALLEST)
    return 1 + round(share * (len(BLOCKS) - 2))
