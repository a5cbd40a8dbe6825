"""Which frames of a capture belong to one device, and which way they travel.

The device is named by its MAC, by an IP address, or, in a recording of the gate, by its name there.
This file looks at link-layer addresses and at the two address fields of an IP header, nowhere else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from guard.capture import Interface
from guard.core.verdict import Direction
from guard.link import (
    ETHERTYPES_IP,
    LINKTYPE_ETHERNET,
    NOT_IP,
    get_locator,
    locate_ethernet,
)

# Direction and the packet from its IP header on (None: not IP); None when it is not the device's frame.
Match = tuple[Direction, bytes | None] | None
Matcher = Callable[[bytes, int], Match]

MAX_LEARNED_ADDRESSES = 64  # of a device in a cooked capture; an Echo has fewer than ten
EPB_DIRECTION_MASK = 3
EPB_DIRECTIONS = {1: Direction.UPSTREAM, 2: Direction.DOWNSTREAM}
_MAC = re.compile(r"[0-9a-f]{2}([:-]?)[0-9a-f]{2}(\1[0-9a-f]{2}){4}", re.ASCII | re.IGNORECASE)


class DeviceSelector:
    """The device as the user named it; hands out one matcher for each interface of the capture."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.mac = b""
        self.address = b""
        self.name = ""
        if _MAC.fullmatch(text):
            self.mac = bytes.fromhex(text.replace(":", "").replace("-", ""))
            return
        try:
            self.address = ipaddress.ip_address(text).packed
        except ValueError:
            self.name = text

    @classmethod
    def of_name(cls, name: str) -> DeviceSelector:
        """Return the selector of a device by its name in a recording, whatever the name looks like."""
        selector = cls("")
        selector.text = selector.name = name
        return selector

    def make_matcher(self, interface: Interface) -> Matcher:
        """Return the function that tells this device's frames on ``interface``."""
        locate = get_locator(interface.link_type)
        if self.name:
            return _make_name_matcher(self.name, interface)
        if self.address:
            return _make_address_matcher(self.address, interface.link_type)
        if interface.link_type == LINKTYPE_ETHERNET:
            return _make_ethernet_matcher(self.mac)
        mac = self.mac
        learned: set[bytes] = set()

        def match(frame: bytes, _flags: int) -> Match:
            # A cooked capture tells the sender only: what goes to the device is told by its addresses.
            source, _destination, offset = locate(frame)
            packet = None if offset == NOT_IP else frame[offset:]
            if source == mac:
                address = get_addresses(packet)[0] if packet is not None else b""
                if address and len(learned) < MAX_LEARNED_ADDRESSES:
                    learned.add(address)
                return Direction.UPSTREAM, packet
            if packet is not None and learned and get_addresses(packet)[1] in learned:
                return Direction.DOWNSTREAM, packet
            return None

        return match


def get_addresses(packet: bytes) -> tuple[bytes, bytes]:
    """Return source and destination of an IP packet; b"" where the header is too short or unknown."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return packet[12:16], packet[16:20]
    if version == 6 and len(packet) >= 40:
        return packet[8:24], packet[24:40]
    return b"", b""


def _make_ethernet_matcher(mac: bytes) -> Matcher:
    upstream, downstream = Direction.UPSTREAM, Direction.DOWNSTREAM

    def match(frame: bytes, _flags: int) -> Match:
        if frame[6:12] == mac:
            direction = upstream
        elif frame[0:6] == mac:
            direction = downstream
        else:
            return None
        if frame[12:14] in ETHERTYPES_IP:
            return direction, frame[14:]
        offset = locate_ethernet(frame)[2]
        return direction, None if offset == NOT_IP else frame[offset:]

    return match


def _make_address_matcher(address: bytes, link_type: int) -> Matcher:
    locate = get_locator(link_type)

    def match(frame: bytes, _flags: int) -> Match:
        offset = locate(frame)[2]
        if offset == NOT_IP:
            return None
        packet = frame[offset:]
        source, destination = get_addresses(packet)
        if source == address:
            return Direction.UPSTREAM, packet
        if destination == address:
            return Direction.DOWNSTREAM, packet
        return None

    return match


def _make_name_matcher(name: str, interface: Interface) -> Matcher:
    locate = get_locator(interface.link_type)
    if interface.name != name:
        return match_nothing

    def match(frame: bytes, flags: int) -> Match:
        direction = EPB_DIRECTIONS.get(flags & EPB_DIRECTION_MASK)
        if direction is None:
            return None
        offset = locate(frame)[2]
        return direction, None if offset == NOT_IP else frame[offset:]

    return match


def match_nothing(_frame: bytes, _flags: int) -> Match:
    """Match no frame."""
    return None
