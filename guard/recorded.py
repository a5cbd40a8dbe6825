"""Write down what the live gate judged, so that a replay judges the same again.

A recording is a directory of two files. ``packets.pcapng`` holds every queued packet from its IP header
on: one interface for each device, named after it, time = epoch + the engine's clock in nanoseconds, and
the direction seen from the gate (upstream is inbound). ``events.jsonl`` is a trace (``trace``) of
everything else that the engine was told. Both are for the owner's eyes only: file mode 0600.

It does not judge, and it never hides a failed write: RecordingError, and the gate decides what to do.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from guard.core.event import Event, TraceHeader, format_line
from guard.core.verdict import Direction, Mode
from guard.errors import RecordingError
from guard.link import LINKTYPE_RAW
from guard.pcapng import (
    BYTE_ORDER_MAGIC,
    ENHANCED_PACKET,
    INTERFACE_DESCRIPTION,
    OPT_EPB_FLAGS,
    OPT_IF_NAME,
    OPT_IF_TSRESOL,
    SECTION_HEADER,
)
from guard.trace import Gate, Settings, TimerServed, format_entry, format_gate

PACKETS_NAME = "packets.pcapng"
EVENTS_NAME = "events.jsonl"
PACKETS_BUFFER_BYTES = 1 << 18
EPB_DIRECTION = {Direction.UPSTREAM: 1, Direction.DOWNSTREAM: 2}  # inbound, outbound: seen from the gate
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
_ENHANCED = struct.Struct("<IIIIIII")
_ENHANCED_TAIL = struct.Struct("<HHIHHI")


class Recorder:
    """Appends to a new recording in ``directory``; times are the engine's clock in nanoseconds.

    ``settings`` are those with which the engine was made; ``epoch_ns`` is the Unix time at which its clock
    reads 0. Every method may raise RecordingError (disk full, file removed).
    """

    def __init__(self, directory: Path, *, settings: Settings, epoch_ns: int, mode: Mode) -> None:
        self._epoch_ns = epoch_ns
        self._interfaces = {name: number for number, name in enumerate(settings.devices)}
        self.packets_path = directory / PACKETS_NAME
        self.events_path = directory / EVENTS_NAME
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingError(
                f"cannot record to {directory}: {error.strerror}; name a new directory"
            ) from None
        try:
            self._packets = _create(self.packets_path)
            self._events = _create(self.events_path)
            self._packets.write(_format_head(settings.devices))
            self._packets.flush()
            self._write_line(format_line(TraceHeader(epoch_ns)))
            self._write_line(format_gate(Gate(mode, settings)))
        except FileExistsError:
            raise RecordingError(f"{directory} already holds a recording: name another directory") from None
        except OSError as error:
            raise RecordingError(f"cannot record to {directory}: {error.strerror}") from None

    def record_packet(self, packet: bytes, *, device: str, direction: Direction, now_ns: int) -> None:
        """Write a packet as it was given to ``Engine.receive_packet``."""
        size = len(packet)
        padding = _PADDING[size & 3]
        length = 44 + size + len(padding)
        time_ns = self._epoch_ns + now_ns
        try:
            self._packets.write(
                _ENHANCED.pack(
                    ENHANCED_PACKET,
                    length,
                    self._interfaces[device],
                    time_ns >> 32,
                    time_ns & 0xFFFFFFFF,
                    size,
                    size,
                )
                + packet
                + padding
                + _ENHANCED_TAIL.pack(OPT_EPB_FLAGS, 4, EPB_DIRECTION[direction], 0, 0, length)
            )
        except OSError as error:
            raise self._explain(error) from None

    def record_event(self, event: Event, *, device: str, now_ns: int) -> None:
        """Write an event as it was given to ``Engine.receive_event``."""
        self._record_line(format_entry(event, now_ns=now_ns, device=device))

    def record_mode(self, mode: Mode, *, device: str = "", now_ns: int) -> None:
        """Write that the mode was switched, of ``device`` or of all."""
        self._record_line(format_entry(mode, now_ns=now_ns, device=device))

    def record_settings(self, settings: Settings, *, now_ns: int) -> None:
        """Write that the owner's settings were read again."""
        self._record_line(format_entry(settings, now_ns=now_ns))

    def record_timer(self, *, now_ns: int) -> None:
        """Write that ``Engine.handle_timer`` was called."""
        self._record_line(format_entry(TimerServed(), now_ns=now_ns))

    def flush(self) -> None:
        """Give what is buffered to the kernel."""
        try:
            self._packets.flush()
        except OSError as error:
            raise self._explain(error) from None

    def close(self) -> None:
        """Flush and close both files."""
        try:
            self._packets.close()
            self._events.close()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._events.close()
            raise self._explain(error) from None

    def _record_line(self, line: str) -> None:
        try:
            self._write_line(line)
        except OSError as error:
            raise self._explain(error) from None

    def _write_line(self, line: str) -> None:
        self._events.write(line.encode() + b"\n")
        self._events.flush()

    def _explain(self, error: OSError) -> RecordingError:
        return RecordingError(f"recording to {self.packets_path.parent} failed: {error.strerror}")


def _create(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb", buffering=PACKETS_BUFFER_BYTES)


def _format_head(devices: Iterable[str]) -> bytes:
    section = struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1)
    blocks = [_format_block(SECTION_HEADER, section)]
    for name in devices:
        options = _format_option(OPT_IF_NAME, name.encode()) + _format_option(OPT_IF_TSRESOL, b"\x09")
        body = struct.pack("<HHI", LINKTYPE_RAW, 0, 0) + options + bytes(4)
        blocks.append(_format_block(INTERFACE_DESCRIPTION, body))
    return b"".join(blocks)


def _format_block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _format_option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + value + _PADDING[len(value) & 3]
