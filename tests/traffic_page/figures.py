"""The numbers of the page: medians with the middle 80 % around them."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from tests.traffic_page.records import APPLICATION_DATA, Session
from tests.traffic_page.uploads import AFTER_S, LABELS, MACS, PRE_ROLL_S, Upload

Number = float | int | None


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and where 10 % and 90 % of the values lie."""

    count: int
    low: float
    median: float
    high: float

    def format(self, digits: int = 0, scale: float = 1.0) -> str:
        """Return ``84 (60 to 113)``."""
        low, median, high = (f"{value * scale:,.{digits}f}" for value in (self.low, self.median, self.high))
        return f"{median} ({low} to {high})"


def spread(values: Iterable[Number]) -> Spread:
    """Return the spread of what is known; ValueError when nothing is."""
    known = sorted(float(value) for value in values if value is not None)
    if not known:
        raise ValueError("no value")
    at = [known[round((len(known) - 1) * share)] for share in (0.1, 0.9)]
    return Spread(len(known), at[0], statistics.median(known), at[1])


def get_burst_s(upload: Upload) -> float | None:
    """Return how many seconds of voice left within the first ``PRE_ROLL_S``."""
    if upload.rate is None:
        return None
    held = [record for record in upload.audio if record.at <= PRE_ROLL_S]
    units = sum(1 + (record.length - upload.unit) // upload.step for record in held)
    return units / NOMINAL[upload.unit]


def is_ahead(upload: Upload) -> bool:
    """Say whether, a second after its first record, a turn has sent half a second more than one can say."""
    audio = upload.audio
    soon = [record for record in audio if record.at - audio[0].at <= 1.0]
    units = sum(1 + (record.length - upload.unit) // upload.step for record in soon)
    return units / NOMINAL[upload.unit] > 1.5


NOMINAL = {432: 20.0, 113: 50.0}  # units of voice a second: 400 bytes at 64 kbit/s, 80 at 32

# what, unit, digits, scale, value
ROWS: list[tuple[str, int, float, Callable[[Upload], Number]]] = [
    ("first record of voice after, ms", 0, 1000.0, lambda u: u.audio[0].at if u.audio else None),
    ("records before it", 0, 1.0, lambda u: len(u.opening)),
    ("bytes before it", 0, 1.0, lambda u: sum(record.length for record in u.opening)),
    ("bytes within the first 0.25 s", 0, 1.0, lambda u: u.count_bytes(PRE_ROLL_S)),
    ("of it voice, in seconds of speech", 2, 1.0, get_burst_s),
    (
        "fifth record of voice after the first, ms",
        0,
        1000.0,
        lambda u: u.audio[4].at - u.audio[0].at if len(u.audio) > 4 else None,
    ),
    ("then bytes of voice a second", 0, 1.0, lambda u: u.rate),
    ("records of voice in all", 0, 1.0, lambda u: len(u.audio)),
    ("bytes of voice in all", 0, 1.0, lambda u: sum(record.length for record in u.audio)),
    ("last record of voice after, s", 2, 1.0, lambda u: u.seconds),
    ("records of the cloud meanwhile", 0, 1.0, lambda u: sum(r.at < u.seconds for r in u.down)),
    ("answer begins after the end of the upload, s", 2, 1.0, lambda u: u.answer[0] if u.answer else None),
    ("bytes of the answer", 0, 1.0, lambda u: u.answer[2] if u.answer else None),
    (
        "it arrives within, s",
        2,
        1.0,
        lambda u: u.answer[1] - u.answer[0] if u.answer else None,
    ),
    (
        f"bytes of the Echo in the {AFTER_S:g} s after the upload",
        0,
        1.0,
        lambda u: sum(record.length for record in u.up if record.at > u.seconds + 0.001),
    ),
    ("connections opened around it", 0, 1.0, lambda u: len(u.connections)),
]


def make_rows(uploads: Sequence[Upload]) -> Iterator[tuple[str, ...]]:
    """Yield (what, Echo A, Echo B) for commands that begin with a burst."""
    by_home = [select(uploads, household, pre_roll=True) for household in MACS]
    for what, digits, scale, get in ROWS:
        yield what, *(spread(map(get, some)).format(digits, scale) for some in by_home)


def select(uploads: Sequence[Upload], household: str, *, pre_roll: bool) -> list[Upload]:
    """Return the commands of a household that begin with a burst, or those that do not."""
    return [one for one in uploads if one.household == household and one.pre_roll is pre_roll]


def describe_captures(sessions: Sequence[Session], uploads: Sequence[Upload]) -> Iterator[tuple[str, ...]]:
    """Yield one row for each Echo: what there is of it."""
    for household, label in LABELS.items():
        own = [session for session in sessions if session.path.parent.name == household]
        days = sorted(datetime.fromtimestamp(session.began, UTC) for session in own)
        yield (
            label,
            str(len(own)),
            f"{sum(session.ended for session in own) / 3600:.1f}",
            f"{days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}",
            str(len(select(uploads, household, pre_roll=True))),
            str(len(select(uploads, household, pre_roll=False))),
        )


def count_names(sessions: Sequence[Session], uploads: Sequence[Upload]) -> Iterator[tuple[str, ...]]:
    """Yield (name, port, opened by A, by B, share of them around a command) for new connections."""
    around = {id(flow) for upload in uploads for _at, flow in upload.connections}
    opened: Counter[tuple[str, int]] = Counter()
    homes: Counter[tuple[str, int, str]] = Counter()
    inside: Counter[tuple[str, int]] = Counter()
    for session in sessions:
        for flow in session.flows:
            if flow.opened is None:
                continue
            key = flow.name or "(no name seen)", flow.server_port
            opened[key] += 1
            homes[*key, session.path.parent.name] += 1
            inside[key] += id(flow) in around
    for (name, port), count in opened.most_common():
        owners = [str(homes[name, port, household]) for household in MACS]
        yield f"`{name}`" if "." in name else name, str(port), *owners, f"{inside[name, port] / count:.0%}"


def get_share_inside(sessions: Sequence[Session], uploads: Sequence[Upload]) -> float:
    """Return the share of the captures' time that counts as around a command."""
    inside = sum(min(upload.until, upload.seconds + AFTER_S) + 1.0 for upload in uploads)
    return inside / sum(session.ended for session in sessions)


def get_intervals(sessions: Sequence[Session], length: int) -> list[float]:
    """Return the seconds between records of one length that the Echos sent on a connection."""
    gaps: list[float] = []
    for session in sessions:
        for flow in session.flows:
            at = [r.at for r in flow.records if r.up and r.kind == APPLICATION_DATA and r.length == length]
            gaps += [later - earlier for earlier, later in pairwise(at)]
    return gaps
