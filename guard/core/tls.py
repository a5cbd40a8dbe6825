"""TLS records and hellos: framing of one direction of a stream, and what two messages say.

Knows: RFC 8446 and 5246 record headers, ClientHello, ServerHello, how much each cipher suite adds to a
plaintext. Refuses to know: keys, bodies other than the two hellos, and what a record means (``classify``).

A stream is framed whatever way it was cut into segments. Each parser has three outcomes: parsed, need
more, malformed.

    START      the first byte of the connection comes next
    FRAMED     record boundaries are known from the first byte on
    UNKNOWN    boundaries are not known (mid-stream, gap): wait for a segment that begins with a header
    TENTATIVE  such a header was seen; the next one confirms it or throws it out
    INFERRED   confirmed
    OPAQUE     the connection does not speak TLS
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from struct import Struct
from struct import error as struct_error

from guard.core.verdict import Reason

RECORD_HEADER_BYTES = 5
MAX_RECORD_BYTES = (1 << 14) + 2048  # RFC 5246, 6.2.3; RFC 8446 allows less
MAX_HELLO_BYTES = 1 << 14  # collected for parsing at most; the caps of ``classify`` are lower


class ContentType(IntEnum):
    """Name the record types (RFC 8446, 5.1; the paper swaps two of them, the RFC is right)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


class Framing(IntEnum):
    """What is known of the record boundaries of one direction; see the module's table."""

    START = 0
    FRAMED = 1
    UNKNOWN = 2
    TENTATIVE = 3
    INFERRED = 4
    OPAQUE = 5


_CONTENT_TYPES = frozenset(map(int, ContentType))

# What the bytes of a record are, by how sensitive they are; a packet is the union of its bytes.
KIND_SYN, KIND_HANDSHAKE, KIND_APP_DATA, KIND_SPLIT = 1, 2, 4, 8

_UINT16 = Struct("!H").unpack_from
_START, _FRAMED, _UNKNOWN, _TENTATIVE, _INFERRED, _OPAQUE = Framing
_RECORD = Struct("!BHH").unpack_from  # type, legacy version, length


def is_record_header(content_type: int, version: int, length: int) -> bool:
    """Say whether these can be the header of a TLS record (versions SSL 3.0 to TLS 1.3)."""
    return 20 <= content_type <= 23 and 0x0300 <= version <= 0x0304 and length <= MAX_RECORD_BYTES


