"""The users that the services run as: made, recognised again by their comment, and removed.

A user of that name that somebody else made is used as it is and never removed.
"""

from __future__ import annotations

import grp
import pwd
import subprocess
from typing import Final, NamedTuple

from guard.errors import NetfilterError, SetupError
from guard.netfilter.programs import find_program

MARK: Final = "made by wakeguard setup"


class Account(NamedTuple):
    """A user with a group of its own, and the groups it joins where this machine has them."""

    name: str
    purpose: str
    groups: tuple[str, ...] = ()

    @property
    def comment(self) -> str:
        """Return the GECOS field that tells our users from others."""
        return f"{self.purpose} ({MARK})"


GATE: Final = Account("wakeguard", "Wakeguard gate")
SENSE: Final = Account("wakeguard-sense", "Wakeguard sensors", ("gpio", "audio"))
ACCOUNTS: Final = (GATE, SENSE)


def exists(account: Account) -> bool:
    """Tell whether there is a user of that name, whoever made it."""
    try:
        pwd.getpwnam(account.name)
    except KeyError:
        return False
    return True


def is_ours(account: Account) -> bool:
    """Tell whether setup made the user."""
    try:
        return MARK in pwd.getpwnam(account.name).pw_gecos
    except KeyError:
        return False


def get_missing_groups(account: Account) -> tuple[str, ...]:
    """Return the groups that this machine has and the user is not in."""
    missing = []
    for name in account.groups:
        try:
            members = grp.getgrnam(name).gr_mem
        except KeyError:
            continue
        if account.name not in members:
            missing.append(name)
    return tuple(missing)


def create(account: Account) -> None:
    """Make the user, or have it join the groups that it misses. SetupError when that fails."""
    if not exists(account):
        options = ("--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent")
        shell = ("--shell", "/usr/sbin/nologin", "--comment", account.comment)
        _run("useradd", *options, *shell, account.name)
    groups = get_missing_groups(account)
    if groups:
        _run("usermod", "--append", "--groups", ",".join(groups), account.name)


def remove(account: Account) -> None:
    """Remove the user and its group. SetupError when that fails."""
    _run("userdel", account.name)
    try:
        grp.getgrnam(account.name)
    except KeyError:
        return
    _run("groupdel", account.name)


def _run(program: str, *options: str) -> None:
    try:
        path = find_program(program)
    except NetfilterError:
        raise SetupError(f"{program} is not installed: apt install passwd") from None
    done = subprocess.run((path, *options), capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise SetupError(f"{program} {options[-1]}: {said}; mend that and run the same command again")
