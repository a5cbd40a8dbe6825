"""Bursts that somebody labelled, out of one dataset or several, checked before anybody learns from them.

Knows: which datasets can be learnt from or scored on: of this feature contract, every capture labelled, both
classes there. Refuses to know: models. Each complaint names the dataset and says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.core.burst import get_contract
from guard.errors import DatasetError
from guard.learning.bursts import BURST_COLUMNS, LABELS
from guard.learning.dataset import BURSTS, FORMAT
from guard.learning.tables import ROWS_AT_ONCE, check_table, count_rows, read_manifest, read_rows

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Labelled:
    """The bursts of one dataset: where their rows are, and the label of each; null: nobody knows."""

    directory: Path
    path: Path
    labels: pl.Series


def find_labelled(directories: Sequence[Path]) -> list[Labelled]:
    """Return the datasets' rows as they are labelled; DatasetError where they cannot be learnt from."""
    if not directories:
        raise DatasetError("name a dataset, a directory that `wakeguard dataset build` wrote")
    tables = []
    for directory in directories:
        check_contract(directory, read_manifest(directory))
        path = check_table(directory, BURSTS, BURST_COLUMNS)
        tables.append(Labelled(directory, path, _read_labels(directory, path)))
    found = {label for table in tables for label in table.labels.drop_nulls().unique()}
    if len(found) < len(LABELS):
        only = ", ".join(f"{LABELS[label]!r}" for label in sorted(found)) or "no burst"
        raise DatasetError(
            f"{', '.join(map(str, directories))}: only {only} in it, and {' and '.join(LABELS)} are needed:"
            " add captures of conversations with --uploads, of silence with --condition no_wake_word"
        )
    return tables


def count_silent_uploads(directory: Path) -> int:
    """Return how many listed uploads have no burst in the dataset."""
    captures = read_manifest(directory)["captures"]
    return sum((entry["uploads"] or 0) - entry["uploads_with_bursts"] for entry in captures)


def check_contract(directory: Path, manifest: dict[str, Any]) -> None:
    """Raise DatasetError unless the dataset's features are the ones that this version knows."""
    if manifest.get("format") != FORMAT:
        raise DatasetError(f"{directory} has format {manifest.get('format')!r}: build the dataset again")
    contract = manifest.get("feature_contract")
    if contract != get_contract():
        raise DatasetError(
            f"{directory} was built with other features ({contract}, this version has {get_contract()}):"
            " build the dataset again"
        )


def _read_labels(directory: Path, path: Path) -> pl.Series:
    """Return the labels of all rows, a byte each; DatasetError where a capture has none at all."""
    import polars as pl

    labels = pl.Series("label", [], dtype=pl.Int8)
    captures: dict[str, bool] = {}
    for start in range(0, count_rows(path), ROWS_AT_ONCE):
        rows = read_rows(path, ("capture", "label"), start)
        known = rows.group_by("capture").agg(pl.col("label").is_not_null().any())
        for capture, is_known in known.iter_rows():
            captures[capture] = captures.get(capture, False) or is_known
        labels.append(rows["label"].cast(pl.Int8))
    _check_captures(directory, captures)
    return labels


def _check_captures(directory: Path, captures: dict[str, bool]) -> None:
    missing = sorted(capture for capture, is_known in captures.items() if not is_known)
    if not missing:
        return
    if len(missing) == len(captures):
        raise DatasetError(
            f"{directory} has no labels: build it with --uploads FILE, or with --condition where nobody spoke"
        )
    raise DatasetError(
        f"{directory} is half labelled: {len(missing)} of {len(captures)} captures have no label, such as"
        f" {missing[0]}: name them in --uploads, or build the dataset without them"
    )
