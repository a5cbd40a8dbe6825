"""Everything that can be told has its words."""

from __future__ import annotations

import pytest

from guard.core.context import EXTENSIONS
from guard.core.tls import Framing
from guard.core.verdict import Direction, Justification, PacketClass, Reason, Scope, Verdict, decision
from guard.explain import words
from guard.explain.story import Mark, Step
from guard.explain.strip import BLOCKS, draw_steps


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_in_a_sentence_without_markup(reason: Reason) -> None:
    told = words.tell_reason(decision(PacketClass.APP_DATA, None, Verdict.REFUSE, Scope.FLOW, reason))
    assert len(told) > 8
    assert not set("*`") & set(told)


def test_every_mark_framing_and_cause_has_its_words() -> None:
    assert set(words.MARKS) == set(Mark)
    assert set(words.FRAMINGS) == {framing.name.lower() for framing in Framing}
    assert set(words.CAUSES) == set(EXTENSIONS)


def test_an_answer_is_told_in_the_gates_own_words() -> None:
    justified = decision(
        PacketClass.APP_DATA, Justification.JUSTIFIED, Verdict.REFUSE, Scope.FLOW, Reason.NO_INTERACTION
    )
    assert words.tell_answer(justified) == "app_data, justified: refuse flow"
    assert words.tell_reason(justified) == "nobody said the wake word"


def make_step(*records: tuple[int, int], began: float = 0.0, size: int = 100) -> Step:
    answer = decision(PacketClass.APP_DATA, Justification.EXPECTED, Verdict.ACCEPT, None, Reason.INTERACTION)
    step = Step(Direction.UPSTREAM, answer, 1, began, None)
    step.add(1, size, list(records), began)
    return step


def test_records_are_told_in_order_while_that_is_short() -> None:
    assert words.tell_lengths(make_step((23, 353), (23, 353), (22, 40), (23, 113))) == (
        "353 (x2), handshake 40, 113"
    )


def test_many_records_are_told_by_how_often_they_came() -> None:
    step = make_step(*[(23, 113), (23, 193)] * 20, (23, 353), *[(23, 1000 + n) for n in range(10)])
    assert words.tell_lengths(step) == "113 (x20), 193 (x20), 353, 1000, 1001 and 8 other lengths"


def test_a_strip_places_what_was_sent() -> None:
    cells = draw_steps(
        [make_step(began=0.0, size=40), make_step(began=9.0, size=40_000)],
        Direction.UPSTREAM,
        span=(0.0, 10.0),
        width=10,
    )
    assert "".join(cell.text for cell in cells) == f"{BLOCKS[1]}        {BLOCKS[-1]}"
    assert {cell.colour for cell in cells if cell.text.strip()} == {"green"}
