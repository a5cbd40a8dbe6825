"""Packets, events and moments that nobody would send, and what must hold whatever comes.

``generate_steps`` makes a script from a seed: connections that begin well and then go wrong in every way
that the builders know. ``Watch`` plays it to an engine and checks after each step what may never be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from random import Random

from guard.core import flow as flow_module
from guard.core.engine import DeviceSettings, Engine
from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, VoiceEvent, WakeEvent
from guard.core.flow import Flow
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.tcp import CHUNK_BYTES, MASK
from guard.core.verdict import Decision, Direction, Mode, PacketClass, Reason, Scope, Verdict
from guard.rules import load_policy
from tests import wire
from tests.conversation import PAYLOADS
from tests.wire import ACK, FIN, PSH, RST, SYN, URG

Step = tuple[float, Direction, bytes] | tuple[float, Event] | tuple[float, Mode]
UP, DOWN = Direction.UPSTREAM, Direction.DOWNSTREAM
DEVICE = "kitchen"
LARGEST_PACKET = 1 << 16
SETTLE_S = 60.0

# Small enough that a script reaches every limit.
TIGHT: Policy = dataclasses.replace(
    load_policy(),
    max_flows=6,
    unacked_flow_bytes=20_000,
    kept_device_bytes=60_000,
    pending_flow_bytes=10_000,
    tcp_idle_s=120.0,
    closed_idle_s=10.0,
    hold_flow_packets=6,
    hold_flow_bytes=8_000,
    hold_device_packets=12,
    hold_device_bytes=12_000,
)

_FLAGS = [ACK | PSH] * 12 + [ACK, SYN, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, URG | ACK, SYN | FIN, 0]
_NOISE = [b"", b"\x16", b"\x17\x03\x03", b"GET / HTTP/1.1\r\n", bytes(1400)]
_RECORDS = [
    (23, 41),
    (23, 28),
    (23, 53),
    (23, 353),
    (23, 1400),
    (22, 0),
    (22, 5000),
    (20, 1),
    (21, 2),
    (24, 7),
]


class _Peer:
    """Both ends' sequence numbers of one connection, as its sender believes they are."""

    def __init__(self, chance: Random, number: int) -> None:
        self.port = 40_000 + number
        self.version = 6 if number % 3 == 0 else 4
        self.seqs = [chance.choice([0, 1 << 20, MASK - 2000, chance.getrandbits(32)]) for _ in range(2)]
        self.script = list(_SCRIPTS[number % len(_SCRIPTS)])


_SCRIPTS = [
    [
        (UP, SYN, b""),
        (DOWN, SYN | ACK, b""),
        (UP, ACK, b""),
        (UP, ACK | PSH, PAYLOADS["client_hello"]),
        (DOWN, ACK | PSH, PAYLOADS["server_hello"]),
        (UP, ACK | PSH, PAYLOADS["key_exchange"] + PAYLOADS["ccs"] + PAYLOADS["finished"]),
        (DOWN, ACK | PSH, PAYLOADS["server_finished"]),
        (UP, ACK | PSH, PAYLOADS["ping"]),
        (DOWN, ACK | PSH, PAYLOADS["ping"]),
    ],
    [
        (UP, SYN, b""),
        (DOWN, SYN | ACK, b""),
        (UP, ACK | PSH, PAYLOADS["client_hello_1_3"]),
        (DOWN, ACK | PSH, PAYLOADS["server_hello_1_3"]),
        (UP, ACK | PSH, PAYLOADS["ccs"] + PAYLOADS["finished_1_3"]),
    ],
    [(UP, ACK | PSH, PAYLOADS["ping"]), (UP, ACK | PSH, PAYLOADS["ping"])],
]


def _payload(chance: Random) -> bytes:
    roll = chance.random()
    if roll < 0.2:
        return chance.choice(_NOISE)
    if roll < 0.4:
        return chance.choice(list(PAYLOADS.values()))
    data = b"".join(wire.record(*chance.choice(_RECORDS)) for _ in range(chance.randrange(1, 4)))
    return data[: chance.randrange(1, len(data) + 1)] if chance.random() < 0.3 else data


