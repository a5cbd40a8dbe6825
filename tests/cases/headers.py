"""Cases about IP: fragments, options, extension headers, lengths, and packets inside packets."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.packet import Packet, Raw

from tests.cases.scene import (
    CLOUD,
    CLOUD6,
    ECHO,
    ECHO6,
    ECHO_MAC,
    GATE_MAC,
    MALFORMED,
    NO_INTERACTION,
    VOICE,
    Cases,
    Scene,
    voice,
)

FRAGMENT = "app_data justified refuse packet fragment"
OPTIONS = "app_data justified refuse packet header_options"
OPAQUE = "app_data justified refuse packet opaque_protocol"
PADDING = b"\xee" * 200


def _cut(packet: Packet, size: int) -> list[bytes]:
    """Return the payload of an IP packet in pieces."""
    data = bytes(packet.payload)
    return [data[at : at + size] for at in range(0, len(data), size)]


def _fragments(size: int, shows: str) -> Scene:
    s = Scene(shows, rules="conntrack puts it together first, and the engine sees the whole").establish()
    pieces = _cut(s.ip() / s.tcp(voice()), size)
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        part = IP(src=ECHO, dst=CLOUD, id=7, proto=6, flags=0 if last else "MF", frag=number * size // 8)
        s.send(part / Raw(piece), FRAGMENT)
    return s.expect(ungated=353)


def fragments() -> Scene:
    return _fragments(200, "a voice in two IP fragments")


def fragments_tiny() -> Scene:
    return _fragments(8, "a voice in IP fragments of 8 bytes: the first has no TCP flags")


def fragments_overlapping() -> Scene:
    s = Scene("IP fragments that overlap: Linux drops them all", rules="conntrack drops them").establish()
    data = bytes((s.ip() / s.tcp(voice())).payload)
    for begin, end, more in ((0, 200, 1), (160, len(data), 0)):
        part = IP(src=ECHO, dst=CLOUD, id=7, proto=6, flags="MF" if more else 0, frag=begin // 8)
        s.send(part / Raw(data[begin:end]), FRAGMENT)
    return s.expect(ungated=0)


def options() -> Scene:
    s = Scene("bytes in IP options of an acknowledgement, which no budget of payload counts").establish()
    hidden = IPOption(copy_flag=1, optclass=0, option=30, value=VOICE * 30)
    s.send(s.ip(options=hidden) / s.tcp(flags="A"), OPTIONS)
    return s.expect(ungated=0)


def total_length() -> Scene:
    s = Scene("an IP length of 0, one that ends in the TCP header, one beyond the packet").establish()
    s.send(s.ip(len=0) / s.tcp(voice()), MALFORMED)
    s.send(s.ip(len=30) / s.tcp(voice()), MALFORMED)
    s.send(s.ip(len=1000) / s.tcp(voice()), "app_data justified refuse packet truncated")
    return s.expect(ungated=0)


def total_length_short() -> Scene:
    s = Scene("bytes behind the IP length: the kernel cuts them off, as the receiver would").establish()
    s.send(s.ip(len=40) / s.tcp(voice(), chksum=0), "ack accept tcp_control")
    return s.expect(ungated=0)


def header_length() -> Scene:
    s = Scene("an IP header shorter than an IP header").establish()
    s.send(s.ip(ihl=4) / s.tcp(voice()), MALFORMED)
    return s.expect(ungated=0)


def _extended(shows: str, *headers: Packet, payload: bool = True, **numbers: int) -> Scene:
    s = Scene(shows, version=6).establish()
    packet = s.ip()
    for header in headers:
        packet /= header
    s.send(packet / s.tcp(voice() if payload else b""), OPTIONS)
    return s.expect(ungated=numbers.get("ungated", 353))


def extension_hop_by_hop() -> Scene:
    return _extended(
        "IPv6 hop-by-hop options before a voice", IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
    )


def extension_destination() -> Scene:
    return _extended(
        "IPv6 destination options before a voice", IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    )


def extension_routing() -> Scene:
    header = IPv6ExtHdrRouting(type=0, segleft=0, addresses=[])
    return _extended("an IPv6 routing header, used up, before a voice", header)


def extension_payload() -> Scene:
    options = [PadN(optdata=PADDING)]
    return _extended(
        "bytes in the extension headers of an acknowledgement, which no budget of payload counts",
        IPv6ExtHdrDestOpt(options=options),
        payload=False,
        ungated=0,
    )


def extension_chain() -> Scene:
    s = Scene("a longer chain of extension headers than anybody needs", version=6).establish()
    packet = s.ip()
    for _ in range(12):
        packet /= IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    s.send(packet / s.tcp(voice()), MALFORMED)
    return s.expect(ungated=353)


def fragment_ipv6() -> Scene:
    s = Scene(
        "a voice in IPv6 fragments",
        version=6,
        rules="conntrack puts it together first, and the engine sees the whole",
    ).establish()
    data = bytes(s.ip() / s.tcp(voice()))[40:]
    for begin, more in ((0, 1), (200, 0)):
        piece = data[begin : begin + 200] if more else data[begin:]
        s.send(s.ip() / IPv6ExtHdrFragment(offset=begin // 8, m=more, id=9, nh=6) / Raw(piece), FRAGMENT)
    return s.expect(ungated=353)


def fragment_atomic() -> Scene:
    s = Scene("a voice in an atomic IPv6 fragment", version=6).establish()
    data = bytes(s.ip() / s.tcp(voice()))[40:]
    s.send(s.ip() / IPv6ExtHdrFragment(offset=0, m=0, id=9, nh=6) / Raw(data), FRAGMENT)
    return s.expect(ungated=353)


def tunnels() -> Scene:
    s = Scene("packets inside packets: GRE, IP in IP, IPv6 in IPv4, ESP, an unknown protocol")
    inner = IP(src=ECHO, dst=CLOUD) / UDP(sport=1, dport=2) / Raw(VOICE * 100)
    s.send(s.ip() / GRE() / inner, OPAQUE)
    s.send(s.ip(proto=4) / inner, OPAQUE)
    s.send(s.ip(proto=41) / IPv6(src=ECHO6, dst=CLOUD6) / UDP(sport=1, dport=2) / Raw(VOICE * 100), OPAQUE)
    s.send(s.ip(proto=50) / Raw(VOICE * 100), OPAQUE)
    s.send(s.ip(proto=253) / Raw(VOICE * 100), OPAQUE)
    return s.expect(ungated=500)


def no_next_header() -> Scene:
    s = Scene("bytes behind IPv6's no next header", version=6)
    s.send(s.ip(nh=59) / Raw(VOICE * 100), OPAQUE)
    return s.expect(ungated=100)


def vlan() -> Scene:
    s = Scene(
        "a voice in a VLAN tag",
        rules="on a bridge such frames pass iptables by: the bridge's own rules drop them",
    ).establish()
    frame = Ether(src=ECHO_MAC, dst=GATE_MAC) / Dot1Q(vlan=5) / s.ip() / s.tcp(voice())
    s.send(frame, NO_INTERACTION)
    return s.expect(ungated=353)


def version_five() -> Scene:
    s = Scene("an IP version that there is not")
    s.send(s.ip(version=5) / TCP(sport=1, dport=443) / Raw(VOICE * 100), MALFORMED)
    return s.expect(ungated=0)


CASES: Cases = {
    f"ip-{name.replace('_', '-')}": case
    for name, case in list(globals().items())
    if getattr(case, "__module__", None) == __name__ and not name.startswith("_")
}
