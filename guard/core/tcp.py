"""TCP sequence space: which bytes of a stream are new, old, or beyond a gap.

Knows: sequence arithmetic (RFC 9293, 3.4), what was seen and what the peer acknowledged, and the bytes in
between, so that a retransmission can be compared with them. Refuses to know: records, classes, verdicts.
Each chunk of bytes carries an opaque ``kinds`` number for whoever asks what those bytes were.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import Final

from mypy_extensions import mypyc_attr

MASK: Final = 0xFFFFFFFF
HALF: Final = 0x80000000
FLOOR_REACH: Final = 1 << 30
CHUNK_BYTES: Final = (
    200  # what a chunk takes beside its packet (measured, 64-bit CPython): counted, or small ones are free
)
KEPT_CHUNKS: Final = (
    4  # acknowledged chunks kept: an acknowledgement may be lost behind us, then they come again
)


def distance(later: int, earlier: int) -> int:
    """Return ``later - earlier`` in sequence space, -2**31 .. 2**31 - 1."""
    return ((later - earlier + HALF) & MASK) - HALF


@mypyc_attr(acyclic=True)
class Chunk:
    """Bytes that were seen: ``packet[start:start + length]`` at ``seq``, and of which ``kinds`` they were."""

    __slots__ = ("kinds", "length", "packet", "seq", "start")

    def __init__(self, seq: int, packet: bytes, start: int, length: int, kinds: int) -> None:
        self.seq = seq
        self.packet = packet
        self.start = start
        self.length = length
        self.kinds = kinds


@mypyc_attr(acyclic=True)
class Ledger:
    """How many bytes a device's streams keep in memory: whole packets, and ``CHUNK_BYTES`` for each."""

    __slots__ = ("kept_bytes",)

    def __init__(self) -> None:
        self.kept_bytes = 0


@mypyc_attr(acyclic=True)
class Reassembly:
    """What came beyond a gap in one direction. ``next_seq`` is the first byte that has not been seen."""

    __slots__ = ("gap_bytes", "ledger", "next_seq", "pending")

    def __init__(self, next_seq: int, ledger: Ledger) -> None:
        self.ledger = ledger
        self.next_seq = next_seq
        # beyond a gap, sorted by seq, kinds 0. Most streams never have one, and an empty list takes 56 bytes
        self.pending: list[Chunk] | tuple[()] = ()
        self.gap_bytes = 0  # kept in ``pending``

    def put_aside(self, seq: int, packet: bytes, start: int, length: int, limit: int) -> bool:
        """Keep bytes beyond the gap, within ``limit`` bytes in all; say whether they are there now."""
        pending, base = self.pending, self.next_seq
        beyond = (seq - base) & MASK
        at = bisect_right(pending, beyond, key=lambda chunk: (chunk.seq - base) & MASK)
        if at and ((pending[at - 1].seq - base) & MASK) + pending[at - 1].length >= beyond + length:
            return True  # sent again before the gap was filled
        kept = len(packet) + CHUNK_BYTES
        if self.gap_bytes + kept > limit:
            return False
        if not pending:
            self.pending = pending = []
        pending.insert(at, Chunk(seq, packet, start, length, 0))
        self.gap_bytes += kept
        self.ledger.kept_bytes += kept
        return True

    def take_pending(self) -> Chunk | None:
        """Return bytes put aside that now continue the stream, trimmed to what is new, or None."""
        while self.pending:
            chunk = self.pending[0]
            seen = distance(self.next_seq, chunk.seq)
            if seen < 0:
                return None
            del self.pending[0]
            kept = len(chunk.packet) + CHUNK_BYTES
            self.gap_bytes -= kept
            self.ledger.kept_bytes -= kept
            if seen < chunk.length:
                return Chunk(self.next_seq, chunk.packet, chunk.start + seen, chunk.length - seen, 0)
        return None

    def forget_pending(self) -> None:
        """Drop what was put aside."""
        self.ledger.kept_bytes -= self.gap_bytes
        self.gap_bytes = 0
        self.pending = ()


