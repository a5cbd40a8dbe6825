"""Read the owner's file again while the gate runs.

Knows which settings a running gate can take over and which need a restart. A file with a fault, or one that
needs a restart, changes nothing at all: the old settings stay, and whoever asked is told why. Taking
over leaves every connection and what budgets have left as they are, so no packet meets a gate between two
policies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from guard.config import Config
from guard.control import Answer
from guard.core.engine import DeviceSettings
from guard.core.policy import Policy
from guard.errors import ConfigError, WakeguardError
from guard.gate import Gate
from guard.policies import PolicySwitch
from guard.switch import ModeSwitch
from guard.trace import Settings

if TYPE_CHECKING:
    from guard.telemetry.log import Log

NEEDS_RESTART: Final = (
    "device",
    "network",
    "fast_path",
    "sensors",
    "control",
    "metrics",
    "state",
    "journal",
    "lab",
)
TAKEN_OVER: Final = ("policy", "device.policy", "limits", "endpoint", "mode")


def make_settings(config: Config) -> Settings:
    """Return what the engine needs to know of ``config``."""
    sensor = config.sensors is not None
    devices = {
        name: DeviceSettings(sensor=sensor, balanced=policy == "balanced")
        for name, policy in config.get_policies().items()
    }
    return Settings(devices, config.load_limits())


class Reload:
    """One reading of the file at a time."""

    def __init__(
        self,
        config: Config,
        gate: Gate,
        switch: ModeSwitch,
        *,
        policies: PolicySwitch,
        load: Callable[[], Config],
        take_over: Callable[[Config, Policy], None],
        log: Log,
    ) -> None:
        """``load`` reads the file; ``take_over`` hears of a new configuration that is in force.

        ``policies`` has the last word on a device's policy where the file says what it said before.
        """
        self._config = config
        self._gate = gate
        self._switch = switch
        self._policies = policies
        self._load = load
        policies.get_config = lambda: self._config
        policies.apply = lambda: self._put_in_force(self._config)
        self._take_over = take_over
        self._log = log

    def request(self, answer: Answer) -> None:
        """Read the file and answer with ``{"changed": [...]}``, or with the fault."""
        try:
            new = self._load()
            _check_restart(self._config, new)
            new.load_limits().make_policy()
        except WakeguardError as error:
            self._refuse(error, answer)
            return
        changed = _list_changes(self._config, new)
        if set(changed) - {"mode"}:
            self._put_in_force(new)
        old_mode, self._config = self._config.mode, msgspec.structs.replace(new, mode=self._config.mode)
        if new.mode is old_mode:
            self._log.info("reloaded", changed=changed)
            answer({"changed": changed})
            return

        def conclude(result: object) -> None:
            if isinstance(result, WakeguardError):
                others = [key for key in changed if key != "mode"]
                taken = f"taken over: {', '.join(others)}; but " if others else ""
                fault = ConfigError(f"{taken}mode stays as it was: {result}")
                self._log.error("reload failed", fault=str(fault))
                answer(fault)
                return
            self._config = msgspec.structs.replace(self._config, mode=new.mode)
            self._log.info("reloaded", changed=changed)
            answer({"changed": changed})

        try:
            self._switch.request(new.mode, conclude)
        except WakeguardError as error:
            conclude(error)

    def _put_in_force(self, config: Config) -> None:
        effective = self._policies.overlay(config)
        settings = make_settings(effective)
        policy = config.load_limits().make_policy()
        self._gate.set_settings(settings, policy)
        self._take_over(effective, policy)

    def _refuse(self, error: WakeguardError, answer: Answer) -> None:
        self._log.error("reload failed", fault=str(error))
        answer(ConfigError(f"the old settings stay: {error}"))


def _check_restart(old: Config, new: Config) -> None:
    changed = [key for key in NEEDS_RESTART if _get_fixed(old, key) != _get_fixed(new, key)]
    if changed:
        verb = "needs" if len(changed) == 1 else "need"
        raise ConfigError(
            f"{', '.join(changed)} {verb} a restart of the gate, so nothing was changed; "
            "restart it, or put the former values back"
        )


def _get_fixed(config: Config, key: str) -> object:
    if key == "device":
        return [msgspec.structs.replace(device, policy=None) for device in config.device]
    return getattr(config, key)


def _list_changes(old: Config, new: Config) -> list[str]:
    def read(config: Config, key: str) -> object:
        if key == "device.policy":
            return [device.policy for device in config.device]
        return getattr(config, key)

    return [key for key in TAKEN_OVER if read(old, key) != read(new, key)]
