"""``wakeguard setup``, ``doctor`` and ``uninstall``: onto the machine, all well, and off again.

Setup and uninstall say what they will do and ask before they do it. Exit status: 0 done (doctor: all well),
1 a fault that doctor found, 2 bad input or a fault on the way, 130 not agreed to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guard.errors import SetupError

if TYPE_CHECKING:
    from rich.console import Console

    from guard.doctor.examination import Check
    from guard.doctor.finding import Finding
    from guard.setup.configuration import Choices
    from guard.setup.places import Places
    from guard.setup.plan import Change, Plan

_root_option = click.option(
    "--root",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path("/"),
    metavar="DIR",
    help="Another machine's tree, such as an image: files only, no users and no services.",
)
_yes_option = click.option("--yes", is_flag=True, help="Ask nothing.")


@click.command()
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME=MAC",
    help="An Echo; once for each.  [default: those found]",
)
@click.option("--lan", metavar="IFACE", help="The interface towards the Echo.  [default: where it was met]")
@click.option(
    "--placement",
    type=click.Choice(["access-point", "bridge", "router"]),
    help="Where this machine stands.  [default: by the interface]",
)
@click.option("--sense", is_flag=True, help="A light sensor or a microphone is here: start the sensors, too.")
@click.option("--force", is_flag=True, help="Replace a configuration that is there; a copy is kept.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@_yes_option
@_root_option
def setup(
    devices: tuple[str, ...],
    lan: str | None,
    placement: str | None,
    root: Path,
    *,
    sense: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Put the gate onto this machine, in monitor: configuration, users, services, start.

    Run it again at any time: what is as it should be stays as it is.
    """
    from guard.cli.choose import Wishes, choose
    from guard.setup import units
    from guard.setup.places import Places
    from guard.setup.plan import make_plan
    from guard.setup.program import find_program, find_program_in

    console = _make_console()
    places = Places(root.absolute())
    if places.is_this_machine and not dry_run:
        _check_root("setup")
    wishes = Wishes(devices, lan, placement, sense=sense, force=force)
    choices = choose(console, wishes, places, ask=not yes and sys.stdin.isatty())
    managed = units.is_systemd_running() or not places.is_this_machine
    program = None
    if managed:
        program = find_program() if places.is_this_machine else find_program_in(places.root)
    plan = make_plan(choices, places, force=force, program=program, managed=managed)
    _show_plan(console, plan, choices)
    if dry_run:
        console.print(f"\nThe configuration would read:\n\n{plan.config_text}", end="", markup=False)
        console.print("\nNothing was changed.")
        return
    if plan.changes:
        _agree("Go on?", yes=yes)
    with console.status("Setting up ..."):
        for sentence in plan.apply():
            console.print(f"  done: {sentence}", markup=False)
    _say_what_next(console, places, managed=managed)


