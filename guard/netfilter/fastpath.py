"""The kernel's share: packets of a device that need no judge, passed or refused by rules of their own.

Knows: which packets those are, and the rules that pick them out in front of the queue. Refuses to know: when
a connection is quiet or condemned (``guard.core.flow``), how many packets there were (``counts``).
docs/netfilter.md has the whole argument.

*Acknowledgements*: a TCP segment without payload and with no flag but ACK passes while its connection is
quiet: all that the device sent was judged, accepted and acknowledged. Then it tells the gate nothing, and the
gate would have said ``tcp_control``. The gate's verdicts make a connection quiet; any other packet of the
device on it, before it is judged, ends that.

*Condemned*: a TCP segment without SYN and RST is refused while its connection's mark says ``condemned``,
which a verdict of the gate wrote there, and there are more of them than the judge wants to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from guard.core.budget import Budget
from guard.netfilter.marks import (
    CONDEMNED,
    DEVICE_MASK,
    MARK_MASK,
    QUIET,
    UNJUDGED,
    format_match,
    make_upstream_mark,
)
from guard.netfilter.programs import Family

PER_SECOND: Final = 500
BURST: Final = 5000
"""What the kernel passes of one device in one family; 500 a second acknowledge 10 Mbit/s of music."""

KERNEL_BUDGET: Final = Budget(per_hour=4_000_000, burst=2 * BURST)
"""What the gate's own budget for acknowledgements gives up for the kernel's, both families together. xt_limit
rounds its rate to clock ticks, upwards by 2.4 % at most: so a ninth more than twice PER_SECOND."""

JUDGED_PER_SECOND: Final = 10
JUDGED_BURST: Final = 50
"""What the judge still sees of a device's condemned connections, in one family; the kernel refuses the rest.
0.8 s of voice with its pre-roll burst are about 40 packets: what is in flight when a connection is condemned
is still heard, and ten a second are enough to tell a far end again and to remember the connection by."""

_TCP: Final = 6
_ONLY_ACK: Final = 0x10
_LOAD_BYTE, _LOAD_HALF, _EQUAL, _AT_LEAST, _ANY_BIT = 48, 40, 21, 53, 69
_AND, _SHIFT_RIGHT, _ADD, _TO_X, _EQUAL_X, _RETURN = 84, 116, 4, 7, 29, 6

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand (linux/filter.h)


def make_program(family: Family, *, any_flags: bool = False) -> Sequence[Instruction]:
    """Return the filter: TCP without IP options, fragments and payload; its flags ACK alone, or any."""
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
    if not any_flags:
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


def render_chains(*, acknowledgements: bool, condemned: bool) -> str:
    """Return the declarations of the chains that the rules below lead to."""
    names = ["WAKEGUARD-PASS"] * acknowledgements + ["WAKEGUARD-REFUSE", "WAKEGUARD-REFUSED"] * condemned
    return "\n".join(f":{name} - [0:0]" for name in names)


def render_pass(numbers: Sequence[int], family: Family) -> str:
    """Return the rules in front of the queue: one for each device; what else it sends ends the quiet."""
    upstream = format_match(UNJUDGED, UNJUDGED)
    matches = (
        f"-m connmark --mark {format_match(QUIET, QUIET | CONDEMNED)} "
        f"{_match_program(make_program(family))} -m limit --limit {PER_SECOND}/sec --limit-burst {BURST}"
    )
    lines = [f"-A WAKEGUARD-QUEUE {_match_device(number)} {matches} -j WAKEGUARD-PASS" for number in numbers]
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


def render_refuse(numbers: Sequence[int], family: Family) -> str:
    """Return the rules that refuse what a device sends on condemned connections, as the verdict would.

    On FORWARD alone: nothing is condemned on INPUT. A SYN may begin a new life of the connection, and a RST
    may pass: the judge sees both. One rule of a device counts what has no payload, the other what has.
    """
    bare = _match_program(make_program(family, any_flags=True))
    judged = f"-m limit --limit {JUDGED_PER_SECOND}/sec --limit-burst {JUDGED_BURST}"
    condemned = (
        f"-p tcp -m mark --mark {format_match(UNJUDGED, UNJUDGED)} "
        f"-m connmark --mark {format_match(CONDEMNED, CONDEMNED)} -m tcp --tcp-flags SYN,RST NONE"
    )
    lines = [f"-A WAKEGUARD-FORWARD {condemned} -j WAKEGUARD-REFUSE"]
    for number in numbers:
        rule = f"-A WAKEGUARD-REFUSE {_match_device(number)}"
        lines += [
            f"{rule} {judged} -j RETURN",
            f"{rule} {bare} -j WAKEGUARD-REFUSED",
            f"{rule} -j WAKEGUARD-REFUSED",
        ]
    lines += [
        f"-A WAKEGUARD-REFUSED -j MARK --set-xmark {format_match(CONDEMNED, CONDEMNED)}",
        "-A WAKEGUARD-REFUSED -j ACCEPT",  # as far as this table: the rules behind the queue reset it
    ]
    return "\n".join(lines)


def _match_device(number: int) -> str:
    return f"-m mark --mark {format_match(make_upstream_mark(number), UNJUDGED | DEVICE_MASK)}"


def _match_program(program: Sequence[Instruction]) -> str:
    bytecode = ",".join([str(len(program)), *(" ".join(map(str, row)) for row in program)])
    return f'-m bpf --bytecode "{bytecode}"'
