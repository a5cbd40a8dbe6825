"""The gate's one TOML file.

This file knows the keys, their defaults and what a good value is; ``docs/configuration.md`` lists the same
keys. It opens nothing but the file itself: whether an interface (``check_interfaces``) or a user
(``unix_socket.get_uids``) exists is asked separately, still before anything is touched. Every complaint names
the key and the remedy. ``[sense]`` belongs to the sensing process and passes unread.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from guard.core.verdict import Mode
from guard.errors import ConfigError
from guard.netfilter.fastpath import KERNEL_BUDGET
from guard.netfilter.ruleset import DeviceMatch, RulesetSpec
from guard.remedies import fault, suggest

if TYPE_CHECKING:
    from guard.limits import Limits

DEFAULT_PATH = Path("/etc/wakeguard/wakeguard.toml")
MAX_DEVICES = 63  # six bits of the fwmark
MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7) less its final zero
MAX_ENDPOINT_BYTES = 1 << 30  # an hour: more is no limit
POLICIES = ("strict", "balanced")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")  # a metrics label and a part of a path
# what iptables takes literally; IFNAMSIZ less its zero
_INTERFACE = re.compile(r"[^\s/:%+!\"'\\-][^\s/:%+!\"'\\]{0,14}")
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every table of the file has in common: no key that we do not know."""


class Device(_Table, frozen=True):
    """One Echo: a name and what its packets are known by, a MAC or its addresses."""

    name: str
    mac: str | None = None
    addresses: tuple[str, ...] = ()
    policy: str | None = None


class Endpoint(_Table, frozen=True):
    """A peer that TCP which is not TLS may go to, within a budget of payload bytes."""

    name: str
    port: int
    per_hour: float
    burst: float
    network: str = "0.0.0.0/0"


class Network(_Table, frozen=True):
    """Where the Echo's packets are met."""

    lan: str = "wlan0"
    queue: int = 1789
    unknown: str = "pass"


class FastPath(_Table, frozen=True):
    """What the kernel decides by itself."""

    acknowledgements: bool = False
    condemned: bool = False


class Sensors(_Table, frozen=True):
    """The datagram socket on which the sensing process speaks. Without this table: no sensor."""

    socket: str = "/run/wakeguard/sensors.sock"
    users: tuple[str, ...] = ()
    max_per_second: int = 50


class Control(_Table, frozen=True):
    """The stream socket of the command line."""

    socket: str = "/run/wakeguard/control.sock"
    users: tuple[str, ...] = ()


class Metrics(_Table, frozen=True):
    """The Prometheus endpoint."""

    enabled: bool = True
    address: str = "127.0.0.1"
    port: int = 9917


class State(_Table, frozen=True):
    """What survives a restart."""

    directory: str = "/var/lib/wakeguard"


class Journal(_Table, frozen=True):
    """The local log of what was refused, heard and switched."""

    enabled: bool = True
    directory: str | None = None
    days: int = 30
    megabytes: int = 64
    flush_s: float = 30.0


class Lab(_Table, frozen=True):
    """The laboratory's clockwork: 1.0 at home."""

    period_scale: float = 1.0


class Config(_Table, frozen=True):
    """The whole file."""

    device: tuple[Device, ...]
    mode: Mode = Mode.MONITOR
    policy: str = "strict"
    network: Network = Network()
    fast_path: FastPath = FastPath()
    sensors: Sensors | None = None
    control: Control = Control()
    metrics: Metrics = Metrics()
    state: State = State()
    journal: Journal = Journal()
    lab: Lab = Lab()
    endpoint: tuple[Endpoint, ...] = ()
    limits: dict[str, Any] = {}
    sense: dict[str, Any] = {}

    def get_device_names(self) -> tuple[str, ...]:
        """Return the devices' names in the order of the file, which is that of their numbers."""
        return tuple(device.name for device in self.device)

    def get_policies(self) -> dict[str, str]:
        """Return each device's policy: its own, else that of the house."""
        return {device.name: device.policy or self.policy for device in self.device}

    def load_limits(self) -> Limits:
        """Return the limits in force. ConfigError names the key that is wrong."""
        from guard.limits import load_limits

        limits = load_limits(
            self.limits,
            (msgspec.structs.asdict(row) for row in self.endpoint),
            period_scale=self.lab.period_scale,
            devices=len(self.device),
        )
        return limits.share("ack", KERNEL_BUDGET) if self.fast_path.acknowledgements else limits

    def get_journal_directory(self) -> Path:
        """Return where the journal is: a place of its own, or among what survives a restart."""
        return Path(self.journal.directory or self.state.directory)

    def get_sensor_paths(self) -> dict[str, Path]:
        """Return each device's own sensor socket; empty when no sensor is configured."""
        if self.sensors is None:
            return {}
        path = self.sensors.socket
        return {name: Path(path.replace("{device}", name)) for name in self.get_device_names()}


