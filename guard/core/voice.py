"""Does a connection send a voice? What is certain, from the lengths and times of its records alone.

Knows: voice is hard constant bit rate, so its records sit on a lattice of lengths, one after the other, and
hold as much speech as time passes; speech from before the wake word leaves faster than it was spoken. Refuses
to know: codecs nobody has measured (the model's part, ``burst``), verdicts.

Measured on captures of 2018 to 2022: Opus at 32 kbit/s sends plaintexts of 9 + 80k bytes (an HTTP/2 frame
header and 20 ms frames), an older device 8 + 400k (SPDY, 64 kbit/s), one 9 + 1024 (LPCM). In 13 hours of idle
and muted traffic at most one record of such a length fell into any second to one address; a conversation has
57 to 67 a second, and its fifth comes at most 106 ms after its first. One device sends what it heard before
the wake word in a single record of 71 to 73 frames, 30 ms before the others; the older one in records of one
to ten frames, and what is more in buffers of 4096 bytes, however many frames that are, and the rest of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Final, NamedTuple

from guard.core.suite import Suite

MAX_GAP_S: Final = 1.0  # between two records of a run
RUN: Final = 5  # records of one codec's lengths, one after the other, that make a voice
# of the time that passed, at least so much is speech in them; 0.75 was the least seen
RUN_COVERS: Final = 0.4
SURE_RUN: Final = 3  # likewise, where they are equally long and hold all that was spoken since
SURE_RUN_COVERS: Final = 0.8
PAIR: Final = 2  # likewise, where they differ and their lattice is wide
WIDE: Final = 400  # bytes of a frame: chance finds two such lengths once in 160,000 pairs

# from a run's first record: a pre-roll burst shows within it; a pair's second comes in it
BURST_S: Final = 0.25
BURST_LEAD_S: Final = 0.5  # seconds of speech beyond the time that passed: nobody speaks so fast

# What a voice had sent before it was refused: upper bounds of the classes it is counted in, in bytes.
LEAK_BOUNDS: Final = (0.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, inf)

_LONGEST: Final = 16384  # bytes of plaintext in a record (RFC 8446, 5.1)
_AT_ONCE_S: Final = 0.5  # of speech in a record: nobody waits longer to send what is being said
_COMMON_OVERHEADS: Final = (24, 17, 16)  # AES-GCM of TLS 1.2, TLS 1.3, ChaCha20: where the suite is unknown


class Codec(NamedTuple):
    """``before`` the frames of ``frame`` bytes and ``seconds`` each; at most ``most`` frames in a record.

    ``buffer``: a pre-roll that is longer is sent in pieces of so many bytes and the rest; 0: it is not cut.
    """

    before: int
    frame: int
    seconds: float
    most: int
    buffer: int


# LPCM was seen frame by frame. Two of its frames under AES-CBC are as long as the buffers in which an older
# device sends its metrics.
CODECS: Final = (Codec(9, 80, 0.020, 1024, 0), Codec(8, 400, 0.050, 1024, 4096), Codec(9, 1024, 0.032, 1, 0))


@dataclass(frozen=True, slots=True)
class Speech:
    """What a record of a certain length would be: so many seconds of speech, on one of the lattices.

    ``frames`` is 0 where it would be a whole buffer of a pre-roll that was cut.
    """

    lattice: int
    seconds: float
    wide: bool
    frames: int


def _list_lengths(suite: Suite | None) -> Iterator[tuple[int, Speech]]:
    """Yield record lengths and what they would be; of two readings of a length the later is the rarer."""
    overheads = len(_COMMON_OVERHEADS) if suite is None else 1
    for index, codec in enumerate(CODECS):
        most = min(codec.most, (_LONGEST - codec.before) // codec.frame)
        sizes = [(count, count * codec.frame) for count in range(1, most + 1)]
        if codec.buffer:
            sizes.append((0, codec.buffer))
        for count, octets in sizes:
            seconds = octets / codec.frame * codec.seconds
            for number in range(overheads):
                size = codec.before + octets
                length = size + _COMMON_OVERHEADS[number] if suite is None else suite.get_length(size)
                yield length, Speech(index * overheads + number, seconds, codec.frame >= WIDE, count)


@cache
def get_voice_lengths(suite: Suite | None) -> dict[int, Speech]:
    """Return record length -> what voice would send so under ``suite``, under any common one when None."""
    return {
        length: speech
        for length, speech in _list_lengths(suite)
        if speech.seconds <= _AT_ONCE_S or not speech.frames
    }


@cache
def get_pre_roll_lengths(suite: Suite | None) -> dict[int, Speech]:
    """Return the lengths of records that hold more than half a second of speech, and what it would be.

    One in 80 lengths is such a one, so by itself it means nothing: what follows tells.
    """
    return {
        length: speech
        for length, speech in _list_lengths(suite)
        if speech.seconds > _AT_ONCE_S and speech.frames
    }


class Chain:
    """The records of one lattice in a run: the last of them, and sums over all."""

    __slots__ = ("began_at", "bytes", "first_bytes", "left", "recent", "seconds")

    def __init__(self, length: int, now: float) -> None:
        self.began_at = now
        self.first_bytes = length
        self.left = 0  # what passed on a budget since then
        self.bytes = 0
        self.seconds = 0.0
        self.recent: deque[tuple[int, float, float]] = deque(maxlen=RUN)  # length, seconds of speech, time

    def receive(self, length: int, speech: Speech, now: float) -> bool:
        """Take a record; say whether they are a voice: as much speech as time passes."""
        self.bytes += length
        self.seconds += speech.seconds
        recent = self.recent
        if not speech.frames:  # reports come in buffers as well: one tells as much as many
            for row in recent:
                if row[0] == length:
                    return False
        recent.append((length, speech.seconds, now))
        count = len(recent)
        spoken = 0.0  # before the last was sent
        equal = True
        for index in range(count - 2, -1, -1):
            its_length, its_seconds, at = recent[index]
            spoken += its_seconds
            equal = equal and its_length == length
            number = count - index
            if spoken >= SURE_RUN_COVERS * (now - at) and (
                number >= SURE_RUN if equal else number >= PAIR and speech.wide and now - at <= BURST_S
            ):
                return True
            if number >= RUN and spoken >= RUN_COVERS * (now - at):
                return True
        return False


class VoiceRun:
    """The run of voice-size records that a connection is in.

    ``began_at``, ``speech_s`` and ``bytes`` are those of the voice once it is one, before that of all its
    ``count`` records; ``left`` is what of it has passed on a budget. ``burst``: it sent speech faster than
    anybody speaks, in its first BURST_S or right before. ``told``: it was reported as refused.
    """

    __slots__ = (
        "_chains",
        "began_at",
        "burst",
        "bytes",
        "count",
        "first_bytes",
        "last_at",
        "left",
        "speech_s",
        "told",
        "voice",
    )

    def __init__(self) -> None:
        self._chains: dict[int, Chain] = {}
        self.last_at = -inf
        self._begin(-inf)

    def _begin(self, now: float) -> None:
        self._chains.clear()
        self.began_at = now
        self.count = 0
        self.bytes = 0
        self.first_bytes = 0
        self.speech_s = 0.0
        self.left = 0
        self.voice = False
        self.burst = False
        self.told = False

    def receive(self, length: int, speech: Speech, now: float, pre_roll_at: float = -inf) -> bool:
        """Take a record of a voice's length; say whether the run became a voice or a burst with it.

        ``pre_roll_at``: when the last record came that may hold a whole pre-roll.
        One length in 80 is such a one; right after it a single frame leaves no doubt.
        """
        if now - self.last_at > MAX_GAP_S:
            self._begin(now)
        self.last_at = now
        self.count += 1
        self.bytes += length
        self.speech_s += speech.seconds
        became = False
        if not self.voice:
            chain = self._chains.get(speech.lattice)
            if chain is None:
                chain = self._chains[speech.lattice] = Chain(length, now)
            after_pre_roll = speech.frames == 1 and now - pre_roll_at <= BURST_S
            became = self.voice = chain.receive(length, speech, now) or after_pre_roll
            if became:
                self.began_at, self.bytes, self.speech_s = chain.began_at, chain.bytes, chain.seconds
                self.first_bytes, self.left = chain.first_bytes, chain.left
                self.burst = pre_roll_at >= chain.began_at - BURST_S
                self._chains.clear()
        if self.voice and not self.burst:
            passed = now - self.began_at
            if passed <= BURST_S and self.speech_s - passed >= BURST_LEAD_S:
                self.burst = became = True
        return became

    def let_pass(self, size: int) -> None:
        """Take it that ``size`` bytes pass on a budget while the run goes on."""
        self.left += size
        for chain in self._chains.values():
            chain.left += size

    def is_voice(self, now: float) -> bool:
        """Say whether a voice is being sent at ``now``."""
        return self.voice and now - self.last_at <= MAX_GAP_S
