"""With the kernel's fast path or without: the same decisions about everything that the gate sees.

One engine sees all packets. The other sees what a kernel with the fast path's rules would queue: the program
that the rules carry is run here, instruction by instruction. Whatever the kernel passed, the first engine
must have accepted as ``tcp_control``; everything else gets the same answers from both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.budget import Budget
from guard.core.engine import DeviceSettings, Engine
from guard.core.hold import Held
from guard.core.packet import TCP, parse_packet
from guard.core.tcp import MASK
from guard.core.verdict import Decision, Direction, Mode, Reason, Verdict
from guard.netfilter.fastpath import Instruction, make_program
from tests import wire
from tests.properties.bounded import BOUNDED, FEWER
from tests.properties.hostile import DEVICE, SETTLE_S, TIGHT, UP, Step, generate_steps

FOREVER = 1e12
# How long a connection is remembered is the one thing that a passed packet would have changed.
POLICY = dataclasses.replace(
    TIGHT,
    tcp_idle_s=FOREVER,
    closed_idle_s=FOREVER,
    sweep_s=FOREVER,
    budgets={**TIGHT.budgets, "ack": Budget(per_hour=FOREVER, burst=FOREVER)},
)
PROGRAMS = {4: make_program("ipv4"), 6: make_program("ipv6")}


def run_program(program: Sequence[Instruction], packet: bytes) -> bool:
    """Run a classic BPF filter as the kernel would; a load beyond the packet ends it."""
    at = accumulator = index = 0
    while True:
        code, true, false, operand = program[at]
        at += 1
        match code:
            case 48 | 40:
                size = 1 if code == 48 else 2
                if operand + size > len(packet):
                    return False
                accumulator = int.from_bytes(packet[operand : operand + size])
            case 84:
                accumulator &= operand
            case 116:
                accumulator >>= operand
            case 4:
                accumulator += operand
            case 7:
                index = accumulator
            case 21 | 29 | 53 | 69:
                other = index if code == 29 else operand
                holds = {21: accumulator == other, 29: accumulator == other, 53: accumulator >= other}
                at += true if holds.get(code, bool(accumulator & other)) else false
            case 6:
                return operand != 0
            case _:
                raise AssertionError(f"instruction {code} is unknown")


class Kernel:
    """What the rules do: which packets reach the gate, which connections are quiet."""

    def __init__(self) -> None:
        self.quiet: set[bytes] = set()
        self.passed = 0

    def passes(self, direction: Direction, packet: bytes) -> bool:
        if direction is not UP:
            return False
        protocol, key, *_ = parse_packet(packet)
        program = PROGRAMS.get(packet[0] >> 4 if packet else 0)
        if protocol == TCP and key in self.quiet and program is not None and run_program(program, packet):
            self.passed += 1
            return True
        self.quiet.discard(key)
        return False


class Behind:
    """An engine behind the kernel (behind none that passes anything), and all its answers by step."""

    def __init__(self, mode: Mode, kernel: Kernel | None, *, sensor: bool) -> None:
        self.engine = Engine(POLICY, {DEVICE: DeviceSettings(sensor=sensor)}, mode=mode)
        self.kernel = kernel
        self.answers: dict[int, list[Decision]] = {}
        self.passed: list[int] = []
        self._mode = mode
        self._steps: dict[int, int] = {}  # packet_id -> step

    def play(self, steps: Sequence[Step]) -> None:
        for number, step in enumerate(steps):
            self.take(number, step)
        self._advance(steps[-1][0] + SETTLE_S)

    def take(self, number: int, step: Step) -> None:
        now, what = step[0], step[1]
        self._advance(now)
        if isinstance(what, Mode):
            self.engine.set_mode(what)
            self._mode = what
        elif not isinstance(what, Direction):
            self._note(self.engine.receive_event(what, device=DEVICE, now=now))
        elif self.kernel is not None and self.kernel.passes(what, step[2]):  # type: ignore[misc]  # a packet's
            self.passed.append(number)
        else:
            self._receive(number, step[2], what, now)  # type: ignore[misc]  # likewise

    def _receive(self, number: int, packet: bytes, direction: Direction, now: float) -> None:
        answer = self.engine.receive_packet(packet, device=DEVICE, direction=direction, now=now)
        self._steps[self.engine.facts.packet_id] = number
        self.answers.setdefault(number, []).append(answer)
        flow = self.engine.facts.flow
        accepted = answer.verdict is Verdict.ACCEPT or (
            self._mode is Mode.MONITOR and answer.verdict is not Verdict.HOLD
        )
        if self.kernel is not None and accepted and flow is not None and flow.is_quiet():
            self.kernel.quiet.add(flow.key)

    def _advance(self, now: float) -> None:
        if self.engine.timer <= now:
            self._note(self.engine.handle_timer(now=now))

    def _note(self, released: list[Held]) -> None:
        for held in released:
            packet_id, answer = held.packet_id, held.answer
            self.answers[self._steps[packet_id]].append(answer)


def compare(steps: Sequence[Step], mode: Mode, *, sensor: bool) -> int:
    """Hold both ways against each other; return how many packets the kernel passed."""
    plain, fast = Behind(mode, None, sensor=sensor), Behind(mode, Kernel(), sensor=sensor)
    plain.play(steps)
    fast.play(steps)
    for number in fast.passed:
        (answer,) = plain.answers.pop(number)
        assert (answer.verdict, answer.reason) == (Verdict.ACCEPT, Reason.TCP_CONTROL)
    assert plain.answers == fast.answers
    return len(fast.passed)


def acknowledge_often(steps: Sequence[Step]) -> list[Step]:
    """Return the script with bare acknowledgements of the device and of the cloud strewn in."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if not isinstance(step[1], Direction):
            continue
        packet = step[2]
        protocol, key, _, size, seq, ack, flags, fault = parse_packet(packet)
        if protocol != TCP or fault is not None or not flags & wire.ACK:
            continue
        half = 16 if len(key) > 12 else 4
        here, there = (str(ip_address(key[at : at + half])) for at in (0, half))
        ports = [int.from_bytes(key[at : at + 2]) for at in (2 * half, 2 * half + 2)]
        make = wire.ipv6 if half == 16 else wire.ipv4
        end = (seq + size) & MASK
        answer = wire.tcp(source_port=ports[1], target_port=ports[0], seq=ack, ack=end, flags=wire.ACK)
        again = wire.tcp(source_port=ports[0], target_port=ports[1], seq=end, ack=ack, flags=wire.ACK)
        found.append((step[0], Direction(1 - step[1]), make(answer, source=there, target=here)))
        found.append((step[0], step[1], make(again, source=here, target=there)))
    return found


