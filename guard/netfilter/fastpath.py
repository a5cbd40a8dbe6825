"""The kernel's share: acknowledgements that need no judge, passed and counted by rules of their own.

Knows: which packets those are, how many of them, and how the counters of their rules are read. Refuses to
know: when a connection is quiet (``guard.core.flow``). docs/netfilter.md has the whole argument.

A device's TCP segment without payload and with no flag but ACK passes in the kernel while its connection is
quiet: all that the device sent was judged, accepted and acknowledged. Then it tells the gate nothing, and the
gate would have said ``tcp_control``. The gate's verdicts make a connection quiet; any other packet of the
device on it, before it is judged, ends that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock, Thread
from typing import Final

from guard.core.budget import Budget
from guard.errors import NetfilterError
from guard.netfilter import programs
from guard.netfilter.marks import (
    CONDEMNED,
    DEVICE_MASK,
    MARK_MASK,
    QUIET,
    UNJUDGED,
    format_match,
    get_device,
    make_upstream_mark,
)
from guard.netfilter.programs import FAMILIES, Family

PER_SECOND: Final = 500
BURST: Final = 5000
"""What the kernel passes of one device in one family; 500 a second acknowledge 10 Mbit/s of music."""

KERNEL_BUDGET: Final = Budget(per_hour=4_000_000, burst=2 * BURST)
"""What the gate's own budget for acknowledgements gives up for the kernel's, both families together. xt_limit
rounds its rate to clock ticks, upwards by 2.4 % at most: so a ninth more than twice PER_SECOND."""

_TCP: Final = 6
_ONLY_ACK: Final = 0x10
_LOAD_BYTE, _LOAD_HALF, _EQUAL, _AT_LEAST, _ANY_BIT = 48, 40, 21, 53, 69
_AND, _SHIFT_RIGHT, _ADD, _TO_X, _EQUAL_X, _RETURN = 84, 116, 4, 7, 29, 6

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand (linux/filter.h)


def make_program(family: Family) -> Sequence[Instruction]:
    """Return the filter: TCP without IP options or fragments, its flags ACK alone, and no payload."""
    tests: list[tuple[int, int, int]] = []  # load, offset, the value it must be
    if family == "ipv4":
        header = 20
        tests = [(_LOAD_BYTE, 0, 0x45), (_LOAD_BYTE, 9, _TCP)]
        fragment: list[Instruction] = [(_LOAD_HALF, 0, 0, 6), (_ANY_BIT, -1, 0, 0x3FFF)]
        length, beyond = 2, header  # the total length counts the IP header
    else:
        header = 40
        tests = [(_LOAD_BYTE, 6, _TCP)]
        fragment = []
        length, beyond = 4, 0
    tests.append((_LOAD_BYTE, header + 13, _ONLY_ACK))
    program: list[Instruction] = []
    for load, offset, value in tests:
        program += [(load, 0, 0, offset), (_EQUAL, 0, -1, value)]
    program += fragment
    program += [
        (_LOAD_BYTE, 0, 0, header + 12),
        (_AND, 0, 0, 0xF0),
        (_AT_LEAST, 0, -1, 0x50),  # a header of fewer than five words is none
        (_SHIFT_RIGHT, 0, 0, 2),
        (_ADD, 0, 0, beyond),
        (_TO_X, 0, 0, 0),
        (_LOAD_HALF, 0, 0, length),
        (_EQUAL_X, 0, -1, 0),
        (_RETURN, 0, 0, 65535),
        (_RETURN, 0, 0, 0),
    ]
    refused = len(program) - 1
    return [
        (code, _aim(true, refused - at - 1), _aim(false, refused - at - 1), operand)
        for at, (code, true, false, operand) in enumerate(program)
    ]


def _aim(jump: int, refused: int) -> int:
    return refused if jump < 0 else jump


def render_chain() -> str:
    """Return the declaration of the chain in which a packet passes."""
    return ":WAKEGUARD-PASS - [0:0]"


def render_pass(numbers: Sequence[int], family: Family) -> str:
    """Return the rules in front of the queue: one for each device; what else it sends ends the quiet."""
    program = make_program(family)
    bytecode = ",".join([str(len(program)), *(" ".join(map(str, row)) for row in program)])
    upstream = format_match(UNJUDGED, UNJUDGED)
    matches = (
        f"-m connmark --mark {format_match(QUIET, QUIET | CONDEMNED)} "
        f'-m bpf --bytecode "{bytecode}" -m limit --limit {PER_SECOND}/sec --limit-burst {BURST}'
    )
    devices = [format_match(make_upstream_mark(number), UNJUDGED | DEVICE_MASK) for number in numbers]
    lines = [f"-A WAKEGUARD-QUEUE -m mark --mark {mark} {matches} -j WAKEGUARD-PASS" for mark in devices]
    quiet_ends = f"--set-xmark {format_match(0, QUIET)}"
    lines += [
        f"-A WAKEGUARD-QUEUE -m mark --mark {upstream} -j CONNMARK {quiet_ends}",
        f"-A WAKEGUARD-PASS -j MARK --set-xmark {format_match(0, UNJUDGED | CONDEMNED)}",
        "-A WAKEGUARD-PASS -j ACCEPT",
    ]
    return "\n".join(lines)


def render_quiet() -> str:
    """Return the rule behind the queue: an accepted packet without its device's number makes quiet."""
    return (
        f"-A WAKEGUARD-POSTROUTING -p tcp -m mark --mark {format_match(0, MARK_MASK)} "
        f"-m conntrack --ctstate ESTABLISHED -m connmark ! --mark {format_match(0, DEVICE_MASK)} "
        f"-j CONNMARK --set-xmark {format_match(QUIET, QUIET)}"
    )


