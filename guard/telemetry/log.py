"""The log: JSON lines for the journal, colour on a terminal. Never a line per packet.

Every caller gets its own logger and passes it on; nothing is configured globally. Payload and audio never
come here; addresses only where a person asked for them. Why no library does this: docs/adr/0011.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

Level = Literal["info", "warning", "error"]

_COLOURS: Final[Mapping[Level, int]] = {"info": 32, "warning": 33, "error": 31}  # ECMA-48: green, yellow, red
_BOLD: Final = 1
_DIM: Final = 2


class Log:
    """Writes what happened to the gate, one line each, at once: for people on a terminal, else JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._format = _format_for_people if stream.isatty() else _format_json

    def info(self, event: str, **fields: object) -> None:
        """Tell of something that is as it should be."""
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Tell of something that the owner may have to mend."""
        self._write("warning", event, fields)

    def error(self, event: str, *, exception: BaseException | None = None, **fields: object) -> None:
        """Tell of something that went wrong, and where in the code it did."""
        if exception is not None:
            fields["exception"] = "".join(traceback.format_exception(exception)).rstrip()
        self._write("error", event, fields)

    def _write(self, level: Level, event: str, fields: dict[str, object]) -> None:
        timestamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        # one call a line: other threads write here too
        self._stream.write(self._format(timestamp, level, event, fields) + "\n")
        self._stream.flush()


def _format_json(timestamp: str, level: Level, event: str, fields: Mapping[str, object]) -> str:
    content = {"event": event, "level": level, "timestamp": timestamp, **fields}
    return json.dumps(content, sort_keys=True, default=repr)


def _format_for_people(timestamp: str, level: Level, event: str, fields: Mapping[str, object]) -> str:
    """Return the line; values as Python writes them, so that none of them can steer the terminal."""
    values = " ".join(f"{key}={value!r}" for key, value in fields.items() if key != "exception")
    line = (
        f"{_paint(timestamp, _DIM)} {_paint(f'{level:7}', _COLOURS[level])} {_paint(event, _BOLD)} {values}"
    )
    return "\n".join((line.rstrip(), *str(fields.get("exception", "")).splitlines()))


def _paint(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"
