"""What an owner switches for one Echo or for all: pause, resume, policy.

Words are checked here before anybody is asked; what a switch does is the running gate's.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from guard.cli.asking import ask, config_option, json_option, load, print_json
from guard.errors import ControlError

POLICIES = ("strict", "balanced")


@click.command()
@click.argument("length", metavar="LENGTH")
@click.argument("device", required=False)
@config_option
@json_option
def pause(length: str, device: str | None, config_path: Path, *, as_json: bool) -> None:
    """Let everything of DEVICE, or of every Echo, pass for LENGTH, such as 5m or 1h30m.

    Muting the microphone ends it, and so does a restart. `wakeguard resume` ends it early.
    """
    from guard.durations import check_duration, parse_duration
    from guard.pauses import LONGEST, SHORTEST

    seconds = check_duration(parse_duration(length), SHORTEST, LONGEST)
    rows = ask(load(config_path), "pause", seconds=seconds, device=device)
    if as_json:
        print_json([{**row, "until": format_moment(row["paused_left_s"])} for row in rows])
        return
    from guard.cli.screen import format_end

    for row in rows:
        click.echo(f"{row['device']}: everything passes until {format_end(row['paused_left_s'])}")


@click.command()
@click.argument("device", required=False)
@config_option
@json_option
def resume(device: str | None, config_path: Path, *, as_json: bool) -> None:
    """End the pause of DEVICE, or every pause."""
    rows = ask(load(config_path), "resume", device=device)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['device']}: {'gated again' if row['was_paused'] else 'was not paused'}")


@click.command()
@click.argument("words", nargs=-1, metavar="[DEVICE] [strict|balanced]")
@config_option
@json_option
def policy(words: tuple[str, ...], config_path: Path, *, as_json: bool) -> None:
    """Show the policy of DEVICE, or of every Echo; or change it at once. The change survives a restart."""
    if len(words) > 2:
        raise ControlError(f'too many words: "{" ".join(words)}"; write [DEVICE] [strict|balanced]')
    wanted = words[-1] if words and (len(words) == 2 or words[0] in POLICIES) else None
    device = words[0] if words and words[0] != wanted else None
    if len(words) == 2:
        device = words[0]
    rows: list[dict[str, Any]] = ask(load(config_path), "policy", device=device, policy=wanted)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        note = "" if row["policy"] == row["file"] else f" (the configuration says {row['file']})"
        click.echo(f"{row['device']}: {row['policy']}{note}")


def format_moment(left_s: float) -> str:
    """Return when so many seconds will have passed, as ISO 8601 with the local offset."""
    return (datetime.now().astimezone() + timedelta(seconds=left_s)).isoformat(timespec="seconds")
