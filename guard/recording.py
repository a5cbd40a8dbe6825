"""What ``--record`` adds to a running gate.

Joins the gate to the recorder and sees to it that a full disk ends the recording and nothing else: one
log line, one metric, and the gate goes on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from guard.core.event import Event
from guard.core.verdict import Direction, Mode
from guard.errors import RecordingError
from guard.recorded import Recorder
from guard.trace import Settings


class Recording:
    """Everything that the engine is told, in order, until the disk is full."""

    def __init__(self, recorder: Recorder, *, on_failure: Callable[[RecordingError], None]) -> None:
        self._recorder: Recorder | None = recorder
        self._on_failure = on_failure

    @property
    def active(self) -> bool:
        """Tell whether anything is still being written."""
        return self._recorder is not None

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int) -> None:
        """Note one packet."""
        self._write(
            lambda recorder: recorder.record_packet(packet, device=device, direction=direction, now_ns=ns)
        )

    def event(self, event: Event, device: str, ns: int) -> None:
        """Note one event."""
        self._write(lambda recorder: recorder.record_event(event, device=device, now_ns=ns))

    def mode(self, mode: Mode, device: str, ns: int) -> None:
        """Note that the mode was switched, of one device or of all."""
        self._write(lambda recorder: recorder.record_mode(mode, device=device, now_ns=ns))

    def settings(self, settings: Settings, ns: int) -> None:
        """Note that the owner's settings were read again."""
        self._write(lambda recorder: recorder.record_settings(settings, now_ns=ns))

    def timer(self, ns: int) -> None:
        """Note that the engine's timer was served."""
        self._write(lambda recorder: recorder.record_timer(now_ns=ns))

    def flush(self) -> None:
        """Give what is buffered to the kernel."""
        self._write(Recorder.flush)

    def close(self) -> None:
        """End the recording."""
        self._write(Recorder.close)
        self._recorder = None

    def _write(self, step: Callable[[Recorder], None]) -> None:
        if self._recorder is None:
            return
        try:
            step(self._recorder)
        except RecordingError as error:
            broken, self._recorder = self._recorder, None
            with contextlib.suppress(RecordingError):  # it is the same fault again
                broken.close()
            self._on_failure(error)
