"""The units: which there are, what is in them on this machine, and how systemd is asked.

The texts are those of ``packaging/systemd/``; only the program's path and what it forces are put in.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from guard.errors import NetfilterError, SetupError
from guard.netfilter.programs import find_program
from guard.rules import packaging_path
from guard.setup.places import HOSTAPD_DROP_IN, MARKER, UNIT_FOLDER, Places
from guard.setup.program import Program

GATE: Final = "wakeguard.service"
RULES: Final = "wakeguard-rules.service"
FORWARDING: Final = "wakeguard-forwarding.service"
SENSE: Final = "wakeguard-sense@.service"
UNITS: Final = (RULES, FORWARDING, GATE, SENSE)

REMOTE_SOURCES: Final = ("wyoming", "satellite")
"""Wake-word sources that are spoken to over a network, which the sensing process has none of otherwise."""

_PACKAGED: Final = "/usr/bin/wakeguard"
_NO_NETWORK: Final = "PrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\n"
_NETWORK: Final = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n"
_HOSTAPD: Final = ("lib/systemd/system/hostapd.service", "etc/systemd/system/hostapd.service")
_SECONDS: Final = 90  # as long as systemd waits for a start


def make_unit(name: str, program: Program, *, source: str = "detector") -> str:
    """Return the text of unit ``name`` for this machine; ``source`` is that of the wake word."""
    text = packaging_path("systemd").joinpath(name).read_text(encoding="utf-8")
    text = text.replace(_PACKAGED, program.command)
    if program.in_home:
        text = text.replace("ProtectHome=yes", "ProtectHome=read-only")
    if source in REMOTE_SOURCES:
        text = text.replace(_NO_NETWORK, _NETWORK)
    return f"{MARKER}\n# To change it: systemctl edit {name}\n{text}"


def make_hostapd_drop_in() -> str:
    """Return the drop-in that makes the access point wait for the rules."""
    text = packaging_path("systemd").joinpath("hostapd-wakeguard.conf").read_text(encoding="utf-8")
    return f"{MARKER}\n{text}"


def get_sense_unit(device: str) -> str:
    """Return the unit of one Echo's sensors."""
    return SENSE.replace("@", f"@{device}")


def has_hostapd(places: Places) -> bool:
    """Tell whether hostapd is a service here."""
    return any((places.root / path).exists() for path in _HOSTAPD)


def list_paths() -> tuple[str, ...]:
    """Return every unit file that setup may make."""
    return (*(f"{UNIT_FOLDER}/{name}" for name in UNITS), HOSTAPD_DROP_IN)


def is_systemd_running(run: Path = Path("/run/systemd/system")) -> bool:
    """Tell whether systemd is process 1: sd_booted(3)."""
    return run.is_dir()


def systemctl(*words: str, check: bool = True) -> str:
    """Return what systemctl prints. SetupError with its complaint, unless ``check`` is off."""
    try:
        path = find_program("systemctl")
        done = subprocess.run(
            (path, *words), capture_output=True, text=True, timeout=_SECONDS + 30, check=False
        )
    except NetfilterError:
        raise SetupError("systemctl is not installed: this machine has no systemd") from None
    except subprocess.TimeoutExpired:
        raise SetupError(f"systemctl {' '.join(words)} did not end: see journalctl -b") from None
    if check and done.returncode:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise SetupError(f"systemctl {' '.join(words)}: {said}")
    return done.stdout


def list_loaded() -> list[str]:
    """Return our units that are loaded, instances for single Echos among them."""
    printed = systemctl("list-units", "--all", "--plain", "--no-legend", "wakeguard*.service", check=False)
    return [line.split()[0] for line in printed.splitlines() if line.split()]


def start(names: Sequence[str]) -> None:
    """Start the units anew and wait until all are ready. SetupError with the last words of one that fails."""
    try:
        systemctl("restart", *names)
    except SetupError as error:
        for name in names:
            if systemctl("is-active", name, check=False).strip() != "active":
                words = _read_last_words(name) or str(error)
                raise SetupError(f"{name} does not start: {words} (`journalctl -u {name}` has all)") from None
        raise


def stop(names: Sequence[str]) -> None:
    """Stop the units and start them at no boot any more. SetupError for one that goes on."""
    systemctl("disable", "--now", "--quiet", *names, check=False)
    for name in names:
        if systemctl("is-active", name, check=False).strip() in {"active", "activating", "reloading"}:
            raise SetupError(f"{name} does not stop: see journalctl -u {name}")


def _read_last_words(unit: str) -> str:
    """Return the last line that the program behind ``unit`` said."""
    try:
        path = find_program("journalctl")
    except NetfilterError:
        return ""
    done = subprocess.run(
        (path, "--no-pager", "--output=cat", "--lines=20", f"--unit={unit}", "_TRANSPORT=stdout"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return lines[-1] if lines else ""
