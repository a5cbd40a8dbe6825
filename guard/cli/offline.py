"""``wakeguard replay`` and ``wakeguard devices``: commands that only read files."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guard.errors import CaptureError

if TYPE_CHECKING:
    from guard.capture import Capture
    from guard.household import Host
    from guard.lines import Write
    from guard.replay import Replay
    from guard.trace import Trace

PROGRESS_BYTES = 16 << 20  # a smaller capture is done before a bar could be read
PIPE_COLUMNS = 110  # width of a table that goes to no terminal
SHOWN_ADDRESSES = 3
GC_THRESHOLD = 100_000  # the hot path makes no cycles; collecting young objects often only costs


@click.command()
@click.argument("captures", metavar="CAPTURE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--device", required=True, help="MAC or IP address of the Echo (or its name in a recording).")
@click.option("--events", type=click.Path(path_type=Path), help="Sensor events, JSON lines.")
@click.option("--mode", type=click.Choice(["monitor", "enforce"]), help="Default: monitor.")
@click.option(
    "--policy", type=click.Choice(["strict", "balanced"]), help="Default: a recording's own, else strict."
)
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
@click.option(
    "--jobs", type=click.IntRange(1), help="Captures judged at once. Default: one for each processor."
)
def replay(
    captures: tuple[Path, ...],
    device: str,
    events: Path | None,
    mode: str | None,
    policy: str | None,
    form: str,
    jobs: int | None,
) -> None:
    """Judge what a device sent in captures (pcap, pcapng, also .gz), or in all of a folder."""
    if len(captures) > 1 or captures[0].is_dir():
        from guard.cli.captures import Wanted, find_captures, replay_all

        if events is not None:
            raise click.UsageError("--events tells of one capture: name that one alone")
        replay_all(find_captures(captures), Wanted(device, mode, policy), form=form, jobs=jobs)
        return
    from guard.cli.summary import print_summary, summarize

    capture = captures[0]
    packets, run = make_replay(
        capture,
        device,
        events,
        mode=mode,
        policy=policy,
        write=sys.stdout.write if form == "jsonl" else None,
    )
    try:
        run_replay(run, packets)
    except CaptureError:
        if form == "table" and run.totals.upstream:
            print_summary(summarize(run))
        raise
    require_device(run, capture, device)
    if form == "table":
        print_summary(summarize(run))


def make_replay(
    capture: Path,
    device: str,
    events: Path | None,
    *,
    mode: str | None,
    policy: str | None,
    write: Write | None = None,
) -> tuple[Capture, Replay]:
    """Return a capture and the replay of it that the options of a command ask for; nothing has run yet."""
    from guard.capture import Capture
    from guard.core.verdict import Mode
    from guard.replay import Replay
    from guard.selector import DeviceSelector
    from guard.trace import Trace, read_trace

    trace = read_trace(events) if events else Trace()
    packets = Capture(capture)
    run = Replay(
        packets,
        DeviceSelector(_resolve_device(capture, device, trace)),
        mode=Mode(mode) if mode else None,
        balanced=None if policy is None else policy == "balanced",
        trace=trace,
        write=write,
    )
    return packets, run


def run_replay(run: Replay, packets: Capture) -> None:
    """Run it, with a progress bar where that pays; CaptureError after everything before the damage."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    with _show_progress(packets):
        run.run()


def require_device(run: Replay, capture: Path, device: str) -> None:
    """Raise CaptureError, naming who is there, when the device is not in the capture."""
    from guard.household import describe_candidates

    seen = run.totals
    if not (seen.upstream or seen.downstream or seen.not_ip):
        hosts = _survey(capture)
        known = f"it holds {describe_candidates(hosts)}" if hosts else "it holds no frame"
        raise CaptureError(f"device {device} is not in {capture}: {known}")


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
def devices(capture: Path) -> None:
    """List who is in a capture, so that one can be named to replay."""
    from guard.capture import Capture
    from guard.household import Household

    household = Household()
    packets = Capture(capture)
    try:
        with _show_progress(packets):
            household.read(packets)
    except CaptureError:
        hosts = household.list_hosts()
        if hosts:
            _print_hosts(hosts)
        raise
    _print_hosts(household.list_hosts())


def _resolve_device(path: Path, device: str, trace: Trace) -> str:
    """Return the name that a recording gives to the device at an IP address, else ``device`` itself."""
    from guard.capture import Capture
    from guard.selector import DeviceSelector

    selector = DeviceSelector(device)
    if trace.gate is None or not selector.address:
        return device
    for _number, _time, interface, frame, _wire_bytes, flags in Capture(path):
        if interface.name in trace.gate.devices and selector.make_matcher(interface)(frame, flags):
            return interface.name
    return device


def _survey(path: Path) -> list[Host]:
    from guard.capture import Capture
    from guard.household import Household

    household = Household()
    household.read(Capture(path))
    return household.list_hosts()


@contextmanager
def _show_progress(capture: Capture) -> Iterator[None]:
    """Show on stderr how much of the file was read, on a terminal and for a large file only."""
    if not sys.stderr.isatty() or capture.packed_bytes < PROGRESS_BYTES:
        yield
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(capture.path.name, total=capture.packed_bytes)
        capture.watch = lambda position: progress.update(task, completed=position)
        yield


def _print_hosts(hosts: list[Host]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("device", "vendor", "addresses")
    for title in ("packets", "bytes", "sent"):
        table.add_column(title, justify="right")
    for host in hosts:
        addresses = host.list_addresses(SHOWN_ADDRESSES)
        if len(host.addresses) > SHOWN_ADDRESSES:
            addresses.append(f"and {len(host.addresses) - SHOWN_ADDRESSES} more")
        table.add_row(
            host.label,
            host.vendor,
            ", ".join(addresses),
            f"{host.packets:,}",
            f"{host.total_bytes:,}",
            f"{host.share_upstream:.0%}",
        )
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False).print(table)
