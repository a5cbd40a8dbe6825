"""A histogram: how many observations fell below each bound.

Knows bounds, counts and a sum. Refuses to know what was observed and who asks (``guard.status`` carries it,
``guard.telemetry.metrics`` exports it).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

VERDICT_BOUNDS_NS: Final = (
    *(10_000, 20_000, 50_000, 100_000, 200_000, 500_000),
    *(1_000_000, 2_000_000, 5_000_000, 10_000_000, 50_000_000),
)
"""From the cheapest verdict (some 10 us on a PC) to a wait that a person could notice in a conversation."""


class Histogram:
    """Counts of observations by upper bound, in the unit of ``bounds``; the last count has no bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[int]) -> None:
        """``bounds`` ascend; an observation that equals one is counted below it (Prometheus' ``le``)."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0  # the sum of what was observed

    def add(self, value: int) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
