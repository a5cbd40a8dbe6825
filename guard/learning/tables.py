"""Tables on disk: CSV written row by row, Parquet made from it, a whole directory or nothing.

Knows: how a column's kind is called in Parquet, and that a table appears under its name only when it is
complete. Refuses to know: what the columns mean. Memory does not grow with the rows.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import DatasetError
from guard.learning.columns import Column, Kind

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "dataset.json"
ROWS_AT_ONCE = 10_000  # read, written and scored at once
QUOTE = b'"'


@contextmanager
def write_directory(out: Path) -> Iterator[Path]:
    """Give a temporary directory beside ``out`` that becomes ``out`` when nothing was raised.

    DatasetError when ``out`` exists already: nobody's table is written over.
    """
    if out.exists():
        raise DatasetError(f"{out} exists already: remove it or name another directory")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}") from None
    try:
        yield folder
        folder.chmod(0o755)
        folder.replace(out)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class TableWriter:
    """A CSV file with one line of names; ``write`` takes the values in the columns' order."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self.rows = 0
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([column.name for column in columns])

    def write(self, row: Sequence[Any]) -> None:
        """Append one row; None is an empty field."""
        self._writer.writerow(row)
        self.rows += 1

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def join_tables(parts: Iterable[Path], out: Path) -> None:
    """Join CSV files of the same columns: one line of names, then all rows."""
    with out.open("wb") as target:
        for number, part in enumerate(parts):
            with part.open("rb") as source:
                head = source.readline()
                if not number:
                    target.write(head)
                shutil.copyfileobj(source, target)


def write_parquet(table: Path, columns: Sequence[Column]) -> Path:
    """Write ``table`` (CSV) beside itself as Parquet and return its path.

    Polars is handed one batch after the other: left to read the file by itself, it keeps the more of it, the
    larger the file is.
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    kinds = {Kind.TEXT: pl.String, Kind.INT: pl.Int64, Kind.FLOAT: pl.Float64}
    schema = {column.name: kinds[column.kind] for column in columns}

    def read(*_pushed_down: object) -> Iterator[pl.DataFrame]:
        with table.open("rb") as file:
            head = file.readline()
            while rows := b"".join(islice(file, ROWS_AT_ONCE)):
                while rows.count(QUOTE) % 2:  # cut inside a field that has a line break
                    rows += file.readline()
                yield pl.read_csv(head + rows, schema=schema)

    path = table.with_suffix(".parquet")
    register_io_source(read, schema=schema).sink_parquet(path, row_group_size=ROWS_AT_ONCE)
    return path


def check_table(directory: Path, name: str, columns: Sequence[Column]) -> Path:
    """Return where a table of a dataset is; DatasetError when it is missing, damaged or of other columns."""
    import polars as pl

    path = directory / f"{name}.parquet"
    if not path.is_file():
        raise DatasetError(f"{directory} holds no {path.name}: build it with `wakeguard dataset build`")
    with _complain_about(path):
        names = pl.scan_parquet(path).collect_schema().names()
    if names != [column.name for column in columns]:
        raise DatasetError(f"{path} has other columns than this version writes: build the dataset again")
    return path


def count_rows(path: Path) -> int:
    """Return how many rows a Parquet file has."""
    import polars as pl

    with _complain_about(path):
        count: int = pl.scan_parquet(path).select(pl.len()).collect().item()
    return count


def read_rows(path: Path, names: Sequence[str], start: int, count: int = ROWS_AT_ONCE) -> pl.DataFrame:
    """Return some columns of ``count`` rows from row ``start`` on: fewer at the end, none beyond it."""
    import polars as pl

    with _complain_about(path):
        return pl.scan_parquet(path).slice(start, count).select(names).collect()


@contextmanager
def _complain_about(path: Path) -> Iterator[None]:
    """Make a DatasetError of what polars says about a file."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"{path} cannot be read ({reason}): build the dataset again") from None


def write_manifest(directory: Path, content: Mapping[str, Any]) -> None:
    """Write what a dataset was built from."""
    text = json.dumps(content, indent=2, sort_keys=True)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return what a dataset was built from; DatasetError when the directory is no dataset."""
    path = directory / MANIFEST
    if not directory.is_dir():
        raise DatasetError(
            f"{directory} is no dataset: name a directory that `wakeguard dataset build` wrote"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DatasetError(
            f"{directory} is no dataset, it holds no {MANIFEST}: build one with `wakeguard dataset build`"
        ) from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): build the dataset again") from None
    if not isinstance(content, dict):
        raise DatasetError(f"{path} cannot be read (no JSON object): build the dataset again")
    return content
