"""The commands around a running gate: run, status, mode, mute-led, event, reload, off.

Exit status: 0 when it was done, 2 with one line on stderr when not. ``run`` is the gate itself; the others
ask it through its control socket.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from guard.cli.asking import ask, config_option, json_option, load, print_json
from guard.errors import ConfigError, ControlError, WakeguardError

if TYPE_CHECKING:
    from guard.config import Config

WATCH_INTERVAL = 0.2  # seconds between two questions of `mute-led --watch`

_Function = TypeVar("_Function", bound=Callable[..., Any])


@click.command()
@config_option
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write every queued packet and event to a new recording in DIR.",
)
@click.option(
    "--decisions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write every decision to FILE, in the form of `replay --format jsonl`.",
)
def run(config_path: Path, record: Path | None, decisions: Path | None) -> None:
    """Run the gate until SIGTERM or Ctrl-C.

    In monitor its rules go with it; in enforce they stay and traffic stays closed (`wakeguard off` opens).
    """
    from guard import daemon
    from guard.config import load_config
    from guard.telemetry.log import Log

    config = load_config(config_path)
    daemon.run(config, path=config_path.absolute(), log=Log(sys.stderr), record=record, decisions=decisions)


@click.command()
@config_option
@json_option
def status(config_path: Path, *, as_json: bool) -> None:
    """Show what the running gate sees and does."""
    result = ask(load(config_path), "status")
    if as_json:
        print_json(result)
        return
    from guard.cli.screen import print_status

    print_status(result)


@click.command()
@click.argument("mode", required=False, type=click.Choice(["monitor", "enforce"]))
@config_option
@json_option
def mode(mode: str | None, config_path: Path, *, as_json: bool) -> None:
    """Show the mode of the running gate, or switch it at once; the switch survives a restart."""
    fields = {} if mode is None else {"mode": mode}
    result = ask(load(config_path), "mode", **fields)
    if as_json:
        print_json(result)
    else:
        click.echo(result["mode"])


@click.command("mute-led")
@click.option("--device", help="This device only.")
@click.option("--watch", is_flag=True, help="Go on, and print each change.")
@click.option("--calibrate", is_flag=True, help="Lead through placing the light sensor; stop `sense` first.")
@config_option
@json_option
def mute_led(device: str | None, config_path: Path, *, as_json: bool, watch: bool, calibrate: bool) -> None:
    """Show the mute state as the gate knows it, its age and where it comes from."""
    if (
        calibrate
    ):  # asks the pin itself and not the gate: the sensing side's work, found by name as in the group
        import importlib

        command = importlib.import_module("hardware.cli").calibrate
        click.get_current_context().invoke(command, config_path=config_path, device=device)
        return
    if watch:
        _watch_mute(load(config_path), device)
    result = ask(load(config_path), "mute-led", device=device)
    if as_json:
        print_json(result)
        return
    for row in result:
        click.echo(_describe_mute(row))


@click.command()
@click.argument("kind", metavar="{wake|mute|unmute}", type=click.Choice(["wake", "mute", "unmute"]))
@click.option("--device", help="Which device; needed when there are several.")
@click.option("--word", help="The wake word.  [default: alexa]")
@config_option
@json_option
def event(kind: str, device: str | None, word: str | None, config_path: Path, *, as_json: bool) -> None:
    """Send a wake, mute or unmute event by hand."""
    if word is not None and kind != "wake":
        raise ControlError(f"--word belongs to wake, not to {kind}; leave it out")
    row = ask(load(config_path), "event", type=kind, device=device, word=word)
    if as_json:
        print_json(row)
    else:
        click.echo(_describe_mute(row))


@click.command()
@config_option
@json_option
def reload(config_path: Path, *, as_json: bool) -> None:
    """Have the running gate read its configuration again; one with a fault changes nothing.

    Taken over: policy, limits, endpoint, mode. Anything else needs a restart, and is refused.
    """
    result = ask(load(config_path), "reload")
    if as_json:
        print_json(result)
        return
    changed = result["changed"]
    click.echo(f"reloaded: {', '.join(changed)}" if changed else "reloaded: nothing has changed")


@click.command()
@config_option
@json_option
def off(config_path: Path, *, as_json: bool) -> None:
    """Take the gate out of the way: stop it and remove its rules. Traffic is ungated afterwards.

    Works whether a gate runs or not. The stored mode stays; `wakeguard run` gates again.
    """
    from guard.control import GateAbsentError

    complaint = _stop(config_path)
    if os.geteuid() == 0:
        from guard.netfilter import ruleset

        ruleset.remove()
    elif complaint is not None:
        raise ControlError(f"{complaint}; removing the rules without the gate needs root: use sudo")
    if complaint is not None and not isinstance(complaint, GateAbsentError):
        raise ControlError(f"the rules are gone, but the gate was not stopped: {complaint}")
    if as_json:
        print_json({"off": True, "was_running": complaint is None})
    else:
        click.echo("off: no rules, traffic is ungated")


def _stop(config_path: Path) -> WakeguardError | None:
    """Ask the gate to stop and to take its rules along; return what stood in the way."""
    try:
        ask(load(config_path), "stop", release=True)
    except (ConfigError, ControlError) as error:
        return error
    return None


def _watch_mute(config: Config, device: str | None) -> NoReturn:
    """Print each change of a mute state until Ctrl-C, or until the gate goes."""
    import time

    seen: dict[str, tuple[str, str | None]] = {}
    while True:
        for row in ask(config, "mute-led", device=device):
            state = (row["mute"], row["source"])
            if seen.get(row["device"]) != state:
                seen[row["device"]] = state
                click.echo(_describe_mute(row))
        time.sleep(WATCH_INTERVAL)


def _describe_mute(row: dict[str, Any]) -> str:
    text = f"{row['device']}: {row['mute']}"
    if row["age_s"] is not None:
        text += f" for {row['age_s']:.1f} s"
    if row["source"] is not None:
        text += f", by {row['source']}"
    if row["interaction_left_s"] is not None:
        text += f", interaction for another {row['interaction_left_s']:.1f} s"
    return text
