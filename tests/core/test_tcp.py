"""A stream by its sequence numbers: what is new, what is old, what lies beyond a gap."""

from __future__ import annotations

import random
from time import thread_time

import pytest

from guard.core.tcp import HALF, KEPT_CHUNKS, MASK, Ledger, Stream, distance

ROOM = 1 << 18
STARTS = (0, 1000, MASK - 3, MASK, HALF - 2, HALF)


def make(start: int = 1000) -> tuple[Stream, Ledger]:
    ledger = Ledger()
    return Stream(start & MASK, ledger), ledger


def drain(stream: Stream) -> bytes:
    """Take what was put aside, as a flow does; return the bytes."""
    taken = b""
    while (chunk := stream.take_pending()) is not None:
        assert (chunk.seq, chunk.kinds) == (stream.next_seq, 0)
        stream.append(chunk.packet, chunk.start, chunk.length, 1)
        taken += chunk.packet[chunk.start : chunk.start + chunk.length]
    return taken


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("step", [0, 1, 1460, HALF - 1])
def test_distance_is_signed_and_wraps(start: int, step: int) -> None:
    assert distance((start + step) & MASK, start) == step
    assert distance(start, (start + step) & MASK) == -step


def test_half_the_space_away_is_behind() -> None:
    assert distance(HALF, 0) == -HALF


@pytest.mark.parametrize("start", STARTS)
def test_bytes_in_order(start: int) -> None:
    stream, ledger = make(start)
    for number in range(10):
        stream.append(b"xhello", 1, 5, number)
    assert stream.next_seq == (start + 50) & MASK
    assert ledger.kept_bytes > 0
    assert stream.acknowledge((start + 50) & MASK) is False
    stream.forget_all()
    assert ledger.kept_bytes == 0


@pytest.mark.parametrize("start", STARTS)
def test_what_came_out_of_order_is_taken_when_the_gap_is_filled(start: int) -> None:
    stream, ledger = make(start)
    data = bytes(range(40))
    pieces = [(at, data[at : at + 10]) for at in (30, 10, 20)]
    for at, piece in pieces:
        stream.put_aside((start + at) & MASK, piece, 0, 10, ROOM)
    assert drain(stream) == b""
    stream.append(data, 0, 10, 1)
    assert drain(stream) == data[10:]
    assert stream.next_seq == (start + 40) & MASK
    assert not stream.pending
    stream.forget_all()
    assert (ledger.kept_bytes, stream.gap_bytes) == (0, 0)


@pytest.mark.parametrize("start", STARTS)
def test_pieces_that_overlap_are_trimmed_to_what_is_new(start: int) -> None:
    chance = random.Random(start)
    for _ in range(60):
        stream, ledger = make(start)
        data = bytes(range(60))
        for _ in range(12):
            at = chance.randrange(1, 60)
            piece = data[at : at + chance.randrange(1, 20)]
            stream.put_aside((start + at) & MASK, b"?" + piece, 1, len(piece), ROOM)
        whole = sorted({(distance(chunk.seq, start), chunk.length) for chunk in stream.pending})
        stream.append(data, 0, 1, 1)
        end = 1
        for at, length in whole:
            if at > end:
                break
            end = max(end, at + length)
        assert drain(stream) == data[1:end]
        stream.forget_all()
        assert ledger.kept_bytes == 0


@pytest.mark.parametrize("start", STARTS)
def test_a_gap_is_given_up_as_far_as_what_was_put_aside(start: int) -> None:
    stream, _ = make(start)
    stream.put_aside((start + 10) & MASK, b"0123456789", 0, 10, ROOM)
    stream.put_aside((start + 30) & MASK, b"abcdefghij", 0, 10, ROOM)
    assert stream.acknowledge((start + 50) & MASK) is True
    assert stream.skip_gap()
    assert drain(stream) == b"0123456789"
    assert stream.skip_gap()
    assert drain(stream) == b"abcdefghij"
    assert stream.skip_gap()
    assert not stream.skip_gap()
    assert (stream.next_seq, stream.floor_seq) == ((start + 50) & MASK, (start + 50) & MASK)


@pytest.mark.parametrize("start", STARTS)
def test_a_fin_takes_one_number_once(start: int) -> None:
    stream, _ = make(start)
    stream.append(bytes(10), 0, 10, 1)
    stream.finish((start + 9) & MASK)  # not in order: nothing is known
    assert stream.next_seq == (start + 10) & MASK
    for _ in range(3):
        stream.finish((start + 10) & MASK)
        stream.finish((start + 11) & MASK)
    assert stream.next_seq == (start + 11) & MASK
    assert stream.acknowledge((start + 11) & MASK) is False  # so its acknowledgement is no gap


def test_a_small_payload_is_charged_for_the_packet_it_keeps() -> None:
    stream, ledger = make()
    packet = bytes(1500)
    for number in range(1000):
        stream.append(packet, 1499, 1, 1)
        stream.put_aside(1_000_000 + 2 * number, packet, 1499, 1, ROOM)
    assert ledger.kept_bytes >= 1000 * 1500
    assert len(stream.pending) <= ROOM // 1500
    stream.forget_all()
    assert ledger.kept_bytes == 0


