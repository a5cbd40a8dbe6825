"""IP, TCP and UDP headers, read once per packet.

Knows: IPv4 with options, IPv6 with extension headers (RFC 8200), TCP (RFC 9293), UDP (RFC 768) and the
address-and-port key of a flow. Refuses to know: link layers (the queue has none, ``guard.capture`` strips
them), reassembly (a fragment is a fault with a name), checksums (conntrack drops what fails them before the
queue) and anything above the transport header.

The answer is a plain tuple, the cheapest thing that Python makes, and always an answer: what is wrong
with a packet stands in ``fault``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from struct import Struct
from typing import Final

from guard.core.verdict import Reason

# IANA protocol numbers
ICMP: Final = 1
IGMP: Final = 2
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
ESP: Final = 50
AUTHENTICATION: Final = 51
NO_NEXT_HEADER: Final = 59
DESTINATION: Final = 60

PROTOCOL_NAMES: Final = {ICMP: "icmp", IGMP: "igmp", TCP: "tcp", UDP: "udp", ESP: "esp", ICMPV6: "icmpv6"}

# TCP flags (RFC 9293, 3.1)
FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20

UNKNOWN_PROTOCOL: Final = 255  # IANA: reserved; stands for "there is no readable IP header"
MAX_EXTENSION_HEADERS: Final = 8  # RFC 8200 names six; a longer chain is nobody's traffic

# (protocol, key, payload offset, payload length by the IP length, seq, ack, TCP flags, fault)
Fields = tuple[int, bytes, int, int, int, int, int, Reason | None]

_NOTHING: Final = b""
_EXTENSIONS: Final = frozenset({HOP_BY_HOP, ROUTING, AUTHENTICATION, DESTINATION})
# What a device of the home has a use for: router alert (RFC 2113, 2711), where multicast is joined.
_ROUTER_ALERT: Final = {
    IGMP: bytes.fromhex("94040000"),
    ICMPV6: bytes.fromhex("3a00050200000100"),  # in a hop-by-hop header of its own
}
# version+IHL, total length, fragment word, protocol | seq, ack, data offset, flags
_Ipv4Tcp = Callable[
    [bytes], tuple[int, int, int, int, int, int, int, int]
]  # typed: compiled, no int is boxed
unpack_ipv4_tcp: Final[_Ipv4Tcp] = Struct("!BxHxxHxB14xIIBB").unpack_from
_TCP: Final = Struct("!4xIIBB").unpack_from
_UINT16: Final = Struct("!H").unpack_from
_IPV4_TCP_SIZE: Final = 40
_IPV4_SIZE: Final = 20
_IPV6_SIZE: Final = 40
_TCP_SIZE: Final = 20
_UDP_SIZE: Final = 8
# flag combinations that no TCP sends (RFC 9293, 3.10.7): a receiver's reading of them cannot be foreseen
_ABSURD_FLAGS: Final = frozenset(
    flags
    for flags in range(64)
    if (flags & SYN and flags & (FIN | RST))
    or (flags & (FIN | RST) == FIN | RST)
    or not flags & (SYN | RST | ACK)
)


def parse_packet(packet: bytes) -> Fields:
    """Return the fields of one IP packet.

    ``key`` is source address, destination address, source port, destination port as they stand on the
    wire: 12 bytes for IPv4, 36 for IPv6, without the ports 8 and 32, empty when there is no readable IP
    header. Bytes beyond the IP length (Ethernet padding) are ignored. ``fault`` is None, MALFORMED,
    TRUNCATED (fewer bytes than the IP length), FRAGMENT or HEADER_OPTIONS (others than a router alert, which
    no budget would be charged for); the fields before it are then as far as known.
    """
    if len(packet) >= _IPV4_TCP_SIZE:
        head, total, fragment, protocol, seq, ack, data_offset, flags = unpack_ipv4_tcp(packet)
        if head == 0x45 and not fragment & 0x3FFF and total <= len(packet):
            if protocol == TCP and data_offset >= 0x50:
                offset = 20 + (data_offset >> 2 & 0x3C)
                if total >= offset and flags & 0x3F not in _ABSURD_FLAGS:
                    return TCP, packet[12:24], offset, total - offset, seq, ack, flags, None
            elif (
                protocol == UDP and seq >> 16 == total - _IPV4_SIZE >= _UDP_SIZE
            ):  # there the UDP length stands
                return (
                    UDP,
                    packet[12:24],
                    _IPV4_SIZE + _UDP_SIZE,
                    total - _IPV4_SIZE - _UDP_SIZE,
                    0,
                    0,
                    0,
                    None,
                )
    return _parse_slowly(packet)


def _parse_slowly(packet: bytes) -> Fields:
    size = len(packet)
    version = packet[0] >> 4 if packet else 0
    if version == 4 and size >= _IPV4_SIZE:
        offset = (packet[0] & 15) * 4
        total = _UINT16(packet, 2)[0]
        protocol = packet[9]
        key = packet[12:20]
        if offset < _IPV4_SIZE or total < offset:
            return protocol, key, 0, 0, 0, 0, 0, Reason.MALFORMED
        if _UINT16(packet, 6)[0] & 0x3FFF:
            return protocol, key, offset, total - offset, 0, 0, 0, Reason.FRAGMENT
        options = packet[_IPV4_SIZE:offset]
    elif version == 6 and size >= _IPV6_SIZE:
        offset = _IPV6_SIZE
        total = offset + _UINT16(packet, 4)[0]
        protocol = packet[6]
        key = packet[8:40]
        for _ in range(MAX_EXTENSION_HEADERS):
            if protocol not in _EXTENSIONS:
                break
            if offset + 8 > min(size, total):
                short = Reason.MALFORMED if offset + 8 > total else Reason.TRUNCATED
                return protocol, key, offset, max(0, total - offset), 0, 0, 0, short
            units = packet[offset + 1]
            header = (units + 2) * 4 if protocol == AUTHENTICATION else (units + 1) * 8
            protocol = packet[offset]
            offset += header
        if protocol in _EXTENSIONS or offset > total:
            return protocol, key, offset, 0, 0, 0, 0, Reason.MALFORMED
        if protocol == FRAGMENT:
            return protocol, key, offset, total - offset, 0, 0, 0, Reason.FRAGMENT
        options = packet[_IPV6_SIZE:offset]
    else:
        return UNKNOWN_PROTOCOL, _NOTHING, 0, size, 0, 0, 0, Reason.MALFORMED
    if protocol == TCP:
        fields = _parse_tcp(packet, key, offset, total)
    elif protocol == UDP:
        fields = _parse_udp(packet, key, offset, total)
    else:
        fault = Reason.TRUNCATED if total > size else None
        fields = protocol, key, offset, total - offset, 0, 0, 0, fault
    if options and fields[7] is None and options != _ROUTER_ALERT.get(protocol):
        return *fields[:7], Reason.HEADER_OPTIONS
    return fields


def _parse_tcp(packet: bytes, key: bytes, offset: int, total: int) -> Fields:
    if total - offset < _TCP_SIZE:
        return TCP, key, offset, 0, 0, 0, 0, Reason.MALFORMED
    if len(packet) < offset + _TCP_SIZE:
        return TCP, key, offset, 0, 0, 0, 0, Reason.TRUNCATED
    key += packet[offset : offset + 4]
    seq, ack, data_offset, flags = _TCP(packet, offset)
    header = data_offset >> 2 & 0x3C
    payload = total - offset - header
    if header < _TCP_SIZE or payload < 0 or flags & 0x3F in _ABSURD_FLAGS:
        return TCP, key, offset, max(0, payload), seq, ack, flags, Reason.MALFORMED
    fault = Reason.TRUNCATED if total > len(packet) else None
    return TCP, key, offset + header, payload, seq, ack, flags, fault


def _parse_udp(packet: bytes, key: bytes, offset: int, total: int) -> Fields:
    if total - offset < _UDP_SIZE:
        return UDP, key, offset, 0, 0, 0, 0, Reason.MALFORMED
    if len(packet) < offset + _UDP_SIZE:
        return UDP, key, offset, 0, 0, 0, 0, Reason.TRUNCATED
    key += packet[offset : offset + 4]
    payload = total - offset - _UDP_SIZE
    if _UINT16(packet, offset + 4)[0] != payload + _UDP_SIZE:
        # a shorter UDP length hides bytes behind the datagram
        return UDP, key, offset + _UDP_SIZE, payload, 0, 0, 0, Reason.MALFORMED
    fault = Reason.TRUNCATED if total > len(packet) else None
    return UDP, key, offset + _UDP_SIZE, payload, 0, 0, 0, fault


def get_ports(key: bytes) -> tuple[int, int] | None:
    """Return (source port, destination port) of a flow key, None where it has no ports."""
    if len(key) not in (12, 36):
        return None
    return _UINT16(key, len(key) - 4)[0], _UINT16(key, len(key) - 2)[0]


def reverse_key(key: bytes) -> bytes:
    """Return the key of the opposite direction."""
    half = 16 if len(key) >= 32 else 4
    ports = key[2 * half :]
    return key[half : 2 * half] + key[:half] + ports[2:] + ports[:2]


@lru_cache(maxsize=4096)  # packets without a flow are named one by one
def format_key(protocol: int, key: bytes) -> str:
    """Return ``tcp 10.0.0.2:46619 > 52.4.1.9:443``: source first, brackets for IPv6."""
    name = PROTOCOL_NAMES.get(protocol, f"ip-proto-{protocol}")
    if not key:
        return name
    half = 16 if len(key) >= 32 else 4
    template = "[{}]" if half == 16 else "{}"
    ends = [template.format(ip_address(key[at : at + half])) for at in (0, half)]
    ports = get_ports(key)
    if ports is not None:
        ends = [f"{end}:{port}" for end, port in zip(ends, ports, strict=True)]
    return f"{name} {ends[0]} > {ends[1]}"
