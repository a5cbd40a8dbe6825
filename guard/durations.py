"""Lengths of time as people type them, and moments in the past: ``5m``, ``1h30m``, ``2026-11-22 18:00``.

No number without a unit is guessed at. A length that makes no sense is one clear line.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Final

from guard.errors import WakeguardError

_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(s|min|m|h|d|w)\s*")
_EXAMPLES: Final = "write a number and a unit, such as 90s, 5m or 1h30m"


class DurationError(WakeguardError):
    """A length of time or a moment that cannot be understood, or makes no sense here."""


def parse_duration(text: str) -> float:
    """Return the seconds in ``text``. DurationError says what to write."""
    rest = text.strip().lower()
    seconds = 0.0
    seen: set[float] = set()
    while match := _PART.match(rest):
        unit = _UNITS[match[2]]
        if seen and unit >= min(seen):
            break  # 5m1h: each unit once, the longest first
        seen.add(unit)
        seconds += float(match[1]) * unit
        rest = rest[match.end() :]
    if rest or not seen:
        raise DurationError(f'"{text}" is no length of time; {_EXAMPLES}')
    return seconds


def check_duration(seconds: float, low: float, high: float) -> float:
    """Return ``seconds`` if they are within ``low`` and ``high``. DurationError names the nearer bound."""
    if math.isnan(seconds) or seconds < low:
        raise DurationError(f"{seconds:g} s is too short; use at least {format_length(low)}")
    if seconds > high:
        raise DurationError(f"{format_length(seconds)} is too long; use at most {format_length(high)}")
    return seconds


def parse_since(text: str, *, now: datetime) -> datetime:
    """Return the moment ``text`` means: a length before ``now``, or a date, with a time or without.

    A time without an offset is local. DurationError when it is neither, or lies ahead.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        try:
            seconds = parse_duration(text)
            return datetime.fromtimestamp(now.timestamp() - seconds, tz=now.tzinfo)
        except (DurationError, OverflowError, OSError, ValueError):
            raise DurationError(
                f'"{text}" is no moment; write a length such as 2h, or a date such as 2026-11-22 or '
                "2026-11-22T18:00"
            ) from None
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=now.tzinfo)
    if moment > now:
        raise DurationError(f"{text} lies ahead; name a moment that is past")
    return moment


def format_length(seconds: float) -> str:
    """Return ``1h30m`` and its like, to the second."""
    if not math.isfinite(seconds):
        return "for ever"
    left = round(seconds)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