def test_the_same_bytes_put_aside_again_take_no_room() -> None:
    stream, _ = make()
    for _ in range(1000):
        assert stream.put_aside(2000, bytes(100), 0, 100, 5000)
    assert len(stream.pending) == 1


def test_hostile_order_costs_no_more_than_a_search() -> None:
    stream, _ = make(0)
    began = thread_time()
    for number in range(20_000):  # each before all the others
        stream.put_aside(1_000_000 - 2 * number, b"x", 0, 1, 1 << 24)
    for number in range(20_000):
        stream.append(b"x", 0, 1, 1)
        stream.compare(max(number - 10_000, 0), b"x", 0, 1)
    assert thread_time() - began < 2.0  # quadratic would be minutes


def test_room_beyond_a_gap_is_bounded() -> None:
    stream, ledger = make()
    kept = [stream.put_aside(2000 + number * 100, bytes(100), 0, 100, 5000) for number in range(1000)]
    assert kept == [True] * kept.count(True) + [False] * kept.count(False)
    assert 0 < stream.gap_bytes <= 5000
    assert ledger.kept_bytes == stream.gap_bytes
    stream.forget_all()
    assert ledger.kept_bytes == 0


@pytest.mark.parametrize("start", STARTS)
def test_an_acknowledgement_beyond_what_was_seen_gives_the_gap_up(start: int) -> None:
    stream, ledger = make(start)
    stream.append(bytes(10), 0, 10, 1)
    assert stream.acknowledge((start + 10) & MASK) is False
    assert stream.acknowledge((start + 11) & MASK) is True
    assert stream.skip_gap() is True
    assert stream.skip_gap() is False
    assert stream.next_seq == (start + 11) & MASK
    stream.forget_all()
    assert ledger.kept_bytes == 0


@pytest.mark.parametrize("start", STARTS)
def test_an_old_acknowledgement_changes_nothing(start: int) -> None:
    stream, _ = make(start)
    stream.append(bytes(10), 0, 10, 1)
    stream.acknowledge((start + 5) & MASK)
    for back in (0, 1, 5, 1 << 20):
        assert stream.acknowledge((start + 5 - back) & MASK) is False
        assert (stream.next_seq, stream.unacked_seq) == ((start + 10) & MASK, (start + 5) & MASK)


def test_only_a_few_acknowledged_chunks_are_kept() -> None:
    stream, ledger = make(0)
    for _ in range(100):
        stream.append(bytes(10), 0, 10, 1)
    stream.acknowledge(1000)
    assert len(stream.chunks) == KEPT_CHUNKS
    assert not stream.has_unacked(1)
    stream.forget_acknowledged()
    assert (len(stream.chunks), ledger.kept_bytes) == (0, 0)


@pytest.mark.parametrize("start", STARTS)
def test_a_retransmission_cut_anew_is_the_same(start: int) -> None:
    chance = random.Random(start)
    data = chance.randbytes(300)
    stream, _ = make(start)
    at = 0
    kinds = []
    while at < 300:
        length = min(chance.randrange(1, 60), 300 - at)
        kind = 1 << chance.randrange(3)
        kinds += [kind] * length
        stream.append(bytes(3) + data[at : at + length], 3, length, kind)
        at += length
    for _ in range(300):
        begin = chance.randrange(300)
        length = chance.randrange(1, 301 - begin)
        expected = 0
        for kind in kinds[begin : begin + length]:
            expected |= kind
        again = b"!" + data[begin : begin + length]
        assert stream.compare((start + begin) & MASK, again, 1, length) == (True, expected, 0)
        other = bytearray(again)
        other[chance.randrange(1, length + 1)] ^= 1
        assert stream.compare((start + begin) & MASK, bytes(other), 1, length)[0] is False


def test_bytes_that_are_not_kept_any_more_are_counted() -> None:
    stream, _ = make(0)
    for _ in range(10):
        stream.append(b"0123456789", 0, 10, 2)
    stream.acknowledge(100)
    assert stream.compare(0, b"0123456789" * 10, 0, 100) == (True, 2, 100 - 10 * KEPT_CHUNKS)


def test_a_split_header_is_resolved_in_every_chunk_it_touches() -> None:
    stream, _ = make(0)
    for kinds in (2, 1 | 8, 8, 8):
        stream.append(b"x", 0, 1, kinds)
    stream.resolve(8, 4)
    assert [chunk.kinds for chunk in stream.chunks] == [2, 1 | 4, 4, 4]


def test_unacknowledged_kinds() -> None:
    stream, _ = make(0)
    stream.append(b"x", 0, 1, 4)
    stream.append(b"x", 0, 1, 2)
    assert stream.has_unacked(4)
    stream.acknowledge(1)
    assert not stream.has_unacked(4)
    assert stream.has_unacked(2 | 4)
