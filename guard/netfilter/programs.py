"""The programs that write the firewall: iptables-save and iptables-restore, for both families.

Whatever they complain about becomes one NetfilterError line. They act on the network namespace of the
calling process, and wait for the lock that other users of iptables hold.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from typing import Final, Literal

from guard.errors import NetfilterError

Family = Literal["ipv4", "ipv6"]
FAMILY_NUMBERS: Final[dict[Family, int]] = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
FAMILIES: Final[tuple[Family, ...]] = ("ipv4", "ipv6")

LOCK_SECONDS: Final = 10  # another program's rules are loaded in far less
_TIMEOUT_SECONDS: Final = 60

_PACKAGES: Final = {"ip": "iproute2", "nft": "nftables"}
_SAVE: Final = {"ipv4": "iptables-save", "ipv6": "ip6tables-save"}
_RESTORE: Final = {"ipv4": "iptables-restore", "ipv6": "ip6tables-restore"}
_VERSION = re.compile(r"^ip6?tables(?:-\w+)* v[\d.]+ \([\w-]+\):\s*")


def find_program(name: str) -> str:
    """Return the program's path, also where an ordinary user's PATH lacks the system's folders."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        raise NetfilterError(f"{name} is not installed: apt install {_PACKAGES.get(name, 'iptables')}")
    return found


def save(family: Family, *, counters: bool = False) -> str:
    """Return every table of one family as iptables-save prints it, with the rules' ``counters`` on demand."""
    return run(_SAVE[family], *(("--counters", "--table=mangle") if counters else ()))


def restore(family: Family, text: str) -> None:
    """Commit ``text`` without touching what it does not name, each of its tables in one transaction."""
    run(_RESTORE[family], "--noflush", f"--wait={LOCK_SECONDS}", text=text)


def test(family: Family, text: str) -> None:
    """Have iptables-restore read ``text`` without committing it."""
    run(_RESTORE[family], "--noflush", "--test", f"--wait={LOCK_SECONDS}", text=text)


def run(name: str, *options: str, text: str = "") -> str:
    """Return what the program prints. NetfilterError with its complaint when it fails."""
    command = (find_program(name), *options)
    try:
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise NetfilterError(
            f"{name} did not end within {_TIMEOUT_SECONDS} s: see which program holds /run/xtables.lock"
        ) from None
    if done.returncode:
        raise NetfilterError(_describe(name, done.stderr, text))
    return done.stdout


def _describe(name: str, complaint: str, text: str) -> str:
    """Return one line: what the program said, and the rule that it said it about."""
    words = " ".join(_VERSION.sub("", complaint.strip()).split()) or "failed without a word"
    if "Permission denied" in words or "you must be root" in words:
        return f"{name}: no right to change the firewall: run as root (sudo wakeguard ...)"
    number = re.search(r"line:? (\d+)", words)
    lines = text.splitlines()
    if number and 0 < int(number[1]) <= len(lines):
        words += f" [{lines[int(number[1]) - 1]}]"
    return f"{name}: {words}; nothing was changed by it: see docs/netfilter.md for what the kernel must have"