class RecordStream:
    """Frame one direction of a TLS connection.

    ``on_record(content_type, length, now)`` is asked once for each record, when its header is complete, and
    answers with the KIND of its bytes. ``records`` collects ``(content_type, length)`` of each header
    completed; whoever reads it empties it. While ``sink`` is a bytearray, bodies of handshake records go
    there, for the hello parsers.
    """

    __slots__ = (
        "asked",
        "content_type",
        "framing",
        "header",
        "kind",
        "on_record",
        "reason",
        "records",
        "remaining",
        "resolved",
        "sink",
        "unlisted",
    )

    def __init__(self, on_record: Callable[[int, int, float], int], framing: Framing) -> None:
        self.on_record = on_record
        self.framing = framing
        self.content_type = 0  # of the current record
        self.kind = KIND_APP_DATA  # of the current record
        self.remaining = 0  # bytes of the current record that have not been seen
        self.header = b""  # the part of a header that has been seen
        # record lengths that ``on_record`` must be asked about; the others are application data. None: all
        self.asked: Container[int] | None = None
        self.reason: Reason | None = None  # why the last record was application data, None where it simply is
        self.resolved = 0  # the KIND of a record whose header began in an earlier call, else 0
        self.records: list[tuple[int, int]] = []
        self.sink: bytearray | None = None
        self.unlisted: tuple[int, int] | None = None  # a TENTATIVE record, until it is complete or confirmed

    def lose(self) -> None:
        """Forget the boundaries: bytes of the stream were missed."""
        if self.framing is not _OPAQUE:
            self.framing = _UNKNOWN
        self.kind = KIND_APP_DATA
        self.remaining = 0
        self.header = b""
        self.sink = None
        self.unlisted = None

    def receive(self, data: bytes, start: int, end: int, now: float) -> int:
        """Take ``data[start:end]``, the next bytes (at least one); return the union of their KINDs.

        The bytes of a header that is not complete yet are KIND_SPLIT: whatever its first byte, only the
        length tells. The call that completes it leaves the record's KIND in ``resolved``.
        """
        remaining = self.remaining
        if end - start < remaining and self.sink is None:
            self.remaining = remaining - (end - start)
            return self.kind
        framing = self.framing
        if framing is _OPAQUE:
            return KIND_APP_DATA
        if framing is _UNKNOWN:
            if end - start < RECORD_HEADER_BYTES or not is_record_header(*_RECORD(data, start)):
                return KIND_APP_DATA
            self.framing = _TENTATIVE
            self.kind = KIND_APP_DATA
            self.content_type, _, self.remaining = _RECORD(data, start)
            self.unlisted = (self.content_type, self.remaining)
            return KIND_APP_DATA | self._frame(data, start + RECORD_HEADER_BYTES, end, now)
        if self.header or self.sink is not None or framing is _START or framing is _TENTATIVE:
            return self._frame(data, start, end, now)
        # The common case, whole headers on known boundaries: what _frame does, without its questions.
        kinds = 0
        asked = self.asked
        if remaining:
            kinds = self.kind
            start += remaining
            self.remaining = 0
        while end - start >= RECORD_HEADER_BYTES:
            content_type, version, length = _RECORD(data, start)
            if not (20 <= content_type <= 23 and 0x0300 <= version <= 0x0304 and length <= MAX_RECORD_BYTES):
                break
            self.content_type = content_type
            self.records.append((content_type, length))
            if asked is not None and content_type == 23 and length not in asked:
                self.reason = None
                self.kind = kind = KIND_APP_DATA
            else:
                self.kind = kind = self.on_record(content_type, length, now)
            kinds |= kind
            start += RECORD_HEADER_BYTES + length
            if start >= end:
                self.remaining = start - end
                return kinds
        return kinds | self._frame(data, start, end, now)

    def _frame(self, data: bytes, start: int, end: int, now: float) -> int:
        kinds = 0
        while start < end:
            if self.remaining:
                taken = min(self.remaining, end - start)
                kinds |= self.kind
                if self.sink is not None and self.content_type == ContentType.HANDSHAKE:
                    self.sink += data[start : start + min(taken, MAX_HELLO_BYTES - len(self.sink))]
                self.remaining -= taken
                start += taken
                if not self.remaining:
                    self._list_tentative()
            elif self.header:
                missing = RECORD_HEADER_BYTES - len(self.header)
                self.header += data[start : min(end, start + missing)]
                if len(self.header) < RECORD_HEADER_BYTES:
                    return kinds | self._judge_split(now)
                header, self.header = self.header, b""
                start += missing
                content_type, version, length = _RECORD(header)
                self.resolved = self._begin(content_type, version, length, now)
                kinds |= self.resolved
            elif end - start < RECORD_HEADER_BYTES:
                self.header = data[start:end]
                return kinds | self._judge_split(now)
            else:
                content_type, version, length = _RECORD(data, start)
                kinds |= self._begin(content_type, version, length, now)
                start += RECORD_HEADER_BYTES
            if self.framing is _OPAQUE or self.framing is _UNKNOWN:
                return kinds
        return kinds

    def _begin(self, content_type: int, version: int, length: int, now: float) -> int:
        if not is_record_header(content_type, version, length):
            inferred = self.framing in (_TENTATIVE, _INFERRED)
            self.lose()
            self.framing = _UNKNOWN if inferred else _OPAQUE
            return KIND_APP_DATA
        self._list_tentative()
        self.records.append((content_type, length))
        if self.framing is _START:
            self.framing = _FRAMED
        elif self.framing is _TENTATIVE:
            self.framing = _INFERRED
        self.content_type = content_type
        self.remaining = length
        self.kind = kind = self.on_record(content_type, length, now)
        return kind

    def _judge_split(self, now: float) -> int:
        if self.header[0] in _CONTENT_TYPES:
            return KIND_SPLIT
        return self._begin(self.header[0], 0, 0, now)  # whatever follows, no record begins so

    def _list_tentative(self) -> None:
        if self.unlisted is not None:
            self.records.append(self.unlisted)
            self.unlisted = None


