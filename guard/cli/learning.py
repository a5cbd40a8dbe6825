"""``wakeguard dataset``, ``train``, ``evaluate``: from captures to a voice model and its figures.

Knows: options, progress, and how a table looks on a terminal. Refuses to know: how anything is computed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from guard.errors import DatasetError

if TYPE_CHECKING:
    from guard.learning.evaluate import Evaluation
    from guard.learning.figures import Report
    from guard.learning.source import Source

CONDITIONS = ("microphone_mute", "no_wake_word", "normal_conversation", "music_stream")
PIPE_COLUMNS = 110
NEEDED = ("joblib", "matplotlib", "numpy", "polars", "sklearn")  # what the extra `train` brings

_PATH = click.Path(path_type=Path)


@click.group()
def dataset() -> None:
    """Make tables from captures: every packet with its verdict, every burst with its features."""


def _choose_captures(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which captures there are, and what was going on in them."""
    options = (
        click.argument("captures", nargs=-1, metavar="CAPTURES..."),
        click.option("--device", help="MAC or IP address of the Echo; the paper's own tables need none."),
        click.option(
            "--uploads",
            type=_PATH,
            help="When a voice left: CSV of file, start_s, end_s[, household, server_ip, client_port].",
        ),
        click.option("--condition", type=click.Choice(CONDITIONS), help="How all of them were captured."),
        click.option("--household", help="Whose home they are from. Default: the name of their folder."),
        click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataset.command(short_help="Build a dataset from captures.")
@_choose_captures
@click.option(
    "--events", type=_PATH, help="Sensor events of one capture, or a folder with NAME.jsonl for each."
)
@click.option("-o", "--out", required=True, type=_PATH, help="The directory to write; it must not exist.")
@click.option(
    "--cluster", metavar="ADDRESS", help="A Dask scheduler whose workers do it (they see the same files)."
)
@click.option(
    "--without-addresses", is_flag=True, help="Hide addresses, names of captures and the time of day."
)
def build(
    out: Path, jobs: int | None, cluster: str | None, *, without_addresses: bool, **choice: Any
) -> None:
    """Build a dataset from captures: files, folders, or the paper's own tables.

    Where homes differ, write FOLDER=DEVICE for each.
    """
    _require_packages()
    if not choice["captures"]:
        raise click.UsageError("name captures, or folders of captures")
    from guard.learning.dataset import build_dataset

    sources = _gather(**choice)
    done = count(1)
    with _show_progress("captures") as update:
        update(0, len(sources))
        manifest = build_dataset(
            sources,
            out,
            jobs=jobs,
            cluster=cluster,
            with_addresses=not without_addresses,
            on_done=lambda _name: update(next(done), len(sources)),
        )
    _print_manifest(out, manifest)


@click.command()
@_choose_captures
@click.option("--research", type=_PATH, help="Folder of the public captures behind the shipped model.")
@click.option("-o", "--out", required=True, type=_PATH, help="The model's directory; it must not exist.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same model.")
def train(research: Path | None, out: Path, seed: int, jobs: int | None, **choice: Any) -> None:
    """Train a voice model on labelled captures of at least two homes, and try it on each in turn.

    Where homes differ, write FOLDER=DEVICE for each.
    """
    _require_packages()
    if not choice["captures"] and research is None:
        raise click.UsageError("name captures, or --research FOLDER")
    from guard.learning.tables import write_directory
    from guard.learning.train import train as learn

    sources = _gather(**choice) if choice["captures"] else []
    traces = None
    if research is not None:
        from guard.learning.research import find_traces, gather_research

        sources += gather_research(research)
        traces = find_traces(research)
    with write_directory(out) as folder, _show_steps() as watch:
        report = learn(sources, folder, seed=seed, jobs=jobs, traces=traces, watch=watch)
    _print_outcomes(out, report)


@click.command()
@click.argument("datasets", nargs=-1, required=True, type=_PATH)
@click.option("--model", required=True, type=_PATH, help="The model: a directory with model.json.")
@click.option("-o", "--out", type=_PATH, help="Write figures and pictures into this new directory.")
@click.option("--timeline", metavar="CAPTURE", help="Which capture to draw. Default: the first with a voice.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the shuffles that rank features.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core.")
def evaluate(
    datasets: tuple[Path, ...],
    model: Path,
    out: Path | None,
    timeline: str | None,
    seed: int,
    jobs: int | None,
) -> None:
    """Score a voice model on datasets that it was not trained on."""
    _require_packages()
    from guard.learning.evaluate import evaluate as score
    from guard.learning.report import write_report
    from guard.voice_model import load_model

    if out is not None and out.exists():
        raise DatasetError(f"{out} exists already: remove it or name another directory")
    forest = load_model(model)
    with _show_progress("rows") as update:
        evaluation = score(forest, datasets, seed=seed, jobs=jobs, on_rows=update)
    if out is not None:
        write_report(evaluation, datasets, out, timeline=timeline)
    _print_evaluation(evaluation)
    if out is not None:
        click.echo(f"figures and pictures: {out}")


def _gather(captures: tuple[str, ...], device: str | None, **others: Any) -> list[Source]:
    """Return the sources; a capture may be written CAPTURE=DEVICE."""
    from guard.learning.gather import Request, gather_all

    by_device: dict[str | None, list[Path]] = {}
    for text in captures:
        path, separator, its_device = text.rpartition("=")
        named = bool(separator) and not Path(text).exists()
        by_device.setdefault(its_device if named else device, []).append(Path(path if named else text))
    requests = [Request(paths, its_device, **others) for its_device, paths in by_device.items()]
    return gather_all(requests)


def _require_packages() -> None:
    """Raise DatasetError when the extra is not installed; the remedy is for the Python that runs."""
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise DatasetError(
            f"this needs {', '.join(missing)}: {sys.executable} -m pip install 'wakeguard[train]'"
        )


@contextmanager
def _show_progress(what: str) -> Iterator[Callable[[int, int], object]]:
    """Give the function that is told how much is done, and of how much; the bar is for terminals."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _show_steps() -> Iterator[Callable[[str], None]]:
    """Give the function that is told of each step; the last one is shown, on a terminal only."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("reading captures") as status:
        update: Callable[[str], None] = status.update
        yield update


def _print_outcomes(out: Path, report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    table = Table("household", "detector", title="On homes that it was not trained on")
    for name in ("uploads", "found", "false", "precision", "recall"):
        table.add_column(name, justify="right")
    for outcome in report.outcomes:
        counts = (outcome.uploads, outcome.found, len(outcome.false))
        shares = ("-" if isnan(share) else f"{share:.1%}" for share in (outcome.precision, outcome.recall))
        table.add_row(outcome.household, outcome.detector, *(f"{n:,}" for n in counts), *shares)
    console.print(table)
    click.echo(f"model and card: {out}")


def _print_manifest(out: Path, manifest: dict[str, Any]) -> None:
    from collections import Counter

    captures = manifest["captures"]
    bursts: Counter[str] = Counter()
    for entry in captures:
        bursts.update(entry["bursts"])
    packets = sum(entry["packets"] for entry in captures)
    labels = ", ".join(f"{number:,} {label}" for label, number in sorted(bursts.items())) or "none"
    click.echo(f"{out}: {len(captures):,} captures, {packets:,} packets of the device, bursts: {labels}")
    if bursts["unlabelled"]:
        click.echo("unlabelled bursts cannot be learnt from: say with --uploads when a voice left")


def _print_evaluation(evaluation: Evaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    from guard.learning.evaluate import get_quantiles, summarise

    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    summary = summarise(evaluation)
    table = Table("detector", title=f"{evaluation.model} on {len(evaluation.bursts):,} bursts")
    for name in ("found", "missed", "false", "right", "precision (95 %)", "recall (95 %)", "F1"):
        table.add_column(name, justify="right")
    for name, row in summary["detectors"].items():
        shares = [
            f"{row[kind]:.1%} ({100 * row[kind + '_95'][0]:.1f} to {100 * row[kind + '_95'][1]:.1f})"
            for kind in ("precision", "recall")
        ]
        counts = [f"{row[kind]:,}" for kind in ("found", "missed", "false", "right")]
        table.add_row(name, *counts, *shares, f"{row['f1']:.3f}")
    console.print(table)
    delays = get_quantiles([1000 * delay for delay in evaluation.get_delays()])
    octets = get_quantiles(evaluation.get_bytes())
    if delays is not None:
        console.print(
            f"decided after the first audio record: median {delays['median']:.0f} ms,"
            f" p95 {delays['p95']:.0f}, at most {delays['maximum']:.0f}"
        )
    if octets is not None:
        console.print(
            f"audio sent by then: median {octets['median']:,.0f} bytes, p95 {octets['p95']:,.0f},"
            f" at most {octets['maximum']:,.0f}"
        )
    if evaluation.silent_uploads:
        console.print(
            f"{evaluation.silent_uploads:,} listed uploads have no burst in the tables: the model was never"
            " asked about them"
        )
    for burst in evaluation.get_misses():
        what = "missed a voice" if burst.label else "took for a voice what is none"
        console.print(f"{what}: {burst.capture}, score {burst.score:.2f}")
