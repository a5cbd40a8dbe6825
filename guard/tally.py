"""Refusals, summed until somebody writes them down.

The gate tells of each refused packet; a row is kept for each connection and answer, and rows are bounded:
when too many connections are refused at once, further ones are counted without their names. Nothing is lost:
the sums are always those of the gate's own counters. This file knows neither clock nor disk.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from guard.core.flow import Flow
from guard.core.packet import format_key
from guard.core.verdict import Decision, Reason

MAX_ROWS: Final = 256
"""Connections and answers told apart between two writings: what a flood can make the disk write."""

_ENGINE_ERROR: Final = Reason.ENGINE_ERROR
Target = Flow | tuple[int, bytes]
"""A connection, or the protocol and key of a packet that belongs to none."""


class TallyRow(NamedTuple):
    """What was refused; times are the engine's clock in nanoseconds."""

    device: str
    flow: str
    decision: Decision
    passed: bool
    packets: int
    bytes: int
    first_ns: int
    last_ns: int


class _Sum:
    """What one connection and answer came to, and whose packet was the last that was found to belong here."""

    __slots__ = ("decision", "device", "first_ns", "last_ns", "octets", "packets", "passed", "target")

    def __init__(self, ns: int) -> None:
        self.device = ""
        self.target: Target | None = None
        self.decision: Decision | None = None
        self.passed = False
        self.packets = 0
        self.octets = 0
        self.first_ns = ns
        self.last_ns = ns


class Tally:
    """The sums since they were taken last."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, Target | None, Decision, bool], _Sum] = {}
        self._latest: _Sum | None = None  # refusals come in runs, so it is asked first

    def note(
        self,
        device: str,
        target: Target,
        decision: Decision,
        octets: int,
        ns: int,
        passed: bool,  # noqa: FBT001  # one flat call on the packet's path
    ) -> None:
        """Count one refused packet of ``octets`` bytes; ``passed``: it passed all the same."""
        if decision.reason is _ENGINE_ERROR:
            octets = 0  # the engine counts no bytes of what it could not read
        row = self._latest
        if (
            row is None
            or target is not row.target
            or decision is not row.decision
            or passed != row.passed
            or device != row.device
        ):
            row = self._latest = self._find(device, target, decision, ns, passed=passed)
            row.device, row.target, row.decision, row.passed = device, target, decision, passed
        row.packets += 1
        row.octets += octets
        row.last_ns = ns

    def _find(self, device: str, target: Target, decision: Decision, ns: int, *, passed: bool) -> _Sum:
        rows = self._rows
        key: tuple[str, Target | None, Decision, bool] = (device, target, decision, passed)
        row = rows.get(key)
        if row is None and len(rows) >= MAX_ROWS:
            key = (device, None, decision, passed)
            row = rows.get(key)
        if row is None:
            row = rows[key] = _Sum(ns)
        return row

    def add(self, device: str, decision: Decision, packets: int, octets: int, ns: int) -> None:
        """Count packets that somebody else refused, of nobody knows which connections."""
        key: tuple[str, Target | None, Decision, bool] = (device, None, decision, False)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Sum(ns)
        row.packets += packets
        row.octets += octets
        row.last_ns = ns

    def take(self) -> list[TallyRow]:
        """Return the sums and begin anew."""
        rows, self._rows, self._latest = self._rows, {}, None
        return [
            TallyRow(
                device, _name(target), decision, passed, row.packets, row.octets, row.first_ns, row.last_ns
            )
            for (device, target, decision, passed), row in rows.items()
        ]


def _name(target: Target | None) -> str:
    if target is None:
        return ""
    return format_key(*target) if isinstance(target, tuple) else target.get_name()