_TABLES: Mapping[str, type[msgspec.Struct]] = {
    "device": Device,
    "endpoint": Endpoint,
    "network": Network,
    "fast_path": FastPath,
    "sensors": Sensors,
    "control": Control,
    "metrics": Metrics,
    "state": State,
    "journal": Journal,
    "lab": Lab,
}
_ROWS = {"device": ("name",), "endpoint": ("name", "port", "per_hour", "burst")}  # array -> keys it needs


def load_config(path: Path | str) -> Config:
    """Return the configuration in the file at ``path``. ConfigError names the key and the remedy."""
    try:
        with Path(path).open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; `sudo wakeguard setup` writes one, "
            "--config FILE names another"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}; mend that line") from None
    try:
        return parse_config(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_config(content: Mapping[str, Any]) -> Config:
    """Return the configuration in decoded TOML. ConfigError names the key and the remedy."""
    _check_keys(content)
    if "device" not in content:
        raise fault("device", "is missing")
    try:
        config = msgspec.convert(dict(content), Config)
    except msgspec.ValidationError as error:
        raise _translate(error) from None
    _check_policy("policy", config.policy)
    devices = tuple(_check_device(device, number) for number, device in enumerate(config.device, start=1))
    _check_unique(devices)
    config = msgspec.structs.replace(config, device=devices)
    _check_values(config)
    if config.limits or config.endpoint or config.fast_path.acknowledgements:
        config.load_limits()
    return config


def check_interfaces(config: Config, present: Iterable[str] | None = None) -> None:
    """Raise ConfigError unless the interface towards the Echo exists here."""
    names = sorted(present if present is not None else (name for _, name in socket.if_nameindex()))
    lan = config.network.lan
    if lan not in names:
        others = ", ".join(name for name in names if name != "lo") or "none but lo"
        raise fault("network.lan", f'"{lan}" is no interface of this machine (there are: {others})')


def ruleset_spec(config: Config, mode: Mode) -> RulesetSpec:
    """Return what the firewall's templates need to know of ``config``."""
    return RulesetSpec(
        mode=mode,
        lan=config.network.lan,
        queue=config.network.queue,
        pass_quiet=config.fast_path.acknowledgements,
        refuse_condemned=config.fast_path.condemned,
        refuse_unknown=config.network.unknown == "refuse",
        devices=tuple(
            DeviceMatch(number=number, name=device.name, mac=device.mac, addresses=device.addresses)
            for number, device in enumerate(config.device, start=1)
        ),
    )


def _check_keys(content: Mapping[str, Any]) -> None:
    _check_table_keys(content, Config, "")
    for name, table in _TABLES.items():
        found = content.get(name)
        if name in _ROWS and isinstance(found, list):
            for number, row in enumerate(found, start=1):
                _check_table_keys(row, table, f"{name}[{number}].")
                for key in _ROWS[name]:
                    if isinstance(row, dict) and key not in row:
                        raise fault(f"{name}[{number}].{key}", "is missing")
        else:
            _check_table_keys(found, table, f"{name}.")


def _check_table_keys(found: object, table: type[msgspec.Struct], prefix: str) -> None:
    if not isinstance(found, dict):
        return  # a wrong type is msgspec's to report
    known = table.__struct_fields__
    for key in found:
        if key not in known:
            raise ConfigError(f"{prefix}{key} is not a key of this file; {suggest(str(key), known)}")


def _translate(error: msgspec.ValidationError) -> ConfigError:
    """Return msgspec's complaint with the key in front and the remedy behind."""
    what, _, path = str(error).partition(" - at `$.")
    key = re.sub(r"\[(\d+|\.\.\.)\]", "", path.rstrip("`"))
    return fault(key, f"is wrong: {what[0].lower()}{what[1:]}")


def _check_policy(key: str, policy: str) -> None:
    if policy not in POLICIES:
        raise fault(key, f'"{policy}" is unknown')


def _check_device(device: Device, number: int) -> Device:
    key = f"device[{number}]"
    if not _NAME.fullmatch(device.name):
        raise fault(f"{key}.name", f'"{device.name}" is no name')
    if device.mac is None and not device.addresses:
        raise fault(f"{key}.mac", "is missing, and there are no addresses either")
    if device.mac is not None and device.addresses:
        raise fault(f"{key}.addresses", "stands beside mac: keep one of the two")
    if device.policy is not None:
        _check_policy(f"{key}.policy", device.policy)
    mac = None if device.mac is None else _check_mac(device.mac, f"{key}.mac")
    addresses = tuple(_check_device_address(text, f"{key}.addresses") for text in device.addresses)
    return Device(name=device.name, mac=mac, addresses=addresses, policy=device.policy)


def _check_mac(text: str, key: str) -> str:
    mac = text.lower().replace("-", ":")
    if not _MAC.fullmatch(mac):
        raise fault(key, f'"{text}" is no MAC address')
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise fault(key, f'"{text}" belongs to no single device')
    return mac


def _check_device_address(text: str, key: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise fault(key, f'"{text}" is no IPv4 or IPv6 address') from None
    if address.is_multicast or address.is_unspecified or address.is_loopback or "%" in text:
        raise fault(key, f'"{text}" belongs to no single device')
    return str(address)


def _check_unique(devices: Sequence[Device]) -> None:
    if not devices:
        raise fault("device", "is empty")
    if len(devices) > MAX_DEVICES:
        raise fault("device", f"has {len(devices)} entries, at most {MAX_DEVICES} are possible")
    seen: dict[str, int] = {}
    for number, device in enumerate(devices, start=1):
        marks = {"name": (device.name,), "mac": (device.mac,) if device.mac else ()}
        for key, values in {**marks, "addresses": device.addresses}.items():
            for value in values:
                first = seen.setdefault(f"{key} {value}", number)
                if first != number:
                    raise fault(f"device[{number}].{key}", f'"{value}" is that of device[{first}] too')


def _check_values(config: Config) -> None:
    network, sensors, metrics = config.network, config.sensors, config.metrics
    if not _INTERFACE.fullmatch(network.lan) or network.lan in (".", ".."):
        raise fault("network.lan", f'"{network.lan}" is no interface name')
    if network.unknown not in ("pass", "refuse"):
        raise fault("network.unknown", f'"{network.unknown}" is unknown')
    _check_range("network.queue", network.queue, 0, 65535)
    _check_range("metrics.port", metrics.port, 1, 65535)
    _check_range("lab.period_scale", config.lab.period_scale, 0.001, 1.0)
    try:
        ipaddress.ip_address(metrics.address)
    except ValueError:
        raise fault("metrics.address", f'"{metrics.address}" is no address') from None
    for number, row in enumerate(config.endpoint, start=1):
        _check_endpoint(f"endpoint[{number}]", row)
    _check_path("control.socket", config.control.socket)
    _check_path("state.directory", config.state.directory)
    _check_path("journal.directory", str(config.get_journal_directory()))
    _check_range("journal.days", config.journal.days, 1, 3650)
    _check_range("journal.megabytes", config.journal.megabytes, 1, 4096)
    _check_range("journal.flush_s", config.journal.flush_s, 1, 3600)
    if sensors is None:
        return
    _check_range("sensors.max_per_second", sensors.max_per_second, 2, 10_000)
    paths = [str(path) for path in config.get_sensor_paths().values()]
    for path in paths:
        _check_path("sensors.socket", path)
    if len(set(paths)) < len(paths):
        raise fault("sensors.socket", f'"{sensors.socket}" would be shared by all devices')
    if config.control.socket in paths:
        raise fault("sensors.socket", "is the control socket's path too")


def _check_endpoint(key: str, row: Endpoint) -> None:
    _check_range(f"{key}.port", row.port, 1, 65535)
    _check_range(f"{key}.per_hour", row.per_hour, 0, MAX_ENDPOINT_BYTES)
    _check_range(f"{key}.burst", row.burst, 0, MAX_ENDPOINT_BYTES)
    try:
        ipaddress.ip_network(row.network)
    except ValueError:
        raise fault(f"{key}.network", f'"{row.network}" is no network') from None


def _check_range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise fault(key, f"is {value}, outside {low} to {high}")


def _check_path(key: str, path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise fault(key, f'"{path}" is no absolute path')
    if key.endswith("socket") and len(path.encode()) > MAX_SOCKET_PATH_BYTES:
        raise fault(key, f"is longer than {MAX_SOCKET_PATH_BYTES} bytes")
