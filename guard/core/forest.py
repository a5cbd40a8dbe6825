"""A trained model as lists: how sure it is that a burst is a voice.

Knows: how to walk binary trees, in microseconds and with nothing but lists. Refuses to know: how they were
trained, files (``guard.voice_model`` reads and checks them), what the features mean (``burst``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEAF = -1  # in place of a feature


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree. A node asks ``vector[feature] <= threshold``: ``left`` then, else ``right``.

    Where ``feature`` is LEAF the node answers ``value``.
    """

    feature: list[int]
    threshold: list[float]
    left: list[int]
    right: list[int]
    value: list[float]


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """A model: the mean of its trees, and from where on that is a voice."""

    name: str
    threshold: float
    trees: tuple[Tree, ...]

    def get_score(self, vector: Sequence[float]) -> float:
        """Return how sure the model is, 0 to 1."""
        total = 0.0
        for tree in self.trees:
            features, left, right, thresholds = tree.feature, tree.left, tree.right, tree.threshold
            node = 0
            feature = features[0]
            while feature >= 0:
                node = left[node] if vector[feature] <= thresholds[node] else right[node]
                feature = features[node]
            total += tree.value[node]
        return total / len(self.trees)

    def is_voice(self, vector: Sequence[float]) -> bool:
        """Say whether the model takes the burst for a voice."""
        return self.get_score(vector) >= self.threshold
