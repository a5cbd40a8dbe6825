"""The numbers in force: those of ``rules/`` with the owner's laid over.

Knows: how the owner's ``[limits]`` and ``[[endpoint]]`` change single keys, which values make sense, and how
the whole travels with a recording. Refuses to know: what a limit does (``guard.core.policy``). Every
complaint names the key and the nearest good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final

from guard.core.budget import Budget
from guard.core.policy import Action, Policy
from guard.errors import ConfigError
from guard.remedies import suggest
from guard.rules import find_voice_model, read_toml, rules_path

HELD_PACKETS: Final = 4096
"""That may wait for a wake word in all: half of the kernel's queue, so that the other half goes on."""

# Replaced whole: their keys are the owner's own.
_WHOLE: Final = frozenset({"heartbeats.schedule", "heartbeats.inferred_lengths"})
_HEARTBEAT: Final[dict[str, tuple[float, float]]] = {"plaintext": (1, 16384), "period_s": (0.1, 86400)}

# limit -> lowest and highest number that makes sense; all others: 0 or more
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "interaction.pre_roll_s": (0, 60),
    "interaction.listen_s": (0, 3600),
    "interaction.voice_linger_s": (0, 60),
    "interaction.follow_up_s": (0, 3600),
    "interaction.max_s": (0, 3600),
    "interaction.voice_bytes_per_s": (1, inf),
    "hold.hold_s": (0, 5),  # a sender gives up or dials anew; the queue has room for no more
    "hold.probe_s": (0, 1),
    "hold.flow_packets": (1, HELD_PACKETS),
    "hold.device_packets": (1, HELD_PACKETS),
    "sensor.alive_timeout_s": (1.5, 60),  # the sensing process speaks once a second
    "flows.max_per_device": (1, 65536),
    "flows.tcp_idle_s": (1, inf),
    "flows.closed_idle_s": (1, inf),
    "flows.sweep_s": (1, 3600),
    "handshake.hello_bytes": (0, 65536),
    "handshake.flight_bytes": (0, 65536),
    "heartbeats.slack": (0, 1),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """A whole set: a table as in ``policy.toml``, endpoint rows, the factor on heartbeat periods."""

    table: Mapping[str, Any]
    endpoints: tuple[Mapping[str, Any], ...] = ()
    period_scale: float = 1.0

    def make_policy(self) -> Policy:
        """Return the policy with these numbers. ConfigError names the key that does not fit the others."""
        try:
            policy = Policy.from_mapping(self.table, {"endpoint": list(self.endpoints)})
            return replace(policy.scaled(self.period_scale), voice=find_voice_model()[0])
        except ValueError as error:
            text = str(error)
            raise ConfigError(text if text.startswith("endpoint") else f"limits.{text}") from None

    def share(self, budget: str, part: Budget) -> Limits:
        """Return the limits where ``part`` of a budget is somebody else's. ConfigError when there is less."""
        whole = self.table["budgets"][budget]
        left = {"per_hour": whole["per_hour"] - part.per_hour, "burst": whole["burst"] - part.burst}
        if min(left.values()) < 0:
            raise ConfigError(
                f"limits.budgets.{budget} is less than the kernel's share with "
                f"fast_path.acknowledgements = true; use at least {{ per_hour = {part.per_hour:.0f}, "
                f"burst = {part.burst:.0f} }}, or turn it off"
            )
        return replace(self, table={**self.table, "budgets": {**self.table["budgets"], budget: left}})

    def to_mapping(self) -> dict[str, Any]:
        """Return what ``from_mapping`` reads back, ready for JSON."""
        return {
            "table": self.table,
            "endpoints": list(self.endpoints),
            "period_scale": self.period_scale,
        }

    @classmethod
    def from_mapping(cls, content: object) -> Limits:
        """Return the set that a recording holds; what it does not say is as shipped. ConfigError names it."""
        if not isinstance(content, dict) or content.keys() - {"table", "endpoints", "period_scale"}:
            raise ConfigError('the limits are a table of "table", "endpoints" and "period_scale"')
        endpoints, scale = content.get("endpoints", []), content.get("period_scale", 1.0)
        if not isinstance(endpoints, list) or not all(isinstance(row, dict) for row in endpoints):
            raise ConfigError("the limits' endpoints are a list of tables")
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            raise ConfigError("the limits' period_scale is a number")
        return cls(_overlay(_read_base(), content.get("table", {}), "limits"), tuple(endpoints), scale)


