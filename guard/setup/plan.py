"""What setup will do, in order, before it does any of it.

Each change knows whether it is needed, so a second run changes nothing; all faults that can be foreseen are
found while the plan is made. The gate's mode is never touched: a first start is in the mode of the file.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from guard.config import Config, load_config
from guard.errors import NetfilterError, SetupError
from guard.netfilter.programs import find_program
from guard.setup import accounts, units
from guard.setup.configuration import Choices, check_same, make_config, read_sense_source
from guard.setup.placement import BRIDGE_SYSCTL, NEEDS, is_bridged, list_modules, make_modules_file
from guard.setup.places import (
    CONFIG,
    HOSTAPD_DROP_IN,
    MARKER,
    MODULES,
    SYSCTL,
    UNIT_FOLDER,
    Places,
    is_ours,
    read_text,
    write_text,
)
from guard.setup.program import Program

_BACKUP_TIME: Final = "%Y%m%d-%H%M%S"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to do: a sentence, and the doing of it."""

    sentence: str
    apply: Callable[[], object]


@dataclass(slots=True)
class Plan:
    """The changes in order, what stays as it is, and how the configuration will read."""

    changes: list[Change] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    config_text: str = ""

    def apply(self) -> Iterator[str]:
        """Do the changes one by one; yield each one's sentence when it is done."""
        for change in self.changes:
            change.apply()
            yield change.sentence


def make_plan(
    choices: Choices, places: Places, *, force: bool, program: Program | None, managed: bool
) -> Plan:
    """Return what is to be done. ``managed``: systemd is there; ``program`` is what its units start."""
    plan = Plan()
    config = _plan_config(plan, choices, places, force=force)
    if not managed or program is None:
        return plan
    sense = choices.sense or config.sensors is not None
    if places.is_this_machine:
        _plan_accounts(plan, sense=sense)
    _plan_files(plan, choices, places, program, source=read_sense_source(config), sense=sense)
    if places.is_this_machine:
        _plan_start(plan, choices, places, config, sense=sense)
    return plan


def _plan_config(plan: Plan, choices: Choices, places: Places, *, force: bool) -> Config:
    path = places.at(CONFIG)
    present = read_text(path)
    if present is not None and not force:
        existing = load_config(path)
        check_same(existing, choices, path=path)
        plan.kept.append(f"{path} (it is yours: not touched)")
        plan.config_text = present
        return existing
    plan.config_text = make_config(choices)
    if present == plan.config_text:
        plan.kept.append(str(path))
    elif present is None:
        plan.changes.append(Change(f"write {path}", partial(write_text, path, plan.config_text)))
    else:
        backup = path.with_name(f"{path.name}.{time.strftime(_BACKUP_TIME)}.bak")
        plan.changes.append(Change(f"keep {path} as {backup.name}", partial(write_text, backup, present)))
        plan.changes.append(Change(f"write {path} anew", partial(write_text, path, plan.config_text)))
    return _parse(plan.config_text)


def _parse(text: str) -> Config:
    import tomllib

    from guard.config import parse_config

    return parse_config(tomllib.loads(text))


def _plan_accounts(plan: Plan, *, sense: bool) -> None:
    for account in accounts.ACCOUNTS if sense else (accounts.GATE,):
        groups = accounts.get_missing_groups(account)
        joins = f" in {', '.join(groups)}" if groups else ""
        if not accounts.exists(account):
            sentence = f"make the user {account.name}{joins} (no home, no shell)"
        elif groups:
            sentence = f"have the user {account.name} join {', '.join(groups)}"
        else:
            plan.kept.append(f"user {account.name}")
            continue
        plan.changes.append(Change(sentence, partial(accounts.create, account)))


def _plan_files(
    plan: Plan, choices: Choices, places: Places, program: Program, *, source: str, sense: bool
) -> None:
    needs = NEEDS[choices.placement]
    wanted = {f"{UNIT_FOLDER}/{name}": units.make_unit(name, program) for name in (units.RULES, units.GATE)}
    if needs.forwarding:
        wanted[f"{UNIT_FOLDER}/{units.FORWARDING}"] = units.make_unit(units.FORWARDING, program)
    if sense:
        wanted[f"{UNIT_FOLDER}/{units.SENSE}"] = units.make_unit(units.SENSE, program, source=source)
    if needs.access_point and units.has_hostapd(places):
        wanted[HOSTAPD_DROP_IN] = units.make_hostapd_drop_in()
    bridged = is_bridged(choices.lan, choices.placement, places)
    wanted[MODULES] = make_modules_file(choices.placement, bridged=bridged)
    if bridged:
        wanted[SYSCTL] = "".join(f"{line}\n" for line in (MARKER, *BRIDGE_SYSCTL))
    for name in (*units.list_paths(), SYSCTL):
        if name not in wanted and is_ours(places.at(name)):
            path = places.at(name)
            plan.changes.append(Change(f"remove {path}, which is not needed", partial(path.unlink)))
    for name, text in wanted.items():
        path = places.at(name)
        present = read_text(path)
        if present == text:
            plan.kept.append(str(path))
            continue
        if present is not None and not present.startswith(MARKER):
            raise SetupError(f"{path} exists and is not of our making: move it away, and run setup again")
        plan.changes.append(Change(f"write {path}", partial(write_text, path, text)))


def _plan_start(plan: Plan, choices: Choices, places: Places, config: Config, *, sense: bool) -> None:
    needs = NEEDS[choices.placement]
    names = [units.RULES, units.GATE]
    if needs.forwarding:
        names.insert(1, units.FORWARDING)
    if sense:
        names += [units.get_sense_unit(device) for device in config.get_device_names()]
    if surplus := [name for name in units.list_loaded() if name not in names]:
        sentence = f"stop and disable {', '.join(surplus)}"
        plan.changes.insert(0, Change(sentence, partial(units.stop, surplus)))
    changed = bool(plan.changes)
    idle = [name for name in names if units.systemctl("is-active", name, check=False).strip() != "active"]
    if not changed and not idle:
        plan.kept.append(f"running: {', '.join(names)}")
        return
    if changed:
        bridged = is_bridged(choices.lan, choices.placement, places)
        modules = list_modules(bridged=bridged)
        plan.changes.append(Change(f"load {', '.join(modules)}", partial(_load_modules, modules)))
        if bridged:
            plan.changes.append(
                Change(f"set {', '.join(BRIDGE_SYSCTL)}", partial(_set_sysctl, BRIDGE_SYSCTL))
            )
        plan.changes.append(
            Change("have systemd read its units again", partial(units.systemctl, "daemon-reload"))
        )
    plan.changes.append(
        Change("start at every boot from now on", partial(units.systemctl, "enable", "--quiet", *names))
    )
    starting = names if changed else idle
    plan.changes.append(Change(f"start {', '.join(starting)}", partial(units.start, starting)))


def _load_modules(names: tuple[str, ...]) -> None:
    """Load what is not built in. One that fails is found by the gate's own check, which says its use."""
    try:
        subprocess.run(
            (find_program("modprobe"), "--all", *names), capture_output=True, check=False, timeout=60
        )
    except NetfilterError:
        return


def _set_sysctl(lines: tuple[str, ...]) -> None:
    words = [line.replace(" ", "") for line in lines]
    done = subprocess.run(
        (find_program("sysctl"), "-qw", *words), capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise SetupError(
            f"sysctl {' '.join(words)}: {' '.join(done.stderr.split())}; load the module br_netfilter"
        )
