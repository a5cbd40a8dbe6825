"""A household of chance: an impatient and hostile sender, the engine, and a model of what the cloud gets.

Each play is made from a number and always the same. The sender retransmits, cuts anew, reorders, repeats
whatever it ever sent, lies about bytes, numbers and flags, and reconnects; the room mutes, unmutes and says
the wake word; the network behind the gate loses and delays. What the engine accepts goes to the receiver.
The play itself knows which bytes could tell something (``VOICE``), finds out from the delivered stream which
of them are application data, knows when they are explained, and notes all that arrive otherwise.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from guard.core.engine import Engine
from guard.core.event import MuteEvent, MuteState, WakeEvent
from guard.core.hold import Held
from guard.core.verdict import Decision, Direction, Reason, Scope, Verdict
from tests import wire
from tests.model.receiver import ACK, FIN, MODULUS, PSH, RST, SYN, URG, Receiver, Reply, Segment, State

VOICE, BEAT, HELLO = 0xEE, 0x11, 0x22
DEVICE = "kitchen"
SERVER_FLIGHT = wire.server_hello() + wire.SERVER_FLIGHT_1_2 + wire.CCS + wire.FINISHED_GCM
CLIENT_HELLO = wire.client_hello()
CLIENT_FLIGHT = (
    wire.record(wire.HANDSHAKE, bytes([HELLO]) * 70)
    + wire.CCS
    + wire.record(wire.HANDSHAKE, bytes([HELLO]) * 40)
)
MAX_PAYLOAD = 1400
HEARTBEAT_LENGTHS = (28, 33, 41)


class Sent(NamedTuple):
    """A packet of the device: the connection's port and the segment."""

    port: int
    segment: Segment


@dataclass
class Line:
    """The sender's side of one connection."""

    port: int
    isn: int
    stream: bytes
    acknowledged: int = 0  # offsets in the stream
    sent: int = 0
    peer_seq: int = 0


@dataclass
class Outcome:
    """What a play came to."""

    delivered: int = 0  # bytes of application data
    refused: int = 0
    reconnected: int = 0
    held: int = 0
    problems: list[str] = field(default_factory=list)


