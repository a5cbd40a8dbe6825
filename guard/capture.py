"""Packet captures, read in one pass with flat memory.

This file knows the pcap format (draft-ietf-opsawg-pcap), gzip around it, and how to tell it from
pcapng (``pcapng``). It refuses to know what a frame holds (``link``). No packet library is used: a
frame costs one ``unpack_from`` and one slice.

Damage is an answer, not an accident: every frame before it is yielded, then CaptureError says at
which frame and why. Time is an integer of nanoseconds since 1970.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from guard.errors import CaptureError

CHUNK_BYTES = 1 << 18
MAX_FRAME_BYTES = 1 << 18  # MAXIMUM_SNAPLEN of libpcap; a longer frame is damage
GZIP_MAGIC = b"\x1f\x8b"
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"  # the same in both byte orders

# magic -> (byte order for struct, nanoseconds of one unit of the fraction, digits of a second)
PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 6),
    b"\xa1\xb2\xc3\xd4": (">", 1000, 6),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 9),
    b"\xa1\xb2\x3c\x4d": (">", 1, 9),
}
PCAP_HEADER_BYTES = 24
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """Where frames were captured: link type, digits of the clock, name ("" when not recorded)."""

    link_type: int
    digits: int
    name: str = ""


# number (1-based), Unix time (ns), interface, bytes captured, length on the wire, pcapng's epb_flags (0 when
# absent; bits 0-1: 1 inbound, 2 outbound). A plain tuple: a named one costs more than reading the frame.
Frame = tuple[int, int, Interface, bytes, int, int]


class DamageError(Exception):
    """The capture cannot be read beyond here; becomes a CaptureError with its place."""


class Source:
    """The file's bytes, unpacked, behind a buffer that the format readers walk themselves.

    ``buffer`` from ``offset`` on is unread. ``frames`` is set by the format reader when it ends: how many
    it yielded.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.buffer = b""
        self.offset = 0
        self.frames = 0
        self._chunks = chunks
        if self.fill(2) and self.buffer[:2] == GZIP_MAGIC:
            self._chunks = _unpack_gzip(self.buffer, chunks)
            self.buffer = b""

    def fill(self, need: int) -> bool:
        """Make ``need`` bytes available from ``offset`` on; False when the file ends before."""
        missing = need - (len(self.buffer) - self.offset)
        if missing <= 0:
            return True
        parts = [self.buffer[self.offset :]]
        self.offset = 0
        try:
            for chunk in self._chunks:
                parts.append(chunk)
                missing -= len(chunk)
                if missing <= 0:
                    break
        finally:
            self.buffer = b"".join(parts)
        return missing <= 0

    def peek(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end of the file, and leave them unread."""
        self.fill(count)
        return self.buffer[self.offset : self.offset + count]

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes, fewer at the end of the file."""
        self.fill(count)
        start = self.offset
        self.offset = min(start + count, len(self.buffer))
        return self.buffer[start : self.offset]


def _unpack_gzip(packed: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield every byte before the damage: zlib alone drops the chunk in which an error lies."""
    member = zlib.decompressobj(wbits=31)
    while packed or (packed := next(chunks, b"")):
        if member.eof:
            if packed[:1] == b"\0":  # zero padding after the last member, as from tape or dd
                packed = packed.lstrip(b"\0")
                continue
            member = zlib.decompressobj(wbits=31)
        before = member.copy()
        try:
            unpacked = member.decompress(packed, CHUNK_BYTES)
        except zlib.error:
            yield from _unpack_bytewise(before, packed)
            raise DamageError("the gzip data are corrupt") from None
        packed = member.unused_data if member.eof else member.unconsumed_tail
        if unpacked:
            yield unpacked
    if not member.eof:
        yield from _unpack_bytewise(member, b"\0")  # what zlib still keeps back
        raise DamageError("the gzip data end too early")


def _unpack_bytewise(member: zlib._Decompress, packed: bytes) -> Iterator[bytes]:
    """Yield what ``packed`` gives up to its first wrong byte."""
    for position in range(len(packed)):
        try:
            unpacked = member.decompress(packed[position : position + 1])
        except zlib.error:
            return
        if unpacked:
            yield unpacked


class Capture:
    """A capture file; iterate once for its frames.

    CaptureError when the file cannot be opened, is no capture, or is damaged from some frame on.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.watch: Callable[[int], object] | None = None  # told how many bytes of the file were read
        with _explain_opening(path):
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError
        self.packed_bytes = status.st_size

    def __iter__(self) -> Iterator[Frame]:
        with _explain_opening(self.path):
            file = self.path.open("rb")
        source = None
        try:
            with file:
                source = Source(self._read_chunks(file))
                yield from self._choose_reader(source)
        except (DamageError, OSError) as error:
            place = f"after frame {source.frames}" if source and source.frames else "before its first frame"
            raise CaptureError(f"{self.path} is damaged {place}: {_explain(error)}") from None

    def _read_chunks(self, file: BinaryIO) -> Iterator[bytes]:
        position = 0
        while chunk := file.read(CHUNK_BYTES):
            position += len(chunk)
            if self.watch is not None:
                self.watch(position)
            yield chunk

    def _choose_reader(self, source: Source) -> Iterator[Frame]:
        from guard.pcapng import read_pcapng

        magic = source.peek(4)
        if not magic:
            raise CaptureError(f"{self.path} is empty: it holds no capture")
        if magic in PCAP_MAGICS:
            return read_pcap(source)
        if magic == PCAPNG_MAGIC:
            return read_pcapng(source)
        raise CaptureError(
            f"{self.path} is not a pcap or pcapng capture: it begins with bytes {magic.hex(' ')}"
        )


def read_pcap(source: Source) -> Iterator[Frame]:
    """Yield the frames of a pcap file; DamageError when a record is impossible or cut short."""
    header = source.take(PCAP_HEADER_BYTES)
    if len(header) < PCAP_HEADER_BYTES:
        raise DamageError("its file header is cut short")
    order, unit_ns, digits = PCAP_MAGICS[header[:4]]
    # The upper half of the last word holds the length of the frame check sequence, not a link type.
    link_type = struct.unpack_from(order + "I", header, 20)[0] & 0xFFFF
    interface = Interface(link_type, digits)
    unpack = struct.Struct(order + "IIII").unpack_from
    number = 0
    try:
        while source.fill(16):
            buffer = source.buffer
            offset = source.offset
            end = len(buffer)
            captured = 0
            while offset + 16 <= end:
                seconds, fraction, captured, wire_bytes = unpack(buffer, offset)
                stop = offset + 16 + captured
                if stop > end:
                    break
                number += 1
                time_ns = seconds * SECOND_NS + fraction * unit_ns
                yield number, time_ns, interface, buffer[offset + 16 : stop], wire_bytes, 0
                offset = stop
                captured = 0
            source.offset = offset
            if captured > MAX_FRAME_BYTES:
                raise DamageError(f"the next frame claims {captured} bytes")
            if captured and not source.fill(16 + captured):
                raise DamageError("the next frame is cut short")
        if source.peek(1):
            raise DamageError("the next frame's header is cut short")
    finally:
        source.frames = number


@contextmanager
def _explain_opening(path: Path) -> Iterator[None]:
    """Turn what opening a file raises into one line."""
    try:
        yield
    except IsADirectoryError:
        raise CaptureError(f"{path} is a directory: name a capture file") from None
    except FileNotFoundError:
        raise CaptureError(f"{path} does not exist") from None
    except PermissionError:
        raise CaptureError(f"{path} may not be read by this user: check its permissions") from None
    except (OSError, ValueError) as error:
        raise CaptureError(f"{path} cannot be opened: {_explain(error)}") from None


def _explain(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
