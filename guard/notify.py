"""Tell the service manager how the gate is: sd_notify(3) and its watchdog."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


def notify(message: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send ``message`` (``READY=1``, ``WATCHDOG=1`` ...) to the service manager, if there is one."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.connect("\0" + path[1:] if path[0] == "@" else path)
        sender.send(message.encode())


def get_watchdog_interval(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return after how many seconds to send ``WATCHDOG=1``: half of what the manager waits for."""
    period = environment.get("WATCHDOG_USEC", "")
    if not period.isdecimal() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(period) / 2e6 or None
