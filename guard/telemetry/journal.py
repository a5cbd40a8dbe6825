"""Read the journal: what ``wakeguard log``, ``tail`` and ``why`` ask of the file that the gate writes.

Opened read-only; the gate may write meanwhile, run or not. An entry's id is its kind's letter and a number,
``r17``, and stays what it is. This file knows queries; words are ``guard.telling``'s.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, get_type_hints

from guard.errors import JournalError
from guard.telemetry.journal_schema import TABLES, VERSION, Table

_ID = re.compile(r"([a-z]?)([0-9]{1,18})")
_LETTERS: Final = {table.letter: table for table in TABLES}
_BY_KIND: Final = {table.kind: table for table in TABLES}

Counts = dict[tuple[str, str, str, str, str], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Row:
    """One entry: its id, its kind, when it began (ms since 1970), and its columns by name."""

    id: str
    kind: str
    began: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted; the newest ``limit`` of them. Empty: all."""

    kinds: Sequence[str] = ()
    device: str | None = None
    since_ms: int | None = None
    after: Mapping[str, int] = field(default_factory=dict)  # kind -> number; only later entries
    limit: int | None = None


class Journal:
    """An open journal, between ``with`` and its end."""

    def __init__(self, path: Path) -> None:
        """Open ``path``. JournalError says what to do when there is none, or none that can be read."""
        self.path = path
        try:
            path.stat()
            self._connection = self._connect()
        except FileNotFoundError:
            raise JournalError(
                f"no journal at {path}; it begins with the gate (`wakeguard run`, [journal] in its file)"
            ) from None
        except PermissionError:
            raise self._forbid() from None
        except OSError as error:
            raise JournalError(f"journal {path} cannot be read: {error.strerror}") from None

    def __enter__(self) -> Journal:
        """Return the journal; the file is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def read(self, wanted: Filter) -> list[Row]:
        """Return the entries that ``wanted`` lets through, the oldest first."""
        tables = [_BY_KIND[kind] for kind in wanted.kinds] or list(TABLES)
        rows = [row for table in tables for row in self._select(table, wanted)]
        rows.sort(key=lambda row: (row.began, row.kind, int(row.id[1:])))
        return rows if wanted.limit is None else rows[max(0, len(rows) - wanted.limit) :]

    def get(self, name: str) -> Row:
        """Return the entry with that id; a number alone is a refusal's. JournalError when there is none."""
        match = _ID.fullmatch(name.strip().lower())
        table = None if match is None else _LETTERS.get(match[1] or "r")
        if match is None or table is None:
            letters = ", ".join(f"{table.letter} {table.kind}" for table in TABLES)
            raise JournalError(
                f'"{name}" is no id; `wakeguard log` shows them: a letter and a number ({letters})'
            )
        rows = self._query(table, "WHERE id = ?", (int(match[2]),))
        for row in rows:
            return row
        raise JournalError(
            f'no entry "{name}" in the journal; it may be too old (`wakeguard log` shows what there is)'
        )

    def get_latest(self, kind: str, device: str, before_ms: int) -> Row | None:
        """Return the device's last entry of that kind that began by then."""
        where = "WHERE device = ? AND began <= ? ORDER BY began DESC, id DESC LIMIT 1"
        return next(iter(self._query(_BY_KIND[kind], where, (device, before_ms))), None)

    def find_refusals(self, run: int, device: str, flow: str) -> list[Row]:
        """Return what was refused of one connection, the first first."""
        where = "WHERE run = ? AND device = ? AND flow = ? ORDER BY id"
        return list(self._query(_BY_KIND["refusal"], where, (run, device, flow)))

    def get_ends(self) -> dict[str, int]:
        """Return each kind's last number, for ``Filter.after``."""
        return {
            table.kind: int(self._run(f"SELECT coalesce(max(id), 0) FROM {table.name}")[0][0])  # noqa: S608  # our own name
            for table in TABLES
        }

    def get_devices(self) -> list[str]:
        """Return the devices that anything is written of."""
        names = [table.name for table in TABLES if "device" in table.columns]
        union = " UNION ".join(f"SELECT device FROM {name}" for name in names)  # noqa: S608  # our own names
        return sorted(name for (name,) in self._run(union) if name)

    def count_refusals(self, run: int | None = None) -> Counts:
        """Return (packets, bytes) refused by (device, class, justification, verdict, reason).

        As the gate's counters name them, "" for what has no justification; of one run, or of all.
        """
        where = "" if run is None else "WHERE run = ?"
        rows = self._run(
            "SELECT device, packet_class, justification, reason, sum(packets), sum(bytes) FROM refusals "  # noqa: S608  # no foreign word in it
            f"{where} GROUP BY device, packet_class, justification, reason",
            () if run is None else (run,),
        )
        return {
            (device, packet_class, justification, "refuse", reason): (packets, size)
            for device, packet_class, justification, reason, packets, size in rows
        }

    def _select(self, table: Table, wanted: Filter) -> Iterator[Row]:
        conditions: list[str] = []
        values: list[object] = []
        if wanted.device is not None:
            if "device" not in table.columns:
                return iter(())
            conditions.append("device IN (?, '')")
            values.append(wanted.device)
        if wanted.since_ms is not None:
            last = "coalesce(ended, began)" if "ended" in table.columns else "began"
            conditions.append(f"{last} >= ?")
            values.append(wanted.since_ms)
        if table.kind in wanted.after:
            conditions.append("id > ?")
            values.append(wanted.after[table.kind])
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        order = "ORDER BY began DESC, id DESC"
        limit = "" if wanted.limit is None else f" LIMIT {int(wanted.limit)}"
        return self._query(table, where + order + limit, values)

    def _query(self, table: Table, tail: str, values: Sequence[object]) -> Iterator[Row]:
        hints = get_type_hints(table.entry)
        names = ", ".join(table.columns)
        for number, *columns in self._run(f"SELECT id, {names} FROM {table.name} {tail}", values):  # noqa: S608  # values are bound
            fields = {
                name: bool(value) if hints[name] is bool else value
                for name, value in zip(table.columns, columns, strict=True)
            }
            yield Row(f"{table.letter}{number}", table.kind, fields["began"], fields)

    def _run(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise JournalError(f"journal {self.path} cannot be read: {error}; try again") from None

    def _connect(self) -> sqlite3.Connection:
        """Open read-only: through the writer's shared memory, or as it lies there when nobody writes."""
        cause: sqlite3.Error | None = None
        for options in ("mode=ro", "mode=ro&immutable=1"):
            try:
                connection = sqlite3.connect(f"{self.path.absolute().as_uri()}?{options}", uri=True)
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except sqlite3.Error as error:
                cause = error
                if self.path.with_name(f"{self.path.name}-wal").exists():
                    break  # it is being written: what lies there alone is not the whole
                continue
            if version == VERSION:
                return connection
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            if version == 0:
                raise JournalError(f"journal {self.path} has only just been begun; try again in a moment")
            raise JournalError(
                f"journal {self.path} is of version {version}, not {VERSION}; use the wakeguard it came with"
            )
        try:
            with self.path.open("rb"):
                pass
        except PermissionError:
            raise self._forbid() from None
        raise JournalError(f"journal {self.path} cannot be read: {cause}; use sudo, or see what it is")

    def _forbid(self) -> JournalError:
        return JournalError(f"journal {self.path}: your user may not read it; use sudo")
