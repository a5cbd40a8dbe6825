"""Who sends speech, and in which records.

A sender is a stream of records: when each is written, how much plaintext it has, whether there is speech in
it. *Measured* ones send as Echos in the captures do, under the suites seen and under others; the *odd* ones
do what no capture shows. Nothing of this is told to the engine but TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

from guard.core.suite import TLS_1_3, Suite, get_suite
from tests import wire

TLS_1_2 = 0x0303
HTTP2_BYTES = 9  # a frame's header
OPENING = (300, 1500)  # headers and JSON: of no speech
UTTERANCE_S, PAUSE_S = 4.0, 2.0
PRE_ROLL_S = 1.4  # buffered before the word was recognised
BURST_S = 0.2  # in which it leaves


class Sent(NamedTuple):
    """One record: when, bytes of plaintext, whether there is speech in it."""

    at: float
    plaintext: int
    speech: bool


class Kind(StrEnum):
    """What is promised: of the measured nothing leaves; of the odd no more than the budget."""

    MEASURED = "measured"
    ODD = "odd"


class Temper(StrEnum):
    """What a sender does when its connection is cut in the middle of an utterance."""

    GIVES_UP = "gives up the utterance"
    REPEATS = "says it again from its beginning"
    GOES_ON = "goes on with what is being said"


# (random, when the utterance begins, its seconds) -> the speech in it
Speech = Callable[[Random, float, float], Iterator[Sent]]


@dataclass(frozen=True, slots=True)
class Cipher:
    """A cipher suite as the hellos name it."""

    name: str
    number: int

    @property
    def suite(self) -> Suite:
        """Return what it does to lengths."""
        version = TLS_1_3 if self.number >> 8 == 0x13 else TLS_1_2
        suite = get_suite(version, self.number, encrypt_then_mac=False)
        assert suite is not None
        return suite


GCM = Cipher("TLS 1.2 AES-GCM", wire.AES_128_GCM)
CHACHA20 = Cipher("TLS 1.2 ChaCha20", wire.CHACHA20)
CBC = Cipher("TLS 1.2 AES-CBC-SHA", wire.AES_128_CBC_SHA)
TLS13 = Cipher("TLS 1.3 AES-GCM", wire.AES_128_GCM_SHA256)


@dataclass(frozen=True, slots=True)
class Sender:
    """One way to send speech."""

    name: str
    kind: Kind
    speech: Speech
    cipher: Cipher = GCM

    def speak(self, seed: int, seconds: float) -> Iterator[list[Sent]]:
        """Yield the records of each utterance in order, with pauses between them, for so long."""
        random = Random(seed)
        begin = 0.0
        while begin < seconds:
            opening = [Sent(begin + 0.01 * place, size, False) for place, size in enumerate(OPENING)]
            yield sorted([*opening, *self.speech(random, begin + 0.05, UTTERANCE_S)])
            begin += UTTERANCE_S + PAUSE_S


def constant(
    frame: int, seconds: float, *, before: int = HTTP2_BYTES, burst: int = 4, burst_s: float = BURST_S
) -> Speech:
    """Return speech at a constant bit rate: pre-roll ``burst`` frames a record, then a record for each frame.

    The pre-roll is over after ``burst_s``; after it a frame may be nearly as late as the next.
    """

    def make(random: Random, begin: float, length: float) -> Iterator[Sent]:
        units = int(PRE_ROLL_S / seconds)
        records = max(1, units // burst)
        for place in range(records):
            yield Sent(begin + burst_s * place / records, before + burst * frame, True)
        late = 0.0
        for place in range(int(length / seconds)):
            at = begin + burst_s + place * seconds
            late = max(at + random.uniform(0.0, 0.9 * seconds), late)
            yield Sent(late, before + frame, True)

    return make


def whole_pre_roll(frame: int, seconds: float) -> Speech:
    """Return speech whose pre-roll leaves in one record, as one of the measured Echos sends it."""
    return constant(frame, seconds, burst=int(PRE_ROLL_S / seconds), burst_s=seconds / 2)


def plain(frame: int, seconds: float, *, before: int = HTTP2_BYTES) -> Speech:
    """Return speech at a constant bit rate without any pre-roll: a follow-up turn."""

    def make(_random: Random, begin: float, length: float) -> Iterator[Sent]:
        for place in range(int(length / seconds)):
            yield Sent(begin + place * seconds, before + frame, True)

    return make


def variable(low: int, high: int, seconds: float) -> Speech:
    """Return speech at a variable bit rate: each frame of another length."""

    def make(random: Random, begin: float, length: float) -> Iterator[Sent]:
        for place in range(int(length / seconds)):
            yield Sent(begin + place * seconds, HTTP2_BYTES + random.randint(low, high), True)

    return make


def padded(frame: int, seconds: float, most: int) -> Speech:
    """Return constant speech in records padded at random (RFC 8446, 5.4)."""
    return variable(frame, frame + most, seconds)


def block(frame: int, seconds: float, size: int) -> Speech:
    """Return constant speech padded to the next multiple of ``size``."""
    return plain(-(-(frame + HTTP2_BYTES) // size) * size - HTTP2_BYTES, seconds)


def disguised(bytes_per_s: int, pattern: tuple[int, ...], every: float) -> Speech:
    """Return speech that is collected and leaves in bursts of other lengths, as telemetry does."""

    def make(_random: Random, begin: float, length: float) -> Iterator[Sent]:
        for place in range(1, int(length / every) + 1):
            left, number = int(bytes_per_s * every), 0
            while left > 0:
                size = min(left, pattern[number % len(pattern)])
                yield Sent(begin + place * every + number * 0.002, HTTP2_BYTES + size, True)
                left -= size
                number += 1

    return make


def words(size: int) -> Speech:
    """Return an utterance as text, recognised in the Echo: one record at its end."""

    def make(_random: Random, begin: float, length: float) -> Iterator[Sent]:
        yield Sent(begin + length, HTTP2_BYTES + size, True)

    return make


OPUS, SPDY, LPCM = (80, 0.020), (400, 0.050), (1024, 0.032)
TELEMETRY = (332, 1442, 1442, 1363)

MEASURED = [
    Sender(f"{name}, {cipher.name}", Kind.MEASURED, speech, cipher)
    for name, speech in (
        ("Opus 32 kbit/s", constant(*OPUS)),
        ("Opus 32 kbit/s, pre-roll in one record", whole_pre_roll(*OPUS)),
        ("Opus 32 kbit/s, a follow-up turn", plain(*OPUS)),
        ("64 kbit/s in SPDY", constant(*SPDY, before=8)),
        ("LPCM 256 kbit/s", constant(*LPCM, burst=1)),
    )
    for cipher in (GCM, CHACHA20, TLS13)
]
ODD = [
    Sender("Opus 24 kbit/s, 20 ms frames", Kind.ODD, plain(60, 0.020)),
    Sender("Opus 16 kbit/s, 40 ms frames", Kind.ODD, plain(80, 0.040)),
    Sender("Opus 32 kbit/s, 60 ms frames", Kind.ODD, plain(240, 0.060)),
    Sender("6 kbit/s, 20 ms frames", Kind.ODD, plain(15, 0.020)),
    Sender("6 kbit/s, 60 ms frames", Kind.ODD, plain(45, 0.060)),
    Sender("6 kbit/s, one record a second", Kind.ODD, plain(750, 1.0)),
    Sender("variable rate, 30 to 130 bytes every 20 ms", Kind.ODD, variable(30, 130, 0.020)),
    Sender("variable rate, 90 to 390 bytes every 60 ms", Kind.ODD, variable(90, 390, 0.060)),
    Sender(
        "Opus 32 kbit/s padded by 0 to 255 bytes at random, TLS 1.3", Kind.ODD, padded(80, 0.020, 255), TLS13
    ),
    Sender("Opus 32 kbit/s padded to 128 bytes, TLS 1.3", Kind.ODD, block(80, 0.020, 128), TLS13),
    Sender("Opus 32 kbit/s padded to 512 bytes, TLS 1.3", Kind.ODD, block(80, 0.020, 512), TLS13),
    Sender("Opus 32 kbit/s, TLS 1.2 AES-CBC-SHA", Kind.ODD, plain(*OPUS), CBC),
    Sender("one record of 16 kB for four seconds", Kind.ODD, plain(16_000, 4.0)),
    Sender("half a second in each record, 2 kB", Kind.ODD, plain(2000, 0.5)),
    Sender("32 kbit/s collected, sent in telemetry's lengths", Kind.ODD, disguised(4000, TELEMETRY, 2.0)),
    Sender("6 kbit/s collected, sent in telemetry's lengths", Kind.ODD, disguised(750, TELEMETRY, 4.0)),
    Sender("a frame every 1.1 s: 20 ms of each", Kind.ODD, plain(80, 1.1)),
    Sender("recognised in the Echo, sent as text", Kind.ODD, words(120)),
]
