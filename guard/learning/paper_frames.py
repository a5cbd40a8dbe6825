"""The paper's rows as packets, so that the engine itself can judge them.

Knows: what a row leaves out, and what is put in its place. Refuses to know: what the engine answers.

A row has a frame's length, no record lengths, no client port, and nothing of what the cloud sent. So

- headers are as long as those of the bare ACKs to the same address (TCP timestamps or not);
- a frame that shows a TLS layer begins one record and ends it, but for the two frames that TLS 1.2 clients
  are known to fill with their whole flight: key exchange, ChangeCipherSpec and Finished;
- each new SYN to an address is a connection of its own; which one a later row belongs to is told by
  ``delta``, the time since its stream's last packet, as far as that goes;
- TCP without a TLS layer on a TLS connection is a part of a record when the frame is full, else the last
  segment of the same length again; so is a handshake record after the Finished;
- the cloud agrees to each SYN, answers a ClientHello with TLS 1.2 and AES-GCM (the heartbeats' lengths say
  that suite), and acknowledges what it got before the last segment. It says nothing else, no PING either.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from guard.capture import Frame, Interface
from guard.core.packet import ACK, PSH, SYN
from guard.learning.paper_table import (
    LAYER_HTTP,
    LAYER_TCP,
    LAYER_TLS,
    PaperRow,
    read_paper_table,
)
from guard.link import LINKTYPE_RAW

DEVICE = "192.0.2.10"  # RFC 5737: the Echo, whose address the tables leave out

_INTERFACE = Interface(LINKTYPE_RAW, 6)
_ETHERNET, _IPV4, _TCP = 14, 20, 20
_SACK_LENGTHS = frozenset(_ETHERNET + _IPV4 + _TCP + options for options in (0, 12, 24, 32, 40))
_FULL_FRAME = 1480  # from here on a frame is as full as this Echo makes one (1494 and 1506 bytes)
_RECORD_HEADER = 5
_HANDSHAKE, _CHANGE_CIPHER_SPEC, _APPLICATION_DATA = 22, 20, 23
_FINISHED = 40  # AES-GCM of TLS 1.2: 8 + 16 + 16
_KEY_EXCHANGE = 70  # a point on P-256
_CIPHER_SUITE = 0xC02F  # ECDHE-RSA-AES128-GCM-SHA256
_PORTS = range(40000, 60000)
_KEPT_CONNECTIONS = 6  # to one address and port
_NEAR_MS = 2  # by which ``delta`` may miss
_SERVER_ISN, _CLIENT_ISN = 5000, 1000
_MS = 1_000_000


@dataclass(slots=True)
class Address:
    """What the whole table says of one address and port."""

    acks: Counter[int] = field(default_factory=Counter)  # lengths of bare ACKs
    tls: bool = False  # some frame shows a TLS layer

    @property
    def header_bytes(self) -> int:
        """Ethernet, IP and TCP headers of a segment with payload."""
        return self.acks.most_common(1)[0][0] if self.acks else _ETHERNET + _IPV4 + _TCP


@dataclass(slots=True)
class Connection:
    """One synthetic connection of the Echo."""

    port: int
    begun: bool  # with a SYN that was seen
    answered: bool = False
    greeted: bool = False  # both hellos are out
    finished: bool = False
    seq: int = _CLIENT_ISN
    server_seq: int = _SERVER_ISN
    unacked: int = _CLIENT_ISN  # where the last segment began
    last_ns: int = 0
    segments: dict[int, tuple[int, bytes]] = field(default_factory=dict)  # frame length -> its last segment


def survey(path: Path, condition: str | None = None) -> dict[tuple[str, int], Address]:
    """Return what can be known of each address only after reading the whole table."""
    addresses: dict[tuple[str, int], Address] = {}
    for row in read_paper_table(path, condition):
        address = addresses.setdefault((row.dstip, row.dstport), Address())
        address.tls |= row.highest_layer == LAYER_TLS
        if row.highest_layer == LAYER_TCP and row.length in (54, 66) and row.ack_flag:
            address.acks[row.length] += 1
    return addresses


class PaperFrames:
    """The frames of one table, as a capture yields them; ``row`` is the one behind the last frame.

    Frames of the cloud have ``row`` None. Iterate once.
    """

    def __init__(self, path: Path, condition: str | None = None) -> None:
        self.row: PaperRow | None = None
        self._path = path
        self._condition = condition
        self._addresses = survey(path, condition)
        self._connections: dict[tuple[str, int], list[Connection]] = {}
        self._opened = 0
        self._number = 0

    def __iter__(self) -> Iterator[Frame]:
        for row in read_paper_table(self._path, self._condition):
            for upstream, packet in self._write(row):
                self.row = row if upstream else None
                self._number += 1
                yield self._number, row.time_ns, _INTERFACE, packet, len(packet), 0

    def _write(self, row: PaperRow) -> Iterator[tuple[bool, bytes]]:
        """Yield what goes over the wire for one row: whether the Echo sends it, and the packet."""
        known = self._connections.setdefault((row.dstip, row.dstport), [])
        address = self._addresses[row.dstip, row.dstport]
        if not row.ack_flag and row.highest_layer == LAYER_TCP:
            again = known and not known[-1].answered and row.delta > 0
            line = known[-1] if again else self._open(known, begun=True)
            line.last_ns = row.time_ns
            yield True, _pack(line, row.dstip, row.dstport, _CLIENT_ISN, SYN)
            line.seq = line.unacked = _CLIENT_ISN + 1
            return
        line = _choose(known, row) or self._open(known, begun=False)
        if line.begun and not line.answered:
            yield False, _pack(line, row.dstip, row.dstport, line.server_seq, SYN | ACK, down=True)
            line.server_seq += 1
        line.answered = True
        line.last_ns = row.time_ns
        size = row.length - address.header_bytes
        bare = row.highest_layer == LAYER_TCP and (size <= 0 or row.length in _SACK_LENGTHS)
        if bare:
            yield True, _pack(line, row.dstip, row.dstport, line.seq, ACK)
            return
        again = row.highest_layer == LAYER_TCP and address.tls and row.length < _FULL_FRAME
        again |= row.content_type in (_HANDSHAKE, _CHANGE_CIPHER_SPEC) and line.begun and line.finished
        if again and row.length in line.segments:
            seq, payload = line.segments[row.length]
        else:
            seq, payload = line.seq, self._fill(row, line, address, max(1, size))
            if line.unacked != seq:  # all that came before has arrived by now
                yield False, _pack(line, row.dstip, row.dstport, line.server_seq, ACK, down=True)
            line.unacked = seq
            line.seq += len(payload)
            line.segments[row.length] = (seq, payload)
        yield True, _pack(line, row.dstip, row.dstport, seq, ACK | PSH, payload)
        if row.content_type == _HANDSHAKE and line.begun and not line.greeted:
            line.greeted = True
            hello = _server_hello()
            yield False, _pack(line, row.dstip, row.dstport, line.server_seq, ACK, hello, down=True)
            line.server_seq += len(hello)

    def _open(self, known: list[Connection], *, begun: bool) -> Connection:
        line = Connection(_PORTS[self._opened % len(_PORTS)], begun, greeted=not begun, finished=not begun)
        self._opened += 1
        known.append(line)
        del known[:-_KEPT_CONNECTIONS]
        return line

    def _fill(self, row: PaperRow, line: Connection, address: Address, size: int) -> bytes:
        """Return the payload that stands for the row's ``size`` bytes."""
        if not address.tls:
            return (
                (b"GET / HTTP/1.1\r\n" + bytes(size))[:size]
                if row.highest_layer == LAYER_HTTP
                else bytes(size)
            )
        content_type = row.content_type or _APPLICATION_DATA
        body = size - _RECORD_HEADER
        if body < 0:
            return bytes(size)
        if content_type == _HANDSHAKE and not line.greeted:
            return _record(_HANDSHAKE, _client_hello(body))
        last_flight = _record(_CHANGE_CIPHER_SPEC, b"\x01") + _record(_HANDSHAKE, bytes(_FINISHED))
        if content_type == _CHANGE_CIPHER_SPEC and body >= 1:
            line.finished = True
            return last_flight if size == len(last_flight) else _record(_CHANGE_CIPHER_SPEC, bytes(body))
        if content_type == _HANDSHAKE and size == _RECORD_HEADER + _KEY_EXCHANGE + len(last_flight):
            line.finished = True
            return _record(_HANDSHAKE, bytes(_KEY_EXCHANGE)) + last_flight
        return _record(content_type, bytes(body))


