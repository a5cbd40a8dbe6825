"""What the voice model is worth: the figures that its card and its page are written from.

Knows: which figures there are, and how they are kept (JSON beside the model). Refuses to know: how they came
about (``train``), how they are told (``card``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from guard.errors import DatasetError
from guard.learning.examples import OTHER, UNSURE, VOICE, Example
from guard.learning.trial import Outcome, detect_certain

COMMAND_S = 8.0  # runs nearer to each other are one command: between two there is the answer


@dataclass(slots=True)
class Household:
    """What of one home there was to learn from and to be tried on."""

    name: str
    captures: int
    hours: float
    uploads: int
    voice_rows: int
    other_rows: int
    unsure_rows: int
    unheard: int  # bursts of speech from before a wake word, taken for wake words that our own did not hear
    commands: dict[str, int]  # how many commands were found in a capture -> in how many captures


@dataclass(slots=True)
class Report:
    """All figures of one training."""

    seed: int
    households: list[str]
    data: list[Household]
    threshold: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    traces: tuple[int, int] = (0, 0)  # published traces of one command each: with a voice found, all

    @classmethod
    def of(cls, examples: Sequence[Example], seed: int) -> Report:
        """Return the report on these examples, with nothing tried yet."""
        names = sorted({example.household for example in examples})
        return cls(seed, names, [_describe(name, examples) for name in names])


def _describe(name: str, examples: Sequence[Example]) -> Household:
    own = [example for example in examples if example.household == name]
    labels = Counter(label for example in own for label in example.labels)
    commands = Counter(count_commands(example) for example in own)
    return Household(
        name,
        captures=len(own),
        hours=round(sum(example.reading.duration_s for example in own) / 3600.0, 3),
        uploads=sum(len(example.uploads) for example in own),
        voice_rows=labels[VOICE],
        other_rows=labels[OTHER],
        unsure_rows=labels[UNSURE],
        unheard=sum(example.reading.unheard for example in own),
        commands={str(count): commands[count] for count in sorted(commands)},
    )


def count_commands(example: Example) -> int:
    """Return how many commands the certain rule finds in a capture."""
    count, last = 0, -COMMAND_S
    for candidate in sorted(detect_certain(example), key=lambda found: found.now):
        count += candidate.now - last >= COMMAND_S
        last = candidate.now
    return count


def format_report(report: Report) -> str:
    """Return the report as JSON, times to the millisecond."""
    return json.dumps(_round(asdict(report)), indent=1) + "\n"


def read_report(path: Path) -> Report:
    """Return a report from its file; DatasetError when it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["data"] = [Household(**row) for row in content["data"]]
        content["outcomes"] = [
            Outcome(
                **{
                    **row,
                    "missed": [(name, at) for name, at in row["missed"]],
                    "false": [(name, flow, at) for name, flow, at in row["false"]],
                    "late": [(name, at, delay, size) for name, at, delay, size in row["late"]],
                    "delays_s": [nan if delay is None else delay for delay in row["delays_s"]],
                }
            )
            for row in content["outcomes"]
        ]
        found, total = content["traces"]
        content["traces"] = (found, total)
        return Report(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} holds no figures of a training ({error}); run: wakeguard train"
        ) from error


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if value == value else None  # JSON knows no NaN
    if isinstance(value, dict):
        return {key: _round(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_round(inner) for inner in value]
    return value
