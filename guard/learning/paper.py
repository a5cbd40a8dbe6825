"""The paper's table, reproduced and done again without leaks; ours beside it.

Knows: which packets each protocol trains on and which it is scored on. Refuses to know: how a forest is grown
(``paper_model``), how the engine judges, how a page is written.

    random      SMOTE on everything, then a random 30 % of it to test on, as the paper did: the test set holds
                packets made of two training packets, and neighbours of training packets from the same second
    split first the same split, but the test packets are real ones, and SMOTE sees training packets only
    halves      trained on the first half of each capture, scored on the second
    captures    scored on each capture in turn, trained on all the others

Ours is trained on none of them. It is told the rows as packets (``paper_frames``) and, where the microphone's
state may be used, the state. Of wake words the tables tell nothing: where a voice leaves is taken for where
somebody spoke to the Echo, which the gate itself would never do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.core.event import MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Decision, Direction
from guard.errors import DatasetError
from guard.learning.packets import judge_packets
from guard.learning.paper_frames import DEVICE, PaperFrames
from guard.learning.paper_model import FEATURES, get_features, get_labels, smote, train_forest
from guard.learning.paper_table import CONDITIONS, PaperRow, guess_condition, is_paper_table, read_paper_table
from guard.learning.paper_words import describe, translate
from guard.learning.scores import Confusion
from guard.learning.source import Source
from guard.replay import Replay
from guard.selector import DeviceSelector
from guard.trace import Entry, Item, Trace

if TYPE_CHECKING:
    from guard.learning.paper_model import Floats, Texts

TEST_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class PaperCapture:
    """One of the paper's tables, whole; they are a few thousand rows each."""

    path: Path
    name: str
    condition: str
    rows: tuple[PaperRow, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one protocol came to, by capture where captures were held out."""

    protocol: str
    confusion: Confusion
    by_capture: dict[str, Confusion]
    importances: dict[str, float]


def load_captures(folder: Path) -> list[PaperCapture]:
    """Return the tables below ``folder``; DatasetError where there is none."""
    captures = []
    for path in sorted(folder.rglob("*.csv")):
        condition = guess_condition(path)
        if is_paper_table(path) and condition is not None:
            name = path.relative_to(folder).as_posix()
            captures.append(PaperCapture(path, name, condition, tuple(read_paper_table(path))))
    if not captures:
        raise DatasetError(f"{folder} holds none of the paper's tables: {', '.join(CONDITIONS)}/NN.csv")
    return captures


def split_at_random(captures: Sequence[PaperCapture], seed: int, *, smote_first: bool) -> Result:
    """Score the paper's model on a random share of the packets."""
    from sklearn.model_selection import train_test_split

    features, labels = _stack(captures, microphone=False)
    if smote_first:
        features, labels = smote(features, labels, seed)
    train, test, train_labels, test_labels = train_test_split(
        features, labels, test_size=TEST_SHARE, random_state=seed, stratify=labels
    )
    if not smote_first:
        train, train_labels = smote(train, train_labels, seed)
    confusion, importances = _score(train, train_labels, test, test_labels, seed)
    return Result("random" if smote_first else "split first", confusion, {}, importances)


def split_in_halves(captures: Sequence[PaperCapture], seed: int, *, microphone: bool = False) -> Result:
    """Score it on the second half of each capture, in time."""
    halves = [len(capture.rows) // 2 for capture in captures]
    before = [row for capture, half in zip(captures, halves, strict=True) for row in capture.rows[:half]]
    train = smote(get_features(before, microphone=microphone), get_labels(before), seed)
    forest = train_forest(*train, seed)
    by_capture = {}
    total = Confusion()
    for capture, half in zip(captures, halves, strict=True):
        after = capture.rows[half:]
        answers = forest.predict(get_features(after, microphone=microphone))
        by_capture[capture.name] = Confusion.of(map(str, get_labels(after)), map(str, answers))
        total.add(by_capture[capture.name])
    return Result("halves", total, by_capture, _importances(forest))


def hold_out_captures(captures: Sequence[PaperCapture], seed: int, *, microphone: bool = False) -> Result:
    """Score it on each capture in turn, trained on all the others."""
    by_capture = {}
    total = Confusion()
    for held_out in captures:
        others = [capture for capture in captures if capture is not held_out]
        train, train_labels = smote(*_stack(others, microphone=microphone), seed)
        test, test_labels = _stack([held_out], microphone=microphone)
        by_capture[held_out.name], _ = _score(train, train_labels, test, test_labels, seed)
        total.add(by_capture[held_out.name])
    return Result("captures", total, by_capture, {})


def judge(captures: Sequence[PaperCapture], *, microphone: bool) -> Result:
    """Score ours, in the paper's words; with or without the microphone's state."""
    by_capture = {}
    total = Confusion()
    for capture in captures:
        packets = list(judge_capture(capture, microphone=microphone))
        truths = [packet["class"] for packet in packets]
        by_capture[capture.name] = Confusion.of(truths, map(translate, packets))
        total.add(by_capture[capture.name])
    return Result("captures", total, by_capture, {})


def judge_capture(capture: PaperCapture, *, microphone: bool) -> Iterator[dict[str, Any]]:
    """Yield its packets as ``paper_words`` wants them: the paper's class and ours."""
    source = Source(capture.path, capture.name, group=capture.name, device="", condition=capture.condition)
    entries = [Entry(when, WakeEvent(when, "alexa", source="traffic")) for when in find_voices(capture)]
    if microphone and not CONDITIONS[capture.condition][1]:
        entries.append(Entry(0.0, MuteEvent(0.0, MuteState.MUTED)))
    entries.sort(key=lambda entry: entry.now)
    rows: list[Sequence[Any]] = []
    judge_packets(source, rows.append, trace=Trace(entries=tuple(entries)))
    yield from describe(rows)


def find_voices(capture: PaperCapture) -> list[float]:
    """Return when a voice began to leave, seconds from the first row, by the engine's certain rule."""
    run = Replay(PaperFrames(capture.path), DeviceSelector(DEVICE))
    witness = run.witness = _VoiceWitness(run)
    run.run()
    return witness.began


class _VoiceWitness:
    """Notes the beginning of each voice."""

    def __init__(self, run: Replay) -> None:
        self.began: list[float] = []
        self._engine = run.engine

    def see_packet(
        self, frame: int, time_ns: int, direction: Direction, decision: Decision, now: float
    ) -> None:
        flow = self._engine.facts.flow
        if flow is None or direction is Direction.DOWNSTREAM:
            return
        voice = flow.conversation.voice
        if voice is not None and voice.is_voice(now) and voice.began_at not in self.began[-1:]:
            self.began.append(voice.began_at)

    def see_release(self, packet_id: int, decision: Decision, now: float) -> None:
        """Pass over what becomes of a packet."""

    def see_item(self, item: Item, now: float) -> None:
        """Pass over events: there are none."""


def _stack(captures: Sequence[PaperCapture], *, microphone: bool) -> tuple[Floats, Texts]:
    rows = [row for capture in captures for row in capture.rows]
    return get_features(rows, microphone=microphone), get_labels(rows)


def _score(
    train: Floats, train_labels: Texts, test: Floats, test_labels: Texts, seed: int
) -> tuple[Confusion, dict[str, float]]:
    forest = train_forest(train, train_labels, seed)
    answers = forest.predict(test)
    return Confusion.of(map(str, test_labels), map(str, answers)), _importances(forest)


def _importances(forest: Any) -> dict[str, float]:
    names = (*FEATURES, "microphone")
    return {name: float(share) for name, share in zip(names, forest.feature_importances_, strict=False)}