_COUNTED = re.compile(
    r"^\[(\d+):(\d+)\] -A WAKEGUARD-QUEUE -m mark --mark (0x[0-9a-f]+)/0x[0-9a-f]+ .*-j WAKEGUARD-PASS$",
    re.MULTILINE,
)


def parse_counters(text: str) -> dict[int, tuple[int, int]]:
    """Return device number -> packets and bytes that passed, from what ``iptables-save -c`` printed."""
    return {
        get_device(int(mark, 16)): (int(packets), int(octets))
        for packets, octets, mark in _COUNTED.findall(text)
    }


READ_SECONDS: Final = 5.0


class Tally:
    """What the kernel has passed since the start, over all the rules that there were meanwhile."""

    def __init__(self, devices: Sequence[str]) -> None:
        """``devices`` in the order of their numbers."""
        self._numbers = {name: number for number, name in enumerate(devices, start=1)}
        self._lock = Lock()
        self._next = 0.0
        self._before: dict[int, tuple[int, int]] = {}  # of rules that are gone
        self._now: dict[int, tuple[int, int]] = {}

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

    def _try_to_read(self) -> None:
        with suppress(NetfilterError):
            self.read()

    def _read(self) -> None:
        found: dict[int, tuple[int, int]] = {}
        for family in FAMILIES:
            for number, counted in parse_counters(programs.save(family, counters=True)).items():
                found[number] = _add(found.get(number), counted)
        for number, (packets, _) in self._now.items():
            if packets > found.get(number, (0, 0))[0]:  # the rules were replaced meanwhile
                self._before[number] = _add(self._before.get(number), self._now[number])
        self._now = found

    def get(self, device: str) -> tuple[int, int]:
        """Return the packets and bytes of one device, as of the last reading."""
        number = self._numbers[device]
        return _add(self._before.get(number), self._now.get(number))


def _add(one: tuple[int, int] | None, other: tuple[int, int] | None) -> tuple[int, int]:
    first, second = one or (0, 0), other or (0, 0)
    return first[0] + second[0], first[1] + second[1]
