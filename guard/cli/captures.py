"""Several captures in one call: each judged in a process of its own, everything printed in the order given.

This file knows how the work is spread over the processors and how it comes back together. A capture's lines
wait in a temporary file until those before it are printed, so memory does not grow with them. A damaged
capture does not keep the others from being judged: it is named at the end.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from guard.cli.offline import GC_THRESHOLD, PIPE_COLUMNS, make_replay
from guard.cli.summary import Summary, add_up, print_summary, summarize
from guard.core.verdict import Mode
from guard.errors import CaptureError

if TYPE_CHECKING:
    from guard.lines import Write

ENDINGS = (".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz", ".cap.gz")
MAX_NAMED = 3  # damaged captures that the last line names


class Wanted(NamedTuple):
    """What the options ask for; None as where the option is absent."""

    device: str
    mode: str | None
    policy: str | None


@dataclass(frozen=True, slots=True)
class _Task:
    """One capture and where its lines go; None: they are not asked for."""

    path: Path
    wanted: Wanted
    lines: Path | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """What came of one capture; ``fault`` says where it is damaged."""

    path: Path
    summary: Summary
    fault: str | None


def find_captures(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and those of the folders named by their paths. CaptureError where none is."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(
            file for file in path.rglob("*") if file.name.lower().endswith(ENDINGS) and file.is_file()
        )
        if not inside:
            raise CaptureError(f"{path} holds no capture: none of its files ends in {', '.join(ENDINGS)}")
        found += inside
    return found


def replay_all(paths: Sequence[Path], wanted: Wanted, *, form: str, jobs: int | None) -> None:
    """Judge all captures and print what was found; CaptureError afterwards if one was damaged."""
    for path in paths:
        path.open("rb").close()  # a name that is wrong is said before an hour of work, not after
    jobs = min(jobs or os.cpu_count() or 1, len(paths))
    judged: list[_Judged] = []
    with tempfile.TemporaryDirectory(prefix="wakeguard-") as folder:
        tasks = [
            _Task(path, wanted, Path(folder, str(number)) if form == "jsonl" else None)
            for number, path in enumerate(paths)
        ]
        with _show_progress(paths) as advance:
            for task, done in zip(tasks, _run(tasks, jobs), strict=True):
                judged.append(done)
                advance(task.path)
                if task.lines is not None:
                    with task.lines.open() as lines:
                        shutil.copyfileobj(lines, sys.stdout)
                    task.lines.unlink()
    if not any(one.summary.seen or one.fault for one in judged):
        raise CaptureError(
            f"device {wanted.device} is in none of the {len(judged)} captures: "
            f"`wakeguard devices {paths[0]}` lists who is in one"
        )
    if form == "table":
        _print_captures(judged)
        print_summary(add_up(one.summary for one in judged), where=f"the {len(judged)} captures")
    _complain([one for one in judged if one.fault], len(judged))


def _run(tasks: Sequence[_Task], jobs: int) -> Iterator[_Judged]:
    if jobs == 1:
        yield from map(_judge, tasks)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Not forked: the progress bar has a thread by now.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_judge, task) for task in tasks]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _judge(task: _Task) -> _Judged:
    if task.lines is None:
        return _replay(task, None)
    head = f'{{"capture":{json.dumps(str(task.path))},"frame":'
    with task.lines.open("w") as lines:
        return _replay(task, lambda text: lines.write(text.replace('{"frame":', head)))


def _replay(task: _Task, write: Write | None) -> _Judged:
    device, mode, policy = task.wanted
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    try:
        _, run = make_replay(task.path, device, None, mode=mode, policy=policy, write=write)
    except CaptureError as error:
        return _Judged(task.path, Summary(device, mode or Mode.MONITOR.value, policy or "strict"), str(error))
    fault = None
    try:
        run.run()
    except CaptureError as error:
        fault = str(error)
    return _Judged(task.path, summarize(run), fault)


@contextmanager
def _show_progress(paths: Sequence[Path]) -> Iterator[Callable[[Path], object]]:
    """Show on stderr how much of all captures is judged, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    sizes = {path: path.stat().st_size for path in paths}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"{len(paths)} captures", total=sum(path.stat().st_size for path in paths))
        yield lambda path: progress.advance(bar, sizes[path])


def _print_captures(judged: Sequence[_Judged]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("capture")
    for title in ("frames", "sent", "received", "refused"):
        table.add_column(title, justify="right")
    common = Path(os.path.commonpath([one.path.absolute().parent for one in judged]))
    for one in judged:
        found = one.summary
        numbers = (found.frames, found.upstream, found.downstream, found.refused)
        name = f"{one.path.absolute().relative_to(common)}{' (damaged)' if one.fault else ''}"
        table.add_row(name, *(f"{number:,}" for number in numbers), style="red" if one.fault else "")
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False).print(table)


def _complain(damaged: Sequence[_Judged], count: int) -> None:
    if not damaged:
        return
    named = "; ".join(one.fault or "" for one in damaged[:MAX_NAMED])
    more = f"; and {len(damaged) - MAX_NAMED} more" if len(damaged) > MAX_NAMED else ""
    raise CaptureError(f"{len(damaged)} of {count} captures could not be read to the end: {named}{more}")