@FEWER
@given(st.integers(0, 1 << 32), st.sampled_from(Mode), st.booleans())
def test_hostile_connections(seed: int, mode: Mode, sensor: bool) -> None:
    compare(acknowledge_often(list(generate_steps(seed, 300))), mode, sensor=sensor)


def test_the_scripts_let_the_kernel_pass_many_packets() -> None:
    passed = [
        compare(acknowledge_often(list(generate_steps(seed, 300))), Mode.ENFORCE, sensor=False)
        for seed in range(10)
    ]
    assert sum(passed) > 100, passed


@BOUNDED
@given(
    st.sampled_from([wire.ipv4, wire.ipv6]),
    st.integers(0, 255),
    st.integers(0, 15),
    st.binary(max_size=12),
    st.sampled_from([b"", bytes(4), bytes(12)]),
)
def test_the_program_passes_bare_acknowledgements_alone(
    make: Callable[..., bytes], flags: int, words: int, payload: bytes, options: bytes
) -> None:
    packet = make(wire.tcp(payload, flags=flags, options=options, data_offset=words))
    passed = run_program(PROGRAMS[packet[0] >> 4], packet)
    protocol, _, _, size, _, _, seen, fault = parse_packet(packet)
    bare = protocol == TCP and fault is None and size == 0 and seen == wire.ACK
    assert passed == bare


@pytest.mark.parametrize(
    "packet",
    [
        wire.ipv4(wire.tcp(flags=wire.ACK), options=bytes(4)),
        wire.ipv4(wire.tcp(flags=wire.ACK), fragment=0x2000),
        wire.ipv4(wire.tcp(flags=wire.ACK), fragment=1),
        wire.ipv4(wire.tcp(flags=wire.ACK), protocol=17),
        wire.ipv4(wire.tcp(flags=wire.ACK), total=41),
        wire.ipv6(wire.tcp(flags=wire.ACK), extensions=[(0, bytes(7))]),
        wire.ipv6(wire.tcp(flags=wire.ACK), protocol=17),
        wire.ipv6(wire.tcp(flags=wire.ACK), length=21),
        wire.ipv4(wire.tcp(flags=wire.ACK))[:33],
    ],
)
def test_the_program_passes_nothing_like_it(packet: bytes) -> None:
    assert not run_program(PROGRAMS[packet[0] >> 4], packet)
