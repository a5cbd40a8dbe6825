"""Event lines on their way out: to the gate's datagram socket, and into a trace that replay reads.

The gate may come and go. Each datagram is addressed by path, so a new gate is reached with the next one;
what nobody heard is counted, and the heartbeat heals it.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from pathlib import Path

from guard.core.event import Event, TraceHeader, format_line
from hardware.errors import HardwareError

_REASONS = {
    errno.ENOENT: "no gate listens there yet; start `wakeguard run`",
    errno.ECONNREFUSED: "the gate has gone; it will be told when it is back",
    errno.EACCES: "no permission; list this user under sensors.users, or use the socket's group",
    errno.EAGAIN: "the gate does not read; it is overloaded or stopped",
}


class Publisher:
    """The gate's socket for one Echo. ``report`` gets a line whenever the gate is lost or found."""

    def __init__(self, path: Path, report: Callable[[str], object]) -> None:
        self._path = str(path)
        self._report = report
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._fault: int | None = 0  # of the last datagram; None: it arrived
        self.sent = 0
        self.unheard = 0

    def send(self, event: Event) -> None:
        """Send one event; nobody listening is counted, never a fault."""
        try:
            self._socket.sendto(format_line(event).encode(), self._path)
        except OSError as error:
            self.unheard += 1
            if error.errno != self._fault:
                self._fault = error.errno
                reason = _REASONS.get(error.errno or 0, f"{error.strerror}; see sensors.socket")
                self._report(f"the gate's socket {self._path} does not take events: {reason}")
            return
        self.sent += 1
        if self._fault is not None:
            self._fault = None
            self._report(f"the gate takes events at {self._path}")

    def close(self) -> None:
        """Close our end."""
        self._socket.close()


class TraceFile:
    """A recorded sensor trace. With ``stamped`` its first line says when t = 0 was."""

    def __init__(self, path: Path, *, stamped: bool) -> None:
        try:
            self._file = path.open("x", encoding="utf-8", buffering=1)
        except FileExistsError:
            raise HardwareError(f"{path} exists already; choose another file for --record") from None
        except OSError as error:
            raise HardwareError(f"{path} cannot be written: {error.strerror}; choose another file") from None
        self._path = path
        if stamped:
            self._write(TraceHeader(time.time_ns() - time.monotonic_ns()))

    def send(self, event: Event) -> None:
        """Write one event."""
        self._write(event)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: Event | TraceHeader) -> None:
        try:
            self._file.write(format_line(line) + "\n")
        except OSError as error:
            raise HardwareError(
                f"{self._path} cannot be written: {error.strerror}; free some space"
            ) from None
