"""A voice model asked about every row of datasets, and the bursts that its answers make.

Knows: how the work is cut (a batch of rows a task) and how what batches say of one burst is put together.
Refuses to know: figures (``evaluate``), where tasks run (``parallel``). Of a row nothing is kept once it was
scored; of a burst, a Burst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from guard.core.burst import MODEL_FEATURES
from guard.core.forest import Forest
from guard.learning.labelled import Labelled
from guard.learning.parallel import spread
from guard.learning.parcel import Parcel
from guard.learning.tables import ROWS_AT_ONCE, read_rows

FACTS = (
    *("capture", "burst", "group", "label", "seconds"),
    *("on_lattice", "run_bytes", "certain_s", "certain_bytes"),
)  # of a row, beside what the model sees
Key = tuple[str, str, int]  # dataset, capture, burst
Decision = tuple[float, int]  # seconds from the first audio record, bytes of audio by then


@dataclass(frozen=True, slots=True)
class Burst:
    """One burst: its truth, and what was known of it when."""

    dataset: str
    capture: str
    group: str
    label: int
    score: float  # the model's highest
    certain: bool
    seconds: float | None  # from its first audio record to the gate's decision; None: never
    bytes: int | None  # of audio by then


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one dataset to be scored, from row ``start`` on."""

    number: int
    forest: Parcel
    dataset: str
    path: Path
    start: int


class Glimpse(NamedTuple):
    """What some rows say of a burst, in the order of the rows."""

    group: str
    label: int
    score: float
    by_model: Decision | None
    by_rule: Decision | None

    def then(self, later: Glimpse) -> Glimpse:
        """Return what these rows and the later ones say together."""
        return self._replace(
            score=max(self.score, later.score),
            by_model=self.by_model or later.by_model,
            by_rule=self.by_rule or later.by_rule,
        )


class Scored(NamedTuple):
    """What became of a batch."""

    number: int
    rows: int
    glimpses: dict[Key, Glimpse]


def score_bursts(
    forest: Forest,
    tables: Sequence[Labelled],
    *,
    jobs: int | None,
    on_rows: Callable[[int, int], object] | None = None,
) -> Iterator[Burst]:
    """Yield each labelled burst in the order of its first row. ``on_rows``: rows done, rows in all."""
    places = [(table, start) for table in tables for start in range(0, len(table.labels), ROWS_AT_ONCE)]
    parcel = Parcel.of(forest)
    batches = [
        Batch(number, parcel, str(table.directory), table.path, start)
        for number, (table, start) in enumerate(places)
    ]
    total = sum(len(table.labels) for table in tables)
    done = 0
    scored: dict[int, Scored] = {}
    for result in spread(score_batch, batches, jobs=jobs, cluster=None):
        scored[result.number] = result
        done += result.rows
        if on_rows is not None:
            on_rows(done, total)
    glimpses: dict[Key, Glimpse] = {}
    for number in range(len(batches)):
        for key, later in scored.pop(number).glimpses.items():
            glimpses[key] = glimpses[key].then(later) if key in glimpses else later
    for (dataset, capture, _burst), whole in glimpses.items():
        decisions = [decision for decision in (whole.by_model, whole.by_rule) if decision is not None]
        seconds, octets = min(decisions, default=(None, None))
        certain = whole.by_rule is not None
        yield Burst(dataset, capture, whole.group, whole.label, whole.score, certain, seconds, octets)


def score_batch(batch: Batch) -> Scored:
    """Ask the model about each row of a batch that somebody labelled; runs in a process of its own."""
    forest = batch.forest.unpack()
    rows = read_rows(batch.path, list(dict.fromkeys((*FACTS, *MODEL_FEATURES))), batch.start)
    labelled = rows.drop_nulls("label")
    glimpses: dict[Key, Glimpse] = {}
    facts, vectors = labelled.select(FACTS).iter_rows(), labelled.select(MODEL_FEATURES).iter_rows()
    for fact, vector in zip(facts, vectors, strict=True):
        capture, burst, group, label, seconds, on_lattice, run_bytes, certain_s, certain_bytes = fact
        score = forest.get_score(vector)
        since = seconds if on_lattice is None else on_lattice
        by_model = (since, run_bytes) if score >= forest.threshold else None
        by_rule = None if certain_s is None else (certain_s, certain_bytes)
        glimpse = Glimpse(group, label, score, by_model, by_rule)
        key = (batch.dataset, capture, burst)
        glimpses[key] = glimpses[key].then(glimpse) if key in glimpses else glimpse
    return Scored(batch.number, rows.height, glimpses)