class Play:
    """One random play; ``run`` once."""

    def __init__(self, engine: Engine, seed: int, *, listen_s: float, strict: bool) -> None:
        self.engine = engine
        self.chance = random.Random(seed)
        self.listen_s = listen_s
        self.strict = strict
        self.outcome = Outcome()
        self.now = 1000.0
        self.muted = False
        self.woken_until = -1.0
        self.receivers: dict[int, Receiver] = {}
        self.lines: list[Line] = []
        self.flying: list[Sent] = []
        self.history: list[Sent] = []
        self.held: dict[int, Sent] = {}
        # sequence numbers of VOICE: of a port, accepted at all and in an interaction; of a life, refused
        self.accepted: defaultdict[int, set[int]] = defaultdict(set)
        self.explained: defaultdict[int, set[int]] = defaultdict(set)
        self.refused: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        self._seen: dict[tuple[int, int], int] = {}  # bytes of a life that were looked at
        self.answered: set[tuple[int, int]] = set()  # lives whose ClientHello the server has answered

    def run(self, steps: int) -> Outcome:
        """Play and return what came of it."""
        self._reconnect()
        for _ in range(steps):
            self._step()
        for _ in range(3):
            self._pass(1.0)
            self._land(everything=True)
        assert self.engine.engine_errors == 0
        return self.outcome

    # -- what happens ------------------------------------------------------------------------------

    def _step(self) -> None:
        chance = self.chance
        match chance.randrange(24):
            case 0:
                self._mute(MuteState.MUTED)
            case 1 | 2:
                self._mute(MuteState.UNMUTED)
            case 3 | 4:
                self._wake()
            case 5 | 6:
                self._pass(chance.choice([0.05, 0.3, 0.9, 3.0, 9.0, 31.0]))
            case 7:
                self._reconnect()
            case 8:
                self._land(everything=chance.random() < 0.3)
            case 9 | 10:
                self._repeat()
            case 11 | 12:
                self._retransmit()
            case 13:
                self._skip_ahead()
            case 14:
                self._lie()
            case 15:
                self._signal()
            case _:
                for _ in range(chance.randrange(1, 4)):
                    self._send_next()

    def _mute(self, state: MuteState) -> None:
        if state is MuteState.MUTED:
            self._land(everything=True)  # what had left the gate before is not the gate's any more
        self.muted = state is MuteState.MUTED
        if self.muted:
            self.woken_until = -1.0
        self._tell(MuteEvent(self.now, state))

    def _wake(self) -> None:
        if not self.muted:
            self.woken_until = self.now + self.listen_s
        self._tell(WakeEvent(self.now, "alexa"))

    def _tell(self, event: MuteEvent | WakeEvent) -> None:
        self._release(self.engine.receive_event(event, device=DEVICE, now=self.now))

    def _pass(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.engine.get_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self._release(self.engine.handle_timer(now=self.now))
        self.now = until

    def _reconnect(self) -> None:
        chance = self.chance
        self.outcome.reconnected += 1
        ports = [line.port for line in self.lines]
        port = chance.choice(ports) if ports and chance.random() < 0.4 else 40_000 + len(self.lines)
        isn = chance.choice([chance.randrange(MODULUS), MODULUS - 300])
        old = next((line for line in reversed(self.lines) if line.port == port), None)
        if old is not None and chance.random() < 0.5:  # into the middle of what the server still reads
            isn = (old.isn + chance.randrange(-5, len(old.stream))) % MODULUS
        line = Line(port, isn, self._write_stream())
        self.lines.append(line)
        self._emit(line, Segment(isn, SYN))
        receiver = self.receivers[port]
        if receiver.state is State.SYN_RECEIVED and chance.random() < 0.9:
            line.peer_seq = receiver.snd_nxt
            self._emit(line, Segment((isn + 1) % MODULUS, ACK, ack=line.peer_seq))

    def _write_stream(self) -> bytes:
        chance = self.chance
        stream = CLIENT_HELLO + CLIENT_FLIGHT
        for _ in range(chance.randrange(2, 8)):
            if chance.random() < 0.3:
                stream += wire.record(wire.APPLICATION_DATA, bytes([BEAT]) * 41)
            else:
                size = chance.choice([28, 41, 113, 353, 353, 353, 1200])
                stream += wire.record(wire.APPLICATION_DATA, bytes([VOICE]) * size)
        return stream

    # -- what the sender does ----------------------------------------------------------------------

    @property
    def _line(self) -> Line:
        return self.lines[-1] if self.chance.random() < 0.85 else self.chance.choice(self.lines)

    def _size(self) -> int:
        return self.chance.choice([1, 3, 5, 6, 60, 400, MAX_PAYLOAD, MAX_PAYLOAD])

    def _send_next(self) -> None:
        line = self._line
        begin = line.sent
        end = min(begin + self._size(), len(line.stream))
        line.sent = end
        self._send_range(line, begin, end)

    def _retransmit(self) -> None:
        line = self._line
        begin = self.chance.choice([line.acknowledged, self.chance.randrange(0, line.sent + 1)])
        self._send_range(line, begin, min(begin + self._size(), len(line.stream)))

    def _skip_ahead(self) -> None:
        line = self._line
        begin = min(line.sent + self._size(), len(line.stream))
        self._send_range(line, begin, min(begin + self._size(), len(line.stream)))

    def _lie(self) -> None:
        line = self._line
        begin = self.chance.randrange(-50, len(line.stream))
        payload = bytes([VOICE]) * self._size()
        if self.chance.random() < 0.5:
            payload = wire.record(
                self.chance.choice([23, 23, 21]), payload[: self.chance.choice([28, 41, 200])]
            )
        flags = self.chance.choice([ACK | PSH, ACK | PSH, ACK | FIN, PSH, ACK | URG, SYN, RST | ACK])
        self._emit(line, self._make(line, begin, payload, flags))

    def _signal(self) -> None:
        line = self._line
        begin = self.chance.choice(
            [line.sent, line.acknowledged, self.chance.randrange(-50, len(line.stream))]
        )
        flags = self.chance.choice([RST, RST | ACK, FIN | ACK, SYN, SYN | ACK, ACK, ACK])
        self._emit(line, self._make(line, begin, b"", flags))

    def _repeat(self) -> None:
        self._send(self.chance.choice(self.history))

    def _send_range(self, line: Line, begin: int, end: int) -> None:
        if begin < end:
            self._emit(line, self._make(line, begin, line.stream[begin:end], ACK | PSH))

    @staticmethod
    def _make(line: Line, begin: int, payload: bytes, flags: int) -> Segment:
        return Segment((line.isn + 1 + begin) % MODULUS, flags, payload, ack=line.peer_seq)

    def _emit(self, line: Line, segment: Segment) -> None:
        sent = Sent(line.port, segment)
        self.history.append(sent)
        self._send(sent)

    # -- the gate ----------------------------------------------------------------------------------

    def _send(self, sent: Sent) -> None:
        self.receivers.setdefault(sent.port, Receiver(isn=self.chance.randrange(MODULUS)))
        self._pass(self.chance.choice([0.0005, 0.002, 0.02]))
        segment = sent.segment
        packet = wire.ipv4(
            wire.tcp(
                segment.payload, source_port=sent.port, seq=segment.seq, ack=segment.ack, flags=segment.flags
            )
        )
        decision = self._receive(packet, Direction.UPSTREAM)
        if decision.verdict is Verdict.HOLD:
            self.outcome.held += 1
            self.held[self.engine.facts.packet_id] = sent
        else:
            self._carry_out(sent, decision)

    def _receive(self, packet: bytes, direction: Direction) -> Decision:
        return self.engine.receive_packet(packet, device=DEVICE, direction=direction, now=self.now)

    def _release(self, released: list[Held]) -> None:
        for held in released:
            packet_id, decision = held.packet_id, held.answer
            # What waited in a life that a SYN has ended is refused with it, and may be sent in the next one.
            self._carry_out(self.held.pop(packet_id), decision, ended=decision.reason is Reason.CONDEMNED)

    def _carry_out(self, sent: Sent, decision: Decision, *, ended: bool = False) -> None:
        voice = self._find_voice(sent)
        if decision.verdict is Verdict.REFUSE:
            self.outcome.refused += bool(voice)
            if decision.scope is Scope.FLOW and not ended:
                self._remember_refused(sent, voice)
                if self.chance.random() < 0.5:
                    self._reset_server(sent.port)
            return
        self.accepted[sent.port].update(voice)
        if not self.muted and self.now < self.woken_until:
            self.explained[sent.port].update(voice)
        fate = self.chance.random()
        if fate < 0.75:
            self._deliver(sent)
        elif fate < 0.9:
            self.flying.append(sent)

    @staticmethod
    def _find_voice(sent: Sent) -> list[int]:
        """Return the sequence numbers of what could tell something."""
        segment = sent.segment
        return [(segment.seq + at) % MODULUS for at, byte in enumerate(segment.payload) if byte == VOICE]

    def _get_life(self, port: int) -> tuple[int, int] | None:
        lives = self.receivers[port].lives
        return (port, len(lives)) if lives else None

    def _remember_refused(self, sent: Sent, voice: list[int]) -> None:
        life = self._get_life(sent.port)
        if life is not None:
            expected = self.receivers[sent.port].rcv_nxt
            new = [seq for seq in voice if (seq - expected) % MODULUS < MODULUS // 2]
            self.refused[life].update(seq for seq in new if seq not in self.accepted[sent.port])

    def _reset_server(self, port: int) -> None:
        """Let the rules' reset reach the server: exact, as the kernel makes it from the server's packet."""
        receiver = self.receivers[port]
        receiver.receive(Segment(receiver.rcv_nxt, RST))

    # -- the other side ----------------------------------------------------------------------------

    def _land(self, *, everything: bool) -> None:
        self.chance.shuffle(self.flying)
        for _ in range(len(self.flying) if everything else min(1, len(self.flying))):
            self._deliver(self.flying.pop())

    def _deliver(self, sent: Sent) -> None:
        receiver = self.receivers[sent.port]
        replies = receiver.receive(sent.segment)
        life = self._get_life(sent.port)
        if life is not None:
            self._check(receiver, life)
        for reply in replies:
            self._answer(sent.port, reply)
        if life is not None and life not in self.answered and CLIENT_HELLO in receiver.lives[-1].delivered:
            self.answered.add(life)
            seq = receiver.send(len(SERVER_FLIGHT))
            self._answer(sent.port, Reply(ACK, seq, receiver.rcv_nxt), SERVER_FLIGHT)

    def _check(self, receiver: Receiver, life: tuple[int, int]) -> None:
        """Look at the bytes that have newly arrived."""
        stream = receiver.lives[-1].delivered
        there = self._seen.get(life, 0)
        self._seen[life] = len(stream)
        if VOICE not in stream[there:]:
            return
        secret = find_app_data(bytes(stream))
        start = receiver.lives[-1].isn + 1
        arrived = {
            (start + at) % MODULUS for at in range(there, len(stream)) if at in secret and stream[at] == VOICE
        }
        self.outcome.delivered += len(arrived)
        if arrived and self.muted:
            self.outcome.problems.append(f"arrived while muted: {len(arrived)} bytes on {life}")
        if not self.refused[life].isdisjoint(arrived):
            self.outcome.problems.append(f"refused, and arrived all the same: on {life}")
        if self.strict and not self.explained[life[0]].issuperset(arrived):
            self.outcome.problems.append(f"arrived without a wake word: on {life}")

    def _answer(self, port: int, reply: Reply, payload: bytes = b"") -> None:
        if reply.flags & SYN and (life := self._get_life(port)) is not None:
            self.refused[
                life
            ].clear()  # it agrees to a SYN, and has got nothing yet: a new life by all accounts
        if self.chance.random() < 0.1:
            return
        segment = wire.tcp(
            payload,
            source_port=wire.TLS_PORT,
            target_port=port,
            seq=reply.seq,
            ack=reply.ack,
            flags=reply.flags,
        )
        self._receive(wire.ipv4(segment, source=wire.CLOUD, target=wire.ECHO), Direction.DOWNSTREAM)
        line = next(line for line in reversed(self.lines) if line.port == port)
        if reply.flags & ACK:
            offset = (reply.ack - line.isn - 1) % MODULUS
            if line.acknowledged < offset <= len(line.stream):
                line.acknowledged = offset
            line.peer_seq = (reply.seq + len(payload) + bool(reply.flags & SYN)) % MODULUS


def find_app_data(stream: bytes) -> set[int]:
    """Return the offsets that a TLS server would read as application data; from what is no record on, all.

    A record as long as a heartbeat is one: it has a budget, whatever is in it.
    """
    found: set[int] = set()
    at = 0
    while at + 5 <= len(stream):
        content_type, size = stream[at], int.from_bytes(stream[at + 3 : at + 5], "big")
        if content_type not in range(20, 24) or stream[at + 1] != 3:
            return found.union(range(at, len(stream)))
        if content_type == wire.APPLICATION_DATA and size not in HEARTBEAT_LENGTHS:
            found.update(range(at + 5, at + 5 + size))
        at += 5 + size
    return found
