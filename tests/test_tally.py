"""The sums of refusals: bounded rows, and never a packet too few or too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from guard.core.verdict import Decision, Justification, PacketClass, Reason, Scope, Verdict, decision
from guard.tally import MAX_ROWS, Tally, TallyRow

APP_DATA = PacketClass.APP_DATA
MUTED = decision(APP_DATA, Justification.NOT_JUSTIFIED, Verdict.REFUSE, Scope.FLOW, Reason.MUTED)
UNSAID = decision(APP_DATA, Justification.JUSTIFIED, Verdict.REFUSE, Scope.FLOW, Reason.NO_INTERACTION)
FAULT = decision(APP_DATA, None, Verdict.REFUSE, Scope.PACKET, Reason.ENGINE_ERROR)
UDP = 17


@cache  # the same connection is the same object, as it is in the gate
def key(number: int) -> tuple[int, bytes]:
    return UDP, bytes((10, 0, 0, 2, 52, 4, 1, 9)) + number.to_bytes(2, "big") + b"\x01\xbb"


def test_one_row_for_each_connection_and_answer() -> None:
    tally = Tally()
    for octets in (100, 50):
        tally.note("kitchen", key(5), MUTED, octets, 7 + octets, False)
    tally.note("kitchen", key(5), UNSAID, 40, 300, False)
    tally.note("kitchen", key(5), MUTED, 40, 301, True)
    name = "udp 10.0.0.2:5 > 52.4.1.9:443"
    assert tally.take() == [
        TallyRow("kitchen", name, MUTED, False, 2, 150, 107, 57),
        TallyRow("kitchen", name, UNSAID, False, 1, 40, 300, 300),
        TallyRow("kitchen", name, MUTED, True, 1, 40, 301, 301),
    ]
    assert tally.take() == []


def test_what_the_engine_could_not_read_has_no_bytes_in_its_counters_either() -> None:
    tally = Tally()
    tally.note("kitchen", key(1), FAULT, 1500, 1, False)
    assert [(row.packets, row.bytes) for row in tally.take()] == [(1, 0)]


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from((MUTED, UNSAID)), st.integers(20, 1500))))
def test_however_many_connections_the_sums_are_exact_and_the_rows_bounded(
    packets: Sequence[tuple[int, Decision, int]],
) -> None:
    tally = Tally()
    expected: Counter[Decision] = Counter()
    octets: Counter[Decision] = Counter()
    for number in range(MAX_ROWS):
        tally.note("bath", key(1000 + number), MUTED, 1, number, False)
    expected[MUTED] += MAX_ROWS
    octets[MUTED] += MAX_ROWS
    for number, answer, size in packets:
        tally.note("bath", key(number), answer, size, number, False)
        expected[answer] += 1
        octets[answer] += size
    rows = tally.take()
    assert len(rows) <= MAX_ROWS + 2
    for answer in (MUTED, UNSAID):
        assert sum(row.packets for row in rows if row.decision is answer) == expected[answer]
        assert sum(row.bytes for row in rows if row.decision is answer) == octets[answer]
