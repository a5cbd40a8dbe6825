"""The per-burst table: what the voice model is shown of each burst, and whether that was a voice.

Knows: labels, where they come from. Refuses to know: the features, which are the gate's own (``features``). A
row is a burst after one of its records, at each at which the gate would ask its model.

A label is 1 where somebody said that a voice left then on that connection (``--uploads``), 0 where they said
when and it was not then, or where nobody spoke to the Echo at all (microphone_mute, no_wake_word,
music_stream). Where they said when and not on which connection, a run on a known codec's lattice is the
voice, and of the others nothing is known. Where nothing was said there is no label: of normal_conversation
alone it is not known which burst was the voice.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from guard.core.burst import FEATURES, get_contract
from guard.learning.columns import Column, Kind
from guard.learning.examples import AFTER_S, BEFORE_S
from guard.learning.features import MAX_FLOWS, BurstRow, watch_bursts
from guard.learning.source import Source, Upload

__all__ = ["BURST_COLUMNS", "LABELS", "get_contract", "write_bursts"]

LABELS: Final = ("control", "voice")
UNLABELLED: Final = "unlabelled"
SILENT: Final = frozenset({"microphone_mute", "no_wake_word", "music_stream"})

_MEANINGS: Final = {  # of FEATURES; what is missing here would fail a test
    "records": ("", "records of the burst so far"),
    "seconds": ("s", "since it began"),
    "bytes_per_s": ("bytes/s", "in the last records"),
    "equal": ("", "share of the last records that has their commonest length"),
    "run": ("", "records up to now that are equally long"),
    "sizes": ("", "different lengths in the last records"),
    "unit": ("bytes", "greatest common divisor of the differences of these lengths; 0 where all are equal"),
    "length": ("bytes", "of the last record"),
    "mean_length": ("bytes", "of the last records"),
    "longest": ("bytes", "of the last records"),
    "shortest": ("bytes", "of the last records"),
    "mean_gap_s": ("s", "between the last records"),
    "longest_gap_s": ("s", "between the last records"),
    "gap_spread": ("", "standard deviation of these gaps by their mean"),
    "lattice": (
        "",
        "share of the last records that is as long as a known codec's; the model does not see it",
    ),
}
_BEFORE: Final = (
    Column("capture", Kind.TEXT, "", "which capture it is from"),
    Column("group", Kind.TEXT, "", "its household: never in training and in testing at once"),
    Column("condition", Kind.TEXT, "", "how it was captured, where that was said"),
    Column("time", Kind.FLOAT, "s", "of the record, since the capture's first frame"),
    Column("flow", Kind.INT, "", "which connection of that capture, from 0 in the order of their bursts"),
    Column("burst", Kind.INT, "", "which burst of that capture, from 0; a pause of a second ends one"),
    Column(
        "certain", Kind.INT, "", "1 when the gate's certain rule, a known codec's lattice, calls it a voice"
    ),
    Column("on_lattice", Kind.FLOAT, "s", "since the first record of that run; empty where there is none"),
    Column("run_bytes", Kind.INT, "bytes", "sent in that run after its first record"),
    Column(
        "certain_s", Kind.FLOAT, "s", "from a run's first record until the certain rule spoke, once it had"
    ),
    Column("certain_bytes", Kind.INT, "bytes", "sent in that run by then, after its first record"),
)
BURST_COLUMNS: Final = (
    *_BEFORE,
    *(Column(name, Kind.FLOAT, *_MEANINGS[name]) for name in FEATURES),
    Column("label", Kind.INT, "", "1 a voice, 0 none, empty unknown"),
)


@dataclass(slots=True)
class Found:
    """What a capture held: bursts by label, and how many of the uploads on the list have one."""

    labels: Counter[str] = field(default_factory=Counter)
    uploads: set[Upload] = field(default_factory=set)


def write_bursts(source: Source, write: Callable[[Sequence[Any]], object]) -> Found:
    """Write the rows of one capture as they come; only the last burst of each connection is remembered."""
    rows = _Rows(source, write)
    watch_bursts(source.path, None if source.is_table else source.device, rows.add)
    return rows.found


class _Rows:
    """Numbers and labels the rows of one capture, one by one."""

    def __init__(self, source: Source, write: Callable[[Sequence[Any]], object]) -> None:
        self.found = Found()
        self._source = source
        self._write = write
        self._flows = 0
        self._bursts = 0
        # flow -> its number, when its last burst began, the number of that
        self._last: OrderedDict[str, tuple[int, float, int]] = OrderedDict()

    def add(self, row: BurstRow) -> None:
        """Write one row."""
        source, found, called = self._source, self.found, row.called
        label, upload = get_label(source, row)
        if upload is not None:
            found.uploads.add(upload)
        flow, began_at, burst = self._last.pop(row.flow, (self._flows, None, self._bursts))
        self._flows += flow == self._flows
        if began_at != row.began_at:
            burst = self._bursts
            self._bursts += 1
            found.labels[UNLABELLED if label is None else LABELS[label]] += 1
        self._last[row.flow] = flow, row.began_at, burst
        if len(self._last) > MAX_FLOWS:
            self._last.popitem(last=False)
        self._write(
            (
                source.name,
                source.group,
                source.condition,
                round(row.now, 6),
                flow,
                burst,
                int(row.certain),
                None if row.on_lattice is None else round(row.on_lattice, 6),
                row.run_bytes,
                round(called.now - called.began_at, 6) if called else None,
                called.run_bytes if called else None,
                *row.vector,
                label,
            )
        )


def get_label(source: Source, row: BurstRow) -> tuple[int | None, Upload | None]:
    """Return 1, 0 or None, see the module, and the upload that makes it a voice."""
    if source.uploads is None:
        return (0 if source.condition in SILENT else None), None
    within = [up for up in source.uploads if up.begin_s - BEFORE_S <= row.now <= up.end_s + AFTER_S]
    for upload in within:
        if _is_on(upload, row.flow):
            return 1, upload
    if all(upload.server and upload.client_port for upload in within):
        return 0, None
    return (1, within[0]) if row.certain else (None, None)


def _is_on(upload: Upload, flow: str) -> bool:
    """Say whether an upload is known to have left on a connection."""
    return bool(
        upload.server
        and upload.client_port
        and f"> {upload.server}:" in flow
        and f":{upload.client_port} >" in flow
    )