@click.command()
@click.option("--keep-config", is_flag=True, help="Leave /etc/wakeguard as it is.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@_yes_option
@_root_option
def uninstall(root: Path, *, keep_config: bool, dry_run: bool, yes: bool) -> None:
    """Take the gate off this machine: services, rules, users, files. Traffic is ungated afterwards."""
    from guard.setup import removal, units
    from guard.setup.places import Places

    console = _make_console()
    places = Places(root.absolute())
    if places.is_this_machine:
        _check_root("uninstall")
    changes = removal.plan_removal(places, keep_config=keep_config, managed=units.is_systemd_running())
    left = removal.list_left(places, keep_config=keep_config)
    if not changes:
        console.print("Nothing of Wakeguard is here.")
    else:
        console.print("To be removed:" if not dry_run else "Would be removed:")
        _list(console, changes)
    for line in left:
        console.print(f"  stays: {line}", markup=False)
    if dry_run or not changes:
        return
    _agree("Remove all this?", yes=yes)
    with console.status("Removing ..."):
        for sentence in removal.remove(changes):
            console.print(f"  done: {sentence}", markup=False)
    console.print(
        "Wakeguard is off. The program is left: remove its folder, or `pip uninstall wakeguard`.\n"
        "What the kernel was set to (forwarding) stays so until the next start of this machine."
    )


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("/etc/wakeguard/wakeguard.toml"),
    show_default=True,
    help="The gate's configuration.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(config_path: Path, *, as_json: bool) -> int:
    """Check the machine, the gate and its sensors; name the remedy for each fault.

    Changes nothing. Exit status: 0 all is well, 1 there is a fault, 2 it could not be looked.
    """
    from guard.doctor.examination import examine
    from guard.doctor.finding import State
    from guard.doctor.situation import look
    from guard.setup import units

    _check_root("doctor")
    console = _make_console()
    with console.status("Looking ..."):
        found = list(examine(look(config_path, managed=units.is_systemd_running())))
    faults = sum(finding.state is State.FAULT for _check, finding in found)
    if as_json:
        import json

        rows = [{"check": check.name, **finding._asdict()} for check, finding in found]
        click.echo(json.dumps({"version": 1, "faults": faults, "checks": rows}, indent=2))
    else:
        _print_findings(console, found)
        console.print(f"Faults: {faults}" if faults else "All is well.")
    return int(faults > 0)


def _show_plan(console: Console, plan: Plan, choices: Choices) -> None:
    from guard.setup.placement import NEEDS

    names = ", ".join(f"{name} ({mac})" if mac else name for name, mac in choices.devices)
    needs = NEEDS[choices.placement]
    console.print(f"Echos: {names}", markup=False)
    console.print(
        f"Place: {choices.placement}, {needs.summary}; Echos are behind {choices.lan}", markup=False
    )
    if plan.changes:
        console.print("To be done:")
        _list(console, plan.changes)
    for line in plan.kept:
        console.print(f"  as it should be: {line}", markup=False)


def _print_findings(console: Console, found: list[tuple[Check, Finding]]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "fault": "bold red", "note": "yellow", "absent": "dim"}
    table = Table(
        "check", "", "what was seen", "what to do", box=box.SIMPLE_HEAD if console.is_terminal else None
    )
    for check, finding in found:
        colour = colours[finding.state]
        state = "-" if finding.state == "absent" else str(finding.state)
        table.add_row(check.name, f"[{colour}]{state}[/]", escape(finding.text), escape(finding.remedy))
    console.print(table)


def _list(console: Console, changes: list[Change]) -> None:
    for number, change in enumerate(changes, start=1):
        console.print(f"  {number}. {change.sentence}", markup=False)


def _agree(question: str, *, yes: bool) -> None:
    """Have the owner agree. SetupError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise SetupError("there is no terminal to ask on: say --yes, or --dry-run to see what would be done")
    click.confirm(question, default=True, abort=True)


def _say_what_next(console: Console, places: Places, *, managed: bool) -> None:
    from guard.setup.places import CONFIG

    if not places.is_this_machine:
        console.print(
            f"The files are in {places.root}; run `wakeguard setup` on that machine to start the gate."
        )
        return
    if not managed:
        console.print(
            f"There is no systemd here: nothing was started and no user made. {places.at(CONFIG)} is "
            "ready. Have your service manager run, as root, `wakeguard rules apply --boot` before the "
            "network is up, then `wakeguard run`, and start it again whenever its status is not 0."
        )
        return
    mode = _read_mode(places)
    console.print(f"The gate runs, mode {mode}.", style="bold green")
    if mode == "monitor":
        console.print(
            "Nothing is refused yet. `wakeguard status` shows what would be; talk to your Echo first."
        )
    console.print("`wakeguard doctor` checks that all is well; `wakeguard mode enforce` means it.")


def _read_mode(places: Places) -> str:
    from guard.config import load_config
    from guard.setup.places import CONFIG
    from guard.state import StateDirectory

    config = load_config(places.at(CONFIG))
    return (StateDirectory(Path(config.state.directory)).load_mode() or config.mode).value


def _check_root(name: str) -> None:
    if os.geteuid() != 0:
        raise SetupError(f"{name} needs the rights of root: sudo wakeguard {name} ...")


def _make_console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
