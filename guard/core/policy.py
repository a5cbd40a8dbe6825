"""The owner's rules as one frozen table.

Read from ``rules/policy.toml`` and ``rules/endpoints.toml`` by whoever may read files; here they are
mappings. Every limit in them is part of the bound on what can leave without a wake word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from guard.core.budget import Budget
from guard.core.burst import VoiceModel
from guard.core.verdict import Justification, Reason, Scope, Verdict


class PolicyError(ValueError):
    """A rule that cannot be used; the text begins with its key."""


class Action(StrEnum):
    """What an exception policy may say."""

    DROP_PACKET = "drop-packet"
    DROP_FLOW = "drop-flow"
    ACCEPT = "accept"


# The strict policy, whole: what becomes of application data. What is held is refused when no wake word comes.
STRICT: dict[Justification, Verdict] = {
    Justification.NOT_JUSTIFIED: Verdict.REFUSE,
    Justification.JUSTIFIED: Verdict.HOLD,
    Justification.EXPECTED: Verdict.ACCEPT,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """How bytes are refused for what they are.

    ``always``: refused inside an interaction too, since no receiver's reading of them is certain.
    ``waits``: may be held for a wake word first.
    """

    scope: Scope
    always: bool = False
    waits: bool = True


_PACKET, _FLOW = Scope.PACKET, Scope.FLOW
# What the bytes are -> how they are refused. Reasons that are not here are refused at flow scope.
REFUSALS: dict[Reason, Refusal] = {
    Reason.OUT_OF_ORDER: Refusal(_PACKET, always=True),  # TCP offers it again
    Reason.SPLIT_HEADER: Refusal(_PACKET),  # likewise, with the rest of the header
    Reason.OPAQUE_PAYLOAD: Refusal(_FLOW),
    Reason.OPAQUE_DATAGRAM: Refusal(_PACKET),  # a datagram is not offered again by the kernel
    Reason.OPAQUE_PROTOCOL: Refusal(_PACKET),
    Reason.INBOUND_FLOW: Refusal(_FLOW),
    Reason.SYN_PAYLOAD: Refusal(_PACKET, always=True),  # TCP falls back to a SYN without data
    Reason.RST_PAYLOAD: Refusal(_PACKET, always=True),
    Reason.NOT_CONNECTED: Refusal(_PACKET, always=True),  # TCP offers it again once it is connected
    Reason.HEADER_OPTIONS: Refusal(_PACKET, always=True),
    Reason.URGENT_DATA: Refusal(_FLOW, always=True),  # the receiver may take a byte out of the stream
    Reason.EARLY_DATA: Refusal(_FLOW),
    Reason.HANDSHAKE_CAP: Refusal(_FLOW),
    Reason.BAD_HANDSHAKE: Refusal(_FLOW),
    Reason.HANDSHAKE_BUDGET: Refusal(_FLOW, waits=False),
    Reason.CONNECTION_RATE: Refusal(_PACKET, waits=False),
    Reason.HEARTBEAT_TOO_SOON: Refusal(_FLOW),
    Reason.HEARTBEAT_BUDGET: Refusal(_FLOW),
    Reason.BUDGET_EXHAUSTED: Refusal(_PACKET, waits=False),
    Reason.RETRANSMISSION_BUFFER: Refusal(_FLOW, always=True),
}

# Failures with a configured verdict: is the packet refused inside an interaction as well?
EXCEPTIONS: dict[Reason, bool] = {
    Reason.MALFORMED: True,
    Reason.TRUNCATED: True,
    Reason.FRAGMENT: True,
    Reason.MIDSTREAM: False,
    Reason.STREAM_GAP: False,
    Reason.OVERLAP_MISMATCH: True,
    Reason.FLOW_TABLE_FULL: True,
    Reason.QUEUE_FULL: True,
    Reason.SENSOR_LOST: True,
    Reason.MODEL_MISSING: False,
    Reason.ENGINE_ERROR: True,
    Reason.STARTING: True,
}


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A schedule: ``plaintext`` bytes no more often than every ``period_s`` seconds on a flow.

    ``ping`` marks HTTP/2 PING, which the server may ask for as well (RFC 9113, 6.7).
    """

    plaintext: int
    period_s: float
    ping: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A peer that opaque TCP may go to, within a budget of bytes; never while muted."""

    port: int
    network: IPv4Network | IPv6Network
    budget: Budget

    def matches(self, key: bytes, port: int) -> bool:
        """Say whether a flow key's destination (see ``packet``) with this port is meant."""
        half = 16 if len(key) >= 32 else 4
        return port == self.port and ip_address(key[half : 2 * half]) in self.network


