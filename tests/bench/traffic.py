"""Make the traffic that the benches replay: an Echo's packets and its cloud's, as raw IPv4.

Knows how an Echo's uplink looks on the wire (docs of the classes: heartbeats, telemetry, voice on its
lattice, answers) and how TCP numbers it: sequence numbers, acknowledgements and checksums are right,
so that connection tracking and the engine see whole connections. The bodies of the records are noise
from a seeded generator: the same arguments make the same packets. Knows nothing of time.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal, NamedTuple

from guard.core.verdict import Direction

ECHO_ADDRESS = IPv4Address("10.77.0.2")
GATE_ADDRESS = IPv4Address("10.77.0.1")
CLOUD_NETWORK = IPv4Address("198.18.0.0")  # RFC 2544: reserved for benchmarks
ECHO_MAC = bytes.fromhex("02776b000001")
LAN_MAC = bytes.fromhex("02776b000002")
WAN_MAC = bytes.fromhex("02776b000003")
CLOUD_MAC = bytes.fromhex("02776b000004")

SEGMENT_BYTES = 1460
HEARTBEAT_RECORD = 41  # HTTP/2 PING in AES-GCM
VOICE_UNIT = 80  # Opus 32 kbit/s, 20 ms
VOICE_OVERHEAD = 33
TELEMETRY_RECORDS = (365, 1475, 1475, 1396)
HEADERS_RECORD = 320
PRE_ROLL_BYTES = 17_500
UNITS_A_COMMAND = 180  # 3.6 s of speech
ANSWER_RECORD = 4096
AT_WORK = 100  # connections

_FIN, _SYN, _PSH, _ACK = 0x01, 0x02, 0x08, 0x10
_SYN_OPTIONS = bytes.fromhex("020405b40101040201030307")  # MSS 1460, SACK permitted, window scale 7
_IP = struct.Struct(">BBHHHBBH4s4s")
_TCP = struct.Struct(">HHIIBBHHH")
_UDP = struct.Struct(">HHHH")
_UPSTREAM, _DOWNSTREAM = Direction.UPSTREAM, Direction.DOWNSTREAM


Mix = Literal["mix", "small", "full-size", "music"]


class Packet(NamedTuple):
    """One IP packet and the way it goes."""

    direction: Direction
    data: bytes


def _checksum(data: bytes) -> int:
    # The ones' complement sum of 16-bit words is the number they spell modulo 65535 (RFC 1071).
    if len(data) & 1:
        data += b"\0"
    return 0xFFFF - int.from_bytes(data, "big") % 0xFFFF


def _ip(protocol: int, source: bytes, target: bytes, segment: bytes) -> bytes:
    length = _IP.size + len(segment)
    check = _checksum(_IP.pack(0x45, 0, length, 0, 0x4000, 64, protocol, 0, source, target))
    return _IP.pack(0x45, 0, length, 0, 0x4000, 64, protocol, check, source, target) + segment


def generate_datagrams(count: int, *, size: int = 300) -> Iterator[Packet]:
    """Yield ``count`` UDP datagrams of the Echo with ``size`` bytes of payload, one flow, upstream."""
    source, target = ECHO_ADDRESS.packed, (CLOUD_NETWORK + 1).packed
    payload = random.Random(size).randbytes(size)
    length = _UDP.size + size
    pseudo = source + target + struct.pack(">HH", 17, length)
    check = _checksum(pseudo + _UDP.pack(40000, 9999, length, 0) + payload)
    packet = Packet(_UPSTREAM, _ip(17, source, target, _UDP.pack(40000, 9999, length, check) + payload))
    for _ in range(count):
        yield packet


class Connection:
    """One TCP connection of the Echo to its cloud, carrying TLS 1.2; each method yields packets."""

    def __init__(self, number: int, *, seed: int = 1, echo: IPv4Address = ECHO_ADDRESS) -> None:
        self._random = random.Random(seed * 1_000_003 + number)
        self._noise = self._random.randbytes(1 << 15)
        self._addresses = (echo.packed, (CLOUD_NETWORK + 1 + number % 250).packed)
        self._ports = (20_000 + number, 443)
        self._next = [self._random.randrange(1 << 32), self._random.randrange(1 << 32)]

    def _packet(self, direction: Direction, payload: bytes = b"", flags: int = _ACK) -> Packet:
        source, target = self._addresses[direction], self._addresses[1 - direction]
        options = _SYN_OPTIONS if flags & _SYN else b""
        acknowledged = self._next[1 - direction] if flags & _ACK else 0
        head = (self._ports[direction], self._ports[1 - direction], self._next[direction], acknowledged)
        tail = ((_TCP.size + len(options)) << 2, flags, 0xFFFF)
        pseudo = source + target + struct.pack(">HH", 6, _TCP.size + len(options) + len(payload))
        check = _checksum(pseudo + _TCP.pack(*head, *tail, 0, 0) + options + payload)
        consumed = len(payload) + (1 if flags & (_SYN | _FIN) else 0)
        self._next[direction] = (self._next[direction] + consumed) & 0xFFFFFFFF
        segment = _TCP.pack(*head, *tail, check, 0) + options + payload
        return Packet(direction, _ip(6, source, target, segment))

    def _body(self, length: int) -> bytes:
        start = self._random.randrange(len(self._noise) - length)
        return self._noise[start : start + length]

    def record(self, length: int, *, content_type: int = 23) -> bytes:
        """Return one TLS record with ``length`` bytes of noise."""
        return struct.pack(">BHH", content_type, 0x0303, length) + self._body(length)

    def send(self, direction: Direction, payload: bytes) -> Iterator[Packet]:
        """Yield the segments of one write; the peer acknowledges every second one and the last."""
        for number, start in enumerate(range(0, len(payload), SEGMENT_BYTES)):
            yield self._packet(direction, payload[start : start + SEGMENT_BYTES], _ACK | _PSH)
            if number % 2:
                yield self.acknowledge(direction)
        if len(payload) % (2 * SEGMENT_BYTES):
            yield self.acknowledge(direction)

    def segment(self, direction: Direction, payload: bytes) -> Packet:
        """Return one segment, acknowledged by nobody yet."""
        return self._packet(direction, payload, _ACK | _PSH)

    def acknowledge(self, direction: Direction) -> Packet:
        """Return the peer's acknowledgement of what ``direction`` has sent."""
        return self._packet(_DOWNSTREAM if direction is _UPSTREAM else _UPSTREAM)

    def open(self) -> Iterator[Packet]:
        """Yield TCP's three packets and a TLS 1.2 handshake."""
        yield self._packet(_UPSTREAM, flags=_SYN)
        yield self._packet(_DOWNSTREAM, flags=_SYN | _ACK)
        yield self._packet(_UPSTREAM)
        yield from self.send(_UPSTREAM, _client_hello(self._body(32)))
        certificate = struct.pack(">B3s", 11, (3000).to_bytes(3, "big")) + self._body(3000)
        flight = _server_hello(self._body(32)) + _handshake(certificate) + _handshake(b"\x0e\0\0\0")
        yield from self.send(_DOWNSTREAM, flight)
        exchange = _handshake(struct.pack(">B3sB", 16, (66).to_bytes(3, "big"), 65) + self._body(65))
        cipher, finished = b"\x14\x03\x03\0\1\1", self.record(40, content_type=22)
        yield from self.send(_UPSTREAM, exchange + cipher + finished)
        yield from self.send(_DOWNSTREAM, cipher + self.record(40, content_type=22))

    def heartbeat(self) -> Iterator[Packet]:
        """Yield a PING, its reply, and the acknowledgement of that."""
        yield self.segment(_UPSTREAM, self.record(HEARTBEAT_RECORD))
        yield self.segment(_DOWNSTREAM, self.record(HEARTBEAT_RECORD))
        yield self.acknowledge(_DOWNSTREAM)

    def telemetry(self) -> Iterator[Packet]:
        """Yield a burst of metrics: records that cross full-size segments, then a short reply."""
        records = [self.record(n) for n in TELEMETRY_RECORDS * self._random.randint(1, 3)]
        yield from self.send(_UPSTREAM, b"".join(records))
        yield from self.send(_DOWNSTREAM, self.record(180))

    def voice(self) -> Iterator[Packet]:
        """Yield an utterance: headers, JSON, pre-roll burst, the steady run on the lattice."""
        yield from self.send(_UPSTREAM, self.record(HEADERS_RECORD))
        yield from self.send(_UPSTREAM, self.record(self._random.randint(400, 4000)))
        unit = self.record(VOICE_OVERHEAD + 4 * VOICE_UNIT)
        yield from self.send(_UPSTREAM, unit * (PRE_ROLL_BYTES // len(unit)))
        left = UNITS_A_COMMAND
        while left > 0:
            units = self._random.choice((1, 1, 1, 2, 2, 3, 4))
            left -= units
            yield self.segment(_UPSTREAM, self.record(VOICE_OVERHEAD + units * VOICE_UNIT))
            if left & 1:
                yield self.acknowledge(_UPSTREAM)

    def stream(self) -> Iterator[Packet]:
        """Yield an answer or a stretch of a song: downstream records, acknowledged upstream."""
        records = [self.record(ANSWER_RECORD) for _ in range(self._random.randint(4, 12))]
        yield from self.send(_DOWNSTREAM, b"".join(records))

    def act(self, mix: Mix) -> Iterator[Packet]:
        """Yield the packets of one thing that an open connection does."""
        acts = {
            "mix": (self.heartbeat, self.heartbeat, self.heartbeat, self.telemetry, self.voice, self.stream),
            "small": (self.heartbeat,),
            "full-size": (self.telemetry, self.upload),
            "music": (self.stream,),
        }[mix]
        yield from self._random.choice(acts)()

    def upload(self) -> Iterator[Packet]:
        """Yield a long write: full records in full segments."""
        records = [self.record(ANSWER_RECORD) for _ in range(8)]
        yield from self.send(_UPSTREAM, b"".join(records))

    def live(self) -> Iterator[Packet]:
        """Yield the connection's packets for ever, from its SYN on."""
        yield from self.open()
        while True:
            yield from self.act("mix")


def generate_tls(count: int, *, flows: int, seed: int = 1) -> Iterator[Packet]:
    """Yield ``count`` packets, both ways, of ``flows`` connections in a random order."""
    order = random.Random(seed)
    connections = [Connection(number, seed=seed).live() for number in range(flows)]
    for _ in range(count):
        yield next(order.choice(connections))


def generate_openings(connections: Iterable[Connection]) -> Iterator[Packet]:
    """Yield what opens the connections, one after the other."""
    for connection in connections:
        yield from connection.open()


def generate_acts(
    connections: Sequence[Connection], count: int, mix: Mix = "mix", *, seed: int = 1
) -> Iterator[tuple[int, Packet]]:
    """Yield ``count`` packets, each with its connection's place in the list.

    At most ``AT_WORK`` connections are at work at once, their packets in a random order: of 10,000 open
    ones nearly all are silent, as in a household.
    """
    order = random.Random(seed)
    silent = list(range(len(connections)))
    at_work: list[tuple[int, Iterator[Packet]]] = []
    while count:
        while silent and len(at_work) < AT_WORK:
            place = order.randrange(len(silent))
            silent[place], silent[-1] = silent[-1], silent[place]
            number = silent.pop()
            at_work.append((number, connections[number].act(mix)))
        place = order.randrange(len(at_work))
        number, acts = at_work[place]
        packet = next(acts, None)
        if packet is None:
            at_work[place] = at_work[-1]
            at_work.pop()
            silent.append(number)
            continue
        yield number, packet
        count -= 1


def write_frames(path: Path, packets: Iterable[Packet]) -> int:
    """Write the packets as ``send.c`` reads them; return how many."""
    heads = {
        _UPSTREAM: LAN_MAC + ECHO_MAC + b"\x08\0",
        _DOWNSTREAM: WAN_MAC + CLOUD_MAC + b"\x08\0",
    }
    count = 0
    with path.open("wb") as file:
        for direction, data in packets:
            head = heads[direction]
            side = 0x80000000 if direction is _DOWNSTREAM else 0
            if side and data[9] == 6 and data[33] & _SYN:
                side |= 0x40000000  # the answer to a SYN waits until the SYN has passed
            file.write(struct.pack("<I", side | (len(head) + len(data))) + head + data)
            count += 1
    return count


def _handshake(message: bytes) -> bytes:
    return struct.pack(">BHH", 22, 0x0303, len(message)) + message


def _client_hello(noise: bytes) -> bytes:
    name = b"avs-alexa-4-na.amazon.com"
    server_name = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    groups = bytes.fromhex("000a00080006001d00170018")
    algorithms = bytes.fromhex("000d000a0008040105010601 0201".replace(" ", ""))
    extensions = server_name + groups + algorithms
    suites = bytes.fromhex("c02fc030c02bc02c009c009d")
    body = b"\x03\x03" + noise + b"\0" + struct.pack(">H", len(suites)) + suites + b"\1\0"
    body += struct.pack(">H", len(extensions)) + extensions
    return _handshake(struct.pack(">B3s", 1, len(body).to_bytes(3, "big")) + body)


def _server_hello(noise: bytes) -> bytes:
    body = b"\x03\x03" + noise + b"\0" + bytes.fromhex("c02f00") + bytes.fromhex("0005ff01000100")
    return _handshake(struct.pack(">B3s", 2, len(body).to_bytes(3, "big")) + body)
