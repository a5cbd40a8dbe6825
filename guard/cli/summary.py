"""What a replay found, as tables: verdicts, refusals by reason, totals.

This file counts and prints; it judges nothing. A summary is plain data, so that it can come from another
process and several can be added up.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from guard.cli.offline import PIPE_COLUMNS
from guard.core.verdict import Direction, Verdict

if TYPE_CHECKING:
    from guard.replay import Replay

LEGEND = (
    "syn = heartbeat (not TCP SYN) · justified = unmuted, but no interaction explains it: refused under"
    " strict · bytes count from the IP header on"
)


class Found(NamedTuple):
    """One kind of decision on what the device sent; in the words of the tables."""

    packet_class: str
    justification: str
    verdict: str
    reason: str  # of a refusal, else ""
    scope: str

    @property
    def refused(self) -> bool:
        """Tell whether it is a refusal."""
        return self.verdict.startswith(Verdict.REFUSE)


@dataclass(slots=True)
class Summary:
    """How a replay ended: packets and bytes of each kind of decision, and the totals."""

    device: str
    mode: str
    policy: str
    packets: Counter[Found] = field(default_factory=Counter)
    bytes: Counter[Found] = field(default_factory=Counter)
    frames: int = 0
    upstream: int = 0
    downstream: int = 0
    not_ip: int = 0

    @property
    def seen(self) -> bool:
        """Tell whether the device was there at all."""
        return bool(self.upstream or self.downstream or self.not_ip)

    @property
    def refused(self) -> int:
        """How many packets were refused."""
        return sum(count for found, count in self.packets.items() if found.refused)


def summarize(run: Replay) -> Summary:
    """Return the summary of a replay that has run."""
    totals = run.totals
    summary = Summary(run.device, run.mode.value, run.policy)
    summary.frames, summary.upstream = totals.frames, totals.upstream
    summary.downstream, summary.not_ip = totals.downstream, totals.not_ip
    for direction, decision, packets, size in run.engine.counters(run.device):
        if direction is not Direction.UPSTREAM or not packets:
            continue
        refused = decision.verdict is Verdict.REFUSE
        found = Found(
            decision.packet_class or "",
            decision.justification or "",
            decision.verdict.value + (" (after virtual reset)" if decision.after_virtual_reset else ""),
            decision.reason.value if refused else "",
            decision.scope.value if refused and decision.scope else "",
        )
        summary.packets[found] += packets
        summary.bytes[found] += size
    return summary


def add_up(summaries: Iterable[Summary]) -> Summary:
    """Return the sum of one or more summaries of the same device."""
    first, *others = summaries
    total = Summary(first.device, first.mode, first.policy)
    for one in (first, *others):
        total.packets += one.packets
        total.bytes += one.bytes
        total.frames += one.frames
        total.upstream += one.upstream
        total.downstream += one.downstream
        total.not_ip += one.not_ip
    return total


def print_summary(summary: Summary, *, where: str = "the capture") -> None:
    """Print the tables of one replay, or of the sum of several."""
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    title = f"What {summary.device} sent, mode {summary.mode}, policy {summary.policy}"
    table = Table("class", "justification", "verdict", title=title)
    table.add_column("packets", justify="right")
    table.add_column("bytes", justify="right")
    verdicts, verdict_bytes = _fold(summary, slice(0, 3))
    for row in sorted(verdicts):
        style = "red" if row[2].startswith(Verdict.REFUSE) else ""
        table.add_row(*row, f"{verdicts[row]:,}", f"{verdict_bytes[row]:,}", style=style)
    console.print(table)
    reasons, reason_bytes = _fold(summary, slice(3, 5))
    if reasons:
        table = Table("refused because", "scope", title="Refusals by reason")
        table.add_column("packets", justify="right")
        table.add_column("bytes", justify="right")
        for row, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
            table.add_row(*row, f"{count:,}", f"{reason_bytes[row]:,}")
        console.print(table)
    console.print(
        f"{summary.frames:,} frames in {where}; the device sent {summary.upstream:,} IP packets and "
        f"received {summary.downstream:,}; {summary.not_ip:,} other frames of it (ARP and such) never reach "
        f"the gate."
    )
    console.print(LEGEND, style="dim")


def _fold(summary: Summary, part: slice) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]]]:
    packets: Counter[tuple[str, ...]] = Counter()
    sizes: Counter[tuple[str, ...]] = Counter()
    for found, count in summary.packets.items():
        if part.start and not found.refused:  # only a refusal has a reason to show
            continue
        row: tuple[str, ...] = tuple(found)[part]
        packets[row] += count
        sizes[row] += summary.bytes[found]
    return packets, sizes
