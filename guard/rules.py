"""Find the data files and read the policy from them.

This file knows where ``rules/``, ``models/`` and ``packaging/`` are, in a checkout and in a wheel, and how
TOML becomes a ``Policy``. What the keys mean is ``guard.core.policy``'s business, which cannot read
files itself.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from guard.core.forest import Forest
from guard.core.policy import Policy
from guard.errors import ConfigError, WakeguardError
from guard.voice_model import load_model

_PACKAGE = Path(__file__).resolve().parent
# The wheel carries these folders inside the package; a checkout has them beside it.
_DATA = _PACKAGE / "_data" if (_PACKAGE / "_data").is_dir() else _PACKAGE.parent


def rules_path(name: str = "") -> Path:
    """Return the path of a file in ``rules/`` (the folder itself without a name)."""
    return _existing(_DATA / "rules" / name)


def models_path(name: str = "") -> Path:
    """Return the path of a file or folder in ``models/`` (the folder itself without a name)."""
    return _existing(_DATA / "models" / name)


def packaging_path(name: str = "") -> Path:
    """Return the path of a file or folder in ``packaging/``: units and configurations to start from."""
    return _existing(_DATA / "packaging" / name)


VOICE_MODEL = "voice-v1"


@cache
def find_voice_model() -> tuple[Forest | None, str | None]:
    """Return the shipped voice model; None where it cannot be used, and then why, in a line."""
    try:
        return load_model(models_path(VOICE_MODEL)), None
    except WakeguardError as error:
        return None, str(error)


def load_policy(directory: Path | None = None) -> Policy:
    """Return the policy that ``policy.toml`` and ``endpoints.toml`` describe.

    ``directory`` holds both files; by default the ones that came with Wakeguard. ConfigError names
    the file and the key.
    """
    policy_file = rules_path("policy.toml") if directory is None else directory / "policy.toml"
    endpoints_file = policy_file.with_name("endpoints.toml")
    policy, endpoints = read_toml(policy_file), read_toml(endpoints_file)
    try:
        return replace(Policy.from_mapping(policy, endpoints), voice=find_voice_model()[0])
    except ValueError as error:
        raise ConfigError(f"{policy_file.parent}: {error}") from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return the file's tables; ConfigError when it is missing, unreadable or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ConfigError(f"{path} is missing: reinstall wakeguard")
    return path
