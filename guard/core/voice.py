"""Does a connection send a voice? Known from the lengths and times of its records alone.

Knows: voice is hard constant bit rate, so its records sit on a lattice of lengths, one after the other. More
cannot be said without the voice model, which comes with a later release. Refuses to know: verdicts.

Measured on captures of 2018 to 2022: Opus at 32 kbit/s sends plaintexts of 9 + 80k bytes (an HTTP/2 frame
header and 20 ms frames), an older device 8 + 400k (SPDY, 64 kbit/s), one 9 + 1024 (LPCM). In 13 hours of idle
and muted traffic at most one record of such a length fell into any second to one address; a conversation has
57 to 67 a second, and its fifth comes at most 106 ms after its first.
"""

from __future__ import annotations

from functools import cache

from guard.core.suite import Suite

RUN = 5  # records of such lengths, one after the other, that make a voice
MAX_GAP_S = 1.0  # between two of them

_FRAMES, _SPDY_FRAMES = range(1, 26), range(1, 11)  # at most half a second of voice in a record
PLAINTEXTS = frozenset(
    [9 + 80 * k for k in _FRAMES] + [8 + 400 * k for k in _SPDY_FRAMES] + [9 + 1024 * k for k in range(1, 5)]
)
_COMMON_OVERHEADS = (24, 17, 16)  # AES-GCM of TLS 1.2, TLS 1.3, ChaCha20: where the suite is unknown


@cache
def get_voice_lengths(suite: Suite | None) -> frozenset[int]:
    """Return the record lengths that voice would have under ``suite``, under any common one when None."""
    if suite is None:
        return frozenset(size + overhead for size in PLAINTEXTS for overhead in _COMMON_OVERHEADS)
    return frozenset(map(suite.get_length, PLAINTEXTS))


class VoiceRun:
    """The run of voice-size records that a connection is in."""

    __slots__ = ("count", "last_at")

    def __init__(self) -> None:
        self.count = 0
        self.last_at = float("-inf")

    def receive(self, now: float) -> None:
        """Take a record of a voice's length."""
        self.count = self.count + 1 if now - self.last_at <= MAX_GAP_S else 1
        self.last_at = now

    def is_voice(self, now: float) -> bool:
        """Say whether a voice is being sent at ``now``."""
        return self.count >= RUN and now - self.last_at <= MAX_GAP_S
