"""Cases about what is no TCP: tunnels in services, and payload that nobody can read."""

from __future__ import annotations

from typing import Any

from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NS, IPv6
from scapy.packet import Packet, Raw

from tests.cases.scene import CLOUD, ECHO, ECHO6, MALFORMED, VOICE, Cases, Scene

WITHIN = "not_relevant accept within_budget"
EXHAUSTED = "app_data justified refuse packet budget_exhausted"
OPAQUE = "app_data justified refuse packet opaque_datagram"


def _udp(port: int, payload: bytes, *, target: str = CLOUD, **fields: Any) -> Packet:
    return IP(src=ECHO, dst=target, id=1) / UDP(sport=40000, dport=port, **fields) / Raw(payload)


def _tunnel(shows: str, budget: str, packets: list[Packet], passed: int, size: int) -> Scene:
    s = Scene(shows, budget=budget)
    for number, packet in enumerate(packets):
        s.send(packet, WITHIN if number < passed else EXHAUSTED)
    return s.expect(ungated=len(packets) * size, gated=passed * size)


def dns() -> Scene:
    packets = [_udp(53, VOICE * 1000) for _ in range(12)]
    return _tunnel("a tunnel in DNS: its budget, then nothing", "dns", packets, 8, 1000)


def dns_names() -> Scene:
    name = b".".join([VOICE * 60] * 3)
    query = IP(src=ECHO, dst=CLOUD, id=1) / UDP(sport=40000, dport=53) / DNS(qd=DNSQR(qname=name))
    size = len(bytes(query)) - 28
    return _tunnel("a tunnel in the names of DNS queries", "dns", [query] * 50, 8192 // size, 180)


def ntp() -> Scene:
    return _tunnel("a tunnel in NTP", "ntp", [_udp(123, VOICE * 480) for _ in range(4)], 2, 480)


def icmp() -> Scene:
    packet = IP(src=ECHO, dst=CLOUD, id=1) / ICMP() / Raw(VOICE * 1000)
    return _tunnel("a tunnel in ICMP echo requests", "icmp", [packet] * 6, 4, 1000)


def icmpv6() -> Scene:
    packet = IPv6(src=ECHO6, dst="2a01:db8::9") / ICMPv6EchoRequest(data=VOICE * 1000)
    return _tunnel("a tunnel in ICMPv6 echo requests", "icmp", [packet] * 6, 4, 1000)


def neighbour_discovery() -> Scene:
    packet = IPv6(src=ECHO6, dst="2a01:db8::9", hlim=255) / ICMPv6ND_NS(tgt="fe80::1") / Raw(VOICE * 1000)
    return _tunnel("neighbour discovery to the internet, which leaves no link", "icmp", [packet] * 6, 4, 1000)


def mdns_to_the_internet() -> Scene:
    s = Scene("mDNS and SSDP to a public address, and from their ports")
    s.send(_udp(5353, VOICE * 100), OPAQUE)
    s.send(_udp(1900, VOICE * 100), OPAQUE)
    s.send(IP(src=ECHO, dst=CLOUD, id=1) / UDP(sport=5353, dport=9999) / Raw(VOICE * 100), OPAQUE)
    return s.expect(ungated=300)


def dhcp_to_the_internet() -> Scene:
    s = Scene("DHCP to a public address")
    s.send(_udp(67, VOICE * 300), OPAQUE)
    return s.expect(ungated=300)


def quic() -> Scene:
    s = Scene("QUIC: a long header, then short ones")
    s.send(_udp(443, b"\xc3\x00\x00\x00\x01" + VOICE * 1200), OPAQUE)
    s.send(_udp(443, b"\x43" + VOICE * 300), OPAQUE)
    return s.expect(ungated=1500)


def stun() -> Scene:
    s = Scene("STUN: a binding request with a voice in an attribute")
    s.send(
        _udp(3478, b"\x00\x01\x00\x68\x21\x12\xa4\x42" + bytes(12) + b"\x80\x22\x00\x64" + VOICE * 100),
        OPAQUE,
    )
    return s.expect(ungated=100)


def srtp() -> Scene:
    s = Scene("SRTP: 20 ms of voice in a packet")
    for number in range(3):
        head = b"\x80\x60" + number.to_bytes(2, "big") + bytes(8)
        s.send(_udp(50_000, head + VOICE * 160), OPAQUE)
    return s.expect(ungated=480)


def length() -> Scene:
    s = Scene("a UDP length shorter than the packet: bytes behind the datagram")
    s.send(_udp(53, VOICE * 500, len=20, chksum=0), MALFORMED)
    s.send(_udp(53, VOICE * 500, len=0, chksum=0), MALFORMED)
    s.send(_udp(53, VOICE * 500, len=4, chksum=0), MALFORMED)
    return s.expect(ungated=12)


def muted() -> Scene:
    s = Scene("services while muted keep their budget, and nothing else passes", budget="dns")
    s.mute()
    s.wait(0.01)
    s.send(_udp(53, VOICE * 40), WITHIN)
    s.send(_udp(443, VOICE * 300), "app_data not_justified refuse packet opaque_datagram")
    return s.expect(ungated=340, gated=40)


CASES: Cases = {
    f"udp-{name.replace('_', '-')}": case
    for name, case in list(globals().items())
    if getattr(case, "__module__", None) == __name__ and not name.startswith("_")
}
