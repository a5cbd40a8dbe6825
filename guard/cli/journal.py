"""``wakeguard log``, ``tail`` and ``why``: read what the gate wrote down.

They read the file itself, so they work whether a gate runs or not. One that runs is first asked to write what
it has; that it cannot be asked is no reason not to show the rest.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from guard.cli.asking import config_option, json_option, load, print_json
from guard.errors import ControlError

if TYPE_CHECKING:
    from guard.config import Config
    from guard.telemetry.journal import Journal, Row

KINDS: Final = ("refusal", "interaction", "mute", "pause", "mode", "notice", "run", "flow")
SHOWN: Final = tuple(kind for kind in KINDS if kind != "flow")  # connections are many: only when asked for
ASK_S: Final = 3.0
FOLLOW_S: Final = 0.5  # between two looks of `tail`
_REFUSED: Final = "refusal"

_device_option = click.option("--device", help="Of this device only.")
_refused_option = click.option("--refused", is_flag=True, help="Refusals only.")
_kind_option = click.option(
    "--kind",
    "kinds",
    type=click.Choice([*KINDS, "all"]),
    multiple=True,
    help="Of this kind only; may be given again.  [default: all but flow]",
)


@click.command()
@_refused_option
@_kind_option
@_device_option
@click.option("--since", help="A length such as 2h, or a date such as 2026-11-22T18:00.")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="The newest only."
)
@config_option
@json_option
def log(
    kinds: tuple[str, ...],
    device: str | None,
    since: str | None,
    limit: int,
    config_path: Path,
    *,
    refused: bool,
    as_json: bool,
) -> None:
    """Show what was refused, heard and switched, the newest last."""
    from guard.durations import parse_since
    from guard.telemetry.journal import Filter

    after = None if since is None else parse_since(since, now=datetime.now().astimezone())
    config = load(config_path)
    _have_written(config)
    with _open(config) as journal:
        wanted = Filter(
            kinds=_choose(kinds, refused=refused),
            device=_check_device(device, config, journal),
            since_ms=None if after is None else int(after.timestamp() * 1000),
            limit=limit,
        )
        rows = journal.read(wanted)
    if as_json:
        from guard.chronicle import to_mapping

        print_json([to_mapping(row) for row in rows])
        return
    show = _make_printer()
    for row in rows:
        show(row)
    if not rows:
        click.echo("nothing, as far as the journal goes back")


@click.command()
@_refused_option
@_kind_option
@_device_option
@config_option
@json_option
def tail(
    kinds: tuple[str, ...], device: str | None, config_path: Path, *, refused: bool, as_json: bool
) -> None:
    """Follow the journal as it is written, until Ctrl-C. With --json one object a line."""
    from guard.telemetry.journal import Filter

    # A shell starts what it puts into the background with SIGINT ignored; there, too, it must end this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config = load(config_path)
    _have_written(config)
    show = _print_line if as_json else _make_printer()
    with _open(config) as journal:
        chosen = _choose(kinds, refused=refused)
        wanted_device = _check_device(device, config, journal)
        after = journal.get_ends()
    while True:
        _have_written(config)
        with _open(config) as journal:  # opened anew: a damaged file may have been set aside meanwhile
            ends = journal.get_ends()
            after = {kind: number if number <= ends[kind] else 0 for kind, number in after.items()}
            rows = journal.read(Filter(kinds=chosen, device=wanted_device, after=after))
        for row in rows:
            show(row)
            after[row.kind] = max(after[row.kind], int(row.id[1:]))
        time.sleep(FOLLOW_S)


@click.command()
@click.argument("name", metavar="ID")
@config_option
@json_option
def why(name: str, config_path: Path, *, as_json: bool) -> None:
    """Explain one entry of the journal: who, what, when, why, and what to do about it."""
    from guard.chronicle import tell, to_mapping

    config = load(config_path)
    _have_written(config)
    with _open(config) as journal:
        row = journal.get(name)
        story = tell(row, journal)
    if as_json:
        print_json({**to_mapping(row), "story": [{"about": about, "text": text} for about, text in story]})
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for about, text in story:
        table.add_row(about, Text(text))
    Console(highlight=False).print(table)


def _have_written(config: Config) -> None:
    """Ask the running gate to write down what it has; nobody may be there, or may not be asked."""
    from guard.control import ask

    with contextlib.suppress(ControlError):
        ask(config.control.socket, "journal", timeout=ASK_S)


def _open(config: Config) -> Journal:
    from guard.telemetry.journal import Journal
    from guard.telemetry.journal_store import FILE_NAME

    return Journal(config.get_journal_directory() / FILE_NAME)


def _choose(kinds: Sequence[str], *, refused: bool) -> tuple[str, ...]:
    if refused and kinds:
        raise ControlError("--refused is --kind refusal; leave one of them out")
    if refused:
        return (_REFUSED,)
    return KINDS if "all" in kinds else tuple(kinds) or SHOWN


def _check_device(device: str | None, config: Config, journal: Journal) -> str | None:
    from guard.remedies import suggest

    known = sorted({*config.get_device_names(), *journal.get_devices()})
    if device is not None and device not in known:
        raise ControlError(f'no device "{device}"; {suggest(device, known)}')
    return device


def _print_line(row: Row) -> None:
    from guard.chronicle import to_mapping

    click.echo(json.dumps(to_mapping(row)))


def _make_printer() -> Callable[[Row], None]:
    """Return what prints a row: coloured on a terminal, plain elsewhere."""
    from rich.console import Console
    from rich.text import Text

    from guard.chronicle import STYLES, format_time, summarise

    console = Console(highlight=False, soft_wrap=True)

    def show(row: Row) -> None:
        device: Any = row.fields.get("device") or "-"
        line = Text(f"{row.id:>7}  {format_time(row.began)}  {device:<10} ")
        line.append(summarise(row), style=STYLES[row.kind])
        console.print(line)

    return show