@dataclass(frozen=True, slots=True)
class Policy:
    """Every limit and period. Units are in the names: ``_s`` seconds, ``_bytes``; budgets are per hour."""

    pre_roll_s: float
    listen_s: float
    voice_linger_s: float
    follow_up_s: float
    max_s: float
    voice_bytes_per_s: float
    hold_s: float
    probe_s: float
    hold_flow_packets: int
    hold_flow_bytes: int
    hold_device_packets: int
    hold_device_bytes: int
    alive_timeout_s: float
    reconnect_s: float
    max_flows: int
    tcp_idle_s: float
    closed_idle_s: float
    sweep_s: float
    unacked_flow_bytes: int
    kept_device_bytes: int
    pending_flow_bytes: int
    hello_bytes: int
    flight_bytes: int
    finished_bytes: int
    change_cipher_specs: int
    alerts: int
    client_certificate_bytes: int
    heartbeat_slack: float
    heartbeats: tuple[Heartbeat, ...]
    inferred_lengths: Mapping[int, int]
    budgets: Mapping[str, Budget]
    exceptions: Mapping[Reason, Action]
    endpoints: tuple[Endpoint, ...]
    voice: VoiceModel | None = None  # what tells a voice that no measured codec sent; None: it is missing

    @classmethod
    def from_mapping(cls, policy: Mapping[str, Any], endpoints: Mapping[str, Any]) -> Policy:
        """Build from the two parsed TOML files. PolicyError names the key that is wrong or missing."""
        return _build(policy, endpoints)

    def scaled(self, period_scale: float) -> Policy:
        """Return this policy with heartbeat periods and their budget scaled, for a lab that runs faster."""
        if not 0.0 < period_scale <= 1.0:
            raise PolicyError(f"period_scale: {period_scale} is outside 0..1")
        beats = tuple(replace(beat, period_s=beat.period_s * period_scale) for beat in self.heartbeats)
        budget = self.budgets["heartbeat"]
        faster = replace(budget, per_hour=budget.per_hour / period_scale)
        return replace(self, heartbeats=beats, budgets={**self.budgets, "heartbeat": faster})


# Budgets that must exist, with their unit: one for each thing that passes outside an interaction.
BUDGET_UNITS: dict[str, str] = {
    "ack": "packets",
    "connection": "packets",
    "heartbeat": "packets",
    "handshake": "bytes",
    "retransmit": "bytes",
    "lineage": "bytes",
    "control": "bytes",
    "dns": "bytes",
    "ntp": "bytes",
    "dhcp": "bytes",
    "mdns": "bytes",
    "ssdp": "bytes",
    "icmp": "bytes",
    "igmp": "bytes",
}

# Policy field -> its table and key in policy.toml
_SCALARS: dict[str, tuple[str, str]] = {
    "pre_roll_s": ("interaction", "pre_roll_s"),
    "listen_s": ("interaction", "listen_s"),
    "voice_linger_s": ("interaction", "voice_linger_s"),
    "follow_up_s": ("interaction", "follow_up_s"),
    "max_s": ("interaction", "max_s"),
    "voice_bytes_per_s": ("interaction", "voice_bytes_per_s"),
    "hold_s": ("hold", "hold_s"),
    "probe_s": ("hold", "probe_s"),
    "hold_flow_packets": ("hold", "flow_packets"),
    "hold_flow_bytes": ("hold", "flow_bytes"),
    "hold_device_packets": ("hold", "device_packets"),
    "hold_device_bytes": ("hold", "device_bytes"),
    "alive_timeout_s": ("sensor", "alive_timeout_s"),
    "reconnect_s": ("monitor", "reconnect_s"),
    "max_flows": ("flows", "max_per_device"),
    "tcp_idle_s": ("flows", "tcp_idle_s"),
    "closed_idle_s": ("flows", "closed_idle_s"),
    "sweep_s": ("flows", "sweep_s"),
    "unacked_flow_bytes": ("flows", "unacked_flow_bytes"),
    "kept_device_bytes": ("flows", "kept_device_bytes"),
    "pending_flow_bytes": ("flows", "pending_flow_bytes"),
    "hello_bytes": ("handshake", "hello_bytes"),
    "flight_bytes": ("handshake", "flight_bytes"),
    "finished_bytes": ("handshake", "finished_bytes"),
    "change_cipher_specs": ("handshake", "change_cipher_specs"),
    "alerts": ("handshake", "alerts"),
    "client_certificate_bytes": ("handshake", "client_certificate_bytes"),
    "heartbeat_slack": ("heartbeats", "slack"),
}


