"""Ask the local network by multicast DNS who it is: RFC 6762, one-shot queries (section 5.1).

One question for each address (its reverse name) on the given interface; answers that come within the
patience are believed as a hint, and nothing else is sent. Neither services are browsed nor names claimed.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import time
from collections.abc import Iterable
from typing import Final

GROUP: Final = "224.0.0.251"
PORT: Final = 5353
PATIENCE: Final = 1.5  # seconds for all answers together; a sleeping Echo answers within one
MAX_ANSWER_BYTES: Final = 9000  # RFC 6762, section 17
MAX_ANSWERS: Final = 256  # read at most, whoever sends them
_TYPE_PTR: Final = 12
_UNICAST_IN: Final = 0x8001  # class IN, the answer may come to us alone
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")
_MAX_LABELS: Final = 128


def ask_names(
    addresses: Iterable[str], *, interface: str, patience: float = PATIENCE, port: int = PORT
) -> dict[str, str]:
    """Return the names of the IPv4 ``addresses`` that answer: address -> name without ``.local``."""
    questions = {
        ipaddress.ip_address(address).reverse_pointer: address for address in addresses if "." in address
    }
    found: dict[str, str] = {}
    if not questions:
        return found
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            index = socket.if_nametoindex(interface)
            asker.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", b"\0" * 4, b"\0" * 4, index)
            )
            asker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            for name in questions:
                asker.sendto(make_query(name), (GROUP, port))
            deadline = time.monotonic() + patience
            for _ in range(MAX_ANSWERS):
                left = deadline - time.monotonic()
                if left <= 0 or len(found) == len(questions):
                    break
                asker.settimeout(left)
                for name, target in parse_pointers(asker.recv(MAX_ANSWER_BYTES)):
                    if name in questions:
                        found[questions[name]] = target.removesuffix(".local")
    except OSError:
        return found  # no such interface, no multicast, or nobody answered: a hint that is not there
    return found


def make_query(name: str) -> bytes:
    """Return a query for the pointer at ``name``."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return _HEADER.pack(0, 0, 1, 0, 0, 0) + labels + b"\0" + _QUESTION.pack(_TYPE_PTR, _UNICAST_IN)


def parse_pointers(message: bytes) -> list[tuple[str, str]]:
    """Return the (name, target) of each PTR answer; none when the message is malformed."""
    found: list[tuple[str, str]] = []
    try:
        _id, _flags, questions, answers, _authority, _additional = _HEADER.unpack_from(message)
        offset = _HEADER.size
        for _ in range(questions):
            _name, offset = _read_name(message, offset)
            offset += _QUESTION.size
        for _ in range(answers):
            name, offset = _read_name(message, offset)
            kind, _class, _ttl, length = _RECORD.unpack_from(message, offset)
            offset += _RECORD.size
            if kind == _TYPE_PTR:
                found.append((name.lower(), _read_name(message, offset)[0]))
            offset += length
    except (struct.error, IndexError, UnicodeDecodeError, ValueError):
        return []
    return found


def _read_name(message: bytes, offset: int) -> tuple[str, int]:
    """Return a name and what follows it; RFC 1035, section 4.1.4, with a bound on its pointers."""
    labels: list[str] = []
    after = -1
    for _ in range(_MAX_LABELS):
        length = message[offset]
        if length >= 0xC0:
            after = offset + 2 if after < 0 else after
            offset = (length & 0x3F) << 8 | message[offset + 1]
            continue
        offset += 1
        if length == 0:
            return ".".join(labels), offset if after < 0 else after
        if offset + length > len(message):
            raise ValueError("a label beyond the message")
        labels.append(message[offset : offset + length].decode())
        offset += length
    raise ValueError("a name without end")