def _segment(chance: Random, peer: _Peer) -> tuple[Direction, bytes]:
    if peer.script and chance.random() < 0.7:
        direction, flags, payload = peer.script.pop(0)
    else:
        direction, flags, payload = chance.choice([UP, UP, DOWN]), chance.choice(_FLAGS), _payload(chance)
    seq, ack = peer.seqs[direction], peer.seqs[1 - direction]
    roll = chance.random()
    if roll < 0.75:
        peer.seqs[direction] = (seq + len(payload) + bool(flags & (SYN | FIN))) & MASK
    elif roll < 0.97:
        seq += chance.randrange(-3000, 3000)
    else:
        seq, ack = chance.getrandbits(32), chance.getrandbits(32)
    if chance.random() < 0.1:
        ack += chance.randrange(-5000, 5000)
    ports = (peer.port, 443) if direction is UP else (443, peer.port)
    options = bytes(4 * chance.choice([0, 0, 3, 10]))
    segment = wire.tcp(
        payload,
        source_port=ports[0],
        target_port=ports[1],
        seq=seq & MASK,
        ack=ack & MASK,
        flags=flags,
        options=options,
    )
    ends = (wire.ECHO, wire.CLOUD) if peer.version == 4 else (wire.ECHO6, wire.CLOUD6)
    source, target = ends if direction is UP else ends[::-1]
    build = wire.ipv4 if peer.version == 4 else wire.ipv6
    return direction, build(segment, source=source, target=target)


def _other(chance: Random) -> bytes:
    kind = chance.choice([wire.UDP, wire.ICMP, wire.IGMP, wire.ICMPV6, 47])
    body = chance.randbytes(chance.randrange(60))
    if kind == wire.UDP:
        body = wire.udp(body, target_port=chance.choice([53, 123, 443, 5353, 1900, 67]))
    if kind == wire.ICMPV6 or chance.random() < 0.2:
        extensions = [(0, wire.extension())] * chance.randrange(3)
        return wire.ipv6(body, protocol=kind, hop_limit=chance.choice([64, 255]), extensions=extensions)
    return wire.ipv4(body, protocol=kind, fragment=chance.choice([0x4000] * 5 + [0x2000, 3]))


def mutate(chance: Random, packet: bytes) -> bytes:
    """Return the packet with a few bytes changed, or cut off, or with something behind it."""
    roll = chance.random()
    if roll < 0.3:
        return packet[: chance.randrange(len(packet) + 1)]
    if roll < 0.4:
        return packet + chance.randbytes(chance.randrange(40))
    changed = bytearray(packet)
    for _ in range(chance.randrange(1, 5)):
        if changed:
            changed[min(int(chance.expovariate(1 / 40)), len(changed) - 1)] = chance.randrange(256)
    return bytes(changed)


def make_event(chance: Random, now: float) -> Event:
    """Return any event, at about this time."""
    t = now + chance.choice([0.0, -0.3, -20.0, 5.0, 1e300])
    state = chance.choice([MuteState.MUTED, MuteState.UNMUTED, MuteState.UNMUTED, MuteState.UNKNOWN])
    events = (MuteEvent(t, state), AliveEvent(t, state), WakeEvent(t, "alexa"), VoiceEvent(t))
    return chance.choice(events)


def generate_steps(seed: int, count: int) -> Iterator[Step]:
    """Yield a script: packets, events and changes of mode, with times that never go back."""
    chance = Random(seed)
    peers = [_Peer(chance, number) for number in range(10)]
    now = chance.choice([0.0, 1000.0, 1.7e9])
    for _ in range(count):
        now += chance.choice([0.0, 0.0, 0.001, 0.02, 0.2, 1.0]) if chance.random() < 0.98 else 40.0
        roll = chance.random()
        if roll < 0.06:
            yield now, make_event(chance, now)
            continue
        if roll < 0.065:
            yield now, chance.choice([Mode.MONITOR, Mode.ENFORCE])
            continue
        if roll < 0.12:
            direction, packet = chance.choice([UP, DOWN]), _other(chance)
        elif roll < 0.13:
            direction, packet = chance.choice([UP, DOWN]), chance.randbytes(chance.randrange(80))
        else:
            at = chance.randrange(len(peers))
            if chance.random() < 0.01:
                peers[at] = _Peer(chance, at)
            direction, packet = _segment(chance, peers[at])
        yield now, direction, mutate(chance, packet) if chance.random() < 0.08 else packet


