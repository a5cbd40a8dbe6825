"""Write generated packets as captures: pcap, or a recording of several devices as the gate makes it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

from guard.core.engine import DeviceSettings
from guard.core.verdict import Direction, Mode
from guard.recorded import Recorder
from guard.trace import Settings
from tests.bench.traffic import ECHO_ADDRESS, Connection, Packet, generate_acts
from tests.bench.wide import load_wide_limits

LINKTYPE_RAW = 101
SPACING_US = 1000
EPOCH_NS = 1_700_000_000 * 10**9

Addressed = tuple[str, Direction, bytes]


def write_capture(path: Path, packets: Iterable[Packet]) -> str:
    """Write a pcap of raw IP, a packet each millisecond; return the device's address."""
    device = ""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, LINKTYPE_RAW))
        for number, (direction, packet) in enumerate(packets):
            if not device and not direction:
                device = ".".join(map(str, packet[12:16]))
            seconds, microseconds = divmod(number * SPACING_US, 1_000_000)
            file.write(struct.pack("<IIII", seconds, microseconds, len(packet), len(packet)) + packet)
    return device


def generate_household(devices: int, flows: int, packets: int) -> Iterator[Addressed]:
    """Yield (device, direction, packet): every connection's opening, then ``packets`` of the mix."""
    connections = [
        Connection(number, echo=IPv4Address(int(ECHO_ADDRESS) + number % devices)) for number in range(flows)
    ]
    for number, connection in enumerate(connections):
        for direction, data in connection.open():
            yield name_device(number % devices), direction, data
    for number, (direction, data) in generate_acts(connections, packets):
        yield name_device(number % devices), direction, data


def name_device(number: int) -> str:
    """Return the name of a device of the household."""
    return f"echo-{number}"


def write_recording(folder: Path, devices: int, flows: int, packets: int) -> int:
    """Write a recording of a household, a packet each millisecond; return how many packets it has."""
    names = {name_device(number): DeviceSettings() for number in range(devices)}
    settings = Settings(names, load_wide_limits())
    recorder = Recorder(folder, settings=settings, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)
    count = 0
    for name, direction, data in generate_household(devices, flows, packets):
        if count % 100 == 0:
            recorder.record_timer(now_ns=count * SPACING_US * 1000)
        recorder.record_packet(data, device=name, direction=direction, now_ns=count * SPACING_US * 1000)
        count += 1
    recorder.close()
    return count
