"""What the decoder says of a lamp: first as conversations, then as laws over any of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.event import MuteState
from hardware.mute_led import MuteLed, Times

MUTED, UNMUTED, UNKNOWN = MuteState.MUTED, MuteState.UNMUTED, MuteState.UNKNOWN
TIMES = Times(debounce_s=0.05, hold_s=1.5, dead_s=1.0)
POLL = 0.01

LEVELS = {"lit": True, "dark": False, "broken": None}


def watch(script: str, times: Times = TIMES) -> list[tuple[float, MuteState]]:
    """Play "SECONDS LEVEL, ..." at a poll each 10 ms; return what is said, each change with its time."""
    led = MuteLed(times, now=0.0)
    said = [(0.0, led.state)]
    spells = [spell.split() for spell in script.split(",")]
    tick = 0
    end = 0.0
    for seconds, level in spells:
        end += float(seconds)
        while tick * POLL < end - 1e-9:
            state = led.receive_level(LEVELS[level], now=tick * POLL)
            if state is not said[-1][1]:
                said.append((tick * POLL, state))
            tick += 1
    return said


CONVERSATIONS: dict[str, tuple[str, list[tuple[float, MuteState]]]] = {
    "unknown until a level was stable": ("3 dark", [(0.0, UNKNOWN), (1.5, UNMUTED)]),
    "steady red at the start": ("3 lit", [(0.0, UNKNOWN), (1.5, MUTED)]),
    "a mute is believed at once": ("2 dark, 1 lit", [(0.0, UNKNOWN), (1.5, UNMUTED), (2.05, MUTED)]),
    "an unmute is believed slowly": (
        "2 dark, 3 lit, 3 dark",
        [(0.0, UNKNOWN), (1.5, UNMUTED), (2.05, MUTED), (6.5, UNMUTED)],
    ),
    "a flash shorter than the debounce": ("2 dark, 0.04 lit, 2 dark", [(0.0, UNKNOWN), (1.5, UNMUTED)]),
    "a shadow shorter than the debounce": ("2 lit, 0.04 dark, 2 lit", [(0.0, UNKNOWN), (1.5, MUTED)]),
    "pulsing keeps muted": (
        "2 lit, 1 dark, 1 lit, 1 dark, 1 lit, 1 dark, 1 lit, 1 dark, 2 lit",
        [(0.0, UNKNOWN), (1.5, MUTED)],
    ),
    "pulsing keeps unmuted, once it is known to be pulsing": (
        "2 dark, 1 lit, 1 dark, 1 lit, 1 dark, 1 lit, 1 dark, 1 lit, 1 dark",
        [(0.0, UNKNOWN), (1.5, UNMUTED), (2.05, MUTED), (3.05, UNMUTED)],
    ),
    "pulsing that becomes steady": (
        "2 dark, 1 lit, 1 dark, 1 lit, 1 dark, 3 lit",
        [(0.0, UNKNOWN), (1.5, UNMUTED), (2.05, MUTED), (3.05, UNMUTED), (7.5, MUTED)],
    ),
    "pulsing from the start stays unknown": (
        "1 lit, 1 dark, 1 lit, 1 dark, 1 lit, 1 dark",
        [(0.0, UNKNOWN)],
    ),
    "a broken pin": (
        "2 dark, 1 broken, 2 dark",
        [(0.0, UNKNOWN), (1.5, UNMUTED), (2.0, UNKNOWN), (4.5, UNMUTED)],
    ),
    "a broken pin while muted": ("2 lit, 0.5 broken, 1 lit", [(0.0, UNKNOWN), (1.5, MUTED), (2.0, UNKNOWN)]),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_conversation(name: str) -> None:
    script, expected = CONVERSATIONS[name]
    said = watch(script)
    assert [state for _, state in said] == [state for _, state in expected]
    assert [t for t, _ in said] == pytest.approx([t for t, _ in expected], abs=1.01 * POLL)


def test_a_sensor_that_says_nothing_is_dead() -> None:
    led = MuteLed(TIMES, now=0.0)
    for tick in range(200):
        led.receive_level(False, now=tick * POLL)
    assert led.state is UNMUTED
    assert led.handle_time(now=1.99 + 0.99) is UNMUTED
    assert led.handle_time(now=1.99 + 1.01) is UNKNOWN
    assert led.losses == 1
    led.handle_time(now=60.0)
    assert led.losses == 1


def test_flicker_is_unknown_and_counted() -> None:
    led = MuteLed(TIMES, now=0.0)
    for tick in range(200):
        led.receive_level(False, now=tick * POLL)
    for tick in range(200, 600):
        led.receive_level(tick % 4 < 2, now=tick * POLL)
    assert led.state is UNKNOWN
    assert led.flickers >= 1
    for tick in range(600, 800):
        led.receive_level(True, now=tick * POLL)
    assert led.state is MUTED


@pytest.mark.parametrize("start", [0.0, 2.0, 4117.237306322])
def test_the_timer_brings_every_change_of_state(start: float) -> None:
    """Only edges and the timer, never a poll in between; each call at the timer's time makes progress."""
    led = MuteLed(Times(dead_s=100.0), now=start)
    said, last = [], UNKNOWN
    for edge, lit in ((0.0, False), (2.0, True), (4.0, False), (math.inf, None)):
        calls = 0
        while (timer := led.get_timer()) < min(start + edge, start + 8.0):
            state = led.handle_time(now=timer)
            calls += 1
            assert calls < 10
            if state is not last:
                said.append((round(timer - start, 3), state))
                last = state
        if lit is not None:
            led.receive_level(lit, now=start + edge)
    assert said == [(1.5, UNMUTED), (2.05, MUTED), (5.5, UNMUTED)]


