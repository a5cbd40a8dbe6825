"""``wakeguard train``: the voice model, and what it is worth on homes it has not seen.

    train(sources, out, seed=1, jobs=None, traces=None, watch=...) -> Report

``sources``: labelled captures (``guard.learning.source.Source``, see ``examples``; those of the shipped model
are ``research.gather_research(folder)``); ``out``: the model's folder, where ``model.json``, ``figures.json``
and ``CARD.md`` are written when all is done; ``traces``: an archive of published traces, a check that owes
nothing to labels. ``watch(text)`` is told of each step. DatasetError for captures that nothing can be learnt
from; then nothing is written.

Knows: the protocol. Each household's figures are those of detectors trained, and thresholds chosen, on the
others: inside those, the threshold is chosen on scores of captures that the scoring forest was not grown on.
The model that is written is grown on all of them, by the same steps. The same seed gives the same files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from guard.core.forest import Forest
from guard.errors import DatasetError
from guard.learning.card import format_card
from guard.learning.examples import VOICE, Example, read_examples
from guard.learning.figures import Report, format_report
from guard.learning.forest import Grown, grow
from guard.learning.source import Source
from guard.learning.traces import count_voices
from guard.learning.trial import (
    Detector,
    Outcome,
    Score,
    choose_threshold,
    detect_by,
    detect_certain,
    detect_either,
    detect_equal_run,
    detect_rate,
    try_detector,
)
from guard.voice_model import MODEL_FILE, format_model

__all__ = ["NAME", "Report", "train"]

NAME = "voice-v1"
FOLDS = 5  # of captures, within the households that are trained on


def _ignore(_text: str) -> None:
    """Take no notice."""


@dataclass(frozen=True, slots=True)
class _Fitted:
    grown: Grown
    threshold: float

    @property
    def score(self) -> Score:
        """Return the score of a row."""
        return _score_by(self.grown.forest)


def train(
    sources: Sequence[Source],
    out: Path,
    *,
    seed: int = 1,
    jobs: int | None = None,
    traces: Path | None = None,
    watch: Callable[[str], None] = _ignore,
) -> Report:
    """Train, try and write the model; see the module."""
    examples = read_examples(sources, jobs=jobs, watch=watch)
    report = Report.of(examples, seed)
    for household in report.households:
        watch(f"try on {household}")
        report.outcomes += _try_household(household, examples, seed)
    if traces is not None:
        watch(f"look for voices in {traces.name}")
        report.traces = count_voices(traces)
    watch("train on all")
    fitted = _fit(examples, seed)
    forest = Forest(NAME, round(fitted.threshold, 6), fitted.grown.forest.trees)
    report.threshold = forest.threshold
    out.mkdir(parents=True, exist_ok=True)
    (out / MODEL_FILE).write_text(format_model(forest, fitted.grown.parity), encoding="utf-8")
    (out / "figures.json").write_text(format_report(report), encoding="utf-8")
    (out / "CARD.md").write_text(format_card(report), encoding="utf-8")
    return report


def _try_household(household: str, examples: Sequence[Example], seed: int) -> list[Outcome]:
    known = [example for example in examples if example.household != household]
    foreign = [example for example in examples if example.household == household]
    if not any(VOICE in example.labels for example in known):
        raise DatasetError(f"only {household} has a voice: a second household is needed to try the model on")
    fitted = _fit(known, seed)
    model = detect_by(fitted.score)
    both = detect_either(detect_certain, _at_least(model, fitted.threshold))
    rows: list[tuple[str, Detector, float]] = [
        ("gate", both, 0.5),
        ("certain rule", detect_certain, 0.5),
        ("model", model, fitted.threshold),
        ("equal run", detect_equal_run, choose_threshold(detect_equal_run, known)),
        ("bytes a second", detect_rate, choose_threshold(detect_rate, known)),
    ]
    return [try_detector(name, household, detect, threshold, foreign) for name, detect, threshold in rows]


def _at_least(detect: Detector, threshold: float) -> Detector:
    """Return the detector with the threshold behind it: its candidates are certain, the others gone."""
    return lambda example: (
        candidate._replace(score=1.0) for candidate in detect(example) if candidate.score >= threshold
    )


def _fit(examples: Sequence[Example], seed: int) -> _Fitted:
    """Grow a forest, and choose the threshold on scores of captures left out of other forests."""
    order = list(examples)
    random.Random(seed).shuffle(order)  # noqa: S311  # a fold is no secret
    folds = [fold for number in range(FOLDS) if (fold := order[number::FOLDS])]
    scores: dict[str, Score] = {}
    for fold in folds:
        names = {example.name for example in fold}
        rest = [example for example in order if example.name not in names]
        if {0, 1} <= {label for example in rest for label in example.labels}:
            scores |= dict.fromkeys(names, _score_by(grow(rest, seed).forest))
    chosen = [example for example in order if example.name in scores]
    if not chosen:
        raise DatasetError(
            "there are too few captures to choose a threshold on: add some with, some without a voice"
        )
    threshold = choose_threshold(lambda example: detect_by(scores[example.name])(example), chosen)
    return _Fitted(grow(examples, seed), threshold)


def _score_by(forest: Forest) -> Score:
    return lambda row: forest.get_score(row.vector)
