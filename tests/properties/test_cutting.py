"""How a stream was cut into segments does not matter to what its bytes are."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.core.tcp import KEPT_CHUNKS
from guard.core.tls import (
    KIND_APP_DATA,
    KIND_HANDSHAKE,
    KIND_SYN,
    MAX_RECORD_BYTES,
    Framing,
    RecordJudge,
    RecordStream,
)
from guard.core.verdict import Decision, Mode, PacketClass, Reason, Verdict
from tests import wire
from tests.conversation import DEVICE, PAYLOADS, Conversation
from tests.properties.bounded import BOUNDED, FEWER

CLASS_OF = {
    KIND_SYN: PacketClass.SYN,
    KIND_HANDSHAKE: PacketClass.HANDSHAKE,
    KIND_APP_DATA: PacketClass.APP_DATA,
}
HANDSHAKE = PAYLOADS["key_exchange"] + PAYLOADS["ccs"] + PAYLOADS["finished"]

# (content type, length): what an Echo sends once connected, and what it should not
records = st.lists(
    st.one_of(
        st.tuples(st.just(23), st.sampled_from([41, 28, 33, 353, 1, 0, 1400])),
        st.tuples(st.sampled_from([20, 21, 22, 23]), st.integers(0, 60)),
        st.just((21, 26)),
    ),
    max_size=12,
)
cuts = st.lists(st.integers(0, 4000), max_size=30)


class Run(RecordJudge):
    """One connection to which the same bytes are given, and what the engine made of them."""

    def __init__(self, *, isn: int = 1000) -> None:
        self.talk = Conversation(mode=Mode.MONITOR, isn=isn).open()
        self.kinds: list[tuple[int, int, int]] = []  # of each record: type, length, KIND
        self.asked: deque[tuple[int, int, int]] = deque()  # those that the conversation was asked about
        self.talk.up(wire.client_hello())
        flow = self.talk.engine.facts.flow
        assert flow is not None
        self._inner, flow.client.judge = flow.client.judge, self
        self.talk.down(PAYLOADS["server_hello"])
        self.start = self.talk.seq

    def judge_record(self, stream: RecordStream, content_type: int, length: int, now: float) -> int:
        """Ask the conversation, and note what it said."""
        kind = self._inner.judge_record(stream, content_type, length, now)
        self.asked.append((content_type, length, kind))
        return kind

    def send(self, data: bytes, begin: int, end: int) -> Decision:
        """Send that part of the stream, wherever it lies."""
        decision = self.talk.send(data[begin:end], at=self.start + begin)
        for record in self.talk.engine.facts.records:
            known = self.asked and self.asked[0][:2] == record
            self.kinds.append(self.asked.popleft() if known else (*record, KIND_APP_DATA))
        assert not self.asked
        return decision


def lay_out(data: bytes, kinds: list[tuple[int, int, int]]) -> list[int]:
    """Return the KIND of each byte of a stream whose records were judged so."""
    laid: list[int] = []
    for _, length, kind in kinds:
        laid += [kind] * (5 + length)
    return (laid + [KIND_APP_DATA] * len(data))[: len(data)]


def get_class(kinds: list[int]) -> PacketClass:
    """Return the class of a packet with such bytes: that of the most sensitive."""
    for kind in (KIND_APP_DATA, KIND_HANDSHAKE):
        if kind in kinds:
            return CLASS_OF[kind]
    return PacketClass.SYN


def make_stream(
    shapes: list[tuple[int, int]], tail: bytes
) -> tuple[bytes, list[int], list[tuple[int, int, int]]]:
    """Return a stream, the KIND of each of its bytes and of each record, as judged uncut."""
    data = HANDSHAKE + b"".join(wire.record(*shape) for shape in shapes) + tail
    whole = Run()
    whole.send(data, 0, len(data))
    return data, lay_out(data, whole.kinds), whole.kinds


def cut(data: bytes, places: list[int]) -> list[tuple[int, int]]:
    ends = sorted({place for place in places if 0 < place < len(data)} | {len(data)})
    return list(zip([0, *ends], ends, strict=False))


def check(answer: Decision, kinds: list[int]) -> None:
    """A new segment is as strict as its bytes; only a header that is not whole may make it stricter."""
    expected = get_class(kinds)
    if answer.reason is Reason.SPLIT_HEADER:
        assert answer.packet_class is PacketClass.APP_DATA
    elif answer.reason is Reason.OPAQUE_PAYLOAD:  # application data under another name
        assert (expected, answer.verdict) == (PacketClass.APP_DATA, Verdict.REFUSE)
    else:
        assert answer.packet_class is expected, (answer, expected)


@BOUNDED
@given(records, cuts, st.sampled_from([b"", b"\x17", b"\x17\x03\x03\x00", b"garbage"]), st.integers(0, 1))
def test_cut_anywhere(shapes: list[tuple[int, int]], places: list[int], tail: bytes, wrap: int) -> None:
    data, kinds, whole = make_stream(shapes, tail)
    run = Run(isn=1000 if not wrap else (1 << 32) - len(data) // 2 - 300)
    for begin, end in cut(data, places):
        check(run.send(data, begin, end), kinds[begin:end])
    assert run.kinds == whole


@FEWER
@given(records)
def test_byte_by_byte(shapes: list[tuple[int, int]]) -> None:
    data, kinds, whole = make_stream(shapes, b"")
    run = Run()
    for at in range(len(data)):
        check(run.send(data, at, at + 1), kinds[at : at + 1])
        if at % 100 == 0:
            run.talk.answer(ack=run.start + at + 1)
    assert run.kinds == whole


@BOUNDED
@given(
    records, cuts, st.lists(st.tuples(st.integers(0, 4000), st.integers(1, 1500)), max_size=20), st.booleans()
)
@example([(23, 33)], [1, 2, *range(127, 132)], [(0, 1)] * 7 + [(0, 127)], False)
@example([(23, 33)], [1, 2, *range(127, 132)], [(0, 1)] * 7 + [(0, 127)], True)
def test_sent_again_in_other_pieces(
    shapes: list[tuple[int, int]], places: list[int], repeats: list[tuple[int, int]], muted: bool
) -> None:
    """Bytes sent again are refused if they were; acknowledged ones only while muted, see below."""
    data, kinds, whole = make_stream(shapes, b"")
    run = Run()
    if muted:
        run.talk.mute()
    again = iter(repeats)
    acknowledged = 0
    for begin, end in cut(data, places):
        check(run.send(data, begin, end), kinds[begin:end])
        at, length = next(again, (0, 0))
        at = min(at, end - 1)
        stop = min(at + length, end)
        if stop <= at:
            continue
        answer = run.send(data, at, stop)
        assert answer.packet_class is PacketClass.RETRANSMIT
        if KIND_APP_DATA in kinds[at if muted else max(at, acknowledged) : stop]:
            assert answer.verdict is Verdict.REFUSE
        run.talk.answer(ack=run.start + end)
        acknowledged = end
    assert run.kinds == whole


# acknowledged application data comes again when it is not kept any more
FORGOTTEN = ([(23, 0), (23, 1400), (20, 0)], [*range(1, 8), *range(127, 131), 829])


@BOUNDED
@given(records, cuts, st.randoms(use_true_random=False), st.booleans())
@example(*FORGOTTEN, Random(0), False)
@example(*FORGOTTEN, Random(0), True)
def test_out_of_order_is_never_less_strict(
    shapes: list[tuple[int, int]], places: list[int], random: Random, muted: bool
) -> None:
    """What comes out of order, again or cut anew passes only if all of its bytes may pass.

    But for bytes that the peer has acknowledged: those that are not kept any more cannot be told apart, and
    pass on the budget ``retransmit`` (see the next test). While muted they do not, a keep-alive probe apart.
    """
    data, kinds, whole = make_stream(shapes, b"")
    run = Run()
    if muted:
        run.talk.mute()
    segments = cut(data, places)
    # some twice, some cut anew, in any order
    segments += [(begin, min(begin + 700, len(data))) for begin, _ in segments[::3]]
    random.shuffle(segments)
    seen: set[int] = set()
    acknowledged = 0

    def send(begin: int, end: int) -> Decision:
        answer = run.send(data, begin, end)
        # a keep-alive probe: one byte before the next, all acknowledged (RFC 9293, 3.8.4)
        probe = end - begin == 1 and end == acknowledged
        judged = kinds[begin if muted and not probe else max(begin, acknowledged) : end]
        if answer.verdict is Verdict.ACCEPT:
            assert KIND_APP_DATA not in judged
        if answer.packet_class is not PacketClass.RETRANSMIT:
            strictness = [PacketClass.SYN, PacketClass.HANDSHAKE, PacketClass.APP_DATA]
            assert answer.packet_class is not None
            assert strictness.index(answer.packet_class) >= strictness.index(get_class(judged))
        return answer

    for begin, end in segments:
        send(begin, end)
        seen.update(range(begin, end))
        reached = next((at for at in range(len(data)) if at not in seen), len(data))
        if reached % 2:
            run.talk.answer(ack=run.start + reached)
            acknowledged = reached
    assert run.kinds == whole
    for begin, end in segments:  # and what it is offered again is what it was
        assert send(begin, end).packet_class is PacketClass.RETRANSMIT


def test_acknowledged_bytes_that_are_not_kept_pass_on_a_budget_and_never_while_muted() -> None:
    data, kinds, _ = make_stream([(23, 1400)], b"")
    run = Run()
    segments = cut(data, list(range(200, len(data), 200)))
    for begin, end in segments:
        run.send(data, begin, end)
    run.talk.answer(ack=run.start + len(data))
    forgotten, kept = segments[1:-KEPT_CHUNKS], segments[-KEPT_CHUNKS:]

    def get_left() -> float:
        return run.talk.engine.get_status(DEVICE, now=run.talk.now).budgets["retransmit"]

    for begin, end in kept:
        assert run.send(data, begin, end).verdict is Verdict.REFUSE
    left = get_left()
    assert len(forgotten) == 3
    for begin, end in forgotten:
        assert KIND_APP_DATA in kinds[begin:end]
        answer = run.send(data, begin, end)
        assert (answer.verdict, answer.reason) == (Verdict.ACCEPT, Reason.RETRANSMISSION)
    assert left - get_left() == pytest.approx(600)
    run.talk.mute()
    for begin, end in segments:
        answer = run.send(data, begin, end)
        assert (answer.packet_class, answer.verdict) == (PacketClass.RETRANSMIT, Verdict.REFUSE)


# -- framing against a reader that sees the whole stream ---------------------------------------------


def read_records(data: bytes) -> list[tuple[int, int]]:
    """Frame a whole stream the simple way."""
    found = []
    while len(data) >= 5:
        content_type, version = data[0], int.from_bytes(data[1:3], "big")
        length = int.from_bytes(data[3:5], "big")
        if not (20 <= content_type <= 23 and 0x300 <= version <= 0x304 and length <= MAX_RECORD_BYTES):
            break
        found.append((content_type, length))
        data = data[5 + length :]
    return found


pieces = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.builds(wire.record, st.sampled_from([20, 21, 22, 23]), st.integers(0, 300)),
        st.builds(
            wire.record, st.sampled_from([19, 23, 24]), st.integers(0, 5), version=st.integers(0x2FF, 0x306)
        ),
    ),
    max_size=10,
)


class ByType(RecordJudge):
    """Judges a record by its type."""

    def judge_record(self, _stream: RecordStream, content_type: int, _length: int, _now: float) -> int:
        return content_type


@BOUNDED
@given(pieces, cuts)
def test_records_are_those_that_a_simple_reader_finds(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    stream = RecordStream(ByType(), Framing.START, [])
    for begin, end in cut(data, places) if data else []:
        stream.receive(data, begin, end, 0.0)
    assert stream.records == read_records(data)
