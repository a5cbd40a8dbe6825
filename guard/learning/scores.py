"""How often was it right? Counts of (truth, answer), and the usual figures of them.

Knows: precision, recall, F1, accuracy, Wilson's interval. Refuses to know: what is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import nan, sqrt

Z_95 = 1.959964  # of the normal distribution: 95 % of it lie between -z and z


@dataclass(frozen=True, slots=True)
class Score:
    """The figures of one class; ``nan`` where there was nothing to divide by."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(slots=True)
class Confusion:
    """How often each answer was given for each truth."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, truths: Iterable[str], answers: Iterable[str]) -> Confusion:
        """Count two lists of equal length."""
        return cls(Counter(zip(truths, answers, strict=True)))

    def add(self, other: Confusion) -> None:
        """Count another one's in as well."""
        self.counts.update(other.counts)

    def get_classes(self, order: Sequence[str]) -> list[str]:
        """Return the classes that occur, in ``order``, others behind."""
        seen = {name for pair in self.counts for name in pair}
        return [name for name in order if name in seen] + sorted(seen - set(order))

    @property
    def total(self) -> int:
        """Return how many were counted."""
        return self.counts.total()

    @property
    def accuracy(self) -> float:
        """Return the share of right answers."""
        right = sum(count for (truth, answer), count in self.counts.items() if truth == answer)
        return right / self.total if self.total else nan

    def score(self, name: str) -> Score:
        """Return the figures of one class."""
        right = self.counts[name, name]
        support = sum(count for (truth, _), count in self.counts.items() if truth == name)
        answered = sum(count for (_, answer), count in self.counts.items() if answer == name)
        precision = right / answered if answered else nan
        recall = right / support if support else nan
        f1 = 2 * right / (answered + support) if answered + support else nan
        return Score(precision, recall, f1, support)


def get_interval(right: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share; (0, 1) when nothing was counted."""
    if not total:
        return 0.0, 1.0
    share = right / total
    spread = 1 + Z_95**2 / total
    middle = (share + Z_95**2 / (2 * total)) / spread
    half = Z_95 * sqrt(share * (1 - share) / total + Z_95**2 / (4 * total**2)) / spread
    return max(0.0, middle - half), min(1.0, middle + half)
