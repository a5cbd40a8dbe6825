"""Capture files and packets made by hand, byte by byte, for tests.

Independent of the reader under test: the formats are written here from their specifications.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

ECHO_MAC = bytes.fromhex("4cefc003f238")
GATEWAY_MAC = bytes.fromhex("703acb6cc68c")
ECHO = "192.168.86.40"
CLOUD = "52.94.229.122"
EPOCH_NS = 1_543_256_532_295_688_000

MICROSECONDS, NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D


def pcap(
    frames: Iterable[tuple[int, bytes]],
    *,
    link_type: int = 1,
    magic: int = MICROSECONDS,
    order: str = "<",
) -> bytes:
    """Return a pcap file of (Unix ns, frame)."""
    unit = 1000 if magic == MICROSECONDS else 1
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)]
    for time_ns, frame in frames:
        seconds, rest = divmod(time_ns, 1_000_000_000)
        parts.append(struct.pack(order + "IIII", seconds, rest // unit, len(frame), len(frame)) + frame)
    return b"".join(parts)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + padded(value)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    length = struct.pack(order + "I", 12 + len(padded(body)))
    return struct.pack(order + "I", kind) + length + padded(body) + length


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link_type: int = 1, *, options: bytes = b"", snap: int = 0, order: str = "<") -> bytes:
    return block(1, struct.pack(order + "HHI", link_type, 0, snap) + options, order)


def enhanced(
    frame: bytes, ticks: int, *, interface_id: int = 0, options: bytes = b"", order: str = "<"
) -> bytes:
    head = struct.pack(order + "IIIII", interface_id, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + padded(frame) + options, order)


def obsolete(frame: bytes, ticks: int, *, order: str = "<") -> bytes:
    head = struct.pack(order + "HHIIII", 0, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(2, head + padded(frame), order)


def simple(frame: bytes, *, wire_bytes: int | None = None, order: str = "<") -> bytes:
    size = len(frame) if wire_bytes is None else wire_bytes
    return block(3, struct.pack(order + "I", size) + padded(frame), order)


def ethernet(
    packet: bytes,
    *,
    source: bytes = ECHO_MAC,
    destination: bytes = GATEWAY_MAC,
    tags: Sequence[int] = (),
    ethertype: int | None = None,
) -> bytes:
    """Return a frame around ``packet``; ``tags`` are the ethertypes of VLAN tags, the outer first."""
    kind = ethertype or (0x86DD if packet[0] >> 4 == 6 else 0x0800)
    middle = b"".join(struct.pack("!HH", tag, 42) for tag in tags)
    return destination + source + middle + struct.pack("!H", kind) + packet


def ip(protocol: int, payload: bytes, *, source: str = ECHO, destination: str = CLOUD) -> bytes:
    """Return an IP packet without checksum (nothing here verifies it)."""
    ends = ip_address(source).packed + ip_address(destination).packed
    if len(ends) == 32:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0x4000, 64, protocol, 0)
    return head + ends + payload


def tcp(
    payload: bytes = b"",
    *,
    seq: int = 1000,
    ack: int = 1,
    flags: int = 0x18,
    ports: tuple[int, int] = (46619, 443),
    source: str = ECHO,
    destination: str = CLOUD,
) -> bytes:
    head = struct.pack("!HHIIBBHHH", *ports, seq, ack, 0x50, flags, 8192, 0, 0)
    return ip(6, head + payload, source=source, destination=destination)


def udp(
    payload: bytes,
    *,
    ports: tuple[int, int] = (40000, 9999),
    source: str = ECHO,
    destination: str = CLOUD,
) -> bytes:
    head = struct.pack("!HHHH", *ports, 8 + len(payload), 0)
    return ip(17, head + payload, source=source, destination=destination)


def record(kind: int, length: int) -> bytes:
    """Return a TLS record with a body of zeros."""
    return struct.pack("!BHH", kind, 0x0303, length) + bytes(length)
