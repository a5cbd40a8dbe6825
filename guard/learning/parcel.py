"""A forest on its way to another process, as plain values.

Knows: what a forest is made of. Refuses to know: who sends it where. A forest that mypyc compiled cannot be
pickled as it is: its fields are frozen.
"""

from __future__ import annotations

from dataclasses import dataclass

from guard.core.forest import Forest, Tree


@dataclass(frozen=True, slots=True)
class Parcel:
    """What ``unpack`` makes the same forest of."""

    name: str
    threshold: float
    trees: list[tuple[list[int], list[float], list[int], list[int], list[float]]]

    @classmethod
    def of(cls, forest: Forest) -> Parcel:
        """Return a forest's parcel."""
        trees = [(tree.feature, tree.threshold, tree.left, tree.right, tree.value) for tree in forest.trees]
        return cls(forest.name, forest.threshold, trees)

    def unpack(self) -> Forest:
        """Return the forest."""
        return Forest(self.name, self.threshold, tuple(Tree(*tree) for tree in self.trees))
