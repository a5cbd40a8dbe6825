"""No byte of a voice in a measured shape leaves under the balanced policy, however it is cut up.

Where a segment ends within the header of a voice's first record, up to four bytes of the header leave with
what precedes it: before the fifth nobody knows the record's length, and they say nothing but its type.
"""

from __future__ import annotations

from itertools import accumulate
from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from guard.core.suite import Suite, get_suite
from guard.core.verdict import Verdict
from tests import wire
from tests.waiting import Waiting

PREAMBLES = ((), (230, 131, 4331, 73, 121, 1549), (235, 1014))  # headers and JSON before the first audio
TLS_1_2, TLS_1_3 = 0x0303, 0x0304

Record = tuple[float, int, bool]  # seconds, record length, is it a voice's


def make_opus(draw: Random, suite: Suite) -> list[tuple[float, int]]:
    """One record with the pre-roll, then a frame every 20 ms, five within 106 ms."""
    records = [(0.0, suite.get_length(9 + 80 * draw.randint(71, 80)))] if draw.random() < 0.5 else []
    at = draw.uniform(0.01, 0.04)
    for _ in range(draw.randint(6, 40)):
        records.append((at, suite.get_length(89)))
        at += draw.uniform(0.012, 0.0265)
    return records


def make_spdy(draw: Random, suite: Suite) -> list[tuple[float, int]]:
    """A burst of several frames a record, then one every 50 ms."""
    records, at = [], 0.0
    for _ in range(draw.randint(3, 12)):
        records.append((at, suite.get_length(8 + 400 * draw.choice((1, 1, 1, 2, 3, 4, 8)))))
        at += draw.uniform(0.0, 0.03)
    for _ in range(draw.randint(3, 30)):
        records.append((at, suite.get_length(408)))
        at += draw.uniform(0.03, 0.06)
    return records


def make_cut_spdy(draw: Random, suite: Suite) -> list[tuple[float, int]]:
    """A pre-roll of many frames in pieces of 4096 bytes and the rest of them, before the others."""
    pieces, rest = divmod(400 * draw.randint(11, 59), 4096)
    sizes = [4096] * pieces + ([rest] if rest else [])
    return [(0.0, suite.get_length(8 + size)) for size in sizes] + [
        (0.02 + at, length) for at, length in make_spdy(draw, suite)
    ]


def make_lpcm(draw: Random, suite: Suite) -> list[tuple[float, int]]:
    """A frame every 32 ms."""
    gaps = [draw.uniform(0.02, 0.038) for _ in range(draw.randint(6, 30))]
    return [(at, suite.get_length(1033)) for at in accumulate(gaps)]


def make_upload(draw: Random, *, cut: bool) -> tuple[bool, list[Record]]:
    """Return whether it is TLS 1.3, and the records."""
    new = draw.random() < 0.5
    suite = get_suite(*((TLS_1_3, 0x1301) if new else (TLS_1_2, 0xC02F)), encrypt_then_mac=False)
    assert suite is not None
    before = [(0.001 * n, length, False) for n, length in enumerate(draw.choice(PREAMBLES))]
    make = make_cut_spdy if cut else draw.choice((make_opus, make_spdy, make_lpcm))
    voice = make(draw, suite)
    begin = draw.uniform(0.01, 2.0)
    return new, before + [(begin + at, length, True) for at, length in voice]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
@example(20104, False).via("of a voice two frames after its pre-roll, the rest in a segment behind the probe")
@example(20480, False).via("likewise")
@example(21509, False).via("likewise")
@example(20611, False).via("the first header is cut by a segment's end")
@example(21051, False).via("likewise")
@example(21191, False).via("likewise")
@example(22795, False).via("likewise")
@example(22877, False).via("likewise")
def test_no_byte_of_a_measured_voice_leaves(seed: int, cut: bool) -> None:
    draw = Random(seed)
    new, records = make_upload(draw, cut=cut)
    talk = Waiting(balanced=True)
    talk.establish_1_3() if new else talk.establish()
    stream = b"".join(wire.app_data(length) for _, length, _ in records)
    ends = list(accumulate(length + 5 for _, length, _ in records))
    voice_from = min(end - length for end, (_, length, speech) in zip(ends, records, strict=True) if speech)
    began = talk.now
    start = 0
    sent: dict[int, tuple[int, int]] = {}  # packet -> the bytes it carries
    accepted: list[int] = []
    while start < len(stream):
        size = draw.choice((1460, draw.randint(1, 1460)))
        # a segment leaves when its last byte was written, at the latest with the next record
        written = next(n for n, end in enumerate(ends) if end > start)
        stop = min(start + size, ends[min(written + draw.randint(0, 4), len(ends) - 1)])
        last = next(n for n, end in enumerate(ends) if end >= stop)
        talk.wait(max(0.0, began + records[last][0] - talk.now))
        answer = talk.send(stream[start:stop])
        number = talk.engine.facts.packet_id
        sent[number] = (start, stop)
        if answer.verdict is Verdict.ACCEPT:
            accepted.append(number)
        start = stop
    talk.wait(2.0)
    accepted += [number for number, words in talk.released if words.split()[2] == Verdict.ACCEPT]
    assert not [sent[number] for number in accepted if number in sent and sent[number][1] >= voice_from]
