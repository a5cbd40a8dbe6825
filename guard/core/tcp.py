"""TCP sequence space: which bytes of a stream are new, old, or beyond a gap.

Knows: sequence arithmetic (RFC 9293, 3.4), what was seen and what the peer acknowledged, and the bytes in
between, so that a retransmission can be compared with them. Refuses to know: records, classes, verdicts.
Each chunk of bytes carries an opaque ``kinds`` number for whoever asks what those bytes were.
"""

from __future__ import annotations

from collections import deque

MASK = 0xFFFFFFFF
HALF = 0x80000000
KEPT_CHUNKS = 4  # acknowledged chunks kept: an acknowledgement may be lost behind us, then they come again


def distance(later: int, earlier: int) -> int:
    """Return ``later - earlier`` in sequence space, -2**31 .. 2**31 - 1."""
    return ((later - earlier + HALF) & MASK) - HALF


class Chunk:
    """Bytes that were seen: ``packet[start:start + length]`` at ``seq``, and what they were."""

    __slots__ = ("kinds", "length", "packet", "seq", "start")

    def __init__(self, seq: int, packet: bytes, start: int, length: int, kinds: int) -> None:
        self.seq = seq
        self.packet = packet
        self.start = start
        self.length = length
        self.kinds = kinds


class Stream:
    """One direction of a connection. ``next_seq`` is the first byte that has not been seen."""

    __slots__ = ("chunks", "gap_bytes", "next_seq", "pending", "unacked_bytes", "unacked_seq")

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.unacked_seq = next_seq
        self.chunks: deque[Chunk] = deque()  # seen, in order; the acknowledged ones are dropped
        self.unacked_bytes = 0  # kept in ``chunks``
        self.pending: list[Chunk] = []  # beyond a gap, sorted by seq, kinds 0
        self.gap_bytes = 0  # kept in ``pending``

    def append(self, packet: bytes, start: int, length: int, kinds: int) -> None:
        """Take the bytes at ``next_seq``."""
        self.chunks.append(Chunk(self.next_seq, packet, start, length, kinds))
        self.unacked_bytes += length
        self.next_seq = (self.next_seq + length) & MASK

    def resolve(self, unresolved: int, kinds: int) -> None:
        """Replace the bit ``unresolved`` in the last chunks: what they began is now known."""
        for chunk in reversed(self.chunks):
            if not chunk.kinds & unresolved:
                return
            chunk.kinds = chunk.kinds & ~unresolved | kinds

    def put_aside(self, seq: int, packet: bytes, start: int, length: int, limit: int) -> None:
        """Keep bytes beyond the gap, within ``limit`` bytes in all; what does not fit is forgotten."""
        if self.gap_bytes + length > limit:
            return
        at = len(self.pending)
        while at and distance(self.pending[at - 1].seq, seq) > 0:
            at -= 1
        self.pending.insert(at, Chunk(seq, packet, start, length, 0))
        self.gap_bytes += length

    def take_pending(self) -> Chunk | None:
        """Return bytes put aside that now continue the stream, trimmed to what is new; None when there are none."""
        while self.pending:
            chunk = self.pending[0]
            seen = distance(self.next_seq, chunk.seq)
            if seen < 0:
                return None
            del self.pending[0]
            self.gap_bytes -= chunk.length
            if seen < chunk.length:
                return Chunk(self.next_seq, chunk.packet, chunk.start + seen, chunk.length - seen, 0)
        return None

    def acknowledge(self, ack: int) -> bool:
        """Take the peer's acknowledgement number; say whether it covers bytes that were never seen.

        The stream then goes on behind the gap.
        """
        if distance(ack, self.unacked_seq) <= 0:
            return False
        self.unacked_seq = ack
        chunks = self.chunks
        while len(chunks) > KEPT_CHUNKS and distance(ack, chunks[0].seq + chunks[0].length) >= 0:
            self.unacked_bytes -= chunks.popleft().length
        if distance(ack, self.next_seq) <= 0:
            return False
        self.next_seq = ack
        chunks.clear()
        self.unacked_bytes = 0
        return True

    def forget_acknowledged(self) -> int:
        """Drop the acknowledged chunks that are still kept; return how many bytes that were."""
        before = self.unacked_bytes
        while self.chunks and distance(self.unacked_seq, self.chunks[0].seq + self.chunks[0].length) >= 0:
            self.unacked_bytes -= self.chunks.popleft().length
        return before - self.unacked_bytes

    def forget_all(self) -> None:
        """Drop every chunk: they take too much memory."""
        self.chunks.clear()
        self.unacked_bytes = 0

    def compare(self, seq: int, packet: bytes, start: int, length: int) -> tuple[bool, int, int]:
        """Compare bytes at ``seq``, all of them before ``next_seq``, with what was seen there.

        Return (no byte differs, union of the kinds of those bytes, number of bytes that are not kept any more).
        """
        same = True
        kinds = 0
        known = 0
        for chunk in self.chunks:
            offset = distance(chunk.seq, seq)  # of the chunk within these bytes
            begin = max(offset, 0)
            end = min(offset + chunk.length, length)
            if begin >= end:
                continue
            theirs = chunk.start + begin - offset
            same &= packet[start + begin : start + end] == chunk.packet[theirs : theirs + end - begin]
            kinds |= chunk.kinds
            known += end - begin
        return same, kinds, length - known

    def has_unacked(self, kinds: int) -> bool:
        """Say whether bytes of one of these kinds were seen and not acknowledged."""
        return any(
            chunk.kinds & kinds and distance(chunk.seq + chunk.length, self.unacked_seq) > 0
            for chunk in self.chunks
        )
