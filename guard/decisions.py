"""Write a running gate's decisions as ``wakeguard replay --format jsonl`` would print them.

For doubt and for tests: what a replay of the recording says can be compared with what was said live, line
by line. The text comes from the same functions as the replay's. A packet that waits keeps its place until
its verdict is final. A full disk ends the file and nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from guard.core.engine import Engine
from guard.core.hold import Held
from guard.core.verdict import Decision, Direction, Verdict
from guard.errors import RecordingError
from guard.lines import SECOND_DIGITS, Lines, format_records, format_time

_BUFFER_BYTES = 1 << 18


class DecisionLog:
    """One file of decisions; it is an ``onlookers.Audit``."""

    def __init__(
        self, path: Path, engine: Engine, *, epoch_ns: int, on_failure: Callable[[RecordingError], None]
    ) -> None:
        """``epoch_ns`` is the Unix time at which the engine's clock reads 0."""
        try:
            self._file = path.open("x", encoding="utf-8", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise RecordingError(
                f"cannot write decisions to {path}: {error.strerror}; name a new file"
            ) from None
        self._path = path
        self._lines = Lines(self._file.write)
        self._engine = engine
        self._epoch_ns = epoch_ns
        self._on_failure = on_failure
        self._active = True

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int, decision: Decision) -> None:
        """Write what was said of a packet that the device sent."""
        if direction is Direction.DOWNSTREAM or not self._active:
            return
        facts = self._engine.facts
        lines = self._lines
        head = f'{{"frame":{facts.packet_id},"time":{format_time(self._epoch_ns + ns, SECOND_DIGITS)}'
        flow, records = self._engine.get_flow_name(), format_records(facts.records)
        rest = f'{facts.payload_bytes},"flow":"{flow}","records":{records}'
        if decision.verdict is Verdict.HOLD:
            lines.hold(facts.packet_id, head, rest, ns / 1e9)
        else:
            opening, middle, tail = lines.fragments.get(decision) or lines.make_fragments(decision)
            lines.lines.append(f"{head}{opening}null{middle}{rest}{tail}")
        self._flush()

    def release(self, released: Sequence[Held], ns: int) -> None:
        """Fill in what became of packets that waited."""
        if self._active:
            self._lines.release(released, ns / 1e9)
            self._flush()

    def _flush(self) -> None:
        try:
            self._lines.flush()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._active = False
        self._on_failure(RecordingError(f"writing decisions to {self._path} failed: {error.strerror}"))

    def __enter__(self) -> DecisionLog:
        """Return the log; the file is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as error:
            if self._active:
                self._fail(error)
            with contextlib.suppress(OSError):
                self._file.close()
