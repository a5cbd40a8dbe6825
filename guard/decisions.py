"""Write a running gate's decisions as ``wakeguard replay --format jsonl`` would print them.

For doubt and for tests: what a replay of the recording says can be compared with what was said live, line
by line. The text comes from the same functions as the replay's.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from guard.core.engine import Engine
from guard.core.verdict import Decision, Direction
from guard.errors import RecordingError
from guard.lines import SECOND_DIGITS, Lines, format_records, format_time

_BUFFER_BYTES = 1 << 18


class DecisionLog:
    """One file of decisions; ``Gate.audit`` calls it after each packet."""

    def __init__(self, path: Path, engine: Engine, *, epoch_ns: int) -> None:
        """``epoch_ns`` is the Unix time at which the engine's clock reads 0."""
        try:
            self._file = path.open("x", encoding="utf-8", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise RecordingError(f"cannot write decisions to {path}: {error.strerror}") from None
        self._lines = Lines(self._file.write)
        self._engine = engine
        self._epoch_ns = epoch_ns

    def __call__(self, packet: bytes, device: str, direction: Direction, ns: int, decision: Decision) -> None:
        """Write what was said of a packet that the device sent."""
        if direction is Direction.DOWNSTREAM:
            return
        facts = self._engine.facts
        lines = self._lines
        middle, tail = lines.fragments.get(decision) or lines.make_fragments(decision)
        lines.lines.append(
            f'{{"frame":{facts.packet_id},"time":{format_time(self._epoch_ns + ns, SECOND_DIGITS)}{middle}'
            f'{facts.payload_bytes},"flow":"{self._engine.get_flow_name()}",'
            f'"records":{format_records(facts.records)}{tail}'
        )
        lines.flush()

    def __enter__(self) -> DecisionLog:
        """Return the log; the file is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