def _build(policy: Mapping[str, Any], endpoints: Mapping[str, Any]) -> Policy:
    tables = {table for table, _ in _SCALARS.values()} | {"budgets", "exceptions"}
    _refuse_unknown("policy", policy, tables)
    types = {field.name: field.type for field in fields(Policy)}
    values: dict[str, Any] = {}
    for name, (table, key) in _SCALARS.items():
        number = _number(_table(policy, table), f"{table}.{key}", key)
        values[name] = int(number) if types[name] == "int" else number
    for table in tables - {"budgets", "exceptions", "heartbeats"}:
        known = {key for its_table, key in _SCALARS.values() if its_table == table}
        _refuse_unknown(table, _table(policy, table), known)
    beats = _table(policy, "heartbeats")
    _refuse_unknown("heartbeats", beats, {"slack", "schedule", "inferred_lengths"})
    heartbeats = tuple(_heartbeat(row) for row in _rows(beats, "schedule", "heartbeats."))
    lengths = _lengths(beats.get("inferred_lengths", {}), len(heartbeats))
    return Policy(
        **values,
        heartbeats=heartbeats,
        inferred_lengths=lengths,
        budgets=_budgets(_table(policy, "budgets")),
        exceptions=_exceptions(_table(policy, "exceptions")),
        endpoints=_endpoints(endpoints),
    )


def _heartbeat(row: Mapping[str, Any]) -> Heartbeat:
    _refuse_unknown("heartbeats.schedule", row, {"plaintext", "period_s", "ping"})
    plaintext = int(_number(row, "heartbeats.schedule.plaintext", "plaintext"))
    ping = row.get("ping", False)
    if not isinstance(ping, bool):
        raise PolicyError(f"heartbeats.schedule.ping: must be true or false, not {ping!r}")
    return Heartbeat(plaintext, _number(row, "heartbeats.schedule.period_s", "period_s"), ping)


def _lengths(table: object, rows: int) -> dict[int, int]:
    if not isinstance(table, Mapping):
        raise PolicyError("heartbeats.inferred_lengths: must be a table of record lengths and rows")
    lengths: dict[int, int] = {}
    for length, row in table.items():
        name = f"heartbeats.inferred_lengths.{length}"
        if not str(length).isdecimal():
            raise PolicyError(f"{name}: must be a record length in bytes")
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < rows:
            raise PolicyError(f"{name}: must be a row of heartbeats.schedule, counted from 0, not {row!r}")
        lengths[int(length)] = row
    return lengths


def _budgets(table: Mapping[str, Any]) -> dict[str, Budget]:
    _refuse_unknown("budgets", table, set(BUDGET_UNITS))
    return {name: _budget(_table(table, name, "budgets."), f"budgets.{name}") for name in BUDGET_UNITS}


def _budget(row: Mapping[str, Any], name: str) -> Budget:
    _refuse_unknown(name, row, {"per_hour", "burst"})
    return Budget(_number(row, f"{name}.per_hour", "per_hour"), _number(row, f"{name}.burst", "burst"))


def _exceptions(table: Mapping[str, Any]) -> dict[Reason, Action]:
    _refuse_unknown("exceptions", table, set(EXCEPTIONS))
    actions: dict[Reason, Action] = {}
    for reason in EXCEPTIONS:
        try:
            actions[reason] = Action(table[reason])
        except KeyError:
            raise PolicyError(f"exceptions.{reason}: is missing") from None
        except ValueError:
            raise PolicyError(f"exceptions.{reason}: use {', '.join(Action)}") from None
    return actions


def _endpoints(table: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    _refuse_unknown("endpoints", table, {"endpoint"})
    rows: list[Endpoint] = []
    for row in _rows(table, "endpoint"):
        _refuse_unknown("endpoint", row, {"name", "port", "network", "per_hour", "burst"})
        try:
            network = ip_network(str(row.get("network", "0.0.0.0/0")))
        except ValueError as error:
            raise PolicyError(f"endpoint.network: {error}") from None
        budget = Budget(
            _number(row, "endpoint.per_hour", "per_hour"), _number(row, "endpoint.burst", "burst")
        )
        port = _number(row, "endpoint.port", "port")
        if not 0 < port < 65536 or port != int(port):
            raise PolicyError(f"endpoint.port: must be a whole number from 1 to 65535, not {port!r}")
        rows.append(Endpoint(int(port), network, budget))
    return tuple(rows)


def _table(parent: Mapping[str, Any], key: str, prefix: str = "") -> Mapping[str, Any]:
    table = parent.get(key)
    if not isinstance(table, Mapping):
        raise PolicyError(f"{prefix}{key}: this table is missing")
    return table


def _rows(parent: Mapping[str, Any], key: str, prefix: str = "") -> list[Mapping[str, Any]]:
    rows = parent.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise PolicyError(f"{prefix}{key}: must be written as [[{prefix}{key}]]")
    return rows


def _number(table: Mapping[str, Any], name: str, key: str) -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise PolicyError(f"{name}: must be a number of 0 or more, not {value!r}")
    return value


def _refuse_unknown(name: str, table: Mapping[str, Any], known: set[str] | set[Reason]) -> None:
    for key in table:
        if key not in known:
            raise PolicyError(f"{name}.{key}: is not known; use one of {', '.join(sorted(known))}")