class Watch:
    """An engine, and what must hold of it after every step."""

    def __init__(self, policy: Policy = TIGHT, *, sensor: bool = False, mode: Mode = Mode.ENFORCE) -> None:
        self.policy = policy
        self.engine = Engine(policy, {DEVICE: DeviceSettings(sensor=sensor)}, mode=mode)
        self.answers: list[tuple[int, int]] = []  # (packet number, decision index), releases too
        self.seen: dict[Decision, int] = {}
        self._state = self.engine._devices[DEVICE]
        self._mode = mode
        self._cut: set[Flow] = set()  # refused at flow scope in enforce
        self._held: dict[int, tuple[Flow | None, int]] = {}
        self._now = 0.0

    def play(self, steps: Iterable[Step]) -> None:
        """Play a script to its end, and let what waits come to its end."""
        for number, step in enumerate(steps):
            self.take(step)
            if number % 64 == 0:
                self.check_books()
        self._advance(self._now + SETTLE_S)
        assert not self._held
        assert self._state.holds.packets == self._state.holds.bytes == 0
        self.check_books()

    def take(self, step: Step) -> None:
        """Play one step."""
        self._advance(step[0])
        what = step[1]
        if isinstance(what, Mode):
            self.engine.set_mode(what)
            self._mode = what
            self._cut.clear()  # what passed in monitor mode is not enforce's doing
        elif isinstance(what, Direction):
            assert len(step) == 3
            self._receive(step[0], what, step[2])
        else:
            self._release(self.engine.receive_event(what, device=DEVICE, now=step[0]))
        self._check_bounds()

    def _advance(self, now: float) -> None:
        self._now = now
        due = self.engine.get_timer()
        if due is not None and due <= now:
            self._release(self.engine.handle_timer(now=now))
        due = self.engine.get_timer()
        assert due is None or due > now

    def _receive(self, now: float, direction: Direction, packet: bytes) -> None:
        answer = self.engine.receive_packet(packet, device=DEVICE, direction=direction, now=now)
        facts = self.engine.facts
        if direction is DOWN:
            assert answer.reason is Reason.DOWNSTREAM
        elif answer.verdict is Verdict.HOLD:
            self._held[facts.packet_id] = (facts.flow, facts.payload_bytes)
        else:
            self._check(answer, facts.flow, facts.payload_bytes)
        self.answers.append((facts.packet_id, answer.index))
        assert self.engine.get_flow_name()

    def _release(self, released: list[Held]) -> None:
        for held in released:
            packet_id, answer = held.packet_id, held.answer
            flow, size = self._held.pop(packet_id)  # held once, released once
            assert answer.verdict is not Verdict.HOLD
            self._check(answer, flow, size)
            self.answers.append((packet_id, answer.index))

    def _check(self, answer: Decision, flow: Flow | None, size: int) -> None:
        self.seen[answer] = self.seen.get(answer, 0) + 1
        accepted = answer.verdict is Verdict.ACCEPT
        assert (answer.scope is None) is accepted
        if accepted and self._state.context.closed is not None:
            assert answer.packet_class is not PacketClass.APP_DATA
        if flow is None or self._mode is not Mode.ENFORCE:
            return
        if accepted:
            assert flow not in self._cut or not size
        elif answer.scope is Scope.FLOW:
            self._cut.add(flow)

    def _check_bounds(self) -> None:
        state, policy = self._state, self.policy
        assert self.engine.engine_errors == 0
        assert len(state.flows.by_key) <= 2 * policy.max_flows
        assert len(state.flows._lives) <= flow_module.MAX_LIVES
        assert state.flows.ledger.kept_bytes <= policy.kept_device_bytes + LARGEST_PACKET
        assert state.holds.packets <= policy.hold_device_packets
        assert state.holds.bytes <= policy.hold_device_bytes

    def check_books(self) -> None:
        """The ledger says what is really kept, and no condemned flow keeps bytes that nobody would find."""
        kept = 0
        for flow in self._state.flows:
            before = kept
            for stream in (flow.up, flow.down):
                if stream is not None:
                    beyond = sum(len(chunk.packet) + CHUNK_BYTES for chunk in stream.pending)
                    assert stream.gap_bytes == beyond
                    kept += beyond
            seen = sum(len(chunk.packet) + CHUNK_BYTES for chunk in flow.up.chunks)
            assert flow.up.unacked_bytes == seen
            kept += seen
            assert kept == before or not flow.condemned or flow in self._state.flows._condemned
            for side in (flow.conversation.client, flow.conversation.server):
                assert len(side.header) < 5
                assert side.sink is None or len(side.sink) <= 1 << 14
        assert self._state.flows.ledger.kept_bytes == kept
