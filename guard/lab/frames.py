"""What the lab says inside TLS.

One frame is one TLS record. A frame opens with four bytes that name its kind, the phase and the item
it belongs to and its own length, so that the receiving side can count bytes by what they were meant
to be. The sizes are those of a real Echo (``tests/lab/test_frames.py`` checks them on the wire); the
contents are zeros.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

_HEADER = struct.Struct(">BBH")  # phase << 4 | kind, item, length with these four bytes
HEADER_BYTES = _HEADER.size
MAX_PHASES = 16


class Kind(IntEnum):
    """What a frame stands for. ``*_END`` is the last frame of its item."""

    BEAT = 0  # 4 bytes every 91 s
    PING = 1  # 17 bytes, an HTTP/2 PING, every 30 s
    STATE = 2  # the gateway session's reports of settings and state
    STATE_END = 3
    TELEMETRY = 4
    TELEMETRY_END = 5
    VOICE = 6
    VOICE_END = 7
    REQUEST_END = 8  # asks for the next piece of a song
    REPLY_END = 9  # downstream from here
    ANSWER = 10
    ANSWER_END = 11
    SONG = 12
    SONG_END = 13


HEARTBEATS = frozenset({Kind.BEAT, Kind.PING})


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``size`` is all of its plaintext in bytes."""

    kind: Kind
    phase: int
    item: int
    size: int

    def encode(self) -> bytes:
        """Return the plaintext of the record that carries this frame."""
        return _HEADER.pack(self.phase << 4 | self.kind, self.item, self.size).ljust(self.size, b"\0")


class FrameReader:
    """Cut a plaintext stream back into frames, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive(self, plaintext: bytes) -> list[Frame]:
        """Return the frames that are complete now. ValueError when this is no frame at all."""
        self._buffer += plaintext
        frames = []
        while len(self._buffer) >= HEADER_BYTES:
            tag, item, size = _HEADER.unpack_from(self._buffer)
            if size < HEADER_BYTES:
                raise ValueError(f"a frame of {size} bytes")
            if len(self._buffer) < size:
                break
            del self._buffer[:size]
            frames.append(Frame(Kind(tag & 15), tag >> 4, item, size))
        return frames


# Plaintext sizes in bytes, as measured on captures of real devices.
PING_BYTES = 17
BEAT_BYTES = 4
UNIT_BYTES = 89  # a 9-byte frame header and 80 bytes of Opus: 20 ms
PRE_ROLL_BYTES = 329  # 9 + 4 * 80
UNITS_A_SECOND = 50
_HEADERS_BYTES = 300
_JSON_BYTES = 1500
PRE_ROLL_FRAMES = 56  # 18 kB
OPENING_FRAMES = 2  # the headers and the JSON
_TELEMETRY_REPEATS = 3
_TELEMETRY_PATTERN = (341, 1451, 1451, 1372)
_STATE_PATTERN = (300, 1200)
_REQUEST_BYTES = 420
_BULK_BYTES = 1400


def _item(kind: Kind, end: Kind, phase: int, item: int, sizes: tuple[int, ...]) -> list[Frame]:
    body = [Frame(kind, phase, item, size) for size in sizes[:-1]]
    return [*body, Frame(end, phase, item, sizes[-1])]


def telemetry(phase: int, item: int) -> list[Frame]:
    """Return a burst of metrics: large, quick, and nothing like voice."""
    return _item(Kind.TELEMETRY, Kind.TELEMETRY_END, phase, item, _TELEMETRY_PATTERN * _TELEMETRY_REPEATS)


def state(phase: int, item: int) -> list[Frame]:
    """Return a report of settings on the gateway session."""
    return _item(Kind.STATE, Kind.STATE_END, phase, item, _STATE_PATTERN)


def request(phase: int, item: int) -> list[Frame]:
    """Return the request for a piece of a song."""
    return [Frame(Kind.REQUEST_END, phase, item, _REQUEST_BYTES)]


def utterance(phase: int, item: int, *, seconds: float) -> list[Frame]:
    """Return an utterance: headers, JSON, buffered pre-roll, then a frame for each 20 ms."""
    opening = (_HEADERS_BYTES, _JSON_BYTES) + (PRE_ROLL_BYTES,) * PRE_ROLL_FRAMES
    units = (UNIT_BYTES,) * round(seconds * UNITS_A_SECOND)
    return _item(Kind.VOICE, Kind.VOICE_END, phase, item, opening + units)


def bulk(kind: Kind, end: Kind, phase: int, item: int, *, total: int) -> list[Frame]:
    """Return ``total`` bytes, rounded up to whole frames, of an answer or a song."""
    return _item(kind, end, phase, item, (_BULK_BYTES,) * -(-total // _BULK_BYTES))


def get_bytes(frames: list[Frame]) -> int:
    """Return the plaintext bytes of an item."""
    return sum(frame.size for frame in frames)
