"""The two hellos: what a ClientHello and a ServerHello say that decides anything.

Knows: RFC 8446, 4.1 and the few extensions that matter here. Each parser has three outcomes: parsed, need
more, malformed. Refuses to know: every other handshake message, and what follows from what is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from struct import error as struct_error
from typing import Final

MAX_HELLO_BYTES: Final = 1 << 14  # collected for parsing at most; the caps of ``classify`` are lower

_UINT16: Final = Struct("!H").unpack_from


class Outcome(IntEnum):
    """What reading a message came to."""

    PARSED = 0
    NEED_MORE = 1
    MALFORMED = 2


class Extension(IntEnum):
    """The extensions that matter here (IANA TLS ExtensionType values)."""

    SERVER_NAME = 0
    ENCRYPT_THEN_MAC = 22
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43


CLIENT_HELLO, SERVER_HELLO = 1, 2
# RFC 8446, 4.1.3: the Random of a ServerHello that is a HelloRetryRequest
HELLO_RETRY_REQUEST_RANDOM: Final = bytes.fromhex(
    "cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c"
)


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What of a ClientHello decides anything; ``versions`` are wire values, newest offer first or alone."""

    server_name: str | None
    versions: tuple[int, ...]
    early_data: bool


@dataclass(frozen=True, slots=True)
class ServerHello:
    """What the server chose; ``retry`` marks a HelloRetryRequest."""

    version: int
    cipher_suite: int
    encrypt_then_mac: bool
    retry: bool


def parse_client_hello(message: bytes | bytearray) -> tuple[Outcome, ClientHello | None]:
    """Read a ClientHello (RFC 8446, 4.1.2) from handshake bytes, its 4-byte header included."""
    outcome, body = _message(message, CLIENT_HELLO)
    if body is None:
        return outcome, None
    try:
        version = _UINT16(body, 0)[0]
        at = 34 + 1 + body[34]  # version, Random, session id
        at += 2 + _UINT16(body, at)[0]  # cipher suites
        at += 1 + body[at]  # compression methods
        extensions = _extensions(body, at)
        versions: tuple[int, ...] = (version,)
        if (offered := extensions.get(Extension.SUPPORTED_VERSIONS)) is not None:
            versions = tuple(_UINT16(offered, at)[0] for at in range(1, 1 + offered[0], 2))
        name = None
        if server_names := extensions.get(Extension.SERVER_NAME):
            length = _UINT16(server_names, 3)[0]
            name = server_names[5 : 5 + length].decode("ascii")
    except (IndexError, ValueError, struct_error):
        return Outcome.MALFORMED, None
    return Outcome.PARSED, ClientHello(name, versions, Extension.EARLY_DATA in extensions)


def parse_server_hello(message: bytes | bytearray) -> tuple[Outcome, ServerHello | None]:
    """Read a ServerHello or HelloRetryRequest (RFC 8446, 4.1.3) from handshake bytes, header included."""
    outcome, body = _message(message, SERVER_HELLO)
    if body is None:
        return outcome, None
    try:
        version = _UINT16(body, 0)[0]
        at = 34 + 1 + body[34]  # version, Random, session id
        suite = _UINT16(body, at)[0]
        extensions = _extensions(body, at + 3)  # suite, compression method
        if (chosen := extensions.get(Extension.SUPPORTED_VERSIONS)) is not None:
            version = _UINT16(chosen, 0)[0]
    except (IndexError, ValueError, struct_error):
        return Outcome.MALFORMED, None
    retry = body[2:34] == HELLO_RETRY_REQUEST_RANDOM
    return Outcome.PARSED, ServerHello(version, suite, Extension.ENCRYPT_THEN_MAC in extensions, retry)


def _message(message: bytes | bytearray, message_type: int) -> tuple[Outcome, bytes | None]:
    if not message:
        return Outcome.NEED_MORE, None
    if message[0] != message_type:
        return Outcome.MALFORMED, None
    end = 4 + int.from_bytes(message[1:4], "big")
    if len(message) >= 4 and end > MAX_HELLO_BYTES:
        return Outcome.MALFORMED, None
    if len(message) < 4 or len(message) < end:
        return Outcome.NEED_MORE, None
    return Outcome.PARSED, bytes(message[4:end])


def _extensions(body: bytes, at: int) -> dict[int, bytes]:
    """Return extension type -> content; the block may be missing (RFC 5246, 7.4.1.2)."""
    found: dict[int, bytes] = {}
    if at == len(body):
        return found
    end = at + 2 + _UINT16(body, at)[0]
    if end != len(body):
        raise ValueError("extensions do not fill the hello")
    at += 2
    while at < end:
        extension, length = _UINT16(body, at)[0], _UINT16(body, at + 2)[0]
        at += 4
        if at + length > end:
            raise ValueError("an extension runs over the block")
        found[extension] = body[at : at + length]
        at += length
    return found
