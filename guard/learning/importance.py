"""What a voice model looks at: by how much it gets worse when a feature's values are shuffled.

Knows: which rows are drawn for it, and the area under the ROC curve. Refuses to know: where tasks run
(``parallel``). The rows are drawn by number, and only the drawn ones are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from guard.core.burst import MODEL_FEATURES
from guard.core.forest import Forest
from guard.learning.bursts import LABELS
from guard.learning.labelled import Labelled
from guard.learning.parallel import spread
from guard.learning.parcel import Parcel
from guard.learning.tables import ROWS_AT_ONCE, read_rows

PERMUTED_ROWS = 1000  # of each label, to rank features by: a forest is walked in Python
PERMUTATIONS = 5


@dataclass(frozen=True, slots=True)
class Shuffle:
    """One feature to be shuffled; ``columns`` are its values in other orders."""

    forest: Parcel
    index: int
    labels: Any
    vectors: Any
    columns: list[Any]


def rank_features(
    forest: Forest, tables: Sequence[Labelled], seed: int, *, jobs: int | None
) -> dict[str, float]:
    """Return feature -> how much smaller the area under the ROC curve is when its values are shuffled."""
    import numpy as np

    random = np.random.default_rng(seed)
    labels, vectors = _draw_rows(tables, seed)
    whole = get_area(labels, [forest.get_score(vector) for vector in vectors.tolist()])
    parcel = Parcel.of(forest)
    tasks = []
    for index in range(len(MODEL_FEATURES)):
        columns = []
        for _ in range(PERMUTATIONS):
            columns.append(vectors[:, index].copy())
            random.shuffle(columns[-1])
        tasks.append(Shuffle(parcel, index, labels, vectors, columns))
    ranks = dict.fromkeys(MODEL_FEATURES, 0.0)
    for index, areas in spread(get_areas, tasks, jobs=jobs, cluster=None):
        ranks[MODEL_FEATURES[index]] = float(np.mean([whole - area for area in areas]))
    return ranks


def get_areas(task: Shuffle) -> tuple[int, list[float]]:
    """Return the feature, and the area with each order of its values; runs in a process of its own."""
    forest = task.forest.unpack()
    areas = []
    for column in task.columns:
        shuffled = task.vectors.copy()
        shuffled[:, task.index] = column
        scores = [forest.get_score(vector) for vector in shuffled.tolist()]
        areas.append(get_area(task.labels, scores))
    return task.index, areas


def _draw_rows(tables: Sequence[Labelled], seed: int) -> tuple[Any, Any]:
    """Return labels and vectors of so many rows of each label as there are, PERMUTED_ROWS at most."""
    import numpy as np
    import polars as pl

    known = pl.concat(table.labels for table in tables)
    drawn = []
    for label in range(len(LABELS)):
        numbers = (known == label).arg_true()
        drawn.append(numbers.sample(min(PERMUTED_ROWS, len(numbers)), seed=seed).to_numpy())
    chosen = np.concatenate(drawn)
    vectors = np.empty((len(chosen), len(MODEL_FEATURES)))
    first = 0  # of the table's rows among all
    for table in tables:
        for start in range(0, len(table.labels), ROWS_AT_ONCE):
            rows = chosen - first - start
            here = np.flatnonzero((rows >= 0) & (rows < min(ROWS_AT_ONCE, len(table.labels) - start)))
            if len(here):
                vectors[here] = read_rows(table.path, MODEL_FEATURES, start).to_numpy()[rows[here]]
        first += len(table.labels)
    return known.gather(chosen).to_numpy(), vectors


def get_area(labels: Any, scores: Sequence[float]) -> float:
    """Return the area under the ROC curve: how often a voice scores higher than the rest, ties by half."""
    import numpy as np

    values = np.asarray(scores)
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    voices = labels == 1
    count = int(voices.sum())
    others = len(values) - count
    return float((ranks[voices].sum() - count * (count + 1) / 2) / (count * others))
