"""Rows with their truth, and from whose home they are.

Knows: when somebody says a voice left, and what that makes of a burst. Refuses to know: models.

The truth is a list of times (``Source.uploads``), or a condition under which no voice can leave (muted, no
wake word). Which connection it left on, the list does not say: within its times, rows of a run on a known
lattice are voice, and nothing else is learnt from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from guard.errors import DatasetError
from guard.learning.features import BurstRow, Reading, read_capture
from guard.learning.parallel import spread
from guard.learning.source import Source, Upload

VOICE, OTHER, UNSURE = 1, 0, -1
BEFORE_S, AFTER_S = 3.0, 1.5  # by which a list of times may be off; a stalled upload begins long before
SILENT_CONDITIONS = frozenset({"microphone_mute", "no_wake_word"})
PAPER_HOUSEHOLD = "paper"  # all of the paper's tables are of one Echo


@dataclass(slots=True)
class Example:
    """One capture: ``labels`` has one of VOICE, OTHER, UNSURE for each row of ``reading``."""

    name: str
    household: str
    uploads: tuple[Upload, ...]
    reading: Reading
    labels: list[int]

    def find_upload(self, now: float) -> int | None:
        """Return which upload a moment belongs to."""
        for index, upload in enumerate(self.uploads):
            if upload.begin_s - BEFORE_S <= now <= upload.end_s + AFTER_S:
                return index
        return None


def read_example(source: Source) -> Example:
    """Read one source."""
    reading = read_capture(source.path, None if source.is_table else source.device)
    household = PAPER_HOUSEHOLD if source.is_table else source.group
    example = Example(source.name, household, source.uploads or (), reading, [])
    example.labels = [_label(example, row) for row in reading.rows]
    return example


def _label(example: Example, row: BurstRow) -> int:
    if example.find_upload(row.now) is None:
        return OTHER
    return VOICE if row.certain else UNSURE


def read_examples(
    sources: Sequence[Source], *, jobs: int | None = None, watch: Callable[[str], None] | None = None
) -> list[Example]:
    """Read all sources, in the order of their names; ``watch`` is told of each that is done.

    DatasetError where nobody said what a source holds, and where there is no voice or nothing else.
    """
    unlabelled = [
        source.name
        for source in sources
        if source.uploads is None and source.condition not in SILENT_CONDITIONS
    ]
    if unlabelled:
        raise DatasetError(
            f"nobody says whether a voice leaves in {unlabelled[0]} ({len(unlabelled)} of {len(sources)}):"
            " list its uploads, or name a condition without a voice"
        )
    examples = []
    for example in spread(partial(read_example), list(sources), jobs=jobs, cluster=None):
        examples.append(example)
        if watch is not None:
            watch(example.name)
    labels = {label for example in examples for label in example.labels}
    for label, what in ((VOICE, "no voice"), (OTHER, "nothing but voices")):
        if label not in labels:
            raise DatasetError(f"there is {what} in these captures: a model learns from both")
    return sorted(examples, key=lambda example: example.name)
