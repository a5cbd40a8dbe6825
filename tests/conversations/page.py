"""The figures as docs/conversations.md."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from guard.lab.namespaces import DEVICES
from tests.conversations.lateness import LATENESS_S, WHOLE, Upload
from tests.conversations.success import (
    LATEST_S,
    PRESSING_S,
    STATE_EVERY_S,
    TELEMETRY_EVERY_S,
    Life,
    Lives,
)

GOAL_S = 0.010
POLICIES = {False: "strict", True: "balanced"}
_HEAD = """\
# Conversations

Written by `sudo python -m tests.conversations` on {date}.
{machine}.

What holding is for: the Echo hears its wake word and uploads at once; our own detector is sure a little
later. Two [simulated Echos](lab.md) speak through the gate; what the cloud's side received decides.

## The wake event comes late

The real gate on the kernel's queue, in network namespaces, policy strict, no interaction open before,
{repeats} utterances of each Echo for each lateness. *Whole*: every byte arrived. *Early*: something arrived
before the event. *Beyond*: how much later than the wake event the cloud read the first record; the goal is
10 ms. The last row is the same path in monitor, where nothing waits: what it shows is the machine.
A busier machine adds its own delays: in another run, at load 6, 77 of 80 came within 10 ms, the worst
after 46 ms.

| wake event after the first audio packet | whole | early | beyond, median | worst | within 10 ms |
|---|---|---|---|---|---|
"""
_SUCCESS = """
## A hundred conversations

A wake event comes 0 to {latest:g} s after the first audio packet. *Answered* counts what people said once:
the eager Echo's own second upload counts as answered, a lazy one's "Sorry, I'm having trouble" does not. *Not
begun*: it had no session just then. What is missing to the hundred was spoken while a refused report still
waited on the same connection, and was cut with it. *Cut*, *opened*: connections.

- **Everyday**: people speak every two minutes or so; reports of settings come every {state:g} s and
  telemetry every {telemetry:g} s, at random. That is 113 kB an hour, in the middle of what quiet Echos
  send. Under strict each of these is refused and its connection cut.
- **Pressing**: each conversation begins within {pressing:g} s after such a report, as bad luck would
  have it. A hundred of these within minutes also use up the balanced policy's budget towards the end.

The simulation is the lab's: one process, virtual time, the same Echos, TLS, engine and policy. The
kernel rows are the real gate in namespaces.

| life | where | policy | Echo | answered | not begun | cut an hour | opened an hour |
|---|---|---|---|---|---|---|---|
"""
_MUTED = """
## Muted, and unmuted again

While muted, both policies refuse all of it. *First answer*: seconds from unmuting to the first answered
command, its 1.5 s of speech included; people begin to speak at the moment of unmuting and say it again
every 4 s. Simulation; {times} mutes.

| life | policy | Echo | connections opened an hour while muted | first answer, median | first answer, worst |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One life in one place under one policy."""

    life: str
    where: str
    balanced: bool
    lives: Lives


@dataclass
class Figures:
    """All that was measured."""

    uploads: list[Upload] = field(default_factory=list)
    unheld: list[Upload] = field(default_factory=list)
    repeats: int = 0
    success: list[Row] = field(default_factory=list)
    muted: list[Row] = field(default_factory=list)
    mutes: int = 0


def write_page(figures: Figures, *, date: str, machine: str) -> str:
    """Return the document."""
    text = _HEAD.format(date=date, machine=machine, repeats=figures.repeats)
    text += _join(_get_lateness_rows(figures))
    text += _SUCCESS.format(
        latest=LATEST_S, state=STATE_EVERY_S, telemetry=TELEMETRY_EVERY_S, pressing=PRESSING_S
    )
    text += _join(_get_success_rows(figures.success))
    text += _MUTED.format(times=figures.mutes)
    return text + _join(_get_muted_rows(figures.muted))


def _get_lateness_rows(figures: Figures) -> Iterator[tuple[str, ...]]:
    for planned in LATENESS_S:
        some = [upload for upload in figures.uploads if upload.planned == planned]
        early = sum(upload.arrived is not None and upload.arrived < upload.heard for upload in some)
        yield f"{planned * 1000:.0f} ms", *_get_cells(some, str(early) if planned else "-")
    yield "monitor: nothing waits", *_get_cells(figures.unheld, "-")


def _get_cells(uploads: Sequence[Upload], early: str) -> tuple[str, ...]:
    delays = [upload.delay for upload in uploads if upload.delay is not None]
    whole = sum(upload.received == WHOLE for upload in uploads)
    return (
        f"{whole} of {len(uploads)}",
        early,
        _milliseconds(statistics.median(delays) if delays else math.inf),
        _milliseconds(max(delays, default=math.inf)),
        f"{sum(delay <= GOAL_S for delay in delays)} of {len(uploads)}",
    )


def _get_success_rows(rows: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    for row, name, life in _each(rows):
        yield (
            row.life,
            row.where,
            POLICIES[row.balanced],
            name,
            f"{life.answered} of {life.spoken}",
            str(life.declined),
            _per_hour(life.resets, life),
            _per_hour(life.dials, life),
        )


def _get_muted_rows(rows: Iterable[Row]) -> Iterator[tuple[str, ...]]:
    for row, name, life in _each(rows):
        yield (
            row.life,
            POLICIES[row.balanced],
            name,
            _per_hour(life.dials, life),
            f"{statistics.median(life.waits):.1f} s",
            f"{max(life.waits):.1f} s",
        )


def _each(rows: Iterable[Row]) -> Iterator[tuple[Row, str, Life]]:
    for row in rows:
        for device in DEVICES:
            yield row, device.name, row.lives[device.name]


def _per_hour(count: int, life: Life) -> str:
    return f"{count / life.hours:,.0f}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _join(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
