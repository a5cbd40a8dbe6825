"""Medians with their spread, JSON under ``build/bench/``, and the tables in the two pages."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "bench"
BENCHMARKS, GROWTH = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "growth.md"
PICTURES = ROOT / "docs" / "pictures"
BEGIN, END = "<!-- bench:begin (written by make bench) -->", "<!-- bench:end -->"

FORMAT = 2  # of the JSON: what an older bench has left behind is not read
LOAD = os.getloadavg()[0]  # before this process measured anything

Row = Mapping[str, Any]


def spread(values: Iterable[float], *, digits: int = 2) -> str:
    """Return ``median (lowest - highest)`` as the tables write it."""
    ordered = sorted(values)
    middle = statistics.median(ordered)
    return f"{middle:,.{digits}f} ({ordered[0]:,.{digits}f} - {ordered[-1]:,.{digits}f})"


def save(section: str, title: str, note: str, rows: Sequence[Row], *, raw: object = None) -> None:
    """Write one section's JSON: what the table shows, and every single measurement."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = {
        "format": FORMAT,
        "title": title,
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{describe_machine()}; load {LOAD:.1f} when it began",
        "note": note,
        "rows": list(rows),
        "raw": raw,
    }
    (FOLDER / f"{section}.json").write_text(json.dumps(made, indent=1, default=str) + "\n")


def describe_machine() -> str:
    """Return processor, cores, kernel and Python in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            model = line.partition(":")[2].strip()
            break
    kernel = ".".join(platform.release().split(".")[:2])
    python = platform.python_version()
    return f"{model}, {os.cpu_count()} cores, Linux {kernel} ({platform.machine()}), Python {python}"


def format_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def format_sections(order: Iterable[str]) -> str:
    """Return every saved section as Markdown, in the given order."""
    parts = []
    for name in order:
        made = load_section(name)
        if made is not None:
            heading = f"## {made['title']}\n\n{made['date']}; {made['machine']}."
            parts.append(f"{heading}\n\n{made['note']}\n\n{format_table(made['rows'])}")
    return "\n\n".join(parts)


def load_section(name: str) -> dict[str, Any] | None:
    """Return what a section has saved; None when it has not run."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        return None
    made: dict[str, Any] = json.loads(path.read_text())
    return made if made.get("format") == FORMAT else None


def write_page(page: Path, top: str, order: Iterable[str]) -> None:
    """Put ``top`` and the saved sections between the page's two marks."""
    text = page.read_text()
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        sys.exit(f"{page.name} has lost its marks {BEGIN} and {END}")
    made = "\n\n".join(part for part in (top, format_sections(order)) if part)
    page.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}")