def load_limits(
    changes: Mapping[str, Any] | None = None,
    endpoints: Iterable[Mapping[str, Any]] = (),
    *,
    period_scale: float = 1.0,
    devices: int = 1,
) -> Limits:
    """Return the shipped limits with the owner's ``changes``. ConfigError names the key and the remedy.

    All ``devices`` share the room for packets that wait.
    """
    table = _overlay(_read_base(), changes or {}, "limits")
    interaction, hold = table["interaction"], table["hold"]
    if interaction["listen_s"] > interaction["max_s"]:
        raise ConfigError(
            f"limits.interaction.listen_s is {interaction['listen_s']}, longer than max_s; "
            f"use at most {interaction['max_s']}"
        )
    hold["device_packets"] = min(hold["device_packets"], HELD_PACKETS // devices)
    shipped = read_toml(rules_path("endpoints.toml")).get("endpoint", ())
    limits = Limits(table, (*shipped, *endpoints), period_scale)
    limits.make_policy()
    return limits


def _read_base() -> dict[str, Any]:
    return read_toml(rules_path("policy.toml"))


def _overlay(base: Mapping[str, Any], changes: object, path: str) -> dict[str, Any]:
    """Return ``base`` with ``changes``, key by key."""
    if not isinstance(changes, Mapping):
        raise ConfigError(f"{path} is {_show(changes)}; write a table [{path}]")
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in changes.items():
        name = f"{path}.{key}"
        limit = name.removeprefix("limits.")
        if key not in base:
            raise ConfigError(f"{name} is not a limit; {suggest(str(key), list(base))}")
        if limit in _WHOLE:
            _check_whole(name, value)
            merged[key] = value
        elif isinstance(base[key], Mapping):
            merged[key] = _overlay(base[key], value, name)
        elif path == "limits.exceptions":
            merged[key] = _check_action(name, value)
        else:
            example = f"such as {_show(base[key])}, the default"
            _check_number(name, value, _RANGES.get(limit, (0, inf)), example)
            merged[key] = value
    return merged


def _check_action(name: str, value: object) -> str:
    actions = [action.value for action in Action]
    if isinstance(value, str) and value in actions:
        return value
    remedy = suggest(value, actions) if isinstance(value, str) else f"use {', '.join(actions)}"
    raise ConfigError(f"{name} is {_show(value)}; {remedy}")


def _check_whole(name: str, value: object) -> None:
    if name.endswith("schedule"):
        if not isinstance(value, list):
            raise ConfigError(f"{name} is {_show(value)}; write [[{name}]] tables")
        for number, row in enumerate(value, start=1):
            _check_heartbeat(f"{name}[{number}]", row)
    elif not isinstance(value, dict) or not all(
        str(length).isdigit() and isinstance(row, int) and not isinstance(row, bool) and row >= 0
        for length, row in value.items()
    ):
        raise ConfigError(f"{name} is wrong; give record lengths and rows of the schedule, such as 41 = 0")


def _check_heartbeat(name: str, row: object) -> None:
    known = [*_HEARTBEAT, "ping"]
    if not isinstance(row, dict):
        raise ConfigError(f"{name} is {_show(row)}; write [[limits.heartbeats.schedule]] tables")
    for key in row:
        if key not in known:
            raise ConfigError(f"{name}.{key} is not a limit; {suggest(str(key), known)}")
    for key, bounds in _HEARTBEAT.items():
        if key not in row:
            raise ConfigError(f"{name}.{key} is missing; rules/policy.toml has examples")
        _check_number(f"{name}.{key}", row[key], bounds, "as in rules/policy.toml")
    if not isinstance(row.get("ping", False), bool):
        raise ConfigError(f"{name}.ping is {_show(row['ping'])}; use true or false")


def _check_number(name: str, value: object, bounds: tuple[float, float], example: str) -> None:
    low, high = bounds
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < inf:
        raise ConfigError(f"{name} is {_show(value)}; use a number {example}")
    if value < low:
        raise ConfigError(f"{name} is {value}; use at least {low:g}")
    if value > high:
        raise ConfigError(f"{name} is {value}; use at most {high:g}")


def _show(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
