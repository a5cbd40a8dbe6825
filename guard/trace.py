"""Recorded sensor events, beside a recorded capture.

A trace is a file of event lines (``core.event``). Its first line may give the Unix time of t = 0; without
it t counts from the capture's first frame. A trace that the live gate recorded says more: what the gate
was told besides events, and when by its own clock, so that a replay repeats every step. Such lines are

``{"type":"gate","mode":"monitor","devices":{"kitchen":{"sensor":true,..}},"limits":{..}}``  once, how the
    gate began: every limit is in it, so a replay needs nothing else;
``{"type":"settings","devices":{..},"limits":{..},"now_ns":N}``  the owner's settings were read again;
``{"t":..,"type":"wake",..,"now_ns":N,"device":"kitchen"}``  an event and the engine's clock at its receipt;
``{"type":"mode","mode":"enforce","now_ns":N}``  the owner switched the mode; with ``"device":"kitchen"``
    that of one alone, which was paused (monitor) or no longer is;
``{"type":"timer","now_ns":N}``  the engine's timer was served.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guard.core.engine import DeviceSettings
from guard.core.event import AliveEvent, Event, EventError, TraceHeader, format_line, parse_line
from guard.core.verdict import Mode
from guard.errors import ConfigError, EventTraceError
from guard.limits import Limits

NANOSECONDS = 1e9
_DEVICE_KEYS = asdict(DeviceSettings()).keys()


@dataclass(frozen=True, slots=True)
class TimerServed:
    """The live gate called ``Engine.handle_timer`` here."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the owner has set: for each device by name, and the limits (None: as shipped)."""

    devices: dict[str, DeviceSettings]
    limits: Limits | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """How the live gate began: its mode and its settings."""

    mode: Mode
    settings: Settings

    @property
    def devices(self) -> dict[str, DeviceSettings]:
        """Return the devices by name."""
        return self.settings.devices


Item = Event | Mode | TimerServed | Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing told to the engine at ``now`` (its clock, s); ``device`` is "" where it concerns all."""

    now: float
    item: Item
    device: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A whole trace, its entries in the order in which the engine is told them."""

    epoch_ns: int | None = None
    gate: Gate | None = None
    entries: tuple[Entry, ...] = ()

    def has_sensor(self, device: str) -> bool:
        """Tell whether ``device`` has a mute sensor whose silence means something.

        Without the gate's own word a trace with ``alive`` lines comes from a sensing process; one
        without them was written by hand, and its last mute state simply lasts.
        """
        if self.gate is not None:
            return device in self.gate.devices and self.gate.devices[device].sensor
        return any(isinstance(entry.item, AliveEvent) for entry in self.entries)


def read_trace(path: Path) -> Trace:
    """Return the trace in ``path``; EventTraceError names the line that is wrong."""
    epoch_ns: int | None = None
    gate: Gate | None = None
    entries: list[Entry] = []
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    parsed = _parse(line.strip())
                    if isinstance(parsed, Entry):
                        entries.append(parsed)
                    elif isinstance(parsed, Gate):
                        gate = parsed
                    elif number > 1:
                        raise EventError("a trace line can only be the first line")
                    else:
                        epoch_ns = parsed.epoch_ns
                except EventError as error:
                    raise EventTraceError(f"{path} line {number}: {error}") from None
    except OSError as error:
        raise EventTraceError(f"events file {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise EventTraceError(f"events file {path} cannot be read: {error}") from None
    entries.sort(key=lambda entry: entry.now)  # stable: equal times keep the order of the file
    return Trace(epoch_ns, gate, tuple(entries))


def format_entry(item: Item, *, now_ns: int, device: str = "") -> str:
    """Return the line (no newline) of a recorded trace that ``read_trace`` reads back."""
    if isinstance(item, Mode):
        whose = f',"device":{json.dumps(device)}' if device else ""
        return f'{{"type":"mode","mode":"{item.value}","now_ns":{now_ns}{whose}}}'
    if isinstance(item, TimerServed):
        return f'{{"type":"timer","now_ns":{now_ns}}}'
    if isinstance(item, Settings):
        return f'{{"type":"settings",{_format_settings(item)},"now_ns":{now_ns}}}'
    return f'{format_line(item)[:-1]},"now_ns":{now_ns},"device":{json.dumps(device)}}}'


def format_gate(gate: Gate) -> str:
    """Return the line (no newline) that tells how the gate began."""
    return f'{{"type":"gate","mode":"{gate.mode.value}",{_format_settings(gate.settings)}}}'


def _format_settings(settings: Settings) -> str:
    content: dict[str, Any] = {"devices": {name: asdict(row) for name, row in settings.devices.items()}}
    if settings.limits is not None:
        content["limits"] = settings.limits.to_mapping()
    return json.dumps(content, separators=(",", ":"))[1:-1]


def _parse(line: bytes) -> Entry | Gate | TraceHeader:
    if b'"now_ns"' not in line and b'"gate"' not in line:
        parsed = parse_line(line)
        return parsed if isinstance(parsed, TraceHeader) else Entry(parsed.t, parsed)
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EventError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise EventError("not a JSON object")
    kind = fields.get("type")
    if kind == "gate":
        return _parse_gate(fields)
    now_ns = fields.pop("now_ns", None)
    if isinstance(now_ns, bool) or not isinstance(now_ns, int) or abs(now_ns) >= 1 << 63:
        raise EventError("now_ns must be a whole number of nanoseconds")
    now = now_ns / NANOSECONDS
    if kind == "mode" and fields.keys() - {"device"} == {"type", "mode"}:
        return Entry(now, _parse_mode(fields["mode"]), _parse_name(fields.get("device", "")))
    if kind == "settings":
        return Entry(now, _parse_settings(fields, {"type"}))
    if kind == "timer" and fields.keys() == {"type"}:
        return Entry(now, TimerServed())
    device = _parse_name(fields.pop("device", ""))
    event = parse_line(json.dumps(fields))
    if isinstance(event, TraceHeader):
        raise EventError("a trace line has no now_ns")
    return Entry(now, event, device)


def _parse_gate(content: dict[str, Any]) -> Gate:
    return Gate(_parse_mode(content.get("mode")), _parse_settings(content, {"type", "mode"}))


def _parse_settings(content: dict[str, Any], others: set[str]) -> Settings:
    devices = content.get("devices")
    if content.keys() - others - {"limits"} != {"devices"} or not isinstance(devices, dict):
        raise EventError(f'a {content["type"]} line needs "devices" and may have "limits"')
    limits = None
    if "limits" in content:
        try:
            limits = Limits.from_mapping(content["limits"])
            limits.make_policy()
        except ConfigError as error:
            raise EventError(f"{error} (recorded by another version?)") from None
    return Settings({name: _parse_device(name, row) for name, row in devices.items()}, limits)


def _parse_device(name: str, row: object) -> DeviceSettings:
    if (
        not isinstance(row, dict)
        or not {"sensor"} <= row.keys() <= _DEVICE_KEYS
        or not all(isinstance(value, bool) for value in row.values())
    ):
        raise EventError(f'device {name!r} needs "sensor" and may have "balanced": true or false')
    return DeviceSettings(**row)


def _parse_name(value: object) -> str:
    if not isinstance(value, str):
        raise EventError("device must be a text")
    return value


def _parse_mode(value: object) -> Mode:
    try:
        return Mode(value)  # type: ignore[arg-type]  # any object: a wrong one raises ValueError
    except ValueError:
        raise EventError(f"mode {value!r}: use monitor or enforce") from None
