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
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final

from guard.core.flow import Flow
from guard.core.policy import Policy
from guard.core.verdict import Decision, Verdict

_HOLD: Final = Verdict.HOLD
_SPARE: Final = 64  # void entries that are put up with before they are cleared away


class Waiting(Enum):
    """What a connection's packets wait for."""

    WAKE_WORD = "wake word"
    PROBE = "probe"


_WAKE_WORD: Final = Waiting.WAKE_WORD


class Held:
    """A packet that waits.

    ``size``: bytes of payload, ``octets``: of the IP packet, ``after``: it came after a virtual reset. It was
    ``told`` HOLD, or, where it only waits behind others, what it will get in its turn; ``answer`` is what it
    got, once it waits no longer. ``ticket`` belongs to whoever feeds the engine, to find the packet by.
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

    ``number``: later ones have a higher one. ``deadline`` is changed by ``HoldTable.end_at`` alone.
    """

    __slots__ = ("bytes", "deadline", "flow", "number", "packets", "waiting")

    def __init__(self, flow: Flow | None, number: int, waiting: Waiting) -> None:
        self.flow = flow
        self.number = number
        self.waiting = waiting
        self.deadline = inf
        self.packets: list[Held] = []
        self.bytes = 0


class HoldTable:
    """Everything of one device that waits, bounded in packets and bytes, per connection and in all."""

    __slots__ = (
        "_device_bytes",
        "_device_packets",
        "_ends",
        "_flow_bytes",
        "_flow_packets",
        "_hold_s",
        "_holds",
        "_number",
        "_numbered",
        "_probe_s",
        "bytes",
        "packets",
    )

    def __init__(self, policy: Policy) -> None:
        self.set_policy(policy)
        self._holds: dict[Flow | None, FlowHold] = {}
        self._numbered: dict[int, FlowHold] = {}
        self._number = 0  # of the last hold
        # heap of (deadline, number): each hold's, and some that were put off or are over
        self._ends: list[tuple[float, int]] = []
        self.packets = 0
        self.bytes = 0

    def __iter__(self) -> Iterator[FlowHold]:
        return iter(list(self._holds.values()))

    def set_policy(self, policy: Policy) -> None:
        """Go on under other limits; what waits keeps its deadline."""
        self._flow_packets, self._flow_bytes = policy.hold_flow_packets, policy.hold_flow_bytes
        self._device_packets, self._device_bytes = policy.hold_device_packets, policy.hold_device_bytes
        self._hold_s, self._probe_s = policy.hold_s, policy.probe_s

    def get_deadline(self) -> float:
        """Return when the first wait ends, ``inf`` when nothing waits."""
        ends = self._ends
        while ends and not self._is_valid(ends[0]):
            heappop(ends)
        return ends[0][0] if ends else inf

    def get_due(self, due: float) -> list[FlowHold]:
        """Return the connections whose wait ends by ``due``, those that began to wait first foremost."""
        ends = self._ends
        if not ends or ends[0][0] > due:
            return []
        alone = (len(ends) < 2 or ends[1][0] > due) and (len(ends) < 3 or ends[2][0] > due)
        if alone and self._is_valid(ends[0]):  # the second of a heap is one of these: nearly always later
            return [self._numbered[ends[0][1]]]
        numbers: set[int] = set()
        found: list[tuple[float, int]] = []
        while ends and ends[0][0] <= due:
            end = heappop(ends)
            if end[1] not in numbers and self._is_valid(end):
                numbers.add(end[1])
                found.append(end)
        for end in found:  # due until somebody takes the packets or says otherwise
            heappush(ends, end)
        return [self._numbered[number] for number in sorted(numbers)]

    def end_at(self, hold: FlowHold, deadline: float) -> None:
        """Let a connection wait until ``deadline`` from now on."""
        if deadline == hold.deadline:
            return
        hold.deadline = deadline
        heappush(self._ends, (deadline, hold.number))
        if len(self._ends) > 2 * len(self._holds) + _SPARE:
            self._ends = [(other.deadline, other.number) for other in self._holds.values()]
            heapify(self._ends)

    def _is_valid(self, end: tuple[float, int]) -> bool:
        deadline, number = end
        hold = self._numbered.get(number)
        return hold is not None and hold.deadline == deadline

    def get(self, flow: Flow | None) -> FlowHold | None:
        """Return what waits of a connection."""
        return self._holds.get(flow)

    def add(self, flow: Flow | None, held: Held, waiting: Waiting) -> bool:
        """Let a packet wait; False when it would be more than may wait."""
        known = self._holds.get(flow)
        if known is not None:
            return self.join(known, held)
        hold = FlowHold(flow, self._number + 1, waiting)
        if not self.join(hold, held):
            return False
        self._number = hold.number
        self._holds[flow] = self._numbered[hold.number] = hold
        self.end_at(hold, held.since + (self._hold_s if waiting is _WAKE_WORD else self._probe_s))
        return True

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
        else:
            del self._holds[hold.flow], self._numbered[hold.number]
        return taken
