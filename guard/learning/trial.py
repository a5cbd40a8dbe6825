"""Detectors on trial: which uploads each finds, how soon, and what else it takes for one.

Knows: what counts as found and as a false alarm, how a threshold is chosen. Refuses to know: how a detector
is trained.

A detector gives a score to each candidate: a burst, or a second of a connection. An upload is found when a
candidate within its times reaches the threshold; a candidate outside all of them that does is a false alarm.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from typing import NamedTuple

from guard.learning.examples import Example
from guard.learning.features import FEATURES, BurstRow
from guard.learning.scores import get_interval

DELAY_BAR_S, BYTES_BAR = 0.150, 4096  # within which a detector should speak, after the first record of audio

_RUN = FEATURES.index("run")


class Candidate(NamedTuple):
    """A moment at which a detector may speak: its score, and what of the upload had been seen by then."""

    flow: str
    now: float
    score: float
    delay_s: float = nan  # since the first record of audio
    audio_bytes: int = 0


Detector = Callable[[Example], Iterable[Candidate]]
Score = Callable[[BurstRow], float]


def detect_certain(example: Example) -> Iterator[Candidate]:
    """Speak where the gate's certain rule does."""
    for run in example.reading.runs:
        yield Candidate(run.flow, run.now, 1.0, run.now - run.began_at, run.run_bytes)


def detect_by(score: Score) -> Detector:
    """Return the detector that asks ``score`` at each row."""

    def detect(example: Example) -> Iterator[Candidate]:
        for row in example.reading.rows:
            delay_s = nan if row.on_lattice is None else row.on_lattice
            yield Candidate(row.flow, row.now, score(row), delay_s, row.run_bytes)

    return detect


def detect_either(*detectors: Detector) -> Detector:
    """Return the detector that speaks when one of them does; their scores must mean the same."""

    def detect(example: Example) -> Iterator[Candidate]:
        found = [candidate for detector in detectors for candidate in detector(example)]
        yield from sorted(found, key=lambda candidate: candidate.now)

    return detect


def detect_equal_run(example: Example) -> Iterator[Candidate]:
    """Score by the longest run of records that are equally long: a baseline."""
    yield from detect_by(lambda row: row.vector[_RUN])(example)


def detect_rate(example: Example) -> Iterator[Candidate]:
    """Score by bytes of application data in a second of a connection: a baseline."""
    for (flow, second), size in example.reading.seconds.items():
        yield Candidate(flow, second + 0.5, float(size))


@dataclass(slots=True)
class Outcome:
    """What a detector found on the captures of one household that it was not trained on."""

    detector: str
    household: str
    threshold: float
    uploads: int = 0
    found: int = 0
    hours: float = 0.0
    missed: list[tuple[str, float]] = field(default_factory=list)  # capture, when it began
    false: list[tuple[str, str, float]] = field(default_factory=list)  # capture, flow, when
    late: list[tuple[str, float, float, int]] = field(default_factory=list)  # capture, begin, delay, bytes
    delays_s: list[float] = field(default_factory=list)
    audio_bytes: list[int] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Return the share of uploads that were found."""
        return self.found / self.uploads if self.uploads else nan

    @property
    def precision(self) -> float:
        """Return the share of what it took for an upload that was one."""
        spoken = self.found + len(self.false)
        return self.found / spoken if spoken else nan

    @property
    def recall_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the recall (Wilson)."""
        return get_interval(self.found, self.uploads)

    @property
    def precision_interval(self) -> tuple[float, float]:
        """Return the 95 % interval of the precision (Wilson)."""
        return get_interval(self.found, self.found + len(self.false))


def try_detector(
    name: str, household: str, detect: Detector, threshold: float, examples: Sequence[Example]
) -> Outcome:
    """Put a detector on trial."""
    outcome = Outcome(name, household, threshold)
    for example in examples:
        outcome.uploads += len(example.uploads)
        outcome.hours += example.reading.duration_s / 3600.0
        first: dict[int, Candidate] = {}
        alarmed: dict[tuple[str, int], Candidate] = {}
        for candidate in detect(example):
            if candidate.score < threshold:
                continue
            upload = example.find_upload(candidate.now)
            if upload is not None:
                first.setdefault(upload, candidate)
            else:
                alarmed.setdefault((candidate.flow, int(candidate.now)), candidate)
        outcome.found += len(first)
        outcome.missed += [
            (example.name, upload.begin_s)
            for index, upload in enumerate(example.uploads)
            if index not in first
        ]
        outcome.false += [(example.name, alarm.flow, alarm.now) for alarm in alarmed.values()]
        for index, candidate in first.items():
            delay_s, size = candidate.delay_s, candidate.audio_bytes
            outcome.delays_s.append(delay_s)
            outcome.audio_bytes.append(size)
            if delay_s > DELAY_BAR_S or size > BYTES_BAR:
                outcome.late.append((example.name, example.uploads[index].begin_s, delay_s, size))
    return outcome


def choose_threshold(detect: Detector, examples: Sequence[Example]) -> float:
    """Return the threshold of the best F1 on these examples; in the middle where several do."""
    voices: list[float] = []  # the highest score within each upload
    others: list[float] = []
    for example in examples:
        best = [-inf] * len(example.uploads)
        for candidate in detect(example):
            upload = example.find_upload(candidate.now)
            if upload is None:
                others.append(candidate.score)
            else:
                best[upload] = max(best[upload], candidate.score)
        voices += best
    voices.sort()
    others.sort()
    levels = sorted({score for score in (*voices, *others) if score > -inf})
    below = levels[0] - 1.0
    best_f1, low, high = -1.0, below, levels[0]
    for level in levels:
        found = len(voices) - bisect_left(voices, level)
        f1 = 2 * found / (len(voices) + found + len(others) - bisect_left(others, level))
        if f1 > best_f1:
            best_f1, low, high = f1, below, level
        elif f1 == best_f1:
            high = level
        below = level
    return (low + high) / 2
