"""How well a voice model does on datasets that it was not trained on.

Knows: what counts as one answer (a burst), and the figures of it. Refuses to know: pictures (``plots``), how
a model decides. Scored are the model alone, the gate's certain rule alone, and the gate, which asks both.

A burst is called a voice when any of its rows is. Uploads that have no burst in the table, because the model
was never asked, are counted apart: ``silent_uploads``. The time to the decision counts from the first record
of a known codec's length where there is one, else from the burst's first record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.core.burst import FEATURES, MODEL_FEATURES
from guard.core.forest import Forest
from guard.learning.bursts import LABELS
from guard.learning.labelled import DATASET, count_silent_uploads, read_labelled
from guard.learning.scores import Confusion, get_interval

if TYPE_CHECKING:
    import polars as pl

DETECTORS = ("gate", "model", "certain rule")
PERMUTED_ROWS = 1000  # of each label, to rank features by: a forest is walked in Python
PERMUTATIONS = 5


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
class Evaluation:
    """What came out."""

    model: str
    threshold: float
    bursts: tuple[Burst, ...]
    confusions: dict[str, Confusion]  # by detector
    importances: dict[str, float]  # feature -> by how much the model gets worse without it
    silent_uploads: int = 0  # on the list, and no burst of them in the table

    def answer(self, detector: str, burst: Burst) -> bool:
        """Say whether a detector calls the burst a voice."""
        by_model = burst.score >= self.threshold
        return {"model": by_model, "certain rule": burst.certain}.get(detector, by_model or burst.certain)

    def get_delays(self) -> list[float]:
        """Return the seconds to the decision of each voice that was found, sorted."""
        return sorted(burst.seconds for burst in self.bursts if burst.label and burst.seconds is not None)

    def get_bytes(self) -> list[int]:
        """Return the bytes of audio by the decision, of each voice that was found, sorted."""
        return sorted(burst.bytes for burst in self.bursts if burst.label and burst.bytes is not None)

    def get_misses(self) -> list[Burst]:
        """Return the bursts about which the gate was wrong."""
        return [burst for burst in self.bursts if self.answer("gate", burst) != bool(burst.label)]


def evaluate(
    forest: Forest,
    directories: Sequence[Path],
    *,
    seed: int,
    on_rows: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Score a model; DatasetError where the datasets are of no use. ``on_rows``: rows done, rows in all."""
    rows = read_labelled(directories)
    vectors = rows.select(MODEL_FEATURES).rows()
    scores = []
    for number, vector in enumerate(vectors):
        scores.append(forest.get_score(vector))
        if on_rows is not None and not number % 1000:
            on_rows(number, len(vectors))
    bursts = tuple(_collect(rows, scores, forest.threshold))
    ranks = _rank_features(forest, rows, seed)
    silent = sum(count_silent_uploads(directory) for directory in directories)
    evaluation = Evaluation(forest.name, forest.threshold, bursts, {}, ranks, silent)
    for detector in DETECTORS:
        evaluation.confusions[detector] = Confusion.of(
            (LABELS[burst.label] for burst in bursts),
            (LABELS[evaluation.answer(detector, burst)] for burst in bursts),
        )
    return evaluation


def _collect(rows: pl.DataFrame, scores: list[float], threshold: float) -> list[Burst]:
    """Return one Burst for all rows of it."""
    import polars as pl

    rows = rows.with_columns(pl.Series("score", scores, dtype=pl.Float64))
    bursts = []
    for table in rows.partition_by([DATASET, "capture", "burst"], maintain_order=True):
        first = table.row(0, named=True)
        decisions = []
        by_model = table.filter(pl.col("score") >= threshold)
        if by_model.height:
            spoken = by_model.row(0, named=True)
            since = spoken["seconds"] if spoken["on_lattice"] is None else spoken["on_lattice"]
            decisions.append((since, spoken["run_bytes"]))
        by_rule = table.filter(pl.col("certain_s").is_not_null())
        if by_rule.height:
            decisions.append(by_rule.select("certain_s", "certain_bytes").row(0))
        seconds, octets = min(decisions, default=(None, None))
        bursts.append(
            Burst(
                first[DATASET],
                first["capture"],
                first["group"],
                first["label"],
                max(table["score"]),
                bool(by_rule.height),
                seconds,
                octets,
            )
        )
    return bursts


def _rank_features(forest: Forest, rows: pl.DataFrame, seed: int) -> dict[str, float]:
    """Return feature -> how much smaller the area under the ROC curve is when its values are shuffled."""
    import numpy as np
    import polars as pl

    random = np.random.default_rng(seed)
    by_label = [rows.filter(pl.col("label") == label) for label in range(len(LABELS))]
    chosen = pl.concat(table.sample(min(PERMUTED_ROWS, table.height), seed=seed) for table in by_label)
    labels = chosen["label"].to_numpy()
    vectors = chosen.select(MODEL_FEATURES).to_numpy()
    whole = get_area(labels, [forest.get_score(vector) for vector in vectors.tolist()])
    ranks = {}
    for index, name in enumerate(MODEL_FEATURES):
        losses = []
        for _ in range(PERMUTATIONS):
            shuffled = vectors.copy()
            random.shuffle(shuffled[:, index])
            area = get_area(labels, [forest.get_score(vector) for vector in shuffled.tolist()])
            losses.append(whole - area)
        ranks[name] = float(np.mean(losses))
    return ranks


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


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """Return every figure as plain values, for JSON."""
    delays, octets = evaluation.get_delays(), evaluation.get_bytes()
    return {
        "model": evaluation.model,
        "threshold": evaluation.threshold,
        "features": list(FEATURES),
        "bursts": {
            name: sum(burst.label == at for burst in evaluation.bursts) for at, name in enumerate(LABELS)
        },
        "detectors": {name: _summarise(confusion) for name, confusion in evaluation.confusions.items()},
        "silent_uploads": evaluation.silent_uploads,
        "seconds_to_decision": get_quantiles(delays),
        "audio_bytes_to_decision": get_quantiles(octets),
        "feature_importance": evaluation.importances,
        "wrong": [
            {"capture": burst.capture, "label": LABELS[burst.label], "score": burst.score}
            for burst in evaluation.get_misses()
        ],
    }


def _summarise(confusion: Confusion) -> dict[str, Any]:
    control, voice = LABELS
    found, missed = confusion.counts[voice, voice], confusion.counts[voice, control]
    false, right = confusion.counts[control, voice], confusion.counts[control, control]
    score = confusion.score(voice)
    return {
        "found": found,
        "missed": missed,
        "false": false,
        "right": right,
        "precision": score.precision,
        "precision_95": get_interval(found, found + false),
        "recall": score.recall,
        "recall_95": get_interval(found, found + missed),
        "f1": score.f1,
    }


def get_quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """Return median, p95 and maximum of sorted values (nearest rank); None when there is none."""
    if not values:
        return None
    last = len(values) - 1
    return {
        "median": values[last // 2],
        "p95": values[min(last, int(0.95 * len(values)))],
        "maximum": values[last],
    }
