"""Keep ``docs/datasets.md`` at what the code writes: ``python -m tests.dataset_page``.

Replaces the two tables of columns and draws the picture, from the household that the repository ships. A test
fails when a table differs.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from guard.core.event import WakeEvent
from guard.learning.bursts import BURST_COLUMNS
from guard.learning.columns import PACKET_COLUMNS, Column
from guard.learning.packets import judge_packets
from guard.learning.plots import CLASS_STYLES, Sighting, draw_timeline
from guard.learning.source import Source
from guard.trace import read_trace
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "datasets.md"
PICTURE = ROOT / "docs" / "pictures" / "dataset-timeline.png"
EXAMPLES = ROOT / "docs" / "examples"
DEVICE = "02:00:00:00:ec:01"
TABLE_HEAD = "| column | type | unit | meaning |\n| --- | --- | --- | --- |\n"


def write_page(page: str) -> str:
    """Return the page with the tables as they should be; the first is that of packets."""
    parts = re.split(re.escape(TABLE_HEAD) + r"(?:\|.*\n)+", page)
    tables = [TABLE_HEAD + "".join(map(_row, columns)) for columns in (PACKET_COLUMNS, BURST_COLUMNS)]
    assert len(parts) == len(tables) + 1, "the page must have two tables of columns"
    return parts[0] + tables[0] + parts[1] + tables[1] + parts[2]


def draw_household(path: Path) -> None:
    """Draw what one Echo of the shipped household sent."""
    events = EXAMPLES / "household.jsonl"
    source = Source(EXAMPLES / "household.pcapng", "household", group="lab", device=DEVICE, events=events)
    rows: list[dict[str, Any]] = []
    names = [column.name for column in PACKET_COLUMNS]
    judge_packets(source, lambda row: rows.append(dict(zip(names, row, strict=True))))
    began = rows[0]["time"]
    packets = [
        Sighting(row["time"] - began, row["length"], row["justification"] or row["packet_class"])
        for row in rows
        if (row["justification"] or row["packet_class"]) in CLASS_STYLES
    ]
    trace = read_trace(events)
    epoch = (trace.epoch_ns or 0) / 1e9
    wakes = [entry.now + epoch - began for entry in trace.entries if isinstance(entry.item, WakeEvent)]
    draw_timeline(packets, wakes, "What an Echo of the lab's household sent", path)


def _row(column: Column) -> str:
    return "| " + " | ".join((f"`{column.name}`", column.kind, column.unit, column.meaning)) + " |\n"


def main() -> None:
    """Write the page and its picture."""
    PAGE.write_text(write_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw_household(PICTURE)


if __name__ == "__main__":
    main()
