"""The state directory: what survives a restart, and the lock that keeps a second gate out.

``mode.json`` holds the mode that was set last, ``policies.json`` the policies that were chosen instead of the
file's; each is replaced whole, so that a power cut leaves the old or the new one. ``gate.lock`` is locked as
long as a gate runs; the kernel lets go of it when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from guard.config import POLICIES
from guard.core.verdict import Mode
from guard.errors import ConfigError
from guard.policies import Choice

_Value = TypeVar("_Value")

_MODE_FILE = "mode.json"
_POLICIES_FILE = "policies.json"
_LOCK_FILE = "gate.lock"
_VERSION = 1


class StateDirectory:
    """One gate's state; holds the lock between ``with`` and its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None

    def __enter__(self) -> StateDirectory:
        """Make the directory if need be and lock it. ConfigError when another gate has it."""
        try:
            self._path.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = os.open(self._path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"state.directory {self._path} cannot be used: {error.strerror}; "
                "make it writable for the gate"
            ) from None
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise ConfigError(
                f"a gate is running already (it holds {self._path / _LOCK_FILE}); "
                "`wakeguard status` shows it, `wakeguard off` stops it"
            ) from None
        self._lock = lock
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load_mode(self) -> Mode | None:
        """Return the mode that was set last; None before the first. ConfigError when it is unreadable.

        A damaged file is no reason to guess: the guess could open the gate.
        """
        return self._load(
            _MODE_FILE, lambda content: Mode(content["mode"]), "the mode of the configuration counts again"
        )

    def store_mode(self, mode: Mode) -> None:
        """Replace the stored mode, whole and on the disk when this returns. OSError when it cannot."""
        self._store(_MODE_FILE, {"mode": mode.value})

    def load_policies(self) -> dict[str, Choice]:
        """Return the policies chosen for devices instead of the file's. ConfigError when they are damaged."""
        stored = self._load(
            _POLICIES_FILE,
            lambda content: {name: _read_choice(row) for name, row in content["policies"].items()},
            "the policies of the configuration count again",
        )
        return stored or {}

    def store_policies(self, chosen: Mapping[str, Choice]) -> None:
        """Replace the stored choices, whole and on the disk when this returns. OSError when it cannot."""
        self._store(_POLICIES_FILE, {"policies": {name: choice._asdict() for name, choice in chosen.items()}})

    def _load(self, name: str, read: Callable[[Any], _Value], remedy: str) -> _Value | None:
        path = self._path / name
        try:
            content = json.loads(path.read_bytes())
            if content["version"] != _VERSION:
                raise ValueError(content["version"])
            return read(content)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise ConfigError(f"{path} is damaged; remove it, and {remedy}") from None

    def _store(self, name: str, content: dict[str, Any]) -> None:
        text = json.dumps({"version": _VERSION, **content}) + "\n"
        handle, temporary = tempfile.mkstemp(dir=self._path, prefix=name)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path / name)
        except OSError:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise
        directory = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _read_choice(row: Any) -> Choice:
    choice = Choice(**row)
    if not set(choice) <= set(POLICIES):
        raise ValueError(row)
    return choice
