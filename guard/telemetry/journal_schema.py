"""What the journal holds: one table for each kind of entry, made of the named tuple that is written to it.

Times are milliseconds since 1970, UTC; ``run`` is the time at which the gate began that wrote the entry, its
number for good. Addresses stand here, because the journal is the owner's own; payload, audio and DNS
names do not. This file knows columns; it opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, get_type_hints

VERSION: Final = 1
"""Of the tables: a file of another version is set aside, not read."""


class Run(NamedTuple):
    """A gate that ran; ``ended`` stays empty when it was killed."""

    began: int
    ended: int | None
    mode: str
    version: str


class Refusal(NamedTuple):
    """Packets of one connection refused for one reason between two writings.

    ``passed``: they passed all the same (monitor, pause). ``flow`` is empty where so many connections were
    refused at once that they were only counted.
    """

    run: int
    device: str
    began: int
    ended: int
    flow: str
    packet_class: str
    justification: str
    reason: str
    scope: str
    after_virtual_reset: bool
    passed: bool
    packets: int
    bytes: int


class Flow(NamedTuple):
    """A TCP connection; ``sent`` and ``received`` are payload bytes offered in order.

    ``explained``: it began inside an interaction. ``end``: open, closed, refused or idle.
    """

    run: int
    device: str
    began: int
    ended: int | None
    flow: str
    sent: int
    received: int
    explained: bool
    inbound: bool
    end: str


class Interaction(NamedTuple):
    """From a wake word to the end of the exchange; ``sent``: bytes of the packets that passed for it."""

    run: int
    device: str
    began: int
    ended: int | None
    word: str
    source: str
    cause: str
    sent: int


class Mute(NamedTuple):
    """A mute state that began."""

    run: int
    device: str
    began: int
    state: str
    source: str


class Mode(NamedTuple):
    """A switch of the mode, of a policy, of the settings: ``what`` went from ``before`` to ``after``."""

    run: int
    device: str
    began: int
    what: str
    before: str
    after: str


class Pause(NamedTuple):
    """A pause; ``until`` is when it was to end, ``cause`` what ended it."""

    run: int
    device: str
    began: int
    until: int
    ended: int | None
    cause: str


class Notice(NamedTuple):
    """Something the owner should know of: a wake word that was not heard, a voice refused, a failure."""

    run: int
    device: str
    began: int
    kind: str
    flow: str
    bytes: int


Entry = Run | Refusal | Flow | Interaction | Mute | Mode | Pause | Notice


@dataclass(frozen=True, slots=True)
class Table:
    """How a kind of entry is kept. ``letter`` begins its ids; ``key`` names what two versions share."""

    kind: str
    name: str
    letter: str
    entry: type[Entry]
    key: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns in the entry's order."""
        return self.entry._fields

    def format_create(self) -> str:
        """Return the statements that make the table."""
        hints = get_type_hints(self.entry)
        types = {int: "INTEGER NOT NULL", bool: "INTEGER NOT NULL", str: "TEXT NOT NULL"}
        columns = ", ".join(f"{name} {types.get(hints[name], 'INTEGER')}" for name in self.columns)
        unique = f", UNIQUE ({', '.join(self.key)})" if self.key else ""
        return (
            f"CREATE TABLE {self.name} (id INTEGER PRIMARY KEY AUTOINCREMENT, {columns}{unique}); "
            f"CREATE INDEX {self.name}_began ON {self.name} (began);"
        )

    def format_insert(self) -> str:
        """Return the statement that writes an entry, over its former version where it has a key."""
        names, marks = ", ".join(self.columns), ", ".join("?" for _ in self.columns)
        text = f"INSERT INTO {self.name} ({names}) VALUES ({marks})"  # noqa: S608  # names are our own
        if not self.key:
            return text
        changes = ", ".join(f"{name} = excluded.{name}" for name in self.columns if name not in self.key)
        return f"{text} ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changes}"


TABLES: Final = (
    Table("run", "runs", "g", Run, ("began",)),
    Table("refusal", "refusals", "r", Refusal),
    Table("flow", "flows", "f", Flow, ("run", "device", "flow")),
    Table("interaction", "interactions", "i", Interaction, ("run", "device", "began")),
    Table("mute", "mutes", "m", Mute),
    Table("mode", "modes", "s", Mode),
    Table("pause", "pauses", "p", Pause, ("run", "device", "began")),
    Table("notice", "notices", "n", Notice),
)

TABLE_OF: Final[dict[type, Table]] = {table.entry: table for table in TABLES}
BULK: Final = ("refusals", "flows")
"""What grows with traffic: the first to go when the file is as large as it may be."""
