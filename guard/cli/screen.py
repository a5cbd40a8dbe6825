"""``wakeguard status`` for people: tables of what the gate said."""

from __future__ import annotations

from typing import Any, Final

CAUSES: Final = {
    "wake_word": "since the wake word",
    "voice": "while a voice is sent",
    "answer": "after an answer",
    "speech": "while somebody speaks",
}
"""Why an interaction is open, in words."""


def print_status(status: dict[str, Any]) -> None:
    """Print the status; colour and boxes only on a terminal."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    _print_gate(console, status)
    for device in status["devices"]:
        _print_device(console, device)


def _print_gate(console: Any, status: dict[str, Any]) -> None:
    colour = "green" if status["mode"] == "enforce" else "yellow"
    console.print(
        f"[bold {colour}]{status['mode']}[/], policy {status['policy']}, "
        f"up {format_duration(status['uptime_s'])}, wakeguard {status['gate_version']}, {status['build']}"
    )
    if status["period_scale"] != 1.0:
        console.print(f"[bold red]laboratory[/]: heartbeat periods are scaled by {status['period_scale']:g}")
    queue = status["queue"]
    lost = ", ".join(f"{count} {cause}" for cause, count in queue["lost"].items() if count) or "none"
    console.print(f"queue {queue['number']}: {queue['waiting']} waiting, lost: {lost}")
    failures = ", ".join(f"{count} {name}" for name, count in status["failures"].items() if count)
    if failures:
        console.print(f"[red]failures[/]: {failures}")
    resets = ", ".join(f"{count} {outcome}" for outcome, count in status["resets"].items() if count)
    if resets:
        console.print(f"resets to the far ends of refused connections: {resets}")
    if status["journal"] not in ("on", "off"):
        console.print(f"[red]journal[/]: not written, {status['journal']}")
    if status["recording"] != "off":
        console.print(f"recording: {status['recording']}")


def _print_device(console: Any, device: dict[str, Any]) -> None:
    console.print()
    console.print(f"[bold]{device['name']}[/] ({device['policy']}): {_describe_context(device)}")
    if device["paused_left_s"] is not None:
        end = format_end(device["paused_left_s"])
        console.print(f"[bold yellow]paused[/]: everything passes until {end}")
    if device["policy"] == "balanced" and device["model"] is None:
        console.print("[bold red]model_missing[/]: no voice model, so balanced is as strict as strict")
    console.print(f"flows: {device['flows']}, of them refused whole: {device['condemned_flows']}")
    if device["passed_by_kernel"]:
        console.print(f"acknowledgements passed by the kernel: {device['passed_by_kernel']:,}")
    if device["refused_by_kernel"]:
        console.print(f"on condemned connections, refused by the kernel: {device['refused_by_kernel']:,}")
    holds = device["holds"]
    if any(holds.values()):
        console.print(
            f"waiting for a wake word: {holds['packets']} packets, {holds['bytes']:,} bytes; "
            f"before: {holds['released']} passed, {holds['refused']} refused"
        )
    _print_bound(console, device["bound"])
    sensor = device["sensor"]
    if sensor is not None:
        heard = "never heard" if sensor["age_s"] is None else f"heard {sensor['age_s']:.1f} s ago"
        if sensor["hears"] is not None:
            heard += ", the microphone listens" if sensor["hears"] else ", no microphone listens"
        rejected = ", ".join(f"{count} {cause}" for cause, count in sensor["rejected"].items() if count)
        console.print(f"sensor: {heard}" + (f", thrown away: {rejected}" if rejected else ""))
    _print_packets(console, [row for row in device["packets"] if row["direction"] == "upstream"])
    _print_refusals(console, [row for row in device["packets"] if row["verdict"] == "refuse"])


def _describe_context(device: dict[str, Any]) -> str:
    text = str(device["mute"])
    if device["mute_age_s"] is not None:
        text += f" for {format_duration(device['mute_age_s'])}"
    if device["mute_source"] is not None:
        text += f" (by {device['mute_source']})"
    if device["interaction_left_s"] is not None:
        cause = CAUSES.get(device["interaction_cause"], "")
        return (
            f"{text}, interaction for another {device['interaction_left_s']:.1f} s ({cause}), "
            f"{device['interaction_bytes']:,.0f} bytes left"
        )
    return text + (", no interaction" if device["closed"] is None else f", closed: {device['closed']}")


def _print_bound(console: Any, bound: dict[str, dict[str, float]]) -> None:
    parts = ", ".join(f"{name} {size:,.0f}" for name, size in bound["unexplained"].items() if size)
    console.print(
        f"without a wake word at most {sum(bound['unexplained'].values()):,.0f} payload bytes an hour leave: "
        f"{parts}"
    )
    console.print(
        f"to the home's own network at most {sum(bound['local'].values()):,.0f}; by one wake word at most "
        f"{sum(bound['explained'].values()):,.0f}"
    )


def _print_packets(console: Any, rows: list[dict[str, Any]]) -> None:
    sums: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        key = (row["class"] or "", row["justification"] or "", row["verdict"])
        total = sums.setdefault(key, [0, 0])
        total[0] += row["packets"]
        total[1] += row["bytes"]
    _print_table(console, ("class", "justification", "verdict"), sums)


def _print_refusals(console: Any, rows: list[dict[str, Any]]) -> None:
    sums: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        total = sums.setdefault((row["reason"],), [0, 0])
        total[0] += row["packets"]
        total[1] += row["bytes"]
    _print_table(console, ("refused because",), sums)


def _print_table(console: Any, columns: tuple[str, ...], sums: dict[Any, list[int]]) -> None:
    if not sums:
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    table.add_column("packets", justify="right")
    table.add_column("bytes", justify="right")
    for key, (packets, size) in sorted(sums.items()):
        table.add_row(*key, str(packets), str(size))
    console.print(table)


def format_end(left_s: float) -> str:
    """Return the local time when so many seconds will have passed, with the date if it is not today."""
    from datetime import datetime, timedelta

    now = datetime.now().astimezone()
    end = now + timedelta(seconds=left_s)
    return f"{end:%H:%M:%S}" if end.date() == now.date() else f"{end:%Y-%m-%d %H:%M:%S}"


def format_duration(seconds: float) -> str:
    """Return ``42 s``, ``12 min``, ``5 h`` or ``3 d``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
