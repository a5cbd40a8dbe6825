"""Packets that wait for the wake word.

Knows: which packets of which connection wait, since when, until when, and how much that may be. Refuses to
know: why they wait and what becomes of them; ``engine`` asks when something is due and judges anew.

Waiting packets of a connection leave in order or not at all. Once one waits, every later packet with payload
on that connection waits behind it.

    WAITING   for a wake word, until ``hold_s`` after the first packet
    PROBING   whether this is a voice at all, each packet for ``probe_s``; then released, or, once a run of
              them is a voice, all of them WAITING

However many connections wait, the one whose wait ends first is known without a look at the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from math import inf
from typing import Final

from mypy_extensions import mypyc_attr

from guard.core.flow import Flow
from guard.core.policy import Policy
from guard.core.verdict import Decision, Verdict

_HOLD: Final = Verdict.HOLD


class Waiting(Enum):
    """What a connection's packets wait for."""

    WAKE_WORD = "wake word"
    PROBE = "probe"


_WAKE_WORD: Final = Waiting.WAKE_WORD


@mypyc_attr(acyclic=True)
class Held:
    """A packet that waits.

    ``size``: bytes of payload, ``octets``: of the IP packet, ``after``: it came after a virtual reset. It was
    ``told`` HOLD, or, where it only waits behind others, what it will get in its turn; ``answer`` is what it
    got, once it waits no longer. ``ticket`` belongs to whoever feeds the engine, to find the packet by, until
    then: it may lead back here, and nobody looks for such cycles.
    """

    __slots__ = ("after", "answer", "octets", "packet_id", "since", "size", "ticket", "told")

    def __init__(
        self, packet_id: int, since: float, size: int, octets: int, told: Decision, *, after: bool
    ) -> None:
        self.packet_id = packet_id
        self.since = since
        self.size = size
        self.octets = octets
        self.told = self.answer = told
        self.after = after
        self.ticket: object = None


class FlowHold:
    """The waiting packets of one connection (of all datagrams together where ``flow`` is None).

    ``seq``: the first byte that waits. ``number``: later ones have a higher one. ``deadline`` is changed by
    ``HoldTable.end_at`` alone; it is ``inf`` before the first and after the last packet.
    """

    __slots__ = ("bytes", "deadline", "flow", "number", "packets", "seq", "waiting")

    def __init__(self, flow: Flow | None, seq: int, number: int, waiting: Waiting) -> None:
        self.flow = flow
        self.seq = seq
        self.number = number
        self.waiting = waiting
        self.deadline = inf
        self.packets: list[Held] = []
        self.bytes = 0


def _get_number(hold: FlowHold) -> int:
    return hold.number


