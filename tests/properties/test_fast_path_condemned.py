"""With condemned connections refused by the kernel or by the gate: the same decisions about everything else.

One engine sees all packets. The other is behind a model of enforce's rules: once a verdict has condemned a
connection, any of the device's segments on it, chosen by chance as a limit would, is refused without it.
Whatever the kernel refused, the first engine must have refused; everything else gets the same answers from
both, where no budget is so narrow that refused packets use it up, and no interaction goes on for their sake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from guard.core.budget import Budget
from guard.core.engine import DeviceSettings, Engine
from guard.core.flow import Flow
from guard.core.hold import Held
from guard.core.packet import TCP, parse_packet, reverse_key
from guard.core.verdict import Decision, Direction, Mode, Reason, Scope, Verdict
from tests.properties.bounded import FEWER
from tests.properties.hostile import DEVICE, SETTLE_S, TIGHT, UP, Step, generate_steps
from tests.wire import ACK, FIN, RST, SYN

CONDEMNED = Reason.CONDEMNED
FOREVER = 1e12
# What refused packets would have changed: how long a connection is remembered, budgets, an interaction's end.
POLICY = dataclasses.replace(
    TIGHT,
    tcp_idle_s=FOREVER,
    closed_idle_s=FOREVER,
    sweep_s=FOREVER,
    budgets=dict.fromkeys(TIGHT.budgets, Budget(per_hour=FOREVER, burst=FOREVER)),
    voice_bytes_per_s=FOREVER,
    voice_linger_s=0.0,
    follow_up_s=0.0,
)


class Kernel:
    """What the rules do: which connections' marks are condemned, and which packets come no further.

    ``apart``: marks of connections of which the engine has a younger life, without a SYN that passed: it was
    refused, or was none of the device's own, or what had waited in the older life was refused after it.
    Nothing comes back on such a connection; whether the judge or the kernel refuses it makes no difference.
    """

    def __init__(self, seed: int, share: float) -> None:
        self.condemned: set[bytes] = set()
        self.apart: set[bytes] = set()
        self._chance = Random(seed)
        self._share = share

    def refuses(self, packet: bytes) -> bool:
        protocol, key, _, _, _, _, flags, fault = parse_packet(packet)
        return (
            protocol == TCP
            and fault is None
            and not flags & (SYN | RST)
            and key in self.condemned
            and self._chance.random() < self._share
        )

    def carry_out(self, packet: bytes, direction: Direction, answer: Decision, *, late: bool = False) -> None:
        """Do what the rules behind the queue do; ``late``: a younger life began while the packet waited."""
        protocol, key, _, _, _, _, flags, fault = parse_packet(packet)
        if direction is not UP:
            key = reverse_key(key)
        if answer.verdict is Verdict.REFUSE and answer.scope is Scope.FLOW:
            self.condemned.add(key)
        if protocol != TCP or fault is not None:
            return
        if answer.verdict is Verdict.ACCEPT and flags & (FIN | SYN | RST | ACK) == SYN:
            self.condemned.discard(key)
            self.apart.discard(key)
        elif key in self.condemned and (late or flags & SYN):
            self.apart.add(key)


class Behind:
    """An engine in enforce behind the kernel (behind none that refuses anything), and its answers by step."""

    def __init__(self, kernel: Kernel | None, *, sensor: bool, balanced: bool) -> None:
        settings = DeviceSettings(sensor=sensor, balanced=balanced)
        self.engine = Engine(POLICY, {DEVICE: settings}, mode=Mode.ENFORCE)
        self.kernel = kernel
        self.answers: dict[int, list[Decision]] = {}
        self.refused: list[int] = []
        self._packets: dict[int, tuple[int, bytes, Flow | None]] = {}  # packet_id -> step, packet, its flow

    def get_answers(self) -> dict[int, list[Decision | Reason]]:
        """Return all answers; of a condemned connection's packets each engine knows its own part."""
        return {
            number: [CONDEMNED if answer.reason is CONDEMNED else answer for answer in answers]
            for number, answers in self.answers.items()
        }

    def play(self, steps: Sequence[Step]) -> int:
        """Return how far it came: to the end, or to where the kernel refuses a connection of ``apart``."""
        for number, step in enumerate(steps):
            now, what = step[0], step[1]
            self._advance(now)
            if isinstance(what, Mode):
                continue
            if not isinstance(what, Direction):
                self._release(self.engine.receive_event(what, device=DEVICE, now=now))
                continue
            packet: bytes = step[2]  # type: ignore[misc]  # a packet's step
            if what is UP and self.kernel is not None and self.kernel.refuses(packet):
                if parse_packet(packet)[1] in self.kernel.apart:
                    return number
                self.refused.append(number)
            else:
                self._receive(number, packet, what, now)
        self._advance(steps[-1][0] + SETTLE_S)
        return len(steps)

    def _receive(self, number: int, packet: bytes, direction: Direction, now: float) -> None:
        answer = self.engine.receive_packet(packet, device=DEVICE, direction=direction, now=now)
        facts = self.engine.facts
        self._packets[facts.packet_id] = number, packet, facts.flow
        self.answers.setdefault(number, []).append(answer)
        if self.kernel is not None:
            self.kernel.carry_out(packet, direction, answer)

    def _advance(self, now: float) -> None:
        if self.engine.timer <= now:
            self._release(self.engine.handle_timer(now=now))

    def _release(self, released: list[Held]) -> None:
        flows = self.engine.get_device(DEVICE).flows
        for held in released:
            packet_id, answer = held.packet_id, held.answer
            number, packet, flow = self._packets[packet_id]
            self.answers[number].append(answer)
            if self.kernel is not None:
                late = flow is not None and flow not in set(flows)
                self.kernel.carry_out(packet, UP, answer, late=late)


def compare(seed: int, *, share: float, sensor: bool, balanced: bool = False) -> int:
    """Hold both ways against each other; return how many packets the kernel refused."""
    steps = list(generate_steps(seed, 300))
    while True:
        fast = Behind(Kernel(seed, share), sensor=sensor, balanced=balanced)
        end = fast.play(steps)
        if end == len(steps):
            break
        steps = steps[:end]
    plain = Behind(None, sensor=sensor, balanced=balanced)
    plain.play(steps)
    expected, answers = plain.get_answers(), fast.get_answers()
    for number in fast.refused:
        assert expected.pop(number) == [CONDEMNED]
    assert expected == answers
    return len(fast.refused)


@FEWER
@given(st.integers(0, 1 << 32), st.sampled_from([0.5, 1.0]), st.booleans(), st.booleans())
def test_hostile_connections(seed: int, share: float, sensor: bool, balanced: bool) -> None:
    compare(seed, share=share, sensor=sensor, balanced=balanced)


def test_the_scripts_let_the_kernel_refuse_many_packets() -> None:
    refused = [compare(seed, share=1.0, sensor=False) for seed in range(10)]
    assert sum(refused) > 30, refused
