"""What the gate can say about a packet.

This file knows the closed sets of answers and keeps one object for each combination that was ever
given, so that a decision costs a dictionary look-up and no allocation. It does not know how an
answer is reached (``classify``, ``policy``) nor what the kernel does with it (``guard.netfilter``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cache
from typing import Final


class Mode(StrEnum):
    """Whether verdicts are only reported or also carried out."""

    MONITOR = "monitor"
    ENFORCE = "enforce"


class Direction(IntEnum):
    """Which way a packet travels, seen from the device."""

    UPSTREAM = 0
    DOWNSTREAM = 1


class PacketClass(StrEnum):
    """The paper's packet classes. ``SYN`` is a heartbeat, not a TCP SYN."""

    HANDSHAKE = "handshake"
    SYN = "syn"
    ACK = "ack"
    RETRANSMIT = "retransmit"
    APP_DATA = "app_data"
    NOT_RELEVANT = "not_relevant"


class Justification(StrEnum):
    """What explains application data: nothing (muted), nothing (no interaction), or a wake word."""

    NOT_JUSTIFIED = "not_justified"
    JUSTIFIED = "justified"
    EXPECTED = "expected"


class Verdict(StrEnum):
    """What becomes of the packet."""

    ACCEPT = "accept"
    HOLD = "hold"
    REFUSE = "refuse"


class Scope(StrEnum):
    """How far a refusal reaches."""

    PACKET = "packet"
    FLOW = "flow"


class Reason(StrEnum):
    """Why; a closed set. ``docs/policy.md`` has a row for each."""

    # accepted
    DOWNSTREAM = "downstream"
    TCP_CONTROL = "tcp_control"
    CONNECTION_SETUP = "connection_setup"
    HANDSHAKE = "handshake"
    HEARTBEAT = "heartbeat"
    HEARTBEAT_REPLY = "heartbeat_reply"
    RETRANSMISSION = "retransmission"
    WITHIN_BUDGET = "within_budget"
    NEIGHBOUR_DISCOVERY = "neighbour_discovery"
    ALLOWED_ENDPOINT = "allowed_endpoint"
    INTERACTION = "interaction"
    LINEAGE = "lineage"
    CONTROL_BUDGET = "control_budget"
    EXCEPTION_ACCEPTED = "exception_accepted"
    # held
    AWAITING_WAKE_WORD = "awaiting_wake_word"
    PROBING = "probing"
    # refused by context
    MUTED = "muted"
    MUTE_UNKNOWN = "mute_unknown"
    NO_INTERACTION = "no_interaction"
    INTERACTION_CAP = "interaction_cap"
    CONDEMNED = "condemned"
    VOICE_LIKE = "voice_like"
    HELD = "held"
    HOLD_FULL = "hold_full"
    # refused for what the bytes are
    OUT_OF_ORDER = "out_of_order"
    SPLIT_HEADER = "split_header"
    OPAQUE_PAYLOAD = "opaque_payload"
    OPAQUE_DATAGRAM = "opaque_datagram"
    OPAQUE_PROTOCOL = "opaque_protocol"
    INBOUND_FLOW = "inbound_flow"
    SYN_PAYLOAD = "syn_payload"
    RST_PAYLOAD = "rst_payload"
    NOT_CONNECTED = "not_connected"
    HEADER_OPTIONS = "header_options"
    URGENT_DATA = "urgent_data"
    EARLY_DATA = "early_data"
    HANDSHAKE_CAP = "handshake_cap"
    BAD_HANDSHAKE = "bad_handshake"
    HANDSHAKE_BUDGET = "handshake_budget"
    CONNECTION_RATE = "connection_rate"
    HEARTBEAT_TOO_SOON = "heartbeat_too_soon"
    HEARTBEAT_BUDGET = "heartbeat_budget"
    BUDGET_EXHAUSTED = "budget_exhausted"
    RETRANSMISSION_BUFFER = "retransmission_buffer"
    # failures that have a name (``[exceptions]`` in ``rules/policy.toml``)
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    FRAGMENT = "fragment"
    MIDSTREAM = "midstream"
    STREAM_GAP = "stream_gap"
    OVERLAP_MISMATCH = "overlap_mismatch"
    FLOW_TABLE_FULL = "flow_table_full"
    QUEUE_FULL = "queue_full"
    SENSOR_LOST = "sensor_lost"
    MODEL_MISSING = "model_missing"
    ENGINE_ERROR = "engine_error"
    STARTING = "starting"


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """One answer. Compare with ``is``: equal answers are the same object.

    ``packet_class`` is None for what the cloud sends (it is never judged). ``scope`` is None unless
    ``verdict`` is ``refuse``. ``after_virtual_reset`` marks, in monitor mode, a packet of a flow that
    enforce would have cut before. ``index`` is dense from 0 and serves as a key into counter lists.
    """

    packet_class: PacketClass | None
    justification: Justification | None
    verdict: Verdict
    scope: Scope | None
    reason: Reason
    after_virtual_reset: bool
    index: int

    @property
    def touches_flow(self) -> bool:
        """Say whether it means something for the packets that follow on the connection."""
        return self.scope is Scope.FLOW or self.verdict is Verdict.HOLD


_decisions: Final[list[Decision]] = []


@cache
def decision(
    packet_class: PacketClass | None,
    justification: Justification | None,
    verdict: Verdict,
    scope: Scope | None,
    reason: Reason,
    *,
    after_virtual_reset: bool = False,
) -> Decision:
    """Return the one Decision with these fields."""
    made = Decision(packet_class, justification, verdict, scope, reason, after_virtual_reset, len(_decisions))
    _decisions.append(made)
    return made


_flagged: Final[list[Decision | None]] = []  # by index


def flag(answer: Decision) -> Decision:
    """Return the decision that says the same of a packet after a virtual reset."""
    while answer.index >= len(_flagged):
        _flagged.append(None)
    flagged = _flagged[answer.index]
    if flagged is None:
        flagged = _flagged[answer.index] = decision(
            answer.packet_class,
            answer.justification,
            answer.verdict,
            answer.scope,
            answer.reason,
            after_virtual_reset=True,
        )
    return flagged


def get_decision(index: int) -> Decision:
    """Return the decision that bears ``index`` (IndexError when none was made yet)."""
    return _decisions[index]
