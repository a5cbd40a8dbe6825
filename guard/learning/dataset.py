"""Build a dataset: many captures in, one directory of tables out, complete or not at all.

Knows: how the work is cut (one capture a task, each writes its own part) and how the parts become tables.
Refuses to know: what a row says (``packets``, ``bursts``), where tasks run (``parallel``). A part lies in a
file from the first row on, so memory does not grow with a capture, nor with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard import __version__
from guard.learning.bursts import BURST_COLUMNS, Found, get_contract, write_bursts
from guard.learning.columns import PACKET_COLUMNS, Column
from guard.learning.disguise import Disguise
from guard.learning.packets import judge_packets
from guard.learning.parallel import spread
from guard.learning.source import Source
from guard.learning.tables import (
    TableWriter,
    join_tables,
    write_directory,
    write_manifest,
    write_parquet,
)

PACKETS, BURSTS = "packets", "bursts"
TABLES: dict[str, tuple[Column, ...]] = {PACKETS: PACKET_COLUMNS, BURSTS: BURST_COLUMNS}
FORMAT = 1  # of the directory


@dataclass(frozen=True, slots=True)
class Task:
    """One capture to be written into ``folder``; with ``disguise`` nothing of it names anybody."""

    source: Source
    number: int
    folder: Path
    disguise: str | None = None  # what its group is called then


@dataclass(frozen=True, slots=True)
class Part:
    """What became of a task."""

    number: int
    entry: dict[str, Any]  # for the manifest


def build_dataset(
    sources: Sequence[Source],
    out: Path,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    with_addresses: bool = True,
    on_done: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Write the tables of all sources into the new directory ``out`` and return its manifest.

    ``on_done`` is told the name of each capture that is done. WakeguardError as soon as one cannot be read;
    then there is no ``out``.
    """
    with write_directory(out) as folder:
        parts = folder / "parts"
        parts.mkdir()
        groups = {group: f"household-{number}" for number, group in enumerate(_list_groups(sources), 1)}
        tasks = [
            Task(source, number, parts, None if with_addresses else groups[source.group])
            for number, source in enumerate(sources)
        ]
        done: dict[int, Part] = {}
        for part in spread(write_part, tasks, jobs=jobs, cluster=cluster):
            done[part.number] = part
            if on_done is not None:
                on_done(sources[part.number].name)
        for table, columns in TABLES.items():
            path = folder / f"{table}.csv"
            join_tables((_name_part(task, table) for task in tasks), path)
            write_parquet(path, columns)
        for task in tasks:
            for table in TABLES:
                _name_part(task, table).unlink()
        parts.rmdir()
        manifest = {
            "format": FORMAT,
            "wakeguard": __version__,
            "feature_contract": get_contract(),
            "addresses": with_addresses,
            "captures": [done[number].entry for number in sorted(done)],
        }
        write_manifest(folder, manifest)
    return manifest


def write_part(task: Task) -> Part:
    """Write one capture's rows; runs in a process of its own."""
    source = task.source
    name = source.name if task.disguise is None else f"capture-{task.number + 1}"
    group = task.disguise or source.group
    written: dict[str, int] = {}
    found = Found()
    frames = 0
    for table, columns in TABLES.items():
        with TableWriter(_name_part(task, table), columns) as writer:
            write: Callable[[Sequence[Any]], object] = writer.write
            if task.disguise is not None:
                hide = Disguise(columns, capture=name, group=group).hide
                write = _after(hide, writer.write)
            if table == PACKETS:
                frames = judge_packets(source, write).frames
            else:
                found = write_bursts(source, write)
            written[table] = writer.rows
    entry = {
        "capture": name,
        "group": group,
        "condition": source.condition,
        "events": source.events is not None,
        "frames": frames,
        "packets": written[PACKETS],
        "burst_rows": written[BURSTS],
        "bursts": dict(found.labels),
        "uploads": None if source.uploads is None else len(source.uploads),
        "uploads_with_bursts": len(found.uploads),
    }
    return Part(task.number, entry)


def _after(
    change: Callable[[Sequence[Any]], Sequence[Any]], write: Callable[[Sequence[Any]], object]
) -> Callable[[Sequence[Any]], object]:
    return lambda row: write(change(row))


def _name_part(task: Task, table: str) -> Path:
    return task.folder / f"{table}-{task.number}.csv"


def _list_groups(sources: Sequence[Source]) -> list[str]:
    return sorted({source.group for source in sources})
