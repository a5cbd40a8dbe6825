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

LEGEND = (
    "syn = heartbeat (not TCP SYN) · justified = unmuted, but no interaction explains it: refused under"
    " strict · bytes count from the IP header on"
)


@click.command()
@click.argument("capture", type=click.Path(path_type=Path))
@click.option("--device", required=True, help="MAC or IP address of the Echo (or its name in a recording).")
@click.option("--events", type=click.Path(path_type=Path), help="Sensor events, JSON lines.")
@click.option("--mode", type=click.Choice(["monitor", "enforce"]), help="Default: monitor.")
@click.option(
    "--policy", type=click.Choice(["strict", "balanced"]), help="Default: a recording's own, else strict."
)
@click.option("--format", "form", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
def replay(
    capture: Path, device: str, events: Path | None, mode: str | None, policy: str | None, form: str
) -> None:
    """Judge what a device sent in a capture (pcap, pcapng, also .gz)."""
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
            _print_report(run)
        raise
    require_device(run, capture, device)
    if form == "table":
        _print_report(run)


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
        _print_hosts(household.list_hosts())
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


def _print_report(run: Replay) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from guard.core.verdict import Direction, Verdict

    verdicts: Counter[tuple[str, str, str]] = Counter()
    verdict_bytes: Counter[tuple[str, str, str]] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    reason_bytes: Counter[tuple[str, str]] = Counter()
    for direction, decision, packets, size in run.engine.counters(run.device):
        if direction is not Direction.UPSTREAM or not packets:
            continue
        verdict = decision.verdict.value + (" (after virtual reset)" if decision.after_virtual_reset else "")
        key = (decision.packet_class or "", decision.justification or "", verdict)
        verdicts[key] += packets
        verdict_bytes[key] += size
        if decision.verdict is Verdict.REFUSE:
            reason = (decision.reason.value, decision.scope.value if decision.scope else "")
            reasons[reason] += packets
            reason_bytes[reason] += size

    console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS, highlight=False)
    table = Table(
        "class",
        "justification",
        "verdict",
        title=f"What {run.device} sent, mode {run.mode}, policy {run.policy}",
    )
    table.add_column("packets", justify="right")
    table.add_column("bytes", justify="right")
    for key in sorted(verdicts):
        style = "red" if key[2].startswith(Verdict.REFUSE) else ""
        table.add_row(*key, f"{verdicts[key]:,}", f"{verdict_bytes[key]:,}", style=style)
    console.print(table)
    if reasons:
        table = Table("refused because", "scope", title="Refusals by reason")
        table.add_column("packets", justify="right")
        table.add_column("bytes", justify="right")
        for row, count in reasons.most_common():
            table.add_row(*row, f"{count:,}", f"{reason_bytes[row]:,}")
        console.print(table)
    totals = run.totals
    console.print(
        f"{totals.frames:,} frames in the capture; the device sent {totals.upstream:,} IP packets and "
        f"received {totals.downstream:,}; {totals.not_ip:,} other frames of it (ARP and such) never reach "
        f"the gate."
    )
    console.print(LEGEND, style="dim")


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
