"""A wake event that comes late finds its utterance waiting; what a refusal costs the next conversation."""

from __future__ import annotations

from functools import partial

import pytest

from guard.core.verdict import Mode
from guard.lab.namespaces import DEVICES
from tests.conversations.director import direct
from tests.conversations.lateness import LATENESS_S, WHOLE, Upload, measure
from tests.conversations.page import Figures, Row, write_page
from tests.conversations.success import Lives, live_everyday, live_muted, live_pressing

TOO_LATE_S = 1.2


def _speak(*lateness: float, kernel: bool) -> list[Upload]:
    uploads = direct(partial(measure, lateness=lateness, repeats=1), kernel=kernel)
    assert len(uploads) == len(lateness) * len(DEVICES)
    return uploads


@pytest.mark.parametrize("late", LATENESS_S)
def test_the_whole_utterance_arrives_and_not_before_the_word(late: float) -> None:
    for upload in _speak(late, kernel=False):
        assert upload.received == WHOLE
        assert upload.lateness == pytest.approx(late)
        assert upload.delay == pytest.approx(0.0, abs=0.001)


def test_a_word_that_comes_too_late_finds_the_utterance_refused() -> None:
    eager, lazy = _speak(TOO_LATE_S, kernel=False)
    assert lazy.received == 0
    assert eager.received == WHOLE  # it had sent everything again, and that still waited
    assert eager.arrived is not None
    assert eager.arrived >= eager.heard


@pytest.mark.kernel
def test_on_the_kernel_the_whole_utterance_arrives_and_not_before_the_word() -> None:
    for upload in _speak(0.0, 0.3, 0.6, kernel=True):
        assert upload.received == WHOLE
        assert upload.delay is not None
        assert upload.arrived is not None
        assert upload.delay < 0.5  # a loaded machine; docs/conversations.md has the figures
        if upload.planned:
            assert upload.arrived >= upload.heard


@pytest.fixture(scope="module")
def pressing() -> dict[bool, Lives]:
    return {
        balanced: direct(partial(live_pressing, talks=30, seed=7), kernel=False, balanced=balanced)
        for balanced in (False, True)
    }


def test_an_eager_echo_is_answered_whatever_was_refused_just_before(pressing: dict[bool, Lives]) -> None:
    for lives in pressing.values():
        assert (lives["eager"].answered, lives["eager"].spoken) == (30, 30)


def test_a_lazy_echo_loses_few_commands_and_none_of_them_for_want_of_the_gate(
    pressing: dict[bool, Lives],
) -> None:
    strict, balanced = pressing[False]["lazy"], pressing[True]["lazy"]
    assert 24 <= strict.answered <= balanced.answered
    assert strict.resets > balanced.resets
    assert strict.dials >= strict.resets


def test_everyday_a_balanced_gate_cuts_nothing() -> None:
    lives = direct(partial(live_everyday, talks=15, seed=7), kernel=False, balanced=True)
    for life in lives.values():
        assert (life.answered, life.resets) == (15, 0)


@pytest.mark.parametrize("balanced", [False, True])
def test_after_a_mute_the_first_answer_comes_soon(*, balanced: bool) -> None:
    lives = direct(
        partial(live_muted, times=5, seconds=120.0, seed=7, pressing=True), kernel=False, balanced=balanced
    )
    for life in lives.values():
        assert len(life.waits) == 5
        assert max(life.waits) < 15.0
        assert life.resets > 0  # muted, both policies refuse


def test_the_page_says_what_was_measured() -> None:
    figures = Figures(uploads=_speak(0.3, kernel=False), repeats=1, mutes=2)
    idle = partial(measure, lateness=(0.0,), repeats=1)
    figures.unheld = direct(idle, kernel=False, mode=Mode.MONITOR)
    lives = direct(partial(live_muted, times=2, seconds=30.0, seed=1, pressing=True), kernel=False)
    figures.muted = [Row("pressing", "simulation", False, lives)]
    page = write_page(figures, date="2026-01-31", machine="a machine")
    assert "| 300 ms | 2 of 2 | 0 | 0.0 ms | 0.0 ms | 2 of 2 |" in page
    assert "| 400 ms | 0 of 0 | 0 | inf ms | inf ms | 0 of 0 |" in page
    assert "| monitor: nothing waits | 2 of 2 | - | 0.0 ms |" in page
    assert "| pressing | strict | eager |" in page
