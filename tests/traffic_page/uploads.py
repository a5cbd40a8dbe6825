"""The spoken commands of the captures, and what the Echo sent and got around each of them.

Which connection carries a command, and from when to when, says ``events_train.csv``; that was made from the
lengths of records, so figures that follow from lengths alone are not independent of it.
"""

from __future__ import annotations

import csv
import statistics
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.traffic_page.records import APPLICATION_DATA, Flow, Record, Session, read

MACS = {"haipeng_li": "c4:95:00:e3:93:2f", "sean_kennedy": "4c:ef:c0:03:f2:38"}
LABELS = {"haipeng_li": "Echo A", "sean_kennedy": "Echo B"}
PRE_ROLL_S = 0.25  # the burst of what was buffered is over then
STEADY_FROM_S = 0.6
AFTER_S = 15.0  # an answer begins and ends within
LARGE_BYTES = 1000  # a record of the answer; directives before it are smaller
PAUSE_S = 2.0  # between two parts of one answer
BEFORE_S = 1.0
# Before its pre-roll B sends the rest of a form, 1481 to 1641 bytes: some are on the lattice by chance.
NO_VOICE = {"haipeng_li": range(0), "sean_kennedy": range(1481, 1642)}


@dataclass(frozen=True, slots=True)
class Upload:
    """One command. Times in seconds from its first record."""

    household: str
    session: Session
    flow: Flow
    start: float  # in the capture
    seconds: float  # until the last audio record
    unit: int  # length of a record with one unit of voice
    pre_roll: bool  # begins with a burst of what was buffered; a follow-up turn does not
    up: tuple[Record, ...]  # application data, from its first record until the next command
    down: tuple[Record, ...]
    until: float  # seconds to the next command, or to the capture's end

    @property
    def step(self) -> int:
        """Return the bytes of one unit of voice: lengths are ``unit`` + n times this."""
        return 400 if self.unit == 432 else 80

    def is_audio(self, record: Record) -> bool:
        """Say whether a record's length is one that voice has."""
        return (
            record.length >= self.unit
            and (record.length - self.unit) % self.step == 0
            and record.length not in NO_VOICE[self.household]
        )

    @property
    def audio(self) -> list[Record]:
        """Return the records of voice."""
        return [record for record in self.up if self.is_audio(record) and record.at <= self.seconds + 0.001]

    @property
    def opening(self) -> list[Record]:
        """Return what comes before the first record of voice."""
        first = self.audio[0].at if self.audio else 0.0
        return [record for record in self.up if record.at < first]

    def count_bytes(self, until: float) -> int:
        """Return the bytes of records that were sent until then."""
        return sum(record.length for record in self.up if record.at <= until)

    @property
    def interval(self) -> float | None:
        """Return the median time between two records of voice in the steady run."""
        steady = [record.at for record in self.audio if record.at >= STEADY_FROM_S]
        gaps = [later - earlier for earlier, later in pairwise(steady)]
        return statistics.median(gaps) if len(gaps) >= 5 else None

    @property
    def rate(self) -> float | None:
        """Return bytes of voice (records without what TLS and framing add) per second of the steady run."""
        steady = [record for record in self.audio if record.at >= STEADY_FROM_S]
        if len(steady) < 6:
            return None
        units = sum(1 + (record.length - self.unit) // self.step for record in steady[1:])
        return units * self.step / (steady[-1].at - steady[0].at)

    @property
    def answer(self) -> tuple[float, float, int] | None:
        """Return when the answer began and ended, from the end of the upload on, and its bytes."""
        large = [record.at for record in self.down if record.length >= LARGE_BYTES]
        if not large:
            return None
        last = large[0]
        for at in large:
            if at - last > PAUSE_S:
                break
            last = at
        size = sum(record.length for record in self.down if large[0] <= record.at <= last)
        return large[0] - self.seconds, last - self.seconds, size

    @property
    def connections(self) -> list[tuple[float, Flow]]:
        """Return what was opened around the command: seconds from its first record."""
        end = min(self.until, self.seconds + AFTER_S)
        return [
            (flow.opened - self.start, flow)
            for flow in self.session.flows
            if flow.opened is not None and -BEFORE_S <= flow.opened - self.start < end
        ]


def read_all(folder: Path) -> tuple[list[Session], list[Upload]]:
    """Return every capture, and every upload that is labelled in it; ``folder`` holds the households."""
    with (folder / "events_train.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    sessions: list[Session] = []
    uploads: list[Upload] = []
    for household, mac in MACS.items():
        for path in sorted((folder / household).glob("*.pcap.gz")):
            session = read(path, mac)
            sessions.append(session)
            own = [row for row in rows if row["household"] == household and row["file"] == path.name]
            uploads += _find(household, session, own)
    return sessions, uploads


def _find(household: str, session: Session, rows: list[dict[str, str]]) -> list[Upload]:
    starts = sorted(float(row["start_s"]) for row in rows)
    found = []
    for row in rows:
        start = float(row["start_s"])
        until = next((later for later in starts if later > start), session.ended)
        port = int(row["client_port"])
        flow = next(
            (
                flow
                for flow in session.flows
                if flow.port == port and any(abs(record.at - start) < 10.0 for record in flow.records)
            ),
            None,
        )
        if flow is None:
            continue
        end = min(until - 0.001, float(row["end_s"]) + AFTER_S)
        near = [
            record._replace(at=record.at - start)
            for record in flow.records
            if record.kind == APPLICATION_DATA and start - 0.001 <= record.at < end
        ]
        found.append(
            Upload(
                household,
                session,
                flow,
                start,
                float(row["end_s"]) - start,
                int(row["audio_record_len"]),
                row["preroll"] == "1",
                tuple(record for record in near if record.up),
                tuple(record for record in near if not record.up),
                until - start,
            )
        )
    return found
