"""A token bucket: how much may pass, and how much passes at most.

Everything that leaves without a wake word has one, so the most that can leave is a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SECONDS_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Budget:
    """``per_hour`` units flow in steadily, at most ``burst`` are saved up. Units: bytes or packets."""

    per_hour: float
    burst: float

    def get_bound(self, seconds: float) -> float:
        """Return the most units that can pass within ``seconds``."""
        return self.burst + self.per_hour * seconds / SECONDS_PER_HOUR


class TokenBucket:
    """The state of one Budget; it begins full."""

    __slots__ = ("_burst", "_filled", "_per_second", "tokens")

    def __init__(self, budget: Budget) -> None:
        self._per_second = budget.per_hour / SECONDS_PER_HOUR
        self._burst = budget.burst
        self._filled = 0.0
        self.tokens = budget.burst

    def change(self, budget: Budget, now: float) -> None:
        """Go on under another Budget; nothing is filled up by it."""
        self.take(0.0, now)
        self._per_second = budget.per_hour / SECONDS_PER_HOUR
        self._burst = budget.burst
        self.tokens = min(self.tokens, budget.burst)

    def get_left(self, now: float) -> float:
        """Return how many units are there at ``now``."""
        return min(self._burst, self.tokens + (now - self._filled) * self._per_second)

    def take(self, amount: float, now: float) -> bool:
        """Take ``amount`` units at time ``now`` when they are there, else take none."""
        tokens = self.tokens + (now - self._filled) * self._per_second
        if tokens > self._burst:
            tokens = self._burst
        self._filled = now
        if tokens < amount:
            self.tokens = tokens
            return False
        self.tokens = tokens - amount
        return True
