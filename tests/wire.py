"""Packets and TLS messages for tests, in plain Python: what stacks put on the wire, and what none would.

Every builder takes the fields that a test may want wrong; left out, they are right. (TCP and UDP checksums
are 0: the core does not look at them, conntrack drops what fails them before the queue.)
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from struct import pack

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60

ECHO, CLOUD = "10.0.0.2", "52.4.1.9"
ECHO6, CLOUD6 = "fd00::2", "2a01:db8::9"
ECHO_PORT, TLS_PORT = 46619, 443

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA = 20, 21, 22, 23
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
AES_128_GCM = 0xC02F  # TLS 1.2
CHACHA20 = 0xCCA8
AES_128_CBC_SHA = 0xC013
AES_128_CBC_SHA256 = 0xC027
AES_256_CBC_SHA384 = 0xC028
AES_128_GCM_SHA256 = 0x1301  # TLS 1.3
AES_256_GCM_SHA384 = 0x1302
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


# -- packets -----------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """Return the ones' complement checksum (RFC 1071)."""
    return 0xFFFF - int.from_bytes(data + bytes(len(data) & 1), "big") % 0xFFFF


def ipv4(
    payload: bytes,
    *,
    protocol: int = TCP,
    source: str = ECHO,
    target: str = CLOUD,
    options: bytes = b"",
    fragment: int = 0x4000,
    ttl: int = 64,
    total: int | None = None,
    ihl: int | None = None,
) -> bytes:
    """Return an IPv4 packet; ``options`` in whole 4-byte words, ``fragment`` is flags and offset."""
    words = 5 + len(options) // 4 if ihl is None else ihl
    length = 20 + len(options) + len(payload) if total is None else total
    ends = ip_address(source).packed + ip_address(target).packed
    head = pack("!BBHHHBBH", 0x40 | words, 0, length, 1, fragment, ttl, protocol, 0) + ends + options
    return head[:10] + pack("!H", checksum(head)) + head[12:] + payload


def ipv6(
    payload: bytes,
    *,
    protocol: int = TCP,
    source: str = ECHO6,
    target: str = CLOUD6,
    extensions: Sequence[tuple[int, bytes]] = (),
    hop_limit: int = 64,
    length: int | None = None,
) -> bytes:
    """Return an IPv6 packet; each extension is its type and its content without the next-header byte."""
    types = [number for number, _ in extensions] + [protocol]
    chain = b"".join(
        bytes([following]) + content for following, (_, content) in zip(types[1:], extensions, strict=True)
    )
    ends = ip_address(source).packed + ip_address(target).packed
    size = len(chain) + len(payload) if length is None else length
    return pack("!IHBB", 6 << 28, size, types[0], hop_limit) + ends + chain + payload


def extension(units: int = 0) -> bytes:
    """Return an extension header's content: length byte and padding, ``8 * (units + 1)`` bytes in all."""
    return bytes([units]) + bytes(8 * (units + 1) - 2)


def tcp(
    payload: bytes = b"",
    *,
    source_port: int = ECHO_PORT,
    target_port: int = TLS_PORT,
    seq: int = 0,
    ack: int = 0,
    flags: int = ACK | PSH,
    options: bytes = b"",
    data_offset: int | None = None,
) -> bytes:
    """Return a TCP segment; ``options`` in whole 4-byte words."""
    words = 5 + len(options) // 4 if data_offset is None else data_offset
    ports = pack("!HH", source_port, target_port)
    return ports + pack("!IIBBHHH", seq, ack, words << 4, flags, 0xFFFF, 0, 0) + options + payload


def udp(
    payload: bytes = b"", *, source_port: int = 40000, target_port: int = 53, length: int | None = None
) -> bytes:
    """Return a UDP datagram."""
    return (
        pack("!HHHH", source_port, target_port, 8 + len(payload) if length is None else length, 0) + payload
    )


# -- TLS ---------------------------------------------------------------------------------------------


def record(content_type: int, body: bytes | int = 0, *, version: int = TLS_1_2) -> bytes:
    """Return a TLSPlaintext; an int stands for so many bytes of noise."""
    if isinstance(body, int):
        body = (b"\xa5\x17\x03\x03\x00" * (body // 5 + 1))[:body]  # looks like headers to whoever lost count
    return pack("!BHH", content_type, version, len(body)) + body


def app_data(length: int) -> bytes:
    """Return a record of application data."""
    return record(APPLICATION_DATA, length)


def tls_extension(number: int, content: bytes) -> bytes:
    """Return one hello extension."""
    return pack("!HH", number, len(content)) + content


def _vector(content: bytes, size: int) -> bytes:
    return len(content).to_bytes(size, "big") + content


def message(message_type: int, body: bytes) -> bytes:
    """Return a handshake message."""
    return bytes([message_type]) + _vector(body, 3)


def client_hello_message(
    *,
    name: str | None = "alexa.na.gateway.devices.a2z.com",
    versions: Sequence[int] = (),
    early_data: bool = False,
    session_id: bytes = bytes(32),
    padding: int = 0,
    extensions: bool = True,
) -> bytes:
    """Return a ClientHello; ``versions`` fills supported_versions, none leaves it out."""
    body = pack("!H", TLS_1_2) + bytes(range(32)) + _vector(session_id, 1)
    body += _vector(pack("!3H", AES_128_GCM, CHACHA20, AES_128_GCM_SHA256), 2) + b"\x01\x00"
    found = b""
    if name is not None:
        found += tls_extension(0, _vector(b"\x00" + _vector(name.encode(), 2), 2))
    if versions:
        found += tls_extension(43, _vector(b"".join(pack("!H", number) for number in versions), 1))
    if early_data:
        found += tls_extension(42, b"")
    if padding:
        found += tls_extension(21, bytes(padding))
    return message(1, body + (_vector(found, 2) if extensions else b""))


def server_hello_message(
    suite: int = AES_128_GCM, *, encrypt_then_mac: bool = False, retry: bool = False, extensions: bool = True
) -> bytes:
    """Return a ServerHello; TLS 1.3 suites (0x13xx) choose TLS 1.3, ``retry`` makes a HelloRetryRequest."""
    random = RETRY_RANDOM if retry else bytes(range(32))
    body = pack("!H", TLS_1_2) + random + _vector(bytes(32), 1) + pack("!HB", suite, 0)
    found = b""
    if suite >> 8 == 0x13:
        found += tls_extension(43, pack("!H", TLS_1_3))
    if encrypt_then_mac:
        found += tls_extension(22, b"")
    return message(2, body + (_vector(found, 2) if extensions else b""))


def client_hello(*, versions: Sequence[int] = (), early_data: bool = False, padding: int = 0) -> bytes:
    """Return a ClientHello in its record."""
    return record(
        HANDSHAKE,
        client_hello_message(versions=versions, early_data=early_data, padding=padding),
        version=0x0301,
    )


def server_hello(suite: int = AES_128_GCM, *, encrypt_then_mac: bool = False, retry: bool = False) -> bytes:
    """Return a ServerHello in its record."""
    return record(HANDSHAKE, server_hello_message(suite, encrypt_then_mac=encrypt_then_mac, retry=retry))


CCS = record(CHANGE_CIPHER_SPEC, b"\x01")
SERVER_FLIGHT_1_2 = record(HANDSHAKE, message(11, bytes(900))) + record(HANDSHAKE, message(14, b""))
CLIENT_KEY_EXCHANGE = record(HANDSHAKE, message(16, bytes(66)))
FINISHED_GCM = record(HANDSHAKE, 40)  # 16 bytes of plaintext and 24 of AES-GCM
PING_GCM = app_data(41)
