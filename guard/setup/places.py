"""Where things go on the machine: every path that is Wakeguard's own.

``root`` is another machine's tree, such as an image that is being built; nothing outside it is touched then.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARKER: Final = "# Made by `wakeguard setup`; `wakeguard uninstall` removes it."
"""The first line of every file that setup makes, the owner's configuration excepted: it is the owner's."""

CONFIG_FOLDER: Final = "/etc/wakeguard"
CONFIG: Final = f"{CONFIG_FOLDER}/wakeguard.toml"
STATE_FOLDER: Final = "/var/lib/wakeguard"
RUNTIME_FOLDER: Final = "/run/wakeguard"
UNIT_FOLDER: Final = "/etc/systemd/system"
HOSTAPD_DROP_IN: Final = f"{UNIT_FOLDER}/hostapd.service.d/wakeguard.conf"
MODULES: Final = "/etc/modules-load.d/wakeguard.conf"
SYSCTL: Final = "/etc/sysctl.d/90-wakeguard.conf"


@dataclass(frozen=True, slots=True)
class Places:
    """The tree that is set up: the machine's own, or another under ``root``."""

    root: Path = Path("/")

    @property
    def is_this_machine(self) -> bool:
        """Tell whether it is the running machine's own tree, so that users and services count too."""
        return self.root == Path("/")

    def at(self, path: str) -> Path:
        """Return where ``path`` (absolute) is in the tree."""
        return self.root / path.lstrip("/")


def read_text(path: Path) -> str | None:
    """Return a file's text; None when there is none, or nothing that could be ours."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        return None


def is_ours(path: Path) -> bool:
    """Tell whether setup made the file at ``path``."""
    text = read_text(path)
    return text is not None and text.startswith(MARKER)


def write_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace the file whole, or leave it as it was; its folders are made where they are missing."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
