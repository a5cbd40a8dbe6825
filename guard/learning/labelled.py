"""Bursts that somebody labelled, out of one dataset or several, checked before anybody learns from them.

Knows: which datasets can be learnt from or scored on: of this feature contract, every capture labelled, both
classes there. Refuses to know: models. Each complaint names the dataset and says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.core.burst import get_contract
from guard.errors import DatasetError
from guard.learning.bursts import BURST_COLUMNS, LABELS
from guard.learning.dataset import BURSTS, FORMAT
from guard.learning.tables import read_manifest, read_table

if TYPE_CHECKING:
    import polars as pl

DATASET = "dataset"  # the column that is put in front: which directory a row came from


def read_labelled(directories: Sequence[Path]) -> pl.DataFrame:
    """Return the rows of all datasets; DatasetError where they cannot be learnt from."""
    import polars as pl

    if not directories:
        raise DatasetError("name a dataset, a directory that `wakeguard dataset build` wrote")
    tables = []
    for directory in directories:
        check_contract(directory, read_manifest(directory))
        table = read_table(directory, BURSTS, BURST_COLUMNS)
        _check_labels(directory, table)
        table = table.filter(pl.col("label").is_not_null())  # the others: voice or not, nobody knows
        tables.append(table.select(pl.lit(str(directory)).alias(DATASET), pl.all()))
    rows = pl.concat(tables)
    found = set(rows["label"].to_list())
    if len(found) < len(LABELS):
        only = ", ".join(f"{LABELS[label]!r}" for label in sorted(found)) or "no burst"
        raise DatasetError(
            f"{', '.join(map(str, directories))}: only {only} in it, and {' and '.join(LABELS)} are needed:"
            " add captures of conversations with --uploads, of silence with --condition no_wake_word"
        )
    return rows


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


def _check_labels(directory: Path, table: pl.DataFrame) -> None:
    import polars as pl

    labelled = table.group_by("capture").agg(pl.col("label").is_not_null().any())
    missing = labelled.filter(~pl.col("label"))["capture"].sort().to_list()
    if not missing:
        return
    captures = labelled.height
    if len(missing) == captures:
        raise DatasetError(
            f"{directory} has no labels: build it with --uploads FILE, or with --condition where nobody spoke"
        )
    raise DatasetError(
        f"{directory} is half labelled: {len(missing)} of {captures} captures have no label, such as"
        f" {missing[0]}: name them in --uploads, or build the dataset without them"
    )
