"""IP packets with TCP in them, put together by hand for the simulation (RFC 791, 8200, 9293)."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

_HOP_LIMIT: Final = 64
_WINDOW: Final = 65535
MSS: Final = 1440  # an Ethernet frame less an IPv6 and a TCP header
_MSS_OPTION: Final = struct.pack(">BBH", 2, 4, MSS)
_TCP: Final = 6


class Flags(IntFlag):
    """TCP's control bits (RFC 9293, 3.1)."""

    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: str
    port: int


def build_packet(
    source: Endpoint, target: Endpoint, flags: Flags, *, seq: int, ack: int, payload: bytes = b""
) -> bytes:
    """Return the packet from its IP header on, checksums included."""
    options = _MSS_OPTION if Flags.SYN in flags else b""
    offset = (20 + len(options)) << 2
    head = struct.pack(">HHIIBBHHH", source.port, target.port, seq, ack, offset, flags, _WINDOW, 0, 0)
    tcp = head + options + payload
    left, right = ipaddress.ip_address(source.address), ipaddress.ip_address(target.address)
    addresses = left.packed + right.packed
    if left.version == 6:
        pseudo = addresses + struct.pack(">II", len(tcp), _TCP)
        header = struct.pack(">IHBB", 6 << 28, len(tcp), _TCP, _HOP_LIMIT) + addresses
    else:
        pseudo = addresses + struct.pack(">HH", _TCP, len(tcp))
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0x4000, _HOP_LIMIT, _TCP, 0)
        checksum = _checksum(header + addresses)
        header = header[:10] + struct.pack(">H", checksum) + addresses
    return header + tcp[:16] + struct.pack(">H", _checksum(pseudo + tcp)) + tcp[18:]


def _checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    words: tuple[int, ...] = struct.unpack(f">{len(data) // 2}H", data)
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
