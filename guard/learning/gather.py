"""Which captures a dataset is built from, as its owner named them.

Knows: files and folders, the names that conditions and events have beside a capture. Refuses to know: what is
in a capture. Every complaint names a file and says what to do.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from guard.errors import DatasetError
from guard.learning.paper_table import guess_condition, is_paper_table
from guard.learning.source import CAPTURE_SUFFIXES, EVENTS_SUFFIX, Source, Upload

UPLOAD_COLUMNS = ("file", "start_s", "end_s")
PAPER_HOUSEHOLD = "paper"  # all its tables are of one Echo


@dataclass(frozen=True, slots=True)
class Request:
    """What the owner asked for.

    ``events``: one trace for the one capture, or a folder with ``NAME.jsonl`` for each; ``uploads``: a CSV
    file that says when a voice left (``file,start_s,end_s``, also ``household,server_ip,client_port`` where
    known); ``household``: what may not be in training and in testing at once; by default the captures'
    folder.
    """

    captures: Sequence[Path]
    device: str | None
    events: Path | None = None
    uploads: Path | None = None
    condition: str | None = None
    household: str | None = None


def gather(request: Request) -> list[Source]:
    """Return the sources, in the order of their names; DatasetError for what cannot be one."""
    uploads = read_uploads(request.uploads) if request.uploads is not None else {}
    found = {path: name for capture in request.captures for path, name in _expand(capture)}
    if not found:
        raise DatasetError("there is nothing to build a dataset from: name captures, or folders of captures")
    sources = []
    for path, name in sorted(found.items(), key=lambda item: (item[1], item[0])):
        if request.device is None and not is_paper_table(path):
            raise DatasetError(
                f"{path} needs --device, the MAC or IP address of its Echo (see: wakeguard devices {path})"
            )
        household = request.household or _guess_household(path)
        times = uploads.get((household, path.name), uploads.get(("", path.name)))
        sources.append(
            Source(
                path,
                name,
                group=household,
                device=request.device or "",
                events=_find_events(request.events, path, alone=len(found) == 1),
                condition=request.condition or (guess_condition(path) if is_paper_table(path) else None),
                uploads=None if times is None else tuple(times),
            )
        )
    if request.uploads is not None and all(source.uploads is None for source in sources):
        raise DatasetError(f"{request.uploads} lists none of these captures: `file` must hold their names")
    return sources


def _guess_household(path: Path) -> str:
    return PAPER_HOUSEHOLD if is_paper_table(path) else path.resolve().parent.name


def is_capture(path: Path) -> bool:
    """Say whether a file in a folder is taken for a capture."""
    return path.name.endswith(CAPTURE_SUFFIXES) and not path.name.startswith(".")


def gather_all(requests: Sequence[Request]) -> list[Source]:
    """Return the sources of all requests; DatasetError where two would have the same name in the tables."""
    sources = [source for request in requests for source in gather(request)]
    twice = [name for name, count in Counter(source.name for source in sources).items() if count > 1]
    if twice:
        raise DatasetError(f"two captures are called {twice[0]}: name the folder above both instead")
    return sources


def read_uploads(path: Path) -> dict[tuple[str, str], list[Upload]]:
    """Return (household, file name) -> when a voice left; DatasetError names the line that is wrong.

    The household is "" where there is no such column. A line without times: no voice left in its capture.
    """
    found: dict[tuple[str, str], list[Upload]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            missing = [name for name in UPLOAD_COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DatasetError(f"{path} has no column {missing[0]}: it needs {', '.join(UPLOAD_COLUMNS)}")
            for row in rows:
                key = row.get("household") or "", Path(row["file"] or "").name
                times = found.setdefault(key, [])
                if not row["start_s"] and not row["end_s"]:
                    continue  # a capture in which no voice left
                try:
                    server, port = row.get("server_ip") or "", int(row.get("client_port") or 0)
                    upload = Upload(float(row["start_s"]), float(row["end_s"]), server, port)
                except (TypeError, ValueError):
                    raise DatasetError(
                        f"{path} line {rows.line_num}: start_s, end_s must be seconds, client_port a number"
                    ) from None
                times.append(upload)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return found


def _expand(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the captures that ``path`` stands for, each with the name it has in the tables."""
    if not path.exists():
        raise DatasetError(f"{path} does not exist: name captures, or folders of captures")
    if not path.is_dir():
        yield path, f"{path.parent.name}/{path.name}" if path.parent.name else path.name
        return
    next(path.iterdir(), None)  # where it may not be read, rglob would find nothing and not say so
    inside = sorted(inner for inner in path.rglob("*") if inner.is_file() and is_capture(inner))
    captures = [inner for inner in inside if inner.suffix != ".csv" or _is_readable_table(inner)]
    if not captures:
        raise DatasetError(f"{path} holds no capture ({', '.join(CAPTURE_SUFFIXES)}): name another folder")
    for inner in captures:
        yield inner, f"{path.name}/{inner.relative_to(path)}"


def _is_readable_table(path: Path) -> bool:
    """Say whether a CSV file in a folder is one of the paper's tables, and not a list of something else."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline().strip().split(",")
    return first[0] == "date" or (len(first) == 7 and first[1].isdigit())


def _find_events(events: Path | None, capture: Path, *, alone: bool) -> Path | None:
    if events is None:
        return None
    if not events.is_dir():
        if not alone:
            raise DatasetError(
                f"{events} explains one capture: for several, name a folder with NAME{EVENTS_SUFFIX} for each"
            )
        return events
    stem = capture.name
    for suffix in sorted(CAPTURE_SUFFIXES, key=len, reverse=True):
        stem = stem.removesuffix(suffix)
    path = events / f"{stem}{EVENTS_SUFFIX}"
    if not path.is_file():
        raise DatasetError(f"{events} explains only a part of the captures: {path.name} is missing")
    return path
