"""Segments on a real connection that its own kernel would not send: any number, whatever was answered."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from struct import pack, pack_into

from tests import wire
from tests.netns.household import Household

_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21  # linux/tcp.h
_RECEIVED, _SENT = 1, 2
_REPAIR_OFF_WITHOUT_PROBE = -1


class Injector:
    """The Echo's end of a connection, taken as it stands: its addresses, ports and next sequence numbers."""

    def __init__(self, home: Household, stream: socket.socket) -> None:
        """Take ``stream``, which is connected; nothing may be under way on it."""
        self._home = home
        self._family = stream.family
        self._ends = stream.getsockname()[:2], stream.getpeername()[:2]
        stream.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        numbers = []
        for queue in (_SENT, _RECEIVED):
            stream.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
            numbers.append(stream.getsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ) & 0xFFFFFFFF)
        stream.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_OFF_WITHOUT_PROBE)
        self._seq, self._ack = numbers

    def send(self, payload: bytes = b"", *, count: int = 1, flags: int = wire.ACK, seq: int = 0) -> None:
        """Send ``count`` equal segments, ``seq`` bytes behind what the connection had sent."""
        (source, source_port), (target, target_port) = self._ends
        segment = bytearray(
            wire.tcp(
                payload,
                source_port=source_port,
                target_port=target_port,
                seq=(self._seq + seq) & 0xFFFFFFFF,
                ack=self._ack,
                flags=flags,
            )
        )
        pseudo = ip_address(source).packed + ip_address(target).packed + pack("!HH", wire.TCP, len(segment))
        pack_into("!H", segment, 16, wire.checksum(pseudo + segment))
        make = wire.ipv4 if self._family == socket.AF_INET else wire.ipv6
        packet = make(bytes(segment), source=source, target=target)
        with self._home.echo.socket(self._family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for _ in range(count):
                raw.sendto(packet, (target, 0))
