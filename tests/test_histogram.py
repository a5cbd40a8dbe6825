"""The histogram: bounds are inclusive, nothing is lost above the last one."""

from __future__ import annotations

from guard.histogram import VERDICT_BOUNDS_NS, Histogram


def test_an_observation_is_counted_once_below_the_first_bound_that_holds_it() -> None:
    histogram = Histogram((10, 20))
    for value in (0, 10, 11, 20, 21, 10**12):
        histogram.add(value)
    assert histogram.counts == [2, 2, 2]
    assert histogram.total == 62 + 10**12


def test_the_bounds_of_verdicts_ascend() -> None:
    assert list(VERDICT_BOUNDS_NS) == sorted(set(VERDICT_BOUNDS_NS))
