"""Tell the service manager that sensing goes on: sd_notify(3) and its watchdog.

An output like the gate's socket: the sensor's own heartbeat, once a second, is what says that the loop
turns. Knows nothing of what is sensed.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

from guard.core.event import AliveEvent, Event


class ServiceManager:
    """The manager that started this process, if one did."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._path = "\0" + path[1:] if path.startswith("@") else path
        self._ready = False

    def send(self, event: Event) -> None:
        """Say that sensing has begun with the first event, and that it goes on with each heartbeat."""
        if not self._ready:
            self._ready = True
            self._notify("READY=1")
        if isinstance(event, AliveEvent):
            self._notify("WATCHDOG=1")

    def close(self) -> None:
        """Say that this is the end."""
        self._notify("STOPPING=1")

    def _notify(self, message: str) -> None:
        if not self._path:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.connect(self._path)
            sender.send(message.encode())
