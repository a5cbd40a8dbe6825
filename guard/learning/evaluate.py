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
from typing import Any

from guard.core.burst import FEATURES
from guard.core.forest import Forest
from guard.learning.bursts import LABELS
from guard.learning.importance import rank_features
from guard.learning.labelled import count_silent_uploads, find_labelled
from guard.learning.scores import Confusion, get_interval
from guard.learning.scoring import Burst, score_bursts

DETECTORS = ("gate", "model", "certain rule")


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
    jobs: int | None = None,
    on_rows: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Score a model; DatasetError where the datasets are of no use. ``on_rows``: rows done, rows in all.

    ``jobs``: processes, None for one a core.
    """
    tables = find_labelled(directories)
    bursts = tuple(score_bursts(forest, tables, jobs=jobs, on_rows=on_rows))
    ranks = rank_features(forest, tables, seed, jobs=jobs)
    silent = sum(count_silent_uploads(directory) for directory in directories)
    evaluation = Evaluation(forest.name, forest.threshold, bursts, {}, ranks, silent)
    for detector in DETECTORS:
        evaluation.confusions[detector] = Confusion.of(
            (LABELS[burst.label] for burst in bursts),
            (LABELS[evaluation.answer(detector, burst)] for burst in bursts),
        )
    return evaluation


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
