"""What a Linux host behind the gate delivers of IP packets: to TCP, to UDP, to whoever reads raw ones.

Knows: lengths, the IPv4 header's checksum, hops, fragments, extension headers, transport checksums, as
Linux checks them. It shares no code with ``guard.core``. Refuses to know: addresses (all are its own).
"""

from __future__ import annotations

import struct

from tests.model.receiver import SYN, Receiver, Segment

HOPS = 4  # between the gate and the host: a smaller time to live ends on the way
TCP, UDP, ICMPV6, FRAGMENT, NO_NEXT_HEADER = 6, 17, 58, 44, 59
ICMP = 1
EXTENSIONS = (0, 43, 60)
CHECKED = (TCP, UDP, ICMP, ICMPV6)


class Host:
    """The host; ``delivered`` is what its applications have read, in the order of arrival."""

    def __init__(self, *, isn: int) -> None:
        self.receiver = Receiver(isn=isn)
        self._datagrams: list[bytes] = []
        self._fragments: dict[bytes, list[tuple[int, bytes, bool]]] = {}

    @property
    def delivered(self) -> bytes:
        return self.receiver.delivered + b"".join(self._datagrams)

    def note_answer(self, packet: bytes) -> None:
        """Take a packet that it sent itself: payload moves its numbers on."""
        header = 20 if packet[0] >> 4 == 4 else 40
        flags, size = packet[header + 13], len(packet) - header - (packet[header + 12] >> 4) * 4
        if not flags & SYN:
            self.receiver.send(size)

    def receive(self, packet: bytes) -> None:
        """Take one IP packet."""
        version = packet[0] >> 4 if packet else 0
        if version == 4:
            self._receive_ipv4(packet)
        elif version == 6:
            self._receive_ipv6(packet)

    def _receive_ipv4(self, packet: bytes) -> None:
        header = (packet[0] & 15) * 4
        total, _, fragment = struct.unpack_from("!HHH", packet, 2)
        if header < 20 or not header <= total <= len(packet) or add_up(packet[:header]) or packet[8] < HOPS:
            return
        payload = packet[header:total]
        if fragment & 0x3FFF:
            key = packet[4:6] + packet[9:10] + packet[12:20]
            whole = self._put_together(key, (fragment & 0x1FFF) * 8, payload, more=bool(fragment & 0x2000))
            if whole is None:
                return
            payload = whole
        self._deliver(packet[9], packet[12:20], payload)

    def _receive_ipv6(self, packet: bytes) -> None:
        end = 40 + int.from_bytes(packet[4:6], "big")
        if end > len(packet) or packet[7] < HOPS:
            return
        following, at = packet[6], 40
        while following in (*EXTENSIONS, FRAGMENT):
            if at + 8 > end or (following == 0 and at != 40):
                return
            if following == FRAGMENT:
                offset = int.from_bytes(packet[at + 2 : at + 4], "big")
                key = packet[at + 4 : at + 8] + packet[8:40]
                whole = self._put_together(key, offset & 0xFFF8, packet[at + 8 : end], more=bool(offset & 1))
                if whole is not None:
                    self._deliver(packet[at], packet[8:40], whole)
                return
            if following == 43 and (packet[at + 2] in (3, 4) or packet[at + 3]):
                return  # RPL and segment routing are off, and no other is followed
            following, at = packet[at], at + (packet[at + 1] + 1) * 8
        if at <= end:
            self._deliver(following, packet[8:40], packet[at:end])

    def _put_together(self, key: bytes, offset: int, payload: bytes, *, more: bool) -> bytes | None:
        """Return the whole once it is there; Linux drops all of it when fragments overlap (RFC 5722)."""
        parts = self._fragments.setdefault(key, [])
        if any(offset < its + len(data) and its < offset + len(payload) for its, data, _ in parts):
            parts.clear()
            return None
        parts.append((offset, payload, more))
        parts.sort()
        at = 0
        for its, data, _ in parts:
            if its != at:
                return None
            at += len(data)
        if parts[-1][2]:
            return None
        del self._fragments[key]
        return b"".join(data for _, data, _ in parts)

    def _deliver(self, protocol: int, ends: bytes, payload: bytes) -> None:
        if protocol == NO_NEXT_HEADER:
            self._datagrams.append(payload)
            return
        right = not add_up(_pseudo(protocol, ends, len(payload)) + payload)
        if protocol == TCP:
            if len(payload) >= 20:
                self._receive_tcp(payload, right=right)
        elif protocol == UDP:
            if len(payload) >= 8:
                self._receive_udp(payload, ends, protocol)
        elif protocol not in CHECKED or right or (protocol == ICMP and not add_up(payload)):
            self._datagrams.append(payload)

    def _receive_udp(self, payload: bytes, ends: bytes, protocol: int) -> None:
        length, checksum = struct.unpack_from("!HH", payload, 4)
        if len(ends) == 32 and length == 0:
            length = len(payload)  # jumbogram
        if not 8 <= length <= len(payload):
            return
        data = payload[:length]
        if checksum and add_up(_pseudo(protocol, ends, length) + data):
            return
        self._datagrams.append(data[8:])

    def _receive_tcp(self, payload: bytes, *, right: bool) -> None:
        seq, ack, words, flags = struct.unpack_from("!IIBB", payload, 4)
        header = (words >> 4) * 4
        if not 20 <= header <= len(payload):
            return
        urgent = int.from_bytes(payload[18:20], "big")
        self.receiver.receive(Segment(seq, flags, payload[header:], ack, urgent, right))


def add_up(data: bytes) -> int:
    """Return 0 when the ones' complement checksum in ``data`` is right (RFC 1071)."""
    return int.from_bytes(data + bytes(len(data) & 1), "big") % 0xFFFF


def _pseudo(protocol: int, ends: bytes, length: int) -> bytes:
    if len(ends) == 8:
        return ends + struct.pack("!BBH", 0, protocol, length)
    return ends + struct.pack("!II", length, protocol)
