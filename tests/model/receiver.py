"""An independent model of a receiving TCP: which bytes reach the application, as Linux 6 does it.

Knows: RFC 9293's segment arrival for the passive side, and where Linux chooses: of bytes beyond a gap, a
segment that covers an older one replaces it, else the one with the lower sequence number wins; a SYN or an
inexact RST inside a connection is only challenged (RFC 5961); urgent data leaves the stream; data after a
FIN is ignored. It shares no code with ``guard.core``, and ``tests/netns/test_receiver.py`` compares it with
the kernel's own. Refuses to know: congestion, timers, options (no timestamps are agreed on).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

MODULUS = 1 << 32
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
WINDOW = 65535  # what may be beyond the next byte; the kernel offers as much and more


class State(Enum):
    """The receiver's side of a connection."""

    LISTEN = "LISTEN"
    SYN_RECEIVED = "SYN-RECEIVED"
    ESTABLISHED = "ESTABLISHED"
    CLOSE_WAIT = "CLOSE-WAIT"
    CLOSED = "CLOSED"


@dataclass(frozen=True, slots=True)
class Segment:
    """What a TCP header says, and the payload; ``valid`` is whether the checksum is right."""

    seq: int
    flags: int
    payload: bytes = b""
    ack: int = 0
    urgent: int = 0
    valid: bool = True


@dataclass(frozen=True, slots=True)
class Reply:
    """What the receiver says back."""

    flags: int
    seq: int
    ack: int


@dataclass(slots=True)
class Life:
    """One connection: from the sender's initial sequence number to its end."""

    isn: int
    delivered: bytearray = field(default_factory=bytearray)


