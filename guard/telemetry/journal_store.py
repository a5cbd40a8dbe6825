"""The journal's file: written in batches, kept within its bounds, set aside when it is damaged.

One SQLite file in WAL mode, so that whoever reads never waits for the gate nor the gate for him. Nothing is
flushed to the disk with every batch (``synchronous=NORMAL``): a process that is killed loses nothing that was
written, a power cut loses the last batches and damages none. Every fault has a name. This file knows SQLite;
it knows neither thread nor clock nor gate.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Final

from guard.errors import JournalError
from guard.telemetry.journal_schema import BULK, TABLE_OF, TABLES, VERSION, Entry

FILE_NAME: Final = "journal.sqlite"
DAMAGED_SUFFIX: Final = ".damaged"
FILE_MODE: Final = 0o640  # when the household speaks is nobody else's business
DAY_MS: Final = 86_400_000
WAL_BYTES: Final = 1 << 20  # what is left of the write-ahead log when it has been worked in
SHARE: Final = 10  # a tenth of the oldest goes at a time
_ROUNDS: Final = 60  # half of them on what is bulk: little of it is left then
_BUSY_S: Final = 1.0
_INSERTS: Final = {table.entry: table.format_insert() for table in TABLES}


class Fault(StrEnum):
    """Why the journal cannot be written; a closed set."""

    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    DAMAGED = "damaged"
    BUSY = "busy"
    UNWRITABLE = "unwritable"


_FAULTS: Final = {
    sqlite3.SQLITE_FULL: Fault.DISK_FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_PERM: Fault.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
}
_REMEDIES: Final = {
    Fault.DISK_FULL: "make room, or lower journal.megabytes",
    Fault.READ_ONLY: "make the file and its directory writable for the gate",
    Fault.DAMAGED: "it was set aside and a new one begun",
    Fault.BUSY: "another program keeps it locked; end that",
    Fault.UNWRITABLE: "look at journal.directory and its disk",
}


class StoreError(JournalError):
    """A batch was not written, none of it; ``fault`` is the name of why."""

    def __init__(self, path: Path, fault: Fault, detail: str) -> None:
        super().__init__(f"journal {path}: {detail}; {_REMEDIES[fault]}")
        self.fault = fault


class Store:
    """One journal file, opened when it is first written to; for one thread."""

    def __init__(self, path: Path, *, days: int, max_bytes: int) -> None:
        """Entries older than ``days`` go, and the oldest when the file exceeds ``max_bytes``."""
        self.path = path
        self._days = days
        self._max_bytes = max_bytes
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def write(self, batch: Sequence[Entry]) -> None:
        """Write all of ``batch`` or nothing. StoreError says why not; the next attempt opens it anew."""
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            for entry_type, entries in groupby(sorted(batch, key=_rank), key=type):
                connection.executemany(_INSERTS[entry_type], entries)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise self._explain(error) from None

    def prune(self, *, now_ms: int) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        try:
            connection = self._open()
            self._forget_old(connection, now_ms)
            self._forget_surplus(connection)
            connection.executescript("PRAGMA incremental_vacuum")  # execute would free a single page
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except (sqlite3.Error, OSError) as error:
            raise self._explain(error) from None

    def close(self) -> None:
        """Close the file; whatever fails now has failed before."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_there():
            self.close()  # somebody removed it: what is written there now, nobody would ever read
        if self._connection is None:
            self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
            self._inode = self.path.stat().st_ino
            self._connection = _connect(self.path)
            if not _prepare(self._connection):
                raise sqlite3.DatabaseError("it is of another version")
        return self._connection

    def _is_there(self) -> bool:
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def _forget_old(self, connection: sqlite3.Connection, now_ms: int) -> None:
        cut = now_ms - self._days * DAY_MS
        for table in TABLES:
            connection.execute(f"DELETE FROM {table.name} WHERE began < ?", (cut,))  # noqa: S608  # our own name

    def _forget_surplus(self, connection: sqlite3.Connection) -> None:
        names: Iterable[str] = BULK
        for turn in range(_ROUNDS):
            if _count_bytes(connection) <= self._max_bytes:
                return
            if turn == _ROUNDS // 2:
                names = [table.name for table in TABLES]
            for name in names:
                connection.execute(
                    f"DELETE FROM {name} WHERE id <= (SELECT min(id) + (max(id) - min(id)) / {SHARE} "  # noqa: S608  # our own name
                    f"FROM {name})"
                )

    def _explain(self, error: sqlite3.Error | OSError) -> StoreError:
        self.close()
        fault = _name(error)
        detail = error.strerror if isinstance(error, OSError) else str(error)
        if fault is Fault.DAMAGED and not self._set_aside():
            fault = Fault.UNWRITABLE
        return StoreError(self.path, fault, detail or "unknown error")

    def _set_aside(self) -> bool:
        """Put a damaged file out of the way, in place of an earlier one."""
        try:
            self.path.replace(self.path.with_name(self.path.name + DAMAGED_SUFFIX))
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return False
        return True


def _rank(entry: Entry) -> int:
    return TABLES.index(TABLE_OF[type(entry)])


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection) -> bool:
    """Make the file a journal, or tell whether it is one. sqlite3.Error when it cannot be had."""
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # counts only while the file is empty
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}").fetchall()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        statements = "".join(table.format_create() for table in TABLES)
        connection.executescript(f"BEGIN IMMEDIATE; {statements} PRAGMA user_version={VERSION}; COMMIT;")
        return True
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(str(found).replace("\n", " "))
    return bool(version == VERSION)


def _count_bytes(connection: sqlite3.Connection) -> int:
    """Return what is in use: free pages are given back afterwards."""
    pages, free, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def _name(error: sqlite3.Error | OSError) -> Fault:
    if isinstance(error, OSError):
        return {
            28: Fault.DISK_FULL,  # ENOSPC
            30: Fault.READ_ONLY,  # EROFS
            13: Fault.READ_ONLY,  # EACCES
        }.get(error.errno or 0, Fault.UNWRITABLE)
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return Fault.DAMAGED if type(error) is sqlite3.DatabaseError else Fault.UNWRITABLE
    return _FAULTS.get(code & 0xFF, Fault.UNWRITABLE)