@mypyc_attr(acyclic=True)
class Stream(Reassembly):
    """The bytes of one direction, kept until they are acknowledged and can no longer come again."""

    __slots__ = (
        "chunks",
        "finished",
        "floor_seq",
        "unacked_bytes",
        "unacked_seq",
    )

    def __init__(self, next_seq: int, ledger: Ledger) -> None:
        super().__init__(next_seq, ledger)
        self.unacked_seq = next_seq
        # nothing is known of the bytes before it, not even that they were acknowledged
        self.floor_seq = next_seq
        # seen, in order; the acknowledged ones are dropped. A list: an idle connection keeps it, and an empty
        # deque takes 600 bytes
        self.chunks: list[Chunk] = []
        self.unacked_bytes = 0  # kept in ``chunks``
        self.finished = False  # FIN seen in order: it took a sequence number

    def append(self, packet: bytes, start: int, length: int, kinds: int) -> None:
        """Take the bytes at ``next_seq``."""
        seq = self.next_seq
        self.chunks.append(Chunk(seq, packet, start, length, kinds))
        kept = len(packet) + CHUNK_BYTES
        self.unacked_bytes += kept
        self.ledger.kept_bytes += kept
        self.next_seq = (seq + length) & MASK

    def finish(self, seq: int) -> None:
        """Take a FIN at ``seq``; it counts as one byte."""
        if seq == self.next_seq and not self.finished:
            self.finished = True
            self.next_seq = (seq + 1) & MASK

    def resolve(self, unresolved: int, kinds: int) -> None:
        """Replace the bit ``unresolved`` in the last chunks: what they began is now known."""
        chunks = self.chunks
        for at in range(len(chunks) - 1, -1, -1):
            chunk = chunks[at]
            if not chunk.kinds & unresolved:
                return
            chunk.kinds = chunk.kinds & ~unresolved | kinds

    def acknowledge(self, ack: int) -> bool:
        """Take the peer's acknowledgement number; say whether it covers bytes that were never seen."""
        advance = (ack - self.unacked_seq) & MASK
        if not 0 < advance < HALF:
            return False
        self.unacked_seq = ack
        if len(self.chunks) > KEPT_CHUNKS:
            self._drop_acknowledged(len(self.chunks) - KEPT_CHUNKS)
        return 0 < (ack - self.next_seq) & MASK < HALF

    def skip_gap(self) -> bool:
        """Go on behind the gap, if the peer has acknowledged bytes in it; say whether there was one."""
        if distance(self.unacked_seq, self.next_seq) <= 0:
            return False
        self.forget_seen()
        if self.pending and distance(self.unacked_seq, self.pending[0].seq) > 0:
            self.next_seq = self.pending[0].seq
        else:
            self.next_seq = self.unacked_seq
        self.floor_seq = self.next_seq  # of what lies before nobody can say whether it was ever seen
        return True

    def forget_acknowledged(self) -> None:
        """Drop the acknowledged chunks that are still kept."""
        self._drop_acknowledged(len(self.chunks))

    def raise_floor(self) -> None:
        """Keep the floor within reach of sequence arithmetic on a stream of gigabytes."""
        if distance(self.unacked_seq, self.floor_seq) > FLOOR_REACH:
            self.floor_seq = (self.unacked_seq - FLOOR_REACH // 2) & MASK

    def forget_seen(self) -> None:
        """Drop every chunk; from here on nothing is known of those bytes."""
        self.chunks.clear()
        self.ledger.kept_bytes -= self.unacked_bytes
        self.unacked_bytes = 0
        self.floor_seq = self.next_seq

    def forget_all(self) -> None:
        """Drop every chunk and what was put aside."""
        self.forget_seen()
        self.forget_pending()

    def _drop_acknowledged(self, most: int) -> None:
        """Drop the oldest chunks, as far as they are acknowledged and at most so many."""
        chunks, ack = self.chunks, self.unacked_seq
        gone = kept = 0
        while gone < most:
            chunk = chunks[gone]
            if (ack - chunk.seq - chunk.length) & MASK >= HALF:
                break
            kept += len(chunk.packet) + CHUNK_BYTES
            gone += 1
        if gone:
            if gone <= KEPT_CHUNKS:  # nearly always; without the slice that ``del`` makes
                for _ in range(gone):
                    chunks.pop(0)
            else:
                del chunks[:gone]
            self.unacked_bytes -= kept
            self.ledger.kept_bytes -= kept

    def compare(self, seq: int, packet: bytes, start: int, length: int) -> tuple[bool, int, int]:
        """Compare bytes at ``seq``, all of them before ``next_seq``, with what was seen there.

        Return (no byte differs, union of their kinds, number of bytes that are not kept any more).
        """
        same = True
        kinds = 0
        known = 0
        chunks = self.chunks
        at = 0
        if len(chunks) > 2 * KEPT_CHUNKS:
            first = chunks[0].seq
            reach = max(distance(seq, first), 0)
            at = max(bisect_right(chunks, reach, key=lambda chunk: (chunk.seq - first) & MASK) - 1, 0)
        for chunk in islice(chunks, at, None):
            offset = distance(chunk.seq, seq)  # of the chunk within these bytes
            if offset >= length:
                break
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
