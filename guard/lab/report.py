"""The lab's last screen: what was sent, what the gate said, what the cloud's side received."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.core.verdict import Mode, Verdict
from guard.lab.namespaces import DEVICES, EAGER
from guard.lab.runner import Result
from guard.lab.verdict import get_app_data, get_declined, get_success

if TYPE_CHECKING:
    from rich.console import Console

_EXAMPLE = "docs/examples/household"
NEXT_COMMANDS = (
    (
        f"{{wakeguard}} replay {_EXAMPLE}.pcapng --device {EAGER.mac} --events {_EXAMPLE}.jsonl",
        "the same engine on a recorded household, packet by packet",
    ),
    (f"{{wakeguard}} devices {_EXAMPLE}.pcapng", "who is in a capture; then try one of your own"),
    (
        "sudo {wakeguard} run --config docs/examples/wakeguard.toml",
        "the gate between your Echo and your router, in monitor: it changes nothing",
    ),
)
_LEGEND = """\
[dim]sent, arrived: bytes of application data that the Echo wrote, and that
the cloud's side received. accept, refuse: packets, what the gate said.
heartbeats: bytes sent/arrived. heard: bytes that the cloud sent back.[/]
"""
TEMPERS = {"eager": "redials and sends again at once", "lazy": "backs off, speaks only on a ready session"}


def print_report(console: Console, results: Sequence[Result], faults: Sequence[str]) -> None:
    """Print one table for each mode, the success rates, the faults and what to try next."""
    for mode in Mode:
        rows = [result for result in results if result.phase.mode is mode]
        if rows:
            _print_table(console, mode, rows)
    console.print(_LEGEND, highlight=False)
    console.print("[bold]Spoken commands answered (strict policy; each follows its wake word)[/]")
    for device in DEVICES:
        rates = ", ".join(
            f"{mode} {done} of {tried}"
            for mode in Mode
            for done, tried in [get_success(results, device.name, mode)]
            if tried
        )
        declined = get_declined(results, device.name, Mode.ENFORCE)
        if declined:
            rates += f" ({declined} not begun: no session then)"
        lost = sum(r.resets for r in results if r.device == device.name and r.phase.mode is Mode.ENFORCE)
        console.print(f"  {device.name:6} {rates or 'none was spoken'}", highlight=False)
        console.print(f"         [dim]{TEMPERS[device.name]}; {lost} resets in enforce[/]")
    console.print()
    for fault in faults:
        console.print(f"[bold red]not as promised:[/] {fault}", highlight=False, soft_wrap=True)
    if not faults:
        console.print("[bold green]All as promised.[/]")
    console.print("\nTry next:")
    program = get_program()
    for command, purpose in NEXT_COMMANDS:
        console.print(
            f"  {command.format(wakeguard=program)}\n      [dim]{purpose}[/]", highlight=False, soft_wrap=True
        )


def get_program() -> str:
    """Return how this command line is called here: by its name where PATH has it, else by its path."""
    called = sys.argv[0]
    return "wakeguard" if shutil.which("wakeguard") or Path(called).name != "wakeguard" else called


def to_json(results: Sequence[Result], faults: Sequence[str], *, kernel: bool, period_scale: float) -> str:
    """Return the whole result as one JSON object."""
    fields: dict[str, Any] = {
        "kernel": kernel,
        "period_scale": period_scale,
        "faults": list(faults),
        "success": {
            device.name: {
                mode.value: dict(zip(("answered", "spoken"), rate, strict=True))
                for mode in Mode
                if (rate := get_success(results, device.name, mode))[1]
            }
            for device in DEVICES
        },
        "results": [_to_mapping(result) for result in results],
    }
    return json.dumps(fields, indent=2)


def _to_mapping(result: Result) -> dict[str, Any]:
    return {
        "mode": result.phase.mode,
        "situation": result.phase.situation.name,
        "device": result.device,
        "items": [
            {
                "act": item.item.step.act,
                "explained": item.item.explained,
                "sent_bytes": item.sent,
                "received_bytes": item.received,
                "succeeded": item.succeeded,
                "declined": item.declined,
            }
            for item in result.items
        ],
        "said": [said._asdict() | {"packets": packets} for said, packets in sorted(result.said.items())],
        "heartbeat_bytes": {"sent": result.heartbeats_sent, "received": result.heartbeats_received},
        "cut_bytes": result.cut,
        "from_cloud_bytes": result.heard,
        "dials": result.dials,
        "resets": result.resets,
    }


_WIDTHS = (7, 9, 8, 9, 8, 8, 7, 9, 9, 6)
_HEADS = (
    ("", "no wake", "word", "wake", "word", "the", "gate", "heart-", "", "re-"),
    ("Echo", "sent", "arrived", "sent", "arrived", "accept", "refuse", "beats", "heard", "sets"),
)


def _print_table(console: Console, mode: Mode, rows: Sequence[Result]) -> None:
    title = "the gate reports, and changes nothing" if mode is Mode.MONITOR else "the gate refuses"
    console.print(f"[bold]{mode}: {title}[/]")
    for head in _HEADS:
        console.print(f"[dim]{_line(head)}[/]", highlight=False)
    name = ""
    for result in rows:
        situation = result.phase.situation
        if situation.name != name:
            name = situation.name
            promise = f": {situation.promise}" if mode is Mode.ENFORCE else ""
            console.print(f"[bold]{name}[/]{promise}", highlight=False)
        cells = (
            result.device,
            *_get_bytes(result, explained=False),
            *_get_bytes(result, explained=True),
            str(get_app_data(result, Verdict.ACCEPT)),
            str(get_app_data(result, Verdict.REFUSE)),
            f"{result.heartbeats_sent}/{result.heartbeats_received}",
            f"{result.heard:,}",
            str(result.resets),
        )
        console.print(_line(cells), highlight=False)
    console.print()


def _line(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _get_bytes(result: Result, *, explained: bool) -> tuple[str, str]:
    items = [item for item in result.items if item.item.explained is explained]
    if not items:
        return "-", "-"
    return f"{sum(item.sent for item in items):,}", f"{sum(item.received for item in items):,}"
