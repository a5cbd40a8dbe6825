"""What the checks know: the configuration, the rules that belong to it, what the running gate says of itself.

Read once, so that all checks look at the same moment. ``root`` and ``proc`` are parameters so that a test can
show another machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from guard.config import Config, load_config, ruleset_spec
from guard.control import ask
from guard.core.verdict import Mode
from guard.errors import ConfigError, ControlError, NetfilterError
from guard.netfilter import interface
from guard.netfilter.kernel import PROC
from guard.netfilter.ruleset import RulesetSpec

SOCKET_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Situation:
    """One moment. ``status`` is what ``wakeguard status --json`` shows; None: no gate answers."""

    path: Path
    config: Config | None = None
    complaint: str = ""
    """Why there is no configuration, or no answer from the gate."""
    status: dict[str, Any] | None = None
    kind: interface.Kind | None = None
    """Of the interface towards the Echo; None: it is not there."""
    root: Path = Path("/")
    proc: Path = PROC
    managed: bool = True

    @property
    def mode(self) -> Mode:
        """Return the mode in force, else that of the file."""
        if self.status is not None:
            return Mode(self.status["mode"])
        return self.get_config().mode

    def get_config(self) -> Config:
        """Return the configuration, which a check that needs it has said that it needs."""
        assert self.config is not None
        return self.config

    def get_spec(self, mode: Mode | None = None) -> RulesetSpec:
        """Return the rules that belong to the configuration."""
        return ruleset_spec(self.get_config(), mode or self.mode)


def look(path: Path, *, managed: bool) -> Situation:
    """Return how things stand on this machine."""
    try:
        config = load_config(path)
    except ConfigError as error:
        return Situation(path, complaint=str(error), managed=managed)
    status, complaint = None, ""
    try:
        status = ask(config.control.socket, "status", timeout=SOCKET_SECONDS)
    except ControlError as error:
        complaint = str(error)
    try:
        kind = interface.get_kind(config.network.lan)
    except NetfilterError:
        kind = None
    return Situation(path, config, complaint, status, kind, managed=managed)