def _choose(known: list[Connection], row: PaperRow) -> Connection | None:
    """Return the connection that the row belongs to, as far as its times tell; None before the first."""
    if not known:
        return None
    if row.content_type == _HANDSHAKE and (new := [line for line in known if not line.greeted]):
        return new[-1]
    before = row.time_ns - row.delta * _MS
    near = [line for line in known if abs(line.last_ns - before) <= _NEAR_MS * _MS]
    if row.delta and near:
        return near[-1]
    if row.content_type == _APPLICATION_DATA and not known[-1].finished:
        older = [line for line in known if line.finished]
        return older[-1] if older else known[-1]
    return known[-1]


def _record(content_type: int, body: bytes) -> bytes:
    return struct.pack("!BHH", content_type, 0x0303, len(body)) + body


def _client_hello(size: int) -> bytes:
    """Return a ClientHello of ``size`` bytes, padded as RFC 7685 does; too small a one is cut."""
    head = struct.pack("!H32sBHHBB", 0x0303, b"", 0, 2, _CIPHER_SUITE, 1, 0)
    padding = max(0, size - 4 - len(head) - 6)
    extensions = struct.pack("!HHH", 4 + padding, 21, padding) + bytes(padding)
    return _message(1, head + extensions)[:size]


def _server_hello() -> bytes:
    return _record(_HANDSHAKE, _message(2, struct.pack("!H32sBHB", 0x0303, b"", 0, _CIPHER_SUITE, 0)))


def _message(kind: int, body: bytes) -> bytes:
    return struct.pack("!BBH", kind, 0, len(body)) + body


def _pack(
    line: Connection, peer: str, port: int, seq: int, flags: int, payload: bytes = b"", *, down: bool = False
) -> bytes:
    """Return an IPv4 packet; without checksums, which nobody here looks at."""
    ends = (ip_address(DEVICE).packed, ip_address(peer).packed)
    ports = (line.port, port)
    ack = line.server_seq
    if down:
        ends, ports = ends[::-1], ports[::-1]
        ack = line.seq
    total = _IPV4 + _TCP + len(payload)
    head = struct.pack("!BBHIBBH4s4s", 0x45, 0, total, 0, 64, 6, 0, *ends)
    return head + struct.pack("!HHIIBBHI", *ports, seq, ack, 0x50, flags, 65535, 0) + payload
