"""Heartbeats of an Echo that nobody speaks to: the frame lengths and times of the captures of 2022.

Those are tables of upstream packets without record lengths: a frame of 100 or 112 bytes with TLS in it is
what a record of 41 makes, one of 99 bytes what a record of 28 makes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

CONDITIONS = ("microphone_mute", "no_wake_word")
FRAMES = {"record 41, a PING": (100, 112), "record 28, the beat": (99,)}
SHORTEST_S = 5.0  # below it are two at once, or a retransmission


def read_intervals(folder: Path) -> dict[str, list[float]]:
    """Return seconds between heartbeats of each kind towards one address; ``folder`` holds ``dataset``."""
    found: dict[str, list[float]] = {kind: [] for kind in FRAMES}
    for condition in CONDITIONS:
        for path in sorted((folder / "dataset" / condition).glob("*.csv")):
            last: dict[tuple[str, str], float] = {}
            for at, length, server in _read(path):
                for kind, lengths in FRAMES.items():
                    if length in lengths:
                        before = last.get((kind, server))
                        if before is not None and at - before > SHORTEST_S:
                            found[kind].append(at - before)
                        last[kind, server] = at
    return found


def _read(path: Path) -> Iterator[tuple[float, int, str]]:
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["content_type"].startswith("23"):
                yield datetime.fromisoformat(row["date"]).timestamp(), int(row["length"]), row["dstip"]
