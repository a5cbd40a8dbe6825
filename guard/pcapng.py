"""The blocks of a pcapng file (draft-ietf-opsawg-pcapng).

This file knows sections, interfaces with their clocks, and the three kinds of packet blocks; it skips
every other block by its length. Sections may differ in byte order, interfaces in link type and clock.
A Simple Packet Block has no time: it gets the one of the frame before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from guard.capture import MAX_FRAME_BYTES, SECOND_NS, DamageError, Frame, Interface, Source

SECTION_HEADER = 0x0A0D0D0A
INTERFACE_DESCRIPTION = 1
OBSOLETE_PACKET = 2
SIMPLE_PACKET = 3
ENHANCED_PACKET = 6

BYTE_ORDER_MAGIC = 0x1A2B3C4D
MAX_BLOCK_BYTES = 1 << 24  # Wireshark's limit; a longer block is damage

OPT_ENDOFOPT = 0
OPT_EPB_FLAGS = 2
OPT_IF_NAME = 2
OPT_IF_TSRESOL = 9
OPT_IF_TSOFFSET = 14
DEFAULT_TSRESOL = 6  # microseconds
TSRESOL_BASE_2 = 0x80


@dataclass(frozen=True, slots=True, eq=False)
class _Clock:
    """How an interface counts: Unix time (ns) = ticks * numerator // denominator + offset."""

    interface: Interface
    snap_bytes: int
    numerator: int
    denominator: int
    offset_ns: int


class _Section:
    """The byte order and the interfaces that hold until the next section header."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.clocks: list[_Clock] = []
        self.unpack_block = struct.Struct(order + "II").unpack_from
        self.unpack_enhanced = struct.Struct(order + "IIIII").unpack_from

    def unpack(self, layout: str, buffer: bytes, offset: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + layout, buffer, offset)

    def get_clock(self, interface_id: int) -> _Clock:
        if interface_id >= len(self.clocks):
            raise DamageError(f"the next frame names interface {interface_id}, which nothing describes")
        return self.clocks[interface_id]


def read_pcapng(source: Source) -> Iterator[Frame]:
    """Yield the frames of a pcapng file; DamageError when a block is impossible or cut short."""
    section = _Section("<")
    number = 0
    time_ns = 0
    try:
        while source.fill(12):
            buffer = source.buffer
            offset = source.offset
            kind, length = section.unpack_block(buffer, offset)
            if kind == SECTION_HEADER:
                section = _Section(_read_byte_order(buffer, offset))
                kind, length = section.unpack_block(buffer, offset)
            stop = offset + length
            if length < 12 or stop > len(buffer):
                _fill_block(source, length)
                continue
            if buffer[stop - 4 : stop] != buffer[offset + 4 : offset + 8]:
                raise DamageError("the two lengths of the next block differ")
            source.offset = stop
            flags = 0
            if kind == ENHANCED_PACKET:
                if length < 32:
                    raise DamageError("the next frame's block is too short")
                interface_id, high, low, captured, wire_bytes = section.unpack_enhanced(buffer, offset + 8)
                start = offset + 28
                clock = section.get_clock(interface_id)
                time_ns = (high << 32 | low) * clock.numerator // clock.denominator + clock.offset_ns
                options = start + (captured + 3 & ~3)
                if options + 8 < stop:
                    flags = _read_flags(section, buffer, options, stop - 4)
            elif kind == OBSOLETE_PACKET:
                if length < 32:
                    raise DamageError("the next frame's block is too short")
                fields = section.unpack("HHIIII", buffer, offset + 8)
                interface_id, _drops, high, low, captured, wire_bytes = fields
                start = offset + 28
                clock = section.get_clock(interface_id)
                time_ns = (high << 32 | low) * clock.numerator // clock.denominator + clock.offset_ns
            elif kind == SIMPLE_PACKET:
                if length < 16:
                    raise DamageError("the next frame's block is too short")
                (wire_bytes,) = section.unpack("I", buffer, offset + 8)
                start = offset + 12
                clock = section.get_clock(0)
                captured = min(wire_bytes, clock.snap_bytes or wire_bytes)
            else:
                if kind == INTERFACE_DESCRIPTION:
                    section.clocks.append(_read_interface(section, buffer, offset, stop))
                continue
            if captured > MAX_FRAME_BYTES or start + captured > stop - 4:
                raise DamageError(f"the next frame claims {captured} bytes, more than its block holds")
            number += 1
            yield number, time_ns, clock.interface, buffer[start : start + captured], wire_bytes, flags
        if source.peek(1):
            raise DamageError("the next block's header is cut short")
    finally:
        source.frames = number


def _read_byte_order(buffer: bytes, offset: int) -> str:
    for order in "<>":
        if struct.unpack_from(order + "I", buffer, offset + 8)[0] == BYTE_ORDER_MAGIC:
            return order
    raise DamageError("a section header has no byte-order magic")


def _fill_block(source: Source, length: int) -> None:
    """Bring the whole block into the buffer, or say why that cannot be."""
    if length < 12 or length > MAX_BLOCK_BYTES:
        raise DamageError(f"the next block claims {length} bytes")
    if not source.fill(length):
        raise DamageError("the next block is cut short")


def _read_interface(section: _Section, buffer: bytes, offset: int, stop: int) -> _Clock:
    if stop - offset < 20:
        raise DamageError("an interface description is too short")
    link_type, _reserved, snap_bytes = section.unpack("HHI", buffer, offset + 8)
    name = ""
    resolution = DEFAULT_TSRESOL
    offset_seconds = 0
    for code, value in _read_options(section, buffer, offset + 16, stop - 4):
        if code == OPT_IF_NAME:
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif code == OPT_IF_TSRESOL and len(value) == 1:
            resolution = value[0]
        elif code == OPT_IF_TSOFFSET and len(value) == 8:
            (offset_seconds,) = section.unpack("q", value, 0)
    exponent = resolution & ~TSRESOL_BASE_2
    if resolution & TSRESOL_BASE_2:
        numerator, denominator, digits = SECOND_NS, 1 << exponent, 9
    elif exponent <= 9:
        numerator, denominator, digits = 10 ** (9 - exponent), 1, exponent
    else:
        numerator, denominator, digits = 1, 10 ** (exponent - 9), 9
    interface = Interface(link_type, digits, name)
    return _Clock(interface, snap_bytes, numerator, denominator, offset_seconds * SECOND_NS)


def _read_flags(section: _Section, buffer: bytes, offset: int, stop: int) -> int:
    for code, value in _read_options(section, buffer, offset, stop):
        if code == OPT_EPB_FLAGS and len(value) == 4:
            return section.unpack("I", value, 0)[0]
    return 0


def _read_options(section: _Section, buffer: bytes, offset: int, stop: int) -> Iterator[tuple[int, bytes]]:
    while offset + 4 <= stop:
        code, length = section.unpack("HH", buffer, offset)
        if code == OPT_ENDOFOPT:
            return
        if offset + 4 + length > stop:
            raise DamageError("an option is longer than its block")
        yield code, buffer[offset + 4 : offset + 4 + length]
        offset += 4 + (length + 3 & ~3)