class HoldTable:
    """Everything of one device that waits, bounded in packets and bytes, per connection and in all.

    A connection knows its own FlowHold: ``flow.hold``.
    """

    __slots__ = (
        "_device_bytes",
        "_device_packets",
        "_ends",
        "_flow_bytes",
        "_flow_packets",
        "_hold_s",
        "_number",
        "_probe_s",
        "bytes",
        "datagrams",
        "packets",
    )

    def __init__(self, policy: Policy) -> None:
        self.set_policy(policy)
        self._number = 0  # of the last hold
        # whoever waits, by deadline. Waits begin one after the other and are equally long, so a new one is
        # nearly always the last and the one that ends the first
        self._ends: list[FlowHold] = []
        self.datagrams: FlowHold | None = None
        self.packets = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[FlowHold]:
        return iter(sorted(self._ends, key=_get_number))

    def set_policy(self, policy: Policy) -> None:
        """Go on under other limits; what waits keeps its deadline."""
        self._flow_packets, self._flow_bytes = policy.hold_flow_packets, policy.hold_flow_bytes
        self._device_packets, self._device_bytes = policy.hold_device_packets, policy.hold_device_bytes
        self._hold_s, self._probe_s = policy.hold_s, policy.probe_s

    def get_deadline(self) -> float:
        """Return when the first wait ends, ``inf`` when nothing waits."""
        return self._ends[0].deadline if self._ends else inf

    def get_due(self, due: float) -> list[FlowHold]:
        """Return the connections whose wait ends by ``due``, those that began to wait first foremost."""
        found: list[FlowHold] = []
        for hold in self._ends:
            if hold.deadline > due:
                break
            found.append(hold)
        if len(found) > 1:
            found.sort(key=_get_number)
        return found

    def end_at(self, hold: FlowHold, deadline: float) -> None:
        """Let a connection wait until ``deadline`` from now on."""
        if deadline == hold.deadline:
            return
        self._forget_end(hold)
        hold.deadline = deadline
        ends = self._ends
        if not ends or ends[-1].deadline < deadline:
            ends.append(hold)
        else:
            ends.insert(self._find_place(deadline), hold)

    def _forget_end(self, hold: FlowHold) -> None:
        if hold.deadline == inf:
            return
        ends = self._ends
        place = 0 if ends[0] is hold else self._find_place(hold.deadline)
        while ends[place] is not hold:  # others end at the same time
            place += 1
        ends.pop(place)
        hold.deadline = inf

    def _find_place(self, deadline: float) -> int:
        """Return how many waits end before ``deadline``: bisect_left, without a call for each key."""
        ends = self._ends
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) >> 1
            if ends[middle].deadline < deadline:
                low = middle + 1
            else:
                high = middle
        return low

    def get(self, flow: Flow | None) -> FlowHold | None:
        """Return what waits of a connection."""
        return self.datagrams if flow is None else flow.hold

    def begin(self, flow: Flow | None, seq: int, held: Held, waiting: Waiting) -> FlowHold | None:
        """Let the first packet of a connection wait; None when it would be more than may wait."""
        hold = FlowHold(flow, seq, self._number + 1, waiting)
        if not self.join(hold, held):
            return None
        self._number = hold.number
        if flow is None:
            self.datagrams = hold
        else:
            flow.hold = hold
        self.end_at(hold, held.since + (self._hold_s if waiting is _WAKE_WORD else self._probe_s))
        return hold

    def join(self, hold: FlowHold, held: Held) -> bool:
        """Let a packet wait behind others; False when it would be more than may wait."""
        packets = hold.packets
        size = held.size
        if (
            len(packets) >= self._flow_packets
            or hold.bytes + size > self._flow_bytes
            or self.packets >= self._device_packets
            or self.bytes + size > self._device_bytes
        ):
            return False
        packets.append(held)
        hold.bytes += size
        self.packets += 1
        self.bytes += size
        return True

    def wait_on(self, hold: FlowHold) -> None:
        """Let a probe that found a voice wait for the wake word, counted from its first packet."""
        hold.waiting = _WAKE_WORD
        self.end_at(hold, hold.packets[0].since + self._hold_s)

    def take(self, hold: FlowHold, due: float = inf) -> list[Held]:
        """Return packets of a connection in order; they wait no longer.

        All of them, or the foremost whose probe ends by ``due``, and what waits for nothing but those. The
        others go on waiting, each as long as the first did.
        """
        taken = hold.packets
        hold.packets = []
        size = hold.bytes
        if due < inf:
            probe_s = self._probe_s
            count = size = 0
            for held in taken:
                if held.since + probe_s > due and held.told.verdict is _HOLD:
                    break
                count += 1
                size += held.size
            hold.packets = taken[count:]
            del taken[count:]
        self.packets -= len(taken)
        self.bytes -= size
        hold.bytes -= size
        if hold.packets:
            self.end_at(hold, hold.packets[0].since + self._probe_s)
            return taken
        self._forget_end(hold)
        if hold.flow is None:
            self.datagrams = None
        else:
            hold.flow.hold = None
        return taken
