"""Bare resets for the end that no rule reaches.

The rules answer a refused packet with a reset to its sender; the other end would learn of it only with its
next packet. Here the gate tells it at once: a RST without payload, numbered as that end expects it (RFC 5961
takes no other), through a raw socket. It leaves by OUTPUT with ``RESET_MARK``, so that connection tracking
sees the connection's own end and translates its addresses. This file knows headers and the socket; why a
packet was refused it does not know, and it never raises: whatever fails is counted, and reported once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from struct import Struct
from typing import Final

from guard.core.budget import Budget, TokenBucket
from guard.core.packet import ACK, RST, SYN, TCP, parse_packet, reverse_key
from guard.core.tcp import distance
from guard.netfilter.marks import MARK_MASK, RESET_MARK

RATE: Final = Budget(per_hour=360_000, burst=200)
"""Resets a device's refused packets may cause: 100 a second, and an Echo's every connection at once."""

INTERVAL: Final = 1.0  # seconds between two resets of one connection: a lost one is sent again
WINDOW: Final = (
    1 << 20
)  # sequence numbers so near belong to one life of a connection (beyond any usual window)
MAX_REMEMBERED: Final = 4096  # connections; as many as a device may have

_LOCAL_IN: Final = 1  # NF_INET_LOCAL_IN
_SEND_BUFFER_BYTES: Final = 65536
_IPV4_BYTES: Final = 4
_IPV4 = Struct("!BBHHHBBH4s4s").pack
_IPV6 = Struct("!IHBB16s16s").pack
_TCP = Struct("!4sIIBBHHH").pack  # both ports at once
_MARK = Struct("=I").pack  # the interpreter takes no int above 31 bits
_PSEUDO = Struct("!HH").pack
_DONT_FRAGMENT: Final = 0x4000
_HOP_LIMIT: Final = 64
_BARE: Final = 20  # bytes of a header without options, IPv4 and TCP alike
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class Resetter:
    """Tells the other ends of refused connections; ``sent``, ``limited`` and ``failed`` count resets."""

    def __init__(self, *, on_failure: Callable[[OSError], None]) -> None:
        """Open the sockets. Without CAP_NET_RAW each reset fails; ``on_failure`` hears of the first."""
        self.sent = 0
        self.limited = 0
        self.failed = 0
        self._on_failure = on_failure
        self._bucket = TokenBucket(RATE)
        self._told: dict[tuple[bytes, int], float] = {}
        self._sockets: dict[int, socket.socket] = {}
        self._marks: dict[int, int] = {}
        self._fault: OSError | None = None
        try:
            for family in _FAMILIES:
                self._sockets[family] = _open(family)
        except OSError as error:
            self._fault = error

    def close(self) -> None:
        """Give the sockets back."""
        for opened in self._sockets.values():
            opened.close()
        self._sockets.clear()

    def reset(
        self,
        packet: bytes,
        *,
        mark: int,
        hook: int,
        interface: int,
        now: float,
        life: int = 0,
        expected: int | None = None,
    ) -> None:
        """Reset the receiver of a refused ``packet``; on INPUT, where no rule answers, its sender too.

        ``interface`` is the index of the one that the packet came in by. ``life`` tells connections with
        the same addresses and ports apart. ``expected`` is the sequence number up to which the receiver
        has acknowledged, as far as known: a reset numbered before it would not be believed.
        """
        protocol, key, _, _, seq, ack, flags, fault = parse_packet(packet)
        if protocol != TCP or fault is not None or flags & (SYN | RST):
            return  # nobody at the other end yet, or any more
        if expected is not None and distance(expected, seq) > 0:
            seq = expected
        connection = key, life
        if now - self._told.get(connection, -INTERVAL) < INTERVAL:
            return
        if not self._bucket.take(1, now):
            self.limited += 1
            return
        self._told.pop(connection, None)
        self._told[connection] = now
        if len(self._told) > MAX_REMEMBERED:
            del self._told[next(iter(self._told))]
        self._send(key, seq, mark, interface)
        if hook == _LOCAL_IN and flags & ACK:
            self._send(reverse_key(key), ack, mark, interface)

    def _send(self, key: bytes, seq: int, mark: int, interface: int) -> None:
        reset, family, target = make_reset(key, seq)
        address = (target, 0) if family == socket.AF_INET else (target, 0, 0, _get_scope(target, interface))
        wanted = mark & ~MARK_MASK | RESET_MARK  # the user's bits may decide where it is routed
        try:
            if self._fault is not None:
                raise self._fault
            sender = self._sockets[family]
            if self._marks.get(family) != wanted:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _MARK(wanted))
                self._marks[family] = wanted
            sender.sendto(reset, address)
            self.sent += 1
        except OSError as error:
            self.failed += 1
            if self.failed == 1:
                self._on_failure(error)


def make_reset(key: bytes, seq: int) -> tuple[bytes, int, str]:
    """Return a bare RST from the first end of ``key`` to the second, its family and target address."""
    half = (len(key) - 4) // 2
    source, destination, ports = key[:half], key[half : 2 * half], key[2 * half :]
    pseudo = source + destination + _PSEUDO(TCP, _BARE)
    segment = _TCP(ports, seq, 0, _BARE << 2, RST, 0, 0, 0)
    segment = _TCP(ports, seq, 0, _BARE << 2, RST, 0, _sum(pseudo + segment), 0)
    if half == _IPV4_BYTES:
        fields = (0x45, 0, 2 * _BARE, 0, _DONT_FRAGMENT, _HOP_LIMIT, TCP)
        header = _IPV4(*fields, _sum(_IPV4(*fields, 0, source, destination)), source, destination)
        return header + segment, socket.AF_INET, socket.inet_ntop(socket.AF_INET, destination)
    header = _IPV6(6 << 28, _BARE, TCP, _HOP_LIMIT, source, destination)
    return header + segment, socket.AF_INET6, socket.inet_ntop(socket.AF_INET6, destination)


def _sum(content: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(Struct(f"!{len(content) // 2}H").unpack(content))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def _get_scope(target: str, interface: int) -> int:
    """Return the zone that a link-local address needs (RFC 4007)."""
    return interface if target.startswith("fe80:") else 0


def _open(family: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    return opened
