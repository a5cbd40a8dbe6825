"""Record a household as a capture with its events, for replay.

What is captured are the Echos' own frames on the gate's interface, Ethernet headers included. The gate
runs in monitor meanwhile, so that the capture shows what an Echo does that nobody hinders.
``wakeguard lab --capture docs/examples`` made the example that ships with Wakeguard, in real periods
(``period_scale`` 1), since a replay judges by the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from guard.capture import Capture, Frame
from guard.core.event import Event, TraceHeader, format_line
from guard.errors import LabError
from guard.lab.kernel_household import KernelHousehold
from guard.lab.namespaces import DEVICES, LAN, Namespaces
from guard.pcapng import (
    BYTE_ORDER_MAGIC,
    ENHANCED_PACKET,
    INTERFACE_DESCRIPTION,
    OPT_IF_TSRESOL,
    SECTION_HEADER,
)

PACKETS_NAME: Final = "household.pcapng"
EVENTS_NAME: Final = "household.jsonl"
PAUSE_S: Final = 20.0  # after each situation, so that the slowest heartbeat (91 s) is in it
_START_S: Final = 5.0
_STOP_S: Final = 5.0
_LINKTYPE_ETHERNET: Final = 1
_NANOSECOND_DIGITS: Final = 9


class Tap:
    """tcpdump on the gate's interface towards the Echos."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._process: asyncio.subprocess.Process | None = None
        self._path = namespaces.directory / "tap.pcap"

    async def start(self) -> None:
        """Begin to capture; every frame from now on is in. LabError without tcpdump."""
        hosts = " or ".join(f"ether host {device.mac}" for device in DEVICES)
        command = ("tcpdump", "-i", LAN, "-Z", "root", "-U", "--immediate-mode", "-w", str(self._path))
        precision = "--time-stamp-precision=nano"
        self._process = await asyncio.create_subprocess_exec(
            *self._namespaces.command("gate", *command, precision, hosts),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        if self._process.stderr is None:
            raise LabError("tcpdump has no pipe")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                while line := await self._process.stderr.readline():
                    if b"listening on" in line:
                        return
        raise LabError("tcpdump does not listen: apt install tcpdump")

    async def stop(self) -> list[Frame]:
        """End the capture and return its frames."""
        if self._process is None:
            return []
        self._process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.communicate()
        except TimeoutError:
            raise LabError("tcpdump does not end") from None
        return list(Capture(self._path))


class CapturedHousehold(KernelHousehold):
    """A household of namespaces whose frames and events are kept in ``directory`` when it stops."""

    def __init__(self, directory: Path, *, period_scale: float = 1.0, gate: bool = True) -> None:
        super().__init__(period_scale=period_scale, gate=gate)
        self.directory = directory
        self._tap = Tap(self.namespaces)

    async def start(self) -> None:
        """Build the household and begin to capture before the Echos are told to connect."""
        await super().start()
        await self._tap.start()

    async def save(self) -> None:
        """End the capture and write both files; before ``stop``, which forgets everything."""
        frames = await self._tap.stop()
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / PACKETS_NAME).write_bytes(b"".join(format_pcapng(frames)))
        (self.directory / EVENTS_NAME).write_text("".join(format_trace(self.events)))


def format_pcapng(frames: Iterable[Frame]) -> Iterator[bytes]:
    """Yield the blocks of a pcapng file of Ethernet frames with nanoseconds."""
    yield _block(SECTION_HEADER, struct.pack("<IHHq", BYTE_ORDER_MAGIC, 1, 0, -1))
    resolution = struct.pack("<HHB3xI", OPT_IF_TSRESOL, 1, _NANOSECOND_DIGITS, 0)
    yield _block(INTERFACE_DESCRIPTION, struct.pack("<HHI", _LINKTYPE_ETHERNET, 0, 0) + resolution)
    for _number, time_ns, _interface, data, wire_bytes, _flags in frames:
        high, low = time_ns >> 32, time_ns & 0xFFFFFFFF
        padding = bytes(-len(data) % 4)
        head = struct.pack("<IIIII", 0, high, low, len(data), wire_bytes)
        yield _block(ENHANCED_PACKET, head + data + padding)


def format_trace(events: Iterable[Event]) -> Iterator[str]:
    """Yield the lines of a trace whose times are CLOCK_MONOTONIC of this machine."""
    yield format_line(TraceHeader(time.time_ns() - time.monotonic_ns())) + "\n"
    for event in events:
        yield format_line(event) + "\n"


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)
