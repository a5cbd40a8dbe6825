"""What the kernel passed and refused by itself, read from the counters of its rules.

Knows: how iptables-save prints them, what the gate would have said of such packets, and how counts go on over
rules that are replaced. Refuses to know: which packets those are (``fastpath``), who wants to hear of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from typing import Final

from guard.core.segment import TCP_CONTROL
from guard.core.verdict import Decision, PacketClass, Reason, Scope, Verdict, decision
from guard.errors import NetfilterError
from guard.netfilter import programs
from guard.netfilter.marks import get_device
from guard.netfilter.programs import FAMILIES

READ_SECONDS: Final = 5.0

REFUSED_ACK: Final = decision(PacketClass.ACK, None, Verdict.REFUSE, Scope.FLOW, Reason.CONDEMNED)
REFUSED_DATA: Final = decision(PacketClass.APP_DATA, None, Verdict.REFUSE, Scope.FLOW, Reason.CONDEMNED)
"""Payload on a condemned connection, taken for the worst; the kernel cannot tell what explains it."""

_BEGINNING = r"^\[(\d+):(\d+)\] -A {} -m mark --mark (0x[0-9a-f]+)/0x[0-9a-f]+"
_RULES: Final = {
    answer: re.compile(_BEGINNING.format(chain) + rest, re.MULTILINE)
    for answer, chain, rest in (
        (TCP_CONTROL, "WAKEGUARD-QUEUE", " .*-j WAKEGUARD-PASS$"),
        (REFUSED_ACK, "WAKEGUARD-REFUSE", " -m bpf .*-j WAKEGUARD-REFUSED$"),
        (REFUSED_DATA, "WAKEGUARD-REFUSE", " -j WAKEGUARD-REFUSED$"),
    )
}

Count = tuple[int, int]  # packets and bytes
Counts = Mapping[tuple[int, Decision], Count]  # by the device's number
_NONE: Final = (0, 0)


def parse_counters(text: str) -> Counts:
    """Return what the rules counted, from what ``iptables-save -c`` printed."""
    return {
        (get_device(int(mark, 16)), answer): (int(packets), int(octets))
        for answer, rule in _RULES.items()
        for packets, octets, mark in rule.findall(text)
    }


class KernelCounts:
    """What the kernel decided since the start, over all the rules that there were meanwhile."""

    def __init__(self, devices: Sequence[str]) -> None:
        """``devices`` in the order of their numbers."""
        self._numbers = {name: number for number, name in enumerate(devices, start=1)}
        self._lock = Lock()
        self._next = 0.0
        self._ours = False  # until then the rules are those of an earlier gate
        self._before: Counts = {}  # of rules that are gone
        self._now: Counts = {}
        self._total: Counts = {}  # put in place whole: read without the lock

    def read(self) -> None:
        """Read the counters of the rules in place, from any thread. NetfilterError when that fails."""
        with self._lock:
            self._read()

    def read_in_background(self, *, now: float) -> None:
        """Read them in a thread, at most every ``READ_SECONDS``; what fails is left to the next."""
        if now < self._next:
            return
        self._next = now + READ_SECONDS
        Thread(target=self._try_to_read, name="kernel counters", daemon=True).start()

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Keep what the rules have counted while all of them are replaced in the block."""
        with self._lock:
            if self._ours:
                self._read()
            yield
            self._ours = True
            self._before, self._now = self._total, {}

    def get(self, device: str) -> dict[Decision, Count]:
        """Return what was decided of one device, as of the last reading, by what the gate would have said."""
        number, total = self._numbers[device], self._total
        return {answer: total[number, answer] for answer in _RULES if (number, answer) in total}

    def _try_to_read(self) -> None:
        with suppress(NetfilterError):
            self.read()

    def _read(self) -> None:
        found: Counts = {}
        for family in FAMILIES:
            found = _add(found, parse_counters(programs.save(family, counters=True)))
        if any(packets > found.get(key, _NONE)[0] for key, (packets, _) in self._now.items()):
            self._before = _add(self._before, self._now)  # somebody else replaced the rules meanwhile
        self._now = found
        self._total = _add(self._before, found)


def _add(one: Counts, other: Counts) -> Counts:
    added = dict(one)
    for key, (packets, octets) in other.items():
        before = added.get(key, _NONE)
        added[key] = before[0] + packets, before[1] + octets
    return added
