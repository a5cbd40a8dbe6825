"""Any text is an event or refused, and what was written reads back."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from guard.core.event import (
    MAX_WORD_CHARACTERS,
    AliveEvent,
    Event,
    EventError,
    MuteEvent,
    MuteState,
    TraceHeader,
    VoiceEvent,
    WakeEvent,
    format_line,
    parse_line,
)
from tests.properties.bounded import BOUNDED

times = st.floats(allow_nan=False, allow_infinity=False)
states = st.sampled_from(MuteState)
words = st.text(min_size=1, max_size=MAX_WORD_CHARACTERS)
events = st.one_of(
    st.builds(MuteEvent, times, states, words),
    st.builds(WakeEvent, times, words, st.floats(0, 1), words),
    st.builds(VoiceEvent, times, words),
    st.builds(AliveEvent, times, states),
    st.builds(TraceHeader, st.integers(-(10**18), 10**19)),
)
keys = st.sampled_from(["t", "type", "state", "word", "score", "source", "mute", "epoch", "hears", "x"])
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["mute", "wake", "alive", "voice", "trace", "muted", "unmuted"]),
    st.lists(st.integers(), max_size=2),
)


@BOUNDED
@given(events)
def test_a_line_reads_back_as_it_was_written(event: Event | TraceHeader) -> None:
    line = format_line(event)
    assert parse_line(line) == event
    assert parse_line(line.encode()) == event
    assert "\n" not in line


def read(line: str | bytes) -> None:
    """Read a line; the only other outcome is the one with a name."""
    try:
        event = parse_line(line)
    except EventError:
        return
    assert parse_line(format_line(event)) == event


@BOUNDED
@given(st.one_of(st.text(), st.binary()))
def test_any_text_is_an_event_or_refused(line: str | bytes) -> None:
    read(line)


@BOUNDED
@given(st.dictionaries(keys, values, max_size=6))
def test_any_object_is_an_event_or_refused(fields: dict[str, object]) -> None:
    read(json.dumps(fields))
