"""The events of a trace: read, put in their order among the packets, and refused where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.core.event import WakeEvent, format_line
from guard.errors import EventTraceError
from guard.trace import read_trace
from tests.capture_files import EPOCH_NS, pcap
from tests.replay.session import MAC, SECOND, WAKE, lines, session, trace, write


def test_a_wake_word_explains_what_follows(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE))
    # Frames 1 and 3 are at 0 and 0.25 s, frame 5 at 0.5 s: at equal times events precede packets.
    assert [line["justification"] for line in found] == ["justified"] * 2 + ["expected"] * 6
    assert [line["verdict"] for line in found] == ["refuse"] * 2 + ["accept"] * 6


def test_the_trace_line_gives_the_epoch(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    seconds, rest = divmod(EPOCH_NS - 100 * SECOND, SECOND)
    header = f'{{"type":"trace","epoch":{seconds}.{rest:09d}}}'
    wake = WAKE.replace("0.5", "100.5")
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, header, wake))
    assert [line["verdict"] for line in found] == ["refuse"] * 2 + ["accept"] * 6


def test_events_out_of_order_are_told_by_their_times(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    mute = '{"t":1.0,"type":"mute","state":"muted"}'
    one = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE, mute))
    assert one == lines(path, "--device", MAC, "--events", trace(tmp_path, mute, WAKE))
    assert [line["reason"] for line in one[4:]] == ["muted"] * 4


def test_a_sensor_that_falls_silent_counts_as_muted(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=40)))
    alive = '{"t":0.0,"type":"alive","mute":"unmuted"}'
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, alive))
    reasons = [line["reason"] for line in found]
    assert "sensor_lost" in reasons or "mute_unknown" in reasons
    assert reasons[0] not in ("sensor_lost", "mute_unknown")
    # a state set by hand needs no heartbeat
    by_hand = trace(tmp_path, '{"t":0.0,"type":"mute","state":"unmuted"}')
    found = lines(path, "--device", MAC, "--events", by_hand)
    assert not {"sensor_lost", "mute_unknown"} & {line["reason"] for line in found}


def test_events_written_by_the_codec_are_read(tmp_path: Path) -> None:
    event = WakeEvent(0.5, "alexa", 0.97)
    (entry,) = read_trace(trace(tmp_path, format_line(event))).entries
    assert (entry.now, entry.item, entry.device) == (0.5, event, "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ('{"t":1,"type":"dance"}', "line 2: unknown type 'dance'"),
        ('{"t":1,"type":"mute","state":"red"}', "line 2: mute state 'red'"),
        ('{"t":NaN,"type":"mute","state":"muted"}', "line 2"),
        ('{"type":"trace","epoch":1}', "line 2: a trace line can only be the first line"),
        ('{"type":"mode","mode":"loud","now_ns":1}', "line 2: mode 'loud'"),
        ('{"type":"timer","now_ns":1.5}', "line 2: now_ns"),
        ('{"type":"gate","mode":"monitor","devices":{"a":1}}', "line 2: device 'a'"),
        ('{"type":"gate","mode":"monitor"}', "line 2: a gate line"),
        ('{"type":"gate","mode":"loud","devices":{}}', "line 2: mode 'loud'"),
        ('{"type":"gate","mode":"monitor","devices":{},"limits":3}', "line 2: the limits"),
        (
            '{"type":"gate","mode":"monitor","devices":{},"limits":{"table":{"hold":{"hold":1}}}}',
            "line 2: limits.hold.hold is not a limit",
        ),
        (
            '{"type":"gate","mode":"monitor","devices":{},"limits":{"period_scale":7}}',
            "line 2: limits.period_scale",
        ),
        ('{"type":"settings","now_ns":1}', "line 2: a settings line"),
        ('{"type":"settings","now_ns":1,"devices":{"a":{"sensor":true,"x":1}}}', "line 2: device 'a'"),
        ('{"t":1,"type":"mute","state":"muted","now_ns":1,"device":7}', "line 2: device"),
    ],
)
def test_a_wrong_line_of_a_trace_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(EventTraceError) as caught:
        read_trace(trace(tmp_path, WAKE, line))
    assert message in str(caught.value)