def test_time_that_runs_backwards_stands_still() -> None:
    led = MuteLed(TIMES, now=10.0)
    led.receive_level(False, now=10.0)
    led.receive_level(False, now=10.9)
    led.receive_level(True, now=3.0)
    assert led.handle_time(now=10.94) is UNKNOWN
    led.receive_level(True, now=11.5)
    assert led.receive_level(True, now=12.45) is MUTED


samples = st.lists(
    st.tuples(st.floats(0.001, 0.4), st.sampled_from([True, False, True, False, True, False, None])),
    max_size=120,
)


@given(samples)
def test_it_is_never_unmuted_unless_it_was_dark_for_the_hold_time(
    steps: list[tuple[float, bool | None]],
) -> None:
    led = MuteLed(TIMES, now=0.0)
    now, dark_since = 0.0, math.inf
    earned = False  # a long dark spell, with no long bright one and no loss after it
    lit_since = math.inf
    for pause, lit in steps:
        now += pause
        led.receive_level(lit, now=now)
        if lit is None:
            dark_since = lit_since = math.inf
            earned = False
        elif lit:
            dark_since, lit_since = math.inf, min(lit_since, now)
        else:
            lit_since, dark_since = math.inf, min(dark_since, now)
        # a spell shorter than the debounce does not interrupt: allow it to earn as well
        if led.state is UNMUTED and not earned:
            assert led.settled is UNMUTED
            earned = True
        if led.state is UNKNOWN:
            earned = False
    if lit_since < now - TIMES.hold_s - 0.5:
        assert led.handle_time(now=now) is not UNMUTED


@given(samples)
def test_lit_for_the_debounce_is_never_unmuted_unless_pulsing(steps: list[tuple[float, bool | None]]) -> None:
    led = MuteLed(TIMES, now=0.0)
    now, lit_since = 0.0, math.inf
    for pause, lit in steps:
        now += pause
        led.receive_level(lit, now=now)
        lit_since = min(lit_since, now) if lit else math.inf
        if now - lit_since >= TIMES.debounce_s and led.state is UNMUTED:
            assert led._pulsing
        if now - lit_since >= TIMES.hold_s:
            assert led.state is MUTED


@given(samples, st.floats(0.01, 0.2))
def test_asking_in_between_changes_nothing(steps: list[tuple[float, bool | None]], often: float) -> None:
    """Polls and timers between the edges never change what is said at the edges, while the sensor lives."""
    asked, quiet = MuteLed(TIMES, now=0.0), MuteLed(TIMES, now=0.0)
    now = 0.0
    for pause, lit in steps:
        ask = now
        while (ask := ask + often) < now + pause:
            asked.handle_time(now=ask)
        now += pause
        assert asked.receive_level(lit, now=now) is quiet.receive_level(lit, now=now)
