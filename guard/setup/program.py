"""The program that the units start: this very one, wherever it was installed.

A service of its own user sees neither another's home nor /tmp, so a program there could not be started: that
is found out before anything is written.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from guard.errors import SetupError

HOMES: Final = ("/home", "/root", "/run/user")  # what ProtectHome= hides
PRIVATE: Final = ("/tmp", "/var/tmp")  # noqa: S108 - what PrivateTmp= hides
PLACES: Final = ("/opt/wakeguard/bin/wakeguard", "/usr/local/bin/wakeguard", "/usr/bin/wakeguard")
ADVICE: Final = (
    "install it where every user may read it: python3 -m venv --system-site-packages /opt/wakeguard, then "
    "in its checkout /opt/wakeguard/bin/pip install ., then /opt/wakeguard/bin/wakeguard setup"
)


class Program(NamedTuple):
    """How a unit starts Wakeguard (``command``, as systemd reads it), and whether that lies in a home."""

    command: str
    in_home: bool


def find_program() -> Program:
    """Return how the Wakeguard that runs now is started by a unit. SetupError when a service could not."""
    script = Path(sys.executable).parent / "wakeguard"
    started = Path(sys.argv[0])
    if not script.is_file() and started.name == "wakeguard" and started.is_file():
        script = started.absolute()
    parts = [script] if script.is_file() else [Path(sys.executable), "-m", "guard"]
    places = [Path(str(parts[0])), *_list_code()]
    for place in places:
        check_reachable(place)
    return Program(
        " ".join(quote(str(part)) for part in parts), any(is_below(place, HOMES) for place in places)
    )


def find_program_in(root: Path) -> Program:
    """Return how Wakeguard is started in another machine's tree: where it is there, else where it belongs."""
    found = next((place for place in PLACES if (root / place.lstrip("/")).exists()), PLACES[0])
    return Program(found, in_home=False)


def check_reachable(path: Path) -> None:
    """Raise SetupError where a user without any right could not read ``path``, or a service not see it."""
    for place in (path.absolute(), path.resolve()):
        if is_below(place, PRIVATE):
            raise SetupError(f"{place} is in a temporary folder, which services do not see: {ADVICE}")
        for folder in place.parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                raise SetupError(
                    f"{folder} is closed to other users, so no service could start {place}: {ADVICE}"
                )


def is_below(path: Path, folders: tuple[str, ...]) -> bool:
    """Tell whether ``path``, or what it leads to, lies in one of ``folders``."""
    return any(
        place.is_relative_to(folder) for folder in folders for place in (path.absolute(), path.resolve())
    )


def quote(word: str) -> str:
    """Return ``word`` as one word of an ExecStart= line: systemd.service(5), COMMAND LINES."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t\"';") else escaped


def _list_code() -> list[Path]:
    """Return one file of each place that the program's code comes from."""
    return [Path(sys.executable), Path(os.__file__), Path(__file__), Path(msgspec.__file__)]
