"""Sensor events and their one-line JSON form.

The only thing that ``guard`` and ``hardware`` share. The same lines travel over the gate's datagram
socket and stand in a recorded trace, as packets travel on a wire and stand in a capture. A line with
an unknown type, an unknown key, a wrong type or a time that is not finite is refused whole.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_LINE_BYTES = 2048  # an honest event is below 200 bytes, the longest that can be written 1700
MAX_WORD_CHARACTERS = 64


class EventError(ValueError):
    """A line that is not an event; the text says what is wrong with it."""


class MuteState(StrEnum):
    """The state of the device's microphone as its mute LED tells it."""

    MUTED = "muted"
    UNMUTED = "unmuted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MuteEvent:
    """The mute state as read at time ``t`` (seconds)."""

    t: float
    state: MuteState
    source: str = "led"


@dataclass(frozen=True, slots=True)
class WakeEvent:
    """A wake word heard, its end at time ``t``; ``score`` in 0..1."""

    t: float
    word: str
    score: float = 1.0
    source: str = "microphone"


@dataclass(frozen=True, slots=True)
class AliveEvent:
    """The sensing process's heartbeat with the state it sees.

    ``hears``: whether a microphone and a wake-word detector are at work; None when it does not say.
    """

    t: float
    mute: MuteState
    hears: bool | None = None


@dataclass(frozen=True, slots=True)
class VoiceEvent:
    """Somebody still speaks at time ``t``, after a wake word: an interaction may last longer."""

    t: float
    source: str = "microphone"


@dataclass(frozen=True, slots=True)
class TraceHeader:
    """The first line of a recorded trace: Unix time in nanoseconds at ``t`` = 0."""

    epoch_ns: int


Event = MuteEvent | WakeEvent | VoiceEvent | AliveEvent
EVENT_TYPES: dict[type[Event], str] = {
    MuteEvent: "mute",
    WakeEvent: "wake",
    VoiceEvent: "voice",
    AliveEvent: "alive",
}

# type -> key -> (required, converter)
_FIELDS: dict[str, dict[str, bool]] = {
    "mute": {"t": True, "state": True, "source": False},
    "wake": {"t": True, "word": True, "score": False, "source": False},
    "voice": {"t": True, "source": False},
    "alive": {"t": True, "mute": True, "hears": False},
    "trace": {"epoch": True},
}


def parse_line(line: str | bytes) -> Event | TraceHeader:
    """Return what one JSON line says. EventError when it is not exactly an event."""
    if len(line) > MAX_LINE_BYTES:
        raise EventError(f"longer than {MAX_LINE_BYTES} bytes")
    try:
        # Decimal digits of an epoch exceed a double: keep the literal for _epoch_ns.
        fields = json.loads(line, parse_float=_Number)
    except (ValueError, RecursionError) as error:
        raise EventError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise EventError("not a JSON object")
    kind = fields.pop("type", None)
    known = _FIELDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise EventError(f"unknown type {kind!r}: use {', '.join(_FIELDS)}")
    for key in fields:
        if key not in known:
            raise EventError(f"unknown key {key!r} in a {kind} event")
    for key, required in known.items():
        if required and key not in fields:
            raise EventError(f"a {kind} event needs {key!r}")
    if kind == "trace":
        return TraceHeader(_epoch_ns(fields["epoch"]))
    t = _number(fields["t"], "t")
    if kind == "mute":
        return MuteEvent(t, _state(fields["state"]), _word(fields.get("source", "led"), "source"))
    if kind == "alive":
        return AliveEvent(t, _state(fields["mute"]), _flag(fields.get("hears"), "hears"))
    if kind == "voice":
        return VoiceEvent(t, _word(fields.get("source", "microphone"), "source"))
    score = _number(fields.get("score", 1.0), "score")
    if not 0.0 <= score <= 1.0:
        raise EventError(f"score {score} is outside 0..1")
    source = _word(fields.get("source", "microphone"), "source")
    return WakeEvent(t, _word(fields["word"], "word"), score, source)


def format_line(event: Event | TraceHeader) -> str:
    """Return the JSON line (no newline) that ``parse_line`` reads back to an equal event."""
    if isinstance(event, TraceHeader):
        seconds, nanoseconds = divmod(abs(event.epoch_ns), 1_000_000_000)
        sign = "-" if event.epoch_ns < 0 else ""
        return f'{{"type":"trace","epoch":{sign}{seconds}.{nanoseconds:09d}}}'
    fields: dict[str, Any]
    if isinstance(event, MuteEvent):
        fields = {"t": event.t, "type": "mute", "state": event.state, "source": event.source}
    elif isinstance(event, AliveEvent):
        fields = {"t": event.t, "type": "alive", "mute": event.mute}
        if event.hears is not None:
            fields["hears"] = event.hears
    elif isinstance(event, VoiceEvent):
        fields = {"t": event.t, "type": "voice", "source": event.source}
    else:
        fields = {
            "t": event.t,
            "type": "wake",
            "word": event.word,
            "score": event.score,
            "source": event.source,
        }
    return json.dumps(fields, separators=(",", ":"))


class _Number(float):
    """A float that remembers its decimal literal."""

    literal: str

    def __new__(cls, literal: str) -> _Number:
        number = super().__new__(cls, literal)
        number.literal = literal
        return number


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EventError(f"{key} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise EventError(f"{key} is too large") from None
    if not math.isfinite(number):
        raise EventError(f"{key} must be finite")
    return number


def _epoch_ns(value: object) -> int:
    _number(value, "epoch")
    literal = value.literal if isinstance(value, _Number) else str(value)
    if "e" in literal.lower():
        return round(float(literal) * 1e9)
    whole, _, fraction = literal.partition(".")
    sign = -1 if whole.startswith("-") else 1
    return int(whole) * 1_000_000_000 + sign * int((fraction + "000000000")[:9])


def _flag(value: object, key: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise EventError(f"{key} must be true or false, not {value!r}")


def _state(value: object) -> MuteState:
    try:
        return MuteState(value)  # type: ignore[arg-type]  # any object: a wrong one raises ValueError
    except ValueError:
        raise EventError(f"mute state {value!r}: use muted, unmuted or unknown") from None


def _word(value: object, key: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_WORD_CHARACTERS:
        raise EventError(f"{key} must be a text of 1 to {MAX_WORD_CHARACTERS} characters")
    return value
