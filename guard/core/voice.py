"""Does a connection send a voice? Known from the lengths and times of its records alone.

Knows: voice is hard constant bit rate, so its records sit on a lattice of lengths, one after the other; how
much speech a record of each length holds; that speech from before the wake word leaves faster than it was
spoken. Refuses to know: verdicts.

Measured on captures of 2018 to 2022: Opus at 32 kbit/s sends plaintexts of 9 + 80k bytes (an HTTP/2 frame
header and 20 ms frames), an older device 8 + 400k (SPDY, 64 kbit/s), one 9 + 1024 (LPCM). In 13 hours of idle
and muted traffic at most one record of such a length fell into any second to one address; a conversation has
57 to 67 a second, and its fifth comes at most 106 ms after its first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

from guard.core.suite import Suite

RUN = 5  # records of such lengths, one after the other, that make a voice
MAX_GAP_S = 1.0  # between two of them

BURST_S = 0.25  # from a run's first record: a pre-roll burst shows within it
BURST_LEAD_S = 0.5  # seconds of speech beyond the time that passed: nobody speaks so fast

# What a voice had sent before it was refused: upper bounds of the classes it is counted in, in bytes.
LEAK_BOUNDS = (0.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, math.inf)

_FRAMES, _SPDY_FRAMES, _LPCM_FRAMES = range(1, 26), range(1, 11), range(1, 5)  # at most half a second
# plaintext -> seconds of speech in it; of two readings of a length the shorter
PLAINTEXTS: Mapping[int, float] = {
    **{9 + 1024 * k: 0.032 * k for k in _LPCM_FRAMES},
    **{8 + 400 * k: 0.050 * k for k in _SPDY_FRAMES},
    **{9 + 80 * k: 0.020 * k for k in _FRAMES},
}
_COMMON_OVERHEADS = (24, 17, 16)  # AES-GCM of TLS 1.2, TLS 1.3, ChaCha20: where the suite is unknown


@cache
def get_voice_lengths(suite: Suite | None) -> Mapping[int, float]:
    """Return record length -> seconds of speech of what voice would send under ``suite``.

    Under any common suite when it is None.
    """
    lengths: dict[int, float] = {}
    for size, seconds in PLAINTEXTS.items():
        sizes = (
            [size + overhead for overhead in _COMMON_OVERHEADS] if suite is None else [suite.get_length(size)]
        )
        for length in sizes:
            lengths[length] = min(seconds, lengths.get(length, math.inf))
    return lengths


class VoiceRun:
    """The run of voice-size records that a connection is in.

    ``speech_s`` and ``bytes`` are sums over the run, ``left`` is what of it has passed on a budget.
    ``burst``: in its first BURST_S it sent speech faster than anybody speaks. ``told``: it was reported as
    refused.
    """

    __slots__ = ("began_at", "burst", "bytes", "count", "last_at", "left", "speech_s", "told")

    def __init__(self) -> None:
        self.count = 0
        self.last_at = -math.inf
        self._begin(-math.inf)

    def _begin(self, now: float) -> None:
        self.began_at = now
        self.bytes = 0
        self.speech_s = 0.0
        self.left = 0
        self.burst = False
        self.told = False

    def receive(self, length: int, speech_s: float, now: float) -> bool:
        """Take a record of a voice's length; say whether the run became a voice or a burst with it."""
        if now - self.last_at > MAX_GAP_S:
            self.count = 0
            self._begin(now)
        self.last_at = now
        self.count += 1
        self.bytes += length
        self.speech_s += speech_s
        passed = now - self.began_at
        became = self.count == RUN
        if (
            not self.burst
            and self.count >= RUN
            and passed <= BURST_S
            and self.speech_s - passed >= BURST_LEAD_S
        ):
            self.burst = became = True
        return became

    def is_going_on(self, now: float) -> bool:
        """Say whether the next record at ``now`` would belong to the run, voice or not."""
        return now - self.last_at <= MAX_GAP_S

    def is_voice(self, now: float) -> bool:
        """Say whether a voice is being sent at ``now``."""
        return self.count >= RUN and now - self.last_at <= MAX_GAP_S
