"""TLS records: framing of one direction of a stream.

Knows: RFC 8446 and 5246 record headers. Refuses to know: keys, bodies (those of the two hellos it hands on,
see ``hello``), and what a record means (``classify``). How a stream was cut into segments does not matter.

    START      the first byte of the connection comes next
    FRAMED     record boundaries are known from the first byte on
    UNKNOWN    boundaries are not known (mid-stream, gap): wait for a segment that begins with a header
    TENTATIVE  such a header was seen; the next one confirms it or throws it out
    INFERRED   confirmed
    OPAQUE     the connection does not speak TLS
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

from guard.core.hello import MAX_HELLO_BYTES
from guard.core.verdict import Reason

RECORD_HEADER_BYTES: Final = 5
MAX_RECORD_BYTES: Final = (1 << 14) + 2048  # RFC 5246, 6.2.3; RFC 8446 allows less


class ContentType(IntEnum):
    """Name the record types (RFC 8446, 5.1; the paper swaps two of them, the RFC is right)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23


APPLICATION_DATA: Final = 23  # as a number: an enum's member is compared by a call


class Framing(IntEnum):
    """What is known of the record boundaries of one direction; see the module's table."""

    START = 0
    FRAMED = 1
    UNKNOWN = 2
    TENTATIVE = 3
    INFERRED = 4
    OPAQUE = 5


_CONTENT_TYPES: Final = frozenset(map(int, ContentType))

# What the bytes of a record are, by how sensitive they are; a packet is the union of its bytes.
KIND_SYN: Final = 1
KIND_HANDSHAKE: Final = 2
KIND_APP_DATA: Final = 4
KIND_SPLIT: Final = 8

_START: Final = Framing.START
_FRAMED: Final = Framing.FRAMED
_UNKNOWN: Final = Framing.UNKNOWN
_TENTATIVE: Final = Framing.TENTATIVE
_INFERRED: Final = Framing.INFERRED
_OPAQUE: Final = Framing.OPAQUE
_RECORD: Final[Callable[[bytes, int], tuple[int, int, int]]] = Struct(
    "!BHH"
).unpack_from  # type, legacy version, length


class Record(NamedTuple):
    """The header of a record, without its version."""

    content_type: int
    length: int


# by length: nearly every record is application data, so each is made once
_app_data: Final[list[Record | None]] = [None] * (MAX_RECORD_BYTES + 1)


def _make_record(content_type: int, length: int) -> Record:
    if content_type != APPLICATION_DATA:
        return Record(content_type, length)
    made = _app_data[length]
    if made is None:
        made = _app_data[length] = Record(content_type, length)
    return made


def is_record_header(content_type: int, version: int, length: int) -> bool:
    """Say whether these can be the header of a TLS record (versions SSL 3.0 to TLS 1.3)."""
    return 20 <= content_type <= 23 and 0x0300 <= version <= 0x0304 and length <= MAX_RECORD_BYTES


@mypyc_attr(allow_interpreted_subclasses=True)
class RecordJudge:
    """Whoever knows what a record is. A base, no protocol: compiled, it is called without a look-up."""

    __slots__ = ()

    def judge_record(self, stream: RecordStream, content_type: int, length: int, now: float) -> int:
        """Return the KIND of the record that begins in ``stream``: the most sensitive where nobody knows."""
        return KIND_APP_DATA


class RecordStream:
    """Frame one direction of a TLS connection.

    ``judge`` is asked once for each record, when its header is complete. The list ``records``, where there is
    one, collects those headers; whoever reads it empties it. While ``sink`` is a bytearray, bodies of
    handshake records go there, for the hello parsers.
    """

    __slots__ = (
        "asked",
        "content_type",
        "framing",
        "header",
        "judge",
        "kind",
        "reason",
        "records",
        "remaining",
        "resolved",
        "sink",
        "unlisted",
    )

    def __init__(self, judge: RecordJudge, framing: Framing, records: list[Record] | None = None) -> None:
        self.judge = judge
        self.framing = framing
        self.content_type = 0  # of the current record
        self.kind = KIND_APP_DATA  # of the current record
        self.remaining = 0  # bytes of the current record that have not been seen
        self.header = b""  # the part of a header that has been seen
        # by length of a record 23: 0 where it is application data without a word; None: the judge is asked
        self.asked: bytes | None = None
        self.reason: Reason | None = None  # why the last record was application data, None where it simply is
        self.resolved = 0  # the KIND of a record whose header began in an earlier call, else 0
        self.records = records
        self.sink: bytearray | None = None
        self.unlisted: Record | None = None  # a TENTATIVE record, until it is complete or confirmed

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
            self.unlisted = Record(self.content_type, self.remaining)
            return KIND_APP_DATA | self._frame(data, start + RECORD_HEADER_BYTES, end, now)
        if self.header or self.sink is not None or framing is _START or framing is _TENTATIVE:
            return self._frame(data, start, end, now)
        # The common case, whole headers on known boundaries: what _frame does, without its questions.
        kinds = 0
        asked, records = self.asked, self.records
        if remaining:
            kinds = self.kind
            start += remaining
            self.remaining = 0
        while end - start >= RECORD_HEADER_BYTES:
            content_type = data[start]
            length = data[start + 3] << 8 | data[start + 4]
            if not (
                20 <= content_type <= 23
                and data[start + 1] == 3
                and data[start + 2] <= 4
                and length <= MAX_RECORD_BYTES
            ):
                break
            self.content_type = content_type
            if records is not None:
                records.append(_make_record(content_type, length))
            if asked is not None and content_type == APPLICATION_DATA and not asked[length]:
                self.reason = None
                self.kind = kind = KIND_APP_DATA
            else:
                self.kind = kind = self.judge.judge_record(self, content_type, length, now)
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
                content_type, version, length = _RECORD(header, 0)
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
        if self.records is not None:
            self.records.append(_make_record(content_type, length))
        if self.framing is _START:
            self.framing = _FRAMED
        elif self.framing is _TENTATIVE:
            self.framing = _INFERRED
        self.content_type = content_type
        self.remaining = length
        self.kind = kind = self.judge.judge_record(self, content_type, length, now)
        return kind

    def _judge_split(self, now: float) -> int:
        if self.header[0] in _CONTENT_TYPES:
            return KIND_SPLIT
        return self._begin(self.header[0], 0, 0, now)  # whatever follows, no record begins so

    def _list_tentative(self) -> None:
        if self.unlisted is not None:
            if self.records is not None:
                self.records.append(self.unlisted)
            self.unlisted = None
