"""Does a connection send a voice? What is certain, from the lengths and times of its records alone.

Knows: voice is hard constant bit rate, so its records sit on a lattice of lengths, one after the other, and
hold as much speech as time passes; speech from before the wake word leaves faster than it was spoken. Refuses
to know: codecs nobody has measured (the model's part, ``burst``), verdicts.

Measured on captures of 2018 to 2022: Opus at 32 kbit/s sends plaintexts of 9 + 80k bytes (an HTTP/2 frame
header and 20 ms frames), an older device 8 + 400k (SPDY, 64 kbit/s), one 9 + 1024 (LPCM). In 13 hours of idle
and muted traffic at most one record of such a length fell into any second to one address; a conversation has
57 to 67 a second, and its fifth comes at most 106 ms after its first. One device sends what it heard before
the wake word in a single record of 71 to 73 frames, 30 ms before the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from functools import cache
from math import inf

from guard.core.suite import Suite

RUN = 5  # records of such lengths, one after the other, that make a voice
RUN_COVERS = 0.4  # of the time that passed, at least so much is speech in them; 0.75 was the least seen
EQUAL_RUN = 3  # likewise, where all are equally long and hold as much speech as time has passed
EQUAL_RUN_COVERS = 0.8
MAX_GAP_S = 1.0  # between two of them

BURST_S = 0.25  # from a run's first record: a pre-roll burst shows within it
BURST_LEAD_S = 0.5  # seconds of speech beyond the time that passed: nobody speaks so fast

# What a voice had sent before it was refused: upper bounds of the classes it is counted in, in bytes.
LEAK_BOUNDS = (0.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, inf)

_LONGEST = 16384  # bytes of plaintext in a record (RFC 8446, 5.1)
# bytes before the frames, of a frame, its seconds, frames in a record at most. LPCM was seen frame by frame:
# two of its frames under AES-CBC are as long as the buffers in which an older device sends its metrics.
_CODECS = ((9, 1024, 0.032, 1), (8, 400, 0.050, _LONGEST), (9, 80, 0.020, _LONGEST))
_COMMON_OVERHEADS = (24, 17, 16)  # AES-GCM of TLS 1.2, TLS 1.3, ChaCha20: where the suite is unknown


def _list_plaintexts(most_s: float) -> dict[int, float]:
    """Return plaintext -> seconds of speech of at most ``most_s``; of two readings the shorter."""
    return {
        before + count * frame: count * seconds
        for before, frame, seconds, most in _CODECS
        for count in range(1, min(most, (_LONGEST - before) // frame) + 1)
        if count * seconds <= most_s
    }


PLAINTEXTS: Mapping[int, float] = _list_plaintexts(0.5)  # nobody waits longer to send what is being said
_PRE_ROLLS = frozenset(_list_plaintexts(inf)) - frozenset(PLAINTEXTS)


def _get_lengths(plaintexts: Iterable[int], suite: Suite | None) -> dict[int, int]:
    if suite is None:
        return {size + overhead: size for size in plaintexts for overhead in _COMMON_OVERHEADS}
    return {suite.get_length(size): size for size in plaintexts}


@cache
def get_voice_lengths(suite: Suite | None) -> Mapping[int, float]:
    """Return record length -> seconds of speech of what voice would send under ``suite``.

    Under any common suite when it is None.
    """
    return {length: PLAINTEXTS[size] for length, size in _get_lengths(PLAINTEXTS, suite).items()}


@cache
def get_pre_roll_lengths(suite: Suite | None) -> frozenset[int]:
    """Return the lengths of records that hold more than half a second of speech.

    One in 80 lengths is such a one, so by itself it means nothing: what follows tells.
    """
    return frozenset(_get_lengths(_PRE_ROLLS, suite))


class VoiceRun:
    """The run of voice-size records that a connection is in.

    ``speech_s`` and ``bytes`` are sums over the run, ``left`` is what of it has passed on a budget.
    ``burst``: in its first BURST_S it sent speech faster than anybody speaks. ``told``: it was reported as
    refused.
    """

    __slots__ = (
        "_recent",
        "began_at",
        "burst",
        "bytes",
        "count",
        "last_at",
        "left",
        "speech_s",
        "told",
        "voice",
    )

    def __init__(self) -> None:
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=RUN)  # length, seconds of speech, time
        self.last_at = -inf
        self._begin(-inf)

    def _begin(self, now: float) -> None:
        self._recent.clear()
        self.began_at = now
        self.count = 0
        self.bytes = 0
        self.speech_s = 0.0
        self.left = 0
        self.voice = False
        self.burst = False
        self.told = False

    def receive(self, length: int, speech_s: float, now: float) -> bool:
        """Take a record of a voice's length; say whether the run became a voice or a burst with it."""
        if now - self.last_at > MAX_GAP_S:
            self._begin(now)
        self.last_at = now
        self.count += 1
        self.bytes += length
        self.speech_s += speech_s
        became = False
        if not self.voice:
            self._recent.append((length, speech_s, now))
            became = self.voice = self._is_steady()
        passed = now - self.began_at
        if self.voice and not self.burst and passed <= BURST_S and self.speech_s - passed >= BURST_LEAD_S:
            self.burst = became = True
        return became

    def _is_steady(self) -> bool:
        recent = self._recent
        length, _, now = recent[-1]
        speech_s = 0.0  # in the records before the last: what was spoken until it was sent
        for count, (its_length, its_speech_s, at) in enumerate(reversed(recent), 1):
            if count > 1:
                speech_s += its_speech_s
            if its_length != length:
                break
            if count >= EQUAL_RUN and speech_s >= EQUAL_RUN_COVERS * (now - at):
                return True
        if len(recent) < RUN:
            return False
        speech_s = sum(row[1] for row in recent) - recent[-1][1]
        return speech_s >= RUN_COVERS * (now - recent[0][2])

    def is_voice(self, now: float) -> bool:
        """Say whether a voice is being sent at ``now``."""
        return self.voice and now - self.last_at <= MAX_GAP_S
