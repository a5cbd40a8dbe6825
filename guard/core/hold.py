"""Packets that wait for the wake word.

Knows: which packets of which connection wait, since when, until when, and how much that may be. Refuses to
know: why they wait and what becomes of them; ``engine`` asks when something is due and judges anew.

Waiting packets of a connection leave in order or not at all. Once one waits, every later packet with payload
on that connection waits behind it.

    WAITING   for a wake word, until ``hold_s`` after the first packet
    PROBING   whether this is a voice at all, ``probe_s``; then WAITING or released
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from guard.core.flow import Flow
from guard.core.policy import Policy
from guard.core.verdict import Decision, Justification, PacketClass, Reason


class Waiting(Enum):
    """What a connection's packets wait for."""

    WAKE_WORD = "wake word"
    PROBE = "probe"


class Held(NamedTuple):
    """A packet that waits. ``ready`` is its decision where it only waits behind others, else None."""

    packet_id: int
    since: float
    size: int  # payload bytes
    octets: int  # of the IP packet
    packet_class: PacketClass
    justification: Justification | None
    reason: Reason | None  # what its bytes are, where that matters
    ready: Decision | None
    after_virtual_reset: bool


class FlowHold:
    """The waiting packets of one connection (of all datagrams together where ``flow`` is None)."""

    __slots__ = ("bytes", "deadline", "flow", "packets", "waiting")

    def __init__(self, flow: Flow | None, waiting: Waiting, deadline: float) -> None:
        self.flow = flow
        self.waiting = waiting
        self.deadline = deadline
        self.packets: deque[Held] = deque()
        self.bytes = 0


class HoldTable:
    """Everything of one device that waits, bounded in packets and bytes, per connection and in all."""

    __slots__ = ("_holds", "_policy", "bytes", "packets")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._holds: dict[Flow | None, FlowHold] = {}
        self.packets = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[FlowHold]:
        return iter(list(self._holds.values()))

    def set_policy(self, policy: Policy) -> None:
        """Go on under other limits; what waits keeps its deadline."""
        self._policy = policy

    def get_deadline(self) -> float:
        """Return when the first wait ends, ``inf`` when nothing waits."""
        return min((hold.deadline for hold in self._holds.values()), default=float("inf"))

    def get(self, flow: Flow | None) -> FlowHold | None:
        """Return what waits of a connection."""
        return self._holds.get(flow)

    def add(self, flow: Flow | None, held: Held, waiting: Waiting) -> bool:
        """Let a packet wait; False when it would be more than may wait."""
        policy = self._policy
        hold = self._holds.get(flow)
        packets, size = (len(hold.packets), hold.bytes) if hold is not None else (0, 0)
        if (
            packets >= policy.hold_flow_packets
            or size + held.size > policy.hold_flow_bytes
            or self.packets >= policy.hold_device_packets
            or self.bytes + held.size > policy.hold_device_bytes
        ):
            return False
        if hold is None:
            wait = policy.hold_s if waiting is Waiting.WAKE_WORD else policy.probe_s
            hold = self._holds[flow] = FlowHold(flow, waiting, held.since + wait)
        hold.packets.append(held)
        hold.bytes += held.size
        self.packets += 1
        self.bytes += held.size
        return True

    def wait_on(self, hold: FlowHold) -> None:
        """Let a probe that found a voice wait for the wake word, counted from its first packet."""
        hold.waiting = Waiting.WAKE_WORD
        hold.deadline = hold.packets[0].since + self._policy.hold_s

    def take(self, hold: FlowHold) -> deque[Held]:
        """Return the packets of a connection in order; it waits no longer."""
        del self._holds[hold.flow]
        self.packets -= len(hold.packets)
        self.bytes -= hold.bytes
        return hold.packets
