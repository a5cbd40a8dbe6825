"""Lengths of time as people type them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.durations import DurationError, check_duration, format_length, parse_duration, parse_since

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("5 min", 300),
        ("1h30m", 5400),
        ("1H 30M 5S", 5405),
        ("1.5h", 5400),
        ("2d", 172800),
        ("1w", 604800),
        ("0s", 0),
    ],
)
def test_a_length_is_understood(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


NONSENSE = [
    "",
    "5",
    "m",
    "5x",
    "-5m",
    "5m1h",
    "5m5m",
    "5 0m",
    "1e3s",
    "inf",
    "nan",
    "५m",
    "5m;",
    "9" * 40 + "s",
]


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_one_line_that_says_what_to_write(text: str) -> None:
    with pytest.raises(DurationError, match="such as 90s, 5m or 1h30m") as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value)


@given(st.integers(1, 10**8))
def test_what_is_shown_is_read_back(seconds: int) -> None:
    assert parse_duration(format_length(seconds)) == seconds


@given(st.text(max_size=20))
def test_any_text_is_a_length_or_a_known_fault(text: str) -> None:
    with contextlib.suppress(DurationError):
        assert parse_duration(text) >= 0


@pytest.mark.parametrize(
    ("seconds", "complaint"),
    [(0, "at least 1s"), (0.5, "at least 1s"), (float("nan"), "at least"), (90000, "at most 1d")],
)
def test_a_length_out_of_bounds_names_the_nearer_bound(seconds: float, complaint: str) -> None:
    with pytest.raises(DurationError, match=complaint):
        check_duration(seconds, 1, 86400)
    assert check_duration(86400, 1, 86400) == 86400


def test_a_moment_is_a_length_ago_or_a_date() -> None:
    assert parse_since("2h", now=NOW) == NOW - timedelta(hours=2)
    assert parse_since("2026-11-22", now=NOW) == datetime(2026, 11, 22, tzinfo=NOW.tzinfo)
    assert parse_since("2026-11-22T18:00Z", now=NOW) == datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "", "99999999w"])
def test_what_is_no_moment_says_what_to_write(text: str) -> None:
    with pytest.raises(DurationError, match="2026-11-22"):
        parse_since(text, now=NOW)


def test_the_future_is_no_moment_past() -> None:
    with pytest.raises(DurationError, match="lies ahead"):
        parse_since("2026-11-23", now=NOW)