class Receiver:
    """One listening TCP port, seen by one sender's port. Its application reads at once."""

    def __init__(self, *, isn: int = 900_000, window: int = WINDOW) -> None:
        self.state = State.LISTEN
        self.lives: list[Life] = []
        self.window = window
        self.snd_nxt = isn  # what it sends next
        self.rcv_nxt = 0  # what it expects next
        self._waiting: list[tuple[int, bytes, bool]] = []  # beyond a gap: seq, payload, FIN behind it
        self._urgent: int | None = None  # sequence number of the urgent byte

    @property
    def delivered(self) -> bytes:
        """Everything that the application has read, of all connections."""
        return b"".join(bytes(life.delivered) for life in self.lives)

    def send(self, size: int) -> int:
        """Let the application send ``size`` bytes; return their sequence number."""
        seq = self.snd_nxt
        self.snd_nxt = (seq + size) % MODULUS
        return seq

    def receive(self, segment: Segment) -> list[Reply]:
        """Take a segment; return the answers."""
        if not segment.valid:
            return []
        if self.state in (State.LISTEN, State.CLOSED):
            return self._listen(segment)
        if self.state is State.SYN_RECEIVED:
            return self._receive_syn_received(segment)
        return self._receive_connected(segment)

    # -- before the connection ---------------------------------------------------------------------

    def _listen(self, segment: Segment) -> list[Reply]:
        if segment.flags & RST:
            return []
        if segment.flags & ACK or not segment.flags & SYN:
            return [Reply(RST, segment.ack, 0)] if segment.flags & ACK else []
        self.state = State.SYN_RECEIVED
        self.lives.append(Life(segment.seq))
        self.rcv_nxt = (segment.seq + 1) % MODULUS  # data in a SYN is not taken: no fast open
        self._waiting = []
        self._urgent = None
        reply = Reply(SYN | ACK, self.snd_nxt, self.rcv_nxt)
        self.snd_nxt = (self.snd_nxt + 1) % MODULUS
        return [reply]

    def _receive_syn_received(self, segment: Segment) -> list[Reply]:
        flags = segment.flags
        if flags & SYN and not flags & (ACK | RST) and segment.seq == self.lives[-1].isn:
            return [Reply(SYN | ACK, (self.snd_nxt - 1) % MODULUS, self.rcv_nxt)]
        if flags & ACK and not flags & RST and segment.ack != self.snd_nxt:
            return [Reply(RST, segment.ack, 0)]
        if not self._in_window(segment):
            return [] if flags & RST else [self._acknowledge()]
        if flags & (RST | SYN):
            self.state = State.CLOSED
            return []
        if not flags & ACK:
            return []
        self.state = State.ESTABLISHED
        return self._receive_connected(segment)

    # -- in the connection -------------------------------------------------------------------------

    def _receive_connected(self, segment: Segment) -> list[Reply]:
        flags = segment.flags
        if not self._in_window(segment):
            return [] if flags & RST else [self._acknowledge()]
        if flags & RST:
            if segment.seq == self.rcv_nxt:
                self.state = State.CLOSED
                return []
            return [self._acknowledge()]
        if flags & SYN:
            return [self._acknowledge()]
        if not flags & ACK:
            return []
        if _distance(segment.ack, self.snd_nxt) > 0:  # of something never sent
            return [self._acknowledge()]
        if flags & URG:
            self._take_urgent(segment)
        if self.state is State.CLOSE_WAIT:
            return []
        if segment.payload or flags & FIN:
            self._queue(segment.seq, segment.payload, fin=bool(flags & FIN))
            return [self._acknowledge()]
        return []

    def _in_window(self, segment: Segment) -> bool:
        """Linux's tcp_sequence: it ends at or behind the next byte, and begins within the window."""
        flags = segment.flags
        size = len(segment.payload) + bool(flags & FIN) + bool(flags & SYN)
        begins = _distance(segment.seq, self.rcv_nxt)
        return begins + size >= 0 and begins <= self.window

    def _take_urgent(self, segment: Segment) -> None:
        at = (segment.seq + max(segment.urgent, 1) - 1) % MODULUS
        if _distance(at, self.rcv_nxt) < 0:
            return
        if self._urgent is None or _distance(at, self._urgent) > 0:
            self._urgent = at

    def _queue(self, seq: int, payload: bytes, *, fin: bool) -> None:
        begins = _distance(seq, self.rcv_nxt)
        if begins > 0:
            if begins < self.window:
                self._put_aside(seq, payload, fin=fin)
            return
        if begins + len(payload) + fin <= 0:
            return
        self._deliver(payload[-begins:], fin=fin)
        while self._waiting and _distance(self._waiting[0][0], self.rcv_nxt) <= 0:
            its_seq, its_payload, its_fin = self._waiting.pop(0)
            seen = _distance(self.rcv_nxt, its_seq)
            if seen < len(its_payload) + its_fin:
                self._deliver(its_payload[seen:], fin=its_fin)

    def _deliver(self, payload: bytes, *, fin: bool) -> None:
        if self.state is not State.ESTABLISHED:
            return
        urgent = None if self._urgent is None else _distance(self._urgent, self.rcv_nxt)
        if urgent is not None and 0 <= urgent < len(payload):
            self.lives[-1].delivered += payload[:urgent] + payload[urgent + 1 :]
        else:
            self.lives[-1].delivered += payload
        self.rcv_nxt = (self.rcv_nxt + len(payload) + fin) % MODULUS
        if fin:
            self.state = State.CLOSE_WAIT
            self._waiting = []

    def _put_aside(self, seq: int, payload: bytes, *, fin: bool) -> None:
        """Linux's tcp_data_queue_ofo."""
        end = len(payload) + fin  # in sequence numbers, from seq on
        kept: list[tuple[int, bytes, bool]] = []
        for its in self._waiting:
            begins = _distance(its[0], seq)
            ends = begins + len(its[1]) + its[2]
            if begins <= 0 and ends >= end:
                return  # all of it waits already
            if not (begins >= 0 and ends <= end):
                kept.append(its)  # the new one covers what is left out here
        kept.append((seq, payload, fin))
        self._waiting = sorted(kept, key=lambda its: _distance(its[0], self.rcv_nxt))

    def _acknowledge(self) -> Reply:
        return Reply(ACK, self.snd_nxt, self.rcv_nxt)


def _distance(later: int, earlier: int) -> int:
    return (later - earlier + MODULUS // 2) % MODULUS - MODULUS // 2
