"""What precedes the IP packet in a captured frame.

This file knows the link layers that captures of a home network have, each as one function from a frame
to (source address, destination address, where the IP packet begins). It does not look into the packet.
An address that the link layer does not tell is b""; a frame that holds no IP packet begins at NOT_IP.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from guard.errors import CaptureError

NOT_IP = -1
ETHERTYPE_IPV4 = b"\x08\x00"
ETHERTYPE_IPV6 = b"\x86\xdd"
ETHERTYPES_IP = frozenset((ETHERTYPE_IPV4, ETHERTYPE_IPV6))
# 802.1Q, 802.1ad, and the tag that switches used for stacked VLANs before 802.1ad
ETHERTYPES_VLAN = frozenset((b"\x81\x00", b"\x88\xa8", b"\x91\x00"))
# AF_INET, then AF_INET6 on NetBSD/OpenBSD, FreeBSD, Darwin, Linux, Windows
FAMILIES_IP = frozenset((2, 24, 28, 30, 10, 23))

Located = tuple[bytes, bytes, int]

LINKTYPE_NULL = 0
LINKTYPE_ETHERNET = 1
LINKTYPE_RAW = 101
LINKTYPE_LOOP = 108
LINKTYPE_LINUX_SLL = 113
LINKTYPE_IPV4 = 228
LINKTYPE_IPV6 = 229
LINKTYPE_LINUX_SLL2 = 276
SLL_ADDRESS_BYTES = 8  # the field; a MAC fills six of them


def locate_ethernet(frame: bytes) -> Located:
    """Return where IP begins behind an Ethernet II header and its VLAN tags."""
    return frame[6:12], frame[0:6], _walk_ethertypes(frame, 12)


def locate_raw(_frame: bytes) -> Located:
    """Return the start: the frame is the packet."""
    return b"", b"", 0


def locate_loopback(frame: bytes) -> Located:
    """Return where IP begins behind a BSD loopback header, whatever the byte order of its host."""
    if len(frame) < 4:
        return b"", b"", NOT_IP
    (family,) = struct.unpack_from("<I", frame)
    if family > 0xFFFF:
        (family,) = struct.unpack_from(">I", frame)
    return b"", b"", 4 if family in FAMILIES_IP else NOT_IP


def locate_sll(frame: bytes) -> Located:
    """Return where IP begins in a Linux cooked capture; only the sender's address is known."""
    if len(frame) < 16:
        return b"", b"", NOT_IP
    size = min(int.from_bytes(frame[4:6], "big"), SLL_ADDRESS_BYTES)
    return frame[6 : 6 + size], b"", _walk_ethertypes(frame, 14)


def locate_sll2(frame: bytes) -> Located:
    """Return where IP begins in a version 2 cooked capture; only the sender's address is known."""
    if len(frame) < 20:
        return b"", b"", NOT_IP
    size = min(frame[11], SLL_ADDRESS_BYTES)
    source = frame[12 : 12 + size]
    if frame[0:2] in ETHERTYPES_IP:
        return source, b"", 20
    if frame[0:2] in ETHERTYPES_VLAN:
        return source, b"", _walk_ethertypes(frame, 22)
    return source, b"", NOT_IP


def _walk_ethertypes(frame: bytes, offset: int) -> int:
    kind = frame[offset : offset + 2]
    while kind in ETHERTYPES_VLAN:
        offset += 4
        kind = frame[offset : offset + 2]
    return offset + 2 if kind in ETHERTYPES_IP else NOT_IP


LOCATORS: dict[int, Callable[[bytes], Located]] = {
    LINKTYPE_NULL: locate_loopback,
    LINKTYPE_ETHERNET: locate_ethernet,
    LINKTYPE_RAW: locate_raw,
    LINKTYPE_LOOP: locate_loopback,
    LINKTYPE_LINUX_SLL: locate_sll,
    LINKTYPE_IPV4: locate_raw,
    LINKTYPE_IPV6: locate_raw,
    LINKTYPE_LINUX_SLL2: locate_sll2,
}

# The ones that people meet and that cannot be used, so that the error can name them.
UNUSABLE = {
    105: "IEEE 802.11",
    127: "IEEE 802.11 with radiotap",
    119: "IEEE 802.11 with Prism header",
    187: "Bluetooth HCI",
    201: "Bluetooth HCI with direction",
    189: "USB",
    220: "USB with padded header",
    249: "USBPcap",
    9: "PPP",
    50: "PPP in HDLC framing",
    51: "PPPoE",
    239: "NFLOG",
}


def get_locator(link_type: int) -> Callable[[bytes], Located]:
    """Return the function for ``link_type``; CaptureError names one that cannot be used."""
    locator = LOCATORS.get(link_type)
    if locator is None:
        name = UNUSABLE.get(link_type, "no name known here")
        raise CaptureError(
            f"link type {link_type} ({name}) cannot be read: capture on Ethernet, Linux cooked or raw IP"
        )
    return locator
