"""What making room in the table of flows costs, counted in calls."""

from __future__ import annotations

import sys
from types import FrameType

from guard.core.flow import Flow, FlowTable
from tests import wire
from tests.conversation import CONDEMNED, DEVICE, NO_INTERACTION, Conversation, make_engine

RECORD = wire.app_data(1000)


def connect(count: int) -> tuple[list[Conversation], FlowTable]:
    """Return connections of one device whose handshakes are still kept, and its table of them."""
    engine = make_engine()
    talks = [
        Conversation(engine, port=1024 + number, now=100.0 + 3 * number).establish()
        for number in range(count)
    ]
    for talk in talks:
        talk.now = talks[-1].now
    return talks, engine.get_device(DEVICE).flows


def count_calls(table: FlowTable, flow: Flow) -> int:
    """Return how many Python frames are entered, a generator's each time anew, to make room for a flow."""
    calls = 0

    def profile(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    try:
        table.make_room(flow)
    finally:
        sys.setprofile(None)
    return calls


def test_flows_that_live_are_not_looked_at_for_room() -> None:
    counts = []
    for size in (2, 40):
        talks, table = connect(size)
        kept = table.ledger.kept_bytes
        assert kept > 0
        counts.append(count_calls(table, next(iter(table))))
        assert table.ledger.kept_bytes == kept
        assert talks[0].up(RECORD) == NO_INTERACTION
    assert counts[0] == counts[1]


def test_a_condemned_flow_is_looked_at_once_until_it_keeps_more() -> None:
    talks, table = connect(40)
    live, *others = talks
    assert {talk.up(RECORD) for talk in others} == {NO_INTERACTION}
    flows = list(table)
    count_calls(table, flows[0])
    assert {flow.up.unacked_bytes for flow in flows if flow.condemned} == {0}
    assert flows[0].up.unacked_bytes > 0
    assert count_calls(table, flows[0]) == count_calls(connect(2)[1], flows[0])
    assert others[0].up(RECORD) == CONDEMNED
    assert flows[1].up.unacked_bytes > 0
    table.make_room(flows[0])
    assert flows[1].up.unacked_bytes == 0
    assert live.up(RECORD) == NO_INTERACTION
