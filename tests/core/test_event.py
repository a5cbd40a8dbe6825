"""A line of the event codec: what it says, and why another is refused."""

from __future__ import annotations

import json

import pytest

from guard.core.event import (
    MAX_LINE_BYTES,
    MAX_WORD_CHARACTERS,
    AliveEvent,
    Event,
    EventError,
    MuteEvent,
    MuteState,
    TraceHeader,
    WakeEvent,
    format_line,
    parse_line,
)


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('{"t":1.5,"type":"mute","state":"muted"}', MuteEvent(1.5, MuteState.MUTED)),
        ('{"t":1,"type":"mute","state":"unknown","source":"x"}', MuteEvent(1, MuteState.UNKNOWN, "x")),
        (
            '{"t":2.0,"type":"wake","word":"alexa","score":0.97,"source":"microphone"}',
            WakeEvent(2.0, "alexa", 0.97),
        ),
        ('{"t":2.0,"type":"wake","word":"alexa"}', WakeEvent(2.0, "alexa", 1.0)),
        ('{"t":3.0,"type":"alive","mute":"unmuted"}', AliveEvent(3.0, MuteState.UNMUTED)),
        ('{"type":"trace","epoch":1700000000}', TraceHeader(1_700_000_000_000_000_000)),
        ('{"type":"trace","epoch":1700000000.123456789}', TraceHeader(1_700_000_000_123_456_789)),
        ('{"type":"trace","epoch":1.7e9}', TraceHeader(1_700_000_000_000_000_000)),
        ('{"type":"trace","epoch":-0.5}', TraceHeader(-500_000_000)),
    ],
)
def test_what_a_line_says(line: str, event: Event | TraceHeader) -> None:
    assert parse_line(line) == event
    assert parse_line(line.encode()) == event
    assert parse_line(f" {line}\n") == event
    assert parse_line(format_line(event)) == event


GOOD = {"t": 1.0, "type": "wake", "word": "alexa"}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("5", "not a JSON object"),
        ("{}", "unknown type None"),
        ('{"type":["mute"]}', "unknown type"),
        ('{"type":"shout"}', "unknown type 'shout': use mute, wake, "),
        (json.dumps({**GOOD, "volume": 1}), "unknown key 'volume'"),
        (json.dumps({**GOOD, "t": True}), "t must be a number"),
        (json.dumps({**GOOD, "t": "1"}), "t must be a number"),
        (json.dumps({**GOOD, "t": None}), "t must be a number"),
        ('{"t":1e999,"type":"alive","mute":"muted"}', "t must be finite"),
        ('{"t":NaN,"type":"alive","mute":"muted"}', "t must be finite"),
        (f'{{"t":{"9" * 400},"type":"alive","mute":"muted"}}', "t is too large"),
        ('{"type":"alive","mute":"muted"}', "needs 't'"),
        ('{"t":1,"type":"mute"}', "needs 'state'"),
        ('{"t":1,"type":"mute","state":"loud"}', "use muted, unmuted or unknown"),
        ('{"t":1,"type":"mute","state":["muted"]}', "use muted, unmuted or unknown"),
        (json.dumps({**GOOD, "score": 1.1}), "outside 0..1"),
        (json.dumps({**GOOD, "score": "high"}), "score must be a number"),
        (json.dumps({**GOOD, "word": ""}), "word must be a text"),
        (json.dumps({**GOOD, "word": "x" * (MAX_WORD_CHARACTERS + 1)}), "word must be a text"),
        (json.dumps({**GOOD, "source": 5}), "source must be a text"),
        (json.dumps({**GOOD, "word": "x" * MAX_LINE_BYTES}), "longer than"),
        ("[" * 1000, "not JSON"),
        ('{"type":"trace"}', "needs 'epoch'"),
        ('{"type":"trace","epoch":"now"}', "epoch must be a number"),
        ('{"type":"trace","epoch":1e999}', "epoch must be finite"),
    ],
)
def test_what_is_refused_and_why(line: str, why: str) -> None:
    with pytest.raises(EventError, match=why):
        parse_line(line)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(EventError):
        parse_line(b"\xff\xfe\x00{")


def test_the_longest_event_fits_in_a_line() -> None:
    widest = "\U0001f4a9" * MAX_WORD_CHARACTERS
    event = WakeEvent(-1.2345678901234567e-300, widest, 0.12345678901234568, widest)
    line = format_line(event)
    assert len(line.encode()) <= MAX_LINE_BYTES
    assert parse_line(line) == event


@pytest.mark.parametrize("epoch_ns", [0, 1, -1, -1_500_000_000, 1_700_000_000_999_999_999, -1_000_000_000])
def test_an_epoch_is_exact_to_the_nanosecond(epoch_ns: int) -> None:
    assert parse_line(format_line(TraceHeader(epoch_ns))) == TraceHeader(epoch_ns)
