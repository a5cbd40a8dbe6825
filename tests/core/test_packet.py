"""What the bytes of a packet say, which fault each bad one has, and that scapy reads the same."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from scapy.layers import inet, inet6
from scapy.packet import Packet

from guard.core.packet import (
    MAX_EXTENSION_HEADERS,
    UNKNOWN_PROTOCOL,
    _parse_slowly,
    format_key,
    get_ports,
    parse_packet,
    reverse_key,
)
from guard.core.verdict import Reason
from tests import wire
from tests.wire import ACK, DESTINATION, FIN, FRAGMENT, HOP_BY_HOP, PSH, ROUTING, RST, SYN, TCP, UDP

KEY4 = bytes.fromhex("0a000002 34040109 b61b 01bb")
SEGMENT = wire.tcp(b"hello", seq=7, ack=9, flags=ACK | PSH)
MIDDLE = (7, 9, ACK | PSH)
HEADER_OPTIONS = Reason.HEADER_OPTIONS


def test_tcp_over_ipv4() -> None:
    assert parse_packet(wire.ipv4(SEGMENT)) == (TCP, KEY4, 40, 5, *MIDDLE, None)


def test_options_of_ip_and_tcp_move_the_payload() -> None:
    segment = wire.tcp(b"hello", seq=7, ack=9, options=bytes(12))
    assert parse_packet(wire.ipv4(segment, options=bytes(8))) == (TCP, KEY4, 60, 5, *MIDDLE, HEADER_OPTIONS)


def test_padding_behind_the_ip_length_is_no_payload() -> None:
    packet = wire.ipv4(wire.tcp(flags=ACK)) + bytes(6)
    assert parse_packet(packet)[2:4] == (40, 0)


def test_tcp_over_ipv6() -> None:
    protocol, key, offset, size, *_, fault = parse_packet(wire.ipv6(SEGMENT))
    assert (protocol, offset, size, fault) == (TCP, 60, 5, None)
    assert format_key(TCP, key) == "tcp [fd00::2]:46619 > [2a01:db8::9]:443"


@pytest.mark.parametrize(
    ("extensions", "offset"),
    [
        ([(HOP_BY_HOP, wire.extension())], 68),
        ([(HOP_BY_HOP, wire.extension(1)), (ROUTING, wire.extension()), (DESTINATION, wire.extension())], 92),
        ([(wire.AUTHENTICATION, bytes([4]) + bytes(22))], 84),  # counts in 4-byte units, less two
        ([(DESTINATION, wire.extension())] * MAX_EXTENSION_HEADERS, 124),
    ],
)
def test_extension_headers_move_the_payload(extensions: list[tuple[int, bytes]], offset: int) -> None:
    fields = parse_packet(wire.ipv6(SEGMENT, extensions=extensions))
    assert fields[0] == TCP
    assert fields[2:] == (offset, 5, *MIDDLE, HEADER_OPTIONS)


@pytest.mark.parametrize(
    "packet",
    [
        wire.ipv4(bytes(8), protocol=wire.IGMP, options=b"\x94\x04\x00\x00"),
        wire.ipv6(
            bytes(28), protocol=wire.ICMPV6, extensions=[(HOP_BY_HOP, b"\x00\x05\x02\x00\x00\x01\x00")]
        ),
    ],
    ids=["igmp", "mld"],
)
def test_a_router_alert_is_what_multicast_needs(packet: bytes) -> None:
    assert parse_packet(packet)[-1] is None


def test_a_router_alert_says_nothing_of_its_own() -> None:
    packet = wire.ipv4(bytes(8), protocol=wire.IGMP, options=b"\x94\x04\x12\x34")
    assert parse_packet(packet)[-1] is HEADER_OPTIONS


def test_udp() -> None:
    packet = wire.ipv4(wire.udp(b"query"), protocol=UDP)
    assert parse_packet(packet) == (UDP, KEY4[:8] + b"\x9c\x40\x00\x35", 28, 5, 0, 0, 0, None)


def test_a_protocol_without_ports() -> None:
    packet = wire.ipv4(b"\x08\x00ping", protocol=wire.ICMP)
    assert parse_packet(packet) == (wire.ICMP, KEY4[:8], 20, 6, 0, 0, 0, None)


LONG = wire.extension(255)
MALFORMED, TRUNCATED = Reason.MALFORMED, Reason.TRUNCATED
FAULTS = {
    "empty": (b"", MALFORMED),
    "version 5": (b"\x55" + bytes(60), MALFORMED),
    "half an IPv4 header": (wire.ipv4(SEGMENT)[:19], MALFORMED),
    "half an IPv6 header": (wire.ipv6(SEGMENT)[:39], MALFORMED),
    "IHL below 5": (wire.ipv4(SEGMENT, ihl=4), MALFORMED),
    "total below the header": (wire.ipv4(SEGMENT, total=19), MALFORMED),
    "no room for TCP": (wire.ipv4(SEGMENT, total=39), MALFORMED),
    "data offset below 5": (wire.ipv4(wire.tcp(b"hello", data_offset=4)), MALFORMED),
    "data offset beyond the packet": (wire.ipv4(wire.tcp(b"hello", data_offset=15)), MALFORMED),
    "no room for UDP": (wire.ipv4(b"1234567", protocol=UDP), MALFORMED),
    "UDP length too short": (wire.ipv4(wire.udp(b"hello", length=9), protocol=UDP), MALFORMED),
    "UDP length too long": (wire.ipv4(wire.udp(b"hello", length=99), protocol=UDP), MALFORMED),
    "extension beyond the length": (wire.ipv6(b"", extensions=[(HOP_BY_HOP, LONG)], length=8), MALFORMED),
    "too many extensions": (
        wire.ipv6(SEGMENT, extensions=[(DESTINATION, wire.extension())] * (MAX_EXTENSION_HEADERS + 1)),
        MALFORMED,
    ),
    "jumbogram": (wire.ipv6(SEGMENT, extensions=[(HOP_BY_HOP, wire.extension())], length=0), MALFORMED),
    "first fragment": (wire.ipv4(SEGMENT, fragment=0x2000), Reason.FRAGMENT),
    "last fragment": (wire.ipv4(SEGMENT, fragment=0x0001), Reason.FRAGMENT),
    "IPv6 fragment": (wire.ipv6(SEGMENT, extensions=[(FRAGMENT, wire.extension())]), Reason.FRAGMENT),
    "atomic fragment behind another header": (
        wire.ipv6(SEGMENT, extensions=[(HOP_BY_HOP, wire.extension()), (FRAGMENT, wire.extension())]),
        Reason.FRAGMENT,
    ),
    "TCP payload cut": (wire.ipv4(SEGMENT)[:-1], TRUNCATED),
    "TCP header cut": (wire.ipv4(SEGMENT)[:30], TRUNCATED),
    "IPv4 options cut": (wire.ipv4(SEGMENT, options=bytes(40))[:30], TRUNCATED),
    "IPv6 TCP payload cut": (wire.ipv6(SEGMENT)[:-1], TRUNCATED),
    "IPv6 extension cut": (wire.ipv6(SEGMENT, extensions=[(HOP_BY_HOP, wire.extension())])[:44], TRUNCATED),
    "UDP payload cut": (wire.ipv4(wire.udp(b"hello"), protocol=UDP)[:-1], TRUNCATED),
    "UDP header cut": (wire.ipv4(wire.udp(b"hello"), protocol=UDP)[:25], TRUNCATED),
    "ICMP cut": (wire.ipv4(b"\x08\x00ping", protocol=wire.ICMP)[:-1], TRUNCATED),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_has_its_name(name: str) -> None:
    packet, fault = FAULTS[name]
    assert parse_packet(packet)[7] is fault


@pytest.mark.parametrize("flags", range(256))
def test_flags_that_no_tcp_sends_are_malformed(flags: int) -> None:
    legal = {SYN, SYN | ACK, ACK, ACK | FIN, RST, RST | ACK}
    core = flags & (SYN | ACK | FIN | RST)
    fault = None if core in legal else MALFORMED
    for packet in (wire.ipv4(wire.tcp(b"x", flags=flags)), wire.ipv6(wire.tcp(b"x", flags=flags))):
        assert parse_packet(packet)[6:] == (flags, fault)


def _mutated() -> Iterator[bytes]:
    chance = random.Random(2)
    seeds = [packet for packet, _ in FAULTS.values()]
    seeds += [wire.ipv4(wire.tcp(bytes(n), options=bytes(4 * (n % 11)))) for n in range(40)]
    for _ in range(4000):
        packet = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(4)):
            if packet:
                packet[chance.randrange(min(len(packet), 48))] = chance.randrange(256)
        yield bytes(packet[: chance.randrange(len(packet) + 1)] if chance.random() < 0.2 else packet)


def test_the_fast_path_agrees_with_the_slow_one() -> None:
    fast = 0
    for packet in _mutated():
        fields = parse_packet(packet)
        assert fields == _parse_slowly(packet), packet.hex()
        fast += fields[0] == TCP and fields[7] is None
    assert fast > 500


def test_payload_lies_inside_the_packet_where_there_is_no_fault() -> None:
    for packet in _mutated():
        protocol, key, offset, size, *_, fault = parse_packet(packet)
        assert size >= 0
        if fault is None:
            assert offset + size <= len(packet)
            assert len(key) in ((12, 36) if protocol in (TCP, UDP) else (8, 32))


def test_scapy_reads_the_same() -> None:
    chance = random.Random(3)
    for number in range(300):
        payload = chance.randbytes(chance.randrange(200))
        ports = (chance.randrange(1, 65536), chance.randrange(1, 65536))
        seq, ack = chance.randrange(1 << 32), chance.randrange(1 << 32)
        above: Packet
        below: Packet
        if number % 3:
            options = [("MSS", 1460), ("NOP", None), ("Timestamp", (1, 2))][: number % 4]
            above = inet.TCP(sport=ports[0], dport=ports[1], seq=seq, ack=ack, flags="PA", options=options)
        else:
            seq = ack = 0
            above = inet.UDP(sport=ports[0], dport=ports[1])
        if number % 2:
            below = inet.IP(src="10.1.2.3", dst="8.8.4.4", options=[inet.IPOption_NOP()] * (number % 5))
        else:
            below = inet6.IPv6(src="fd00::1", dst="2600::2")
            if number % 4:
                below /= inet6.IPv6ExtHdrDestOpt()
        raw = bytes(below / above / payload)
        protocol, key, offset, size, got_seq, got_ack, flags, fault = parse_packet(raw)
        hides = bool(number % 5 if number % 2 else number % 4)
        assert fault is (HEADER_OPTIONS if hides else None)
        assert raw[offset : offset + size] == payload
        assert get_ports(key) == ports
        assert (protocol, got_seq, got_ack) == (TCP if number % 3 else UDP, seq, ack)
        assert flags == (ACK | PSH if number % 3 else 0)


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (wire.ipv4(SEGMENT), "tcp 10.0.0.2:46619 > 52.4.1.9:443"),
        (wire.ipv6(b"x", protocol=wire.ICMPV6), "icmpv6 [fd00::2] > [2a01:db8::9]"),
        (wire.ipv4(b"x", protocol=89), "ip-proto-89 10.0.0.2 > 52.4.1.9"),
        (b"", f"ip-proto-{UNKNOWN_PROTOCOL}"),
    ],
)
def test_a_key_reads_device_first(packet: bytes, text: str) -> None:
    protocol, key, *_ = parse_packet(packet)
    assert format_key(protocol, key) == text
    assert reverse_key(reverse_key(key)) == key


def test_the_reverse_key_is_the_key_of_the_answer() -> None:
    for build, ends in ((wire.ipv4, (wire.ECHO, wire.CLOUD)), (wire.ipv6, (wire.ECHO6, wire.CLOUD6))):
        there = build(wire.tcp(source_port=1, target_port=2), source=ends[0], target=ends[1])
        back = build(wire.tcp(source_port=2, target_port=1), source=ends[1], target=ends[0])
        assert reverse_key(parse_packet(there)[1]) == parse_packet(back)[1]
