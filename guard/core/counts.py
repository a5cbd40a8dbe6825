"""How many packets bore each answer, and their bytes.

Knows: that answers are interned and numbered from 0 (``verdict``). Refuses to know: what an answer means.
"""

from __future__ import annotations

from collections.abc import Iterator

from guard.core.verdict import Decision, get_decision


class Count:
    """The packets of one answer and the bytes of their IP packets."""

    __slots__ = ("octets", "packets")

    def __init__(self) -> None:
        self.packets = 0
        self.octets = 0


class Counts:
    """A Count for each answer that was given."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: list[Count] = []  # by the answers' index

    def add(self, answer: Decision, octets: int) -> None:
        """Count a packet of ``octets`` bytes."""
        rows = self._rows
        while answer.index >= len(rows):
            rows.append(Count())
        count = rows[answer.index]
        count.packets += 1
        count.octets += octets

    def __iter__(self) -> Iterator[tuple[Decision, int, int]]:
        """Yield (answer, packets, bytes) of those that were given."""
        for index, count in enumerate(self._rows):
            if count.packets:
                yield get_decision(index), count.packets, count.octets
