"""Take everything of Wakeguard off the machine: found by looking, never by remembering.

Whatever setup makes says so itself, so a half-made installation is removed as a whole one is, and a file
or user of somebody else's stays. The program itself is left to whoever installed it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from guard.config import Config, load_config
from guard.control import ask
from guard.errors import ConfigError, ControlError, SetupError, WakeguardError
from guard.netfilter import ruleset
from guard.setup import accounts, units
from guard.setup.places import (
    CONFIG,
    CONFIG_FOLDER,
    HOSTAPD_DROP_IN,
    MODULES,
    RUNTIME_FOLDER,
    STATE_FOLDER,
    SYSCTL,
    UNIT_FOLDER,
    Places,
    is_ours,
)
from guard.setup.plan import Change

_STATE_FILES: Final = ("mode.json*", "policies.json*", "gate.lock", "journal.sqlite*")
"""What a gate keeps in a state directory that the owner chose; others' files beside them stay."""


def plan_removal(places: Places, *, keep_config: bool, managed: bool) -> list[Change]:
    """Return what is there of Wakeguard, as changes in the order in which it goes."""
    changes: list[Change] = []
    config = _read_config(places)
    loaded = units.list_loaded() if managed and places.is_this_machine else []
    if loaded:
        changes.append(Change(f"stop and disable {', '.join(loaded)}", partial(units.stop, loaded)))
    if places.is_this_machine:
        if (pid := _find_gate(config)) is not None:
            changes.append(Change(f"stop the gate (process {pid})", partial(_stop_gate, config)))
        if ruleset.is_installed():
            changes.append(Change("remove every firewall rule of Wakeguard", ruleset.remove))
    changes += _plan_files(places)
    if changes and managed and places.is_this_machine:
        changes.append(Change("have systemd read its units again", _reload))
    if not keep_config:
        changes += _plan_config(places)
    changes += _plan_state(places, config)
    if places.is_this_machine:
        changes += [
            Change(f"remove the user {account.name}", partial(accounts.remove, account))
            for account in accounts.ACCOUNTS
            if accounts.is_ours(account)
        ]
    return changes


def list_left(places: Places, *, keep_config: bool) -> list[str]:
    """Return what looks like Wakeguard's and stays, with the reason."""
    left = [
        f"{places.at(path)} (not made by setup)"
        for path in (*units.list_paths(), MODULES, SYSCTL)
        if places.at(path).exists() and not is_ours(places.at(path))
    ]
    if places.is_this_machine:
        left += [
            f"user {account.name} (not made by setup)"
            for account in accounts.ACCOUNTS
            if accounts.exists(account) and not accounts.is_ours(account)
        ]
    if keep_config and places.at(CONFIG).exists():
        left.append(f"{places.at(CONFIG)} (--keep-config)")
    return left


def remove(changes: list[Change]) -> Iterator[str]:
    """Do all changes, whatever becomes of the others; yield each that is done. SetupError at the end."""
    failures: list[str] = []
    for change in changes:
        try:
            change.apply()
        except WakeguardError as error:
            failures.append(str(error))
        except OSError as error:
            failures.append(f"{error.filename}: {error.strerror}")
        else:
            yield change.sentence
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise SetupError(
            f"not all is gone{more}: {failures[0]}; mend that and run `wakeguard uninstall` again"
        )


def _read_config(places: Places) -> Config | None:
    try:
        return load_config(places.at(CONFIG))
    except ConfigError:
        return None  # none, or one with a fault: the default places are looked at


def _find_gate(config: Config | None) -> int | None:
    """Return the process id of a gate that answers, whoever started it."""
    socket = Config(device=()).control.socket if config is None else config.control.socket
    try:
        return int(ask(socket, "status")["pid"])
    except ControlError:
        return None


def _stop_gate(config: Config | None) -> None:
    socket = Config(device=()).control.socket if config is None else config.control.socket
    with contextlib.suppress(ControlError):  # it went with its unit, a moment ago
        ask(socket, "stop", release=True)


def _reload() -> None:
    units.systemctl("daemon-reload")
    units.systemctl("reset-failed", "wakeguard*", check=False)


def _plan_files(places: Places) -> list[Change]:
    changes = []
    for name in (*units.list_paths(), MODULES, SYSCTL):
        path = places.at(name)
        if is_ours(path):
            changes.append(Change(f"remove {path}", partial(_unlink, path)))
    wants = places.at(UNIT_FOLDER)
    changes += [
        Change(f"remove {link}", partial(_unlink, link))
        for link in sorted(wants.glob("*.wants/wakeguard*.service"))
        if link.is_symlink()
    ]
    return changes


def _plan_config(places: Places) -> list[Change]:
    path = places.at(CONFIG)
    found = [*([path] if path.exists() else []), *sorted(path.parent.glob(f"{path.name}.*.bak"))]
    changes = [Change(f"remove {file}", partial(_unlink, file)) for file in found]
    if not found and places.at(CONFIG_FOLDER).is_dir():
        changes.append(
            Change(
                f"remove {places.at(CONFIG_FOLDER)}, if it is empty",
                partial(_rmdir, places.at(CONFIG_FOLDER)),
            )
        )
    return changes


def _plan_state(places: Places, config: Config | None) -> list[Change]:
    changes = []
    for name in (STATE_FOLDER, RUNTIME_FOLDER):
        path = places.at(name)
        if path.is_dir():
            changes.append(Change(f"remove {path} and what is in it", partial(_remove_tree, path)))
    own = [] if config is None else [config.state.directory, str(config.get_journal_directory())]
    for folder in dict.fromkeys(map(places.at, own)):
        if folder != places.at(STATE_FOLDER) and folder.is_dir():
            files = sorted(file for pattern in _STATE_FILES for file in folder.glob(pattern))
            changes += [Change(f"remove {file}", partial(_unlink, file)) for file in files]
    return changes


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.name in {"wakeguard", Path(HOSTAPD_DROP_IN).parent.name} or path.parent.suffix == ".wants":
        _rmdir(path.parent)


def _rmdir(path: Path) -> None:
    with contextlib.suppress(OSError):  # somebody else's file is in it
        path.rmdir()


def _remove_tree(path: Path) -> None:
    if path.is_dir():  # systemd removes the one in /run with the gate
        shutil.rmtree(path)
