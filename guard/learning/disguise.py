"""A table that can be given away: no addresses, no names of captures, no time of day.

Knows: which columns tell who, where and when. Refuses to know: everything else of a row. What stays is what
learning needs: lengths, ports, classes, the time since the capture began. It is no proof of anonymity: a
rhythm of commands is as personal as a diary, and ``docs/datasets.md`` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from guard.learning.columns import Column

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DATE_DIGITS = 26  # to microseconds, without the zone


class Disguise:
    """Disguises the rows of one capture; peers are numbered in the order in which they come."""

    def __init__(self, columns: Sequence[Column], *, capture: str, group: str) -> None:
        names = [column.name for column in columns]
        self._fixed = {
            names.index(name): value
            for name, value in (("capture", capture), ("group", group))
            if name in names
        }
        self._peer = names.index("dstip") if "dstip" in names else None
        self._date = names.index("date") if "date" in names else None
        self._time = names.index("time")
        self._began: float | None = None
        self._peers: dict[str, str] = {}

    def hide(self, row: Sequence[Any]) -> list[Any]:
        """Return the row as it may be shared."""
        hidden = list(row)
        for index, value in self._fixed.items():
            hidden[index] = value
        if self._began is None:
            self._began = hidden[self._time]
        since = round(hidden[self._time] - self._began, 6)
        hidden[self._time] = since
        if self._date is not None:
            hidden[self._date] = format_date(_EPOCH + timedelta(seconds=since))
        if self._peer is not None and hidden[self._peer] is not None:
            address = hidden[self._peer]
            hidden[self._peer] = self._peers.setdefault(address, f"peer-{len(self._peers) + 1}")
        return hidden


def format_date(date: datetime) -> str:
    """Return ``2022-01-15 11:36:39.369689``, as the paper writes it."""
    return date.isoformat(sep=" ", timespec="microseconds")[:DATE_DIGITS]