# -- the two hellos ----------------------------------------------------------------------------------


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
TLS_1_3 = 0x0304
# RFC 8446, 4.1.3: the Random of a ServerHello that is a HelloRetryRequest
HELLO_RETRY_REQUEST_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


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


# -- how long a plaintext becomes --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Suite:
    """What a negotiated cipher suite does to lengths: ``length(plaintext bytes) -> TLSCiphertext.length``."""

    version: int
    explicit_nonce: int  # bytes of nonce or IV on the wire
    tag: int  # AEAD tag or MAC
    block: int  # CBC block size, 0 for AEAD
    encrypt_then_mac: bool
    hash_bytes: int  # of the suite's hash: the size of a TLS 1.3 Finished

    def get_length(self, plaintext: int) -> int:
        """Return the record length of ``plaintext`` bytes, without TLS 1.3 padding."""
        if self.version >= TLS_1_3:
            return plaintext + 1 + self.tag  # the inner content type
        if not self.block:
            return self.explicit_nonce + plaintext + self.tag
        padded = plaintext + (0 if self.encrypt_then_mac else self.tag)
        padded += self.block - padded % self.block  # at least one byte of padding
        return self.explicit_nonce + padded + (self.tag if self.encrypt_then_mac else 0)

    @property
    def finished_length(self) -> int:
        """Return the record length of a TLS 1.3 Finished: 53 for SHA-256, 69 for SHA-384."""
        return self.get_length(4 + self.hash_bytes)


# TLS 1.3 suites (RFC 8446, B.4): tag, hash
_SUITES_1_3 = {0x1301: (16, 32), 0x1302: (16, 48), 0x1303: (16, 32), 0x1304: (16, 32), 0x1305: (8, 32)}

# TLS 1.2 suites (IANA), rows of (explicit nonce or IV, tag or MAC, block), suites
_SUITES_1_2 = {
    suite: shape
    for shape, suites in (
        ((8, 16, 0), (0x009C, 0x009D, 0x009E, 0x009F)),  # AES-GCM
        ((8, 16, 0), (0xC02B, 0xC02C, 0xC02D, 0xC02E, 0xC02F, 0xC030, 0xC031, 0xC032)),
        ((8, 16, 0), (0xC09C, 0xC09D, 0xC09E, 0xC09F, 0xC0AC, 0xC0AD)),  # AES-CCM
        ((8, 8, 0), (0xC0A0, 0xC0A1, 0xC0A2, 0xC0A3, 0xC0AE, 0xC0AF)),  # AES-CCM-8
        ((0, 16, 0), (0xCCA8, 0xCCA9, 0xCCAA, 0xCCAC)),  # ChaCha20-Poly1305
        ((16, 20, 16), (0x002F, 0x0035, 0x0033, 0x0039, 0xC009, 0xC00A, 0xC013, 0xC014)),  # CBC-SHA
        ((16, 32, 16), (0x003C, 0x003D, 0x0067, 0x006B, 0xC023, 0xC027)),  # CBC-SHA256
        ((16, 48, 16), (0xC024, 0xC028)),  # CBC-SHA384
    )
    for suite in suites
}


# One of each shape that a record can take.
SUITES = frozenset(
    [Suite(TLS_1_3, 0, tag, 0, False, size) for tag, size in _SUITES_1_3.values()]
    + [Suite(0x0303, *shape, etm, 0) for shape in _SUITES_1_2.values() for etm in (False, True)]
)


@cache
def get_suite(version: int, cipher_suite: int, *, encrypt_then_mac: bool) -> Suite | None:
    """Return the Suite of a ServerHello, None for one that is not known (its lengths cannot be judged)."""
    if version >= TLS_1_3:
        shape = _SUITES_1_3.get(cipher_suite)
        return Suite(version, 0, shape[0], 0, False, shape[1]) if shape else None
    lengths = _SUITES_1_2.get(cipher_suite)
    return Suite(version, *lengths, encrypt_then_mac, 0) if lengths and version == 0x0303 else None
