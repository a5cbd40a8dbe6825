"""What a burst of application data looks like: the feature vector of the voice model.

Knows: the records that a connection has sent without a pause, how far they are steady and of one size; those
of the connection's own upkeep are left out. One implementation, for training and for the gate. Refuses to
know: bodies, packet sizes (offload changes them), what the vector means (``forest``), verdicts.

A voice is sent as it is spoken: a codec's frames are equally long and come at equal times, so the lengths of
its records differ by multiples of one unit, and their bytes grow with time and no faster. Reports are written
when they are ready: in records as long as a buffer, as fast as the line takes them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from math import gcd, inf, sqrt
from typing import Final, Protocol

PAUSE_S: Final = 1.0  # ends a burst
WINDOW: Final = 8  # the last records of a burst, which most features are about
MIN_RUN: Final = 5  # records that are equally long, one after the other: fewer may be so by chance
# HTTP/2's PING; WINDOW_UPDATE, SETTINGS and those of SPDY are shorter: no room for a frame of speech
CONTROL_BYTES: Final = 17
UNKNOWN_CONTROL_LENGTH: Final = CONTROL_BYTES + 24  # a record of it under AES-GCM, where the suite is unknown
# So many records, no longer and no rarer than frames of speech are, and not all at once: a voice of whatever
# lengths. In 11 hours of captures four came so at most outside uploads.
PACE: Final = 16
PACE_S: Final = 0.16
PACE_GAP_S: Final = 0.15
PACE_LONGEST: Final = 1100
# 6 kbit/s, the slowest that Opus can speak: a player asks for its song more slowly
LEAST_BYTES_PER_S: Final = 750.0
CAP: Final = 64.0  # counts beyond it are all the same

FEATURES: Final = (
    "records",  # of the burst, at most CAP
    "seconds",  # since it began
    "bytes_per_s",  # in the window
    "equal",  # share of the window that has its commonest length
    "run",  # records up to now that are equally long, at most CAP
    "sizes",  # different lengths in the window
    "unit",  # greatest common divisor of their differences, 0 where all are equal
    "length",  # of the last record: the run's own
    "mean_length",
    "longest",
    "shortest",
    "mean_gap_s",
    "longest_gap_s",
    "gap_spread",  # standard deviation of the gaps by their mean
    "lattice",  # share of the window on a lattice of a known codec
)
# Where the lattice is known the certain rule has spoken. The model sees nothing of it, so that a codec nobody
# has measured looks to it as one that was.
MODEL_FEATURES: Final = FEATURES[:-1]


# what the vector means
TERMS: Final[tuple[object, ...]] = (PAUSE_S, WINDOW, MIN_RUN, CONTROL_BYTES, CAP, *FEATURES)


def get_contract(terms: tuple[object, ...] = TERMS) -> str:
    """Return a hash of what the vector means; a model that was trained on another cannot be used."""
    return sha256("|".join(map(str, terms)).encode()).hexdigest()[:16]


class VoiceModel(Protocol):
    """Whoever tells a voice by its vector: a ``forest.Forest``, or training, which only looks on."""

    @property
    def name(self) -> str:
        """Return what it is called in status and metrics."""
        ...

    def is_voice(self, vector: Sequence[float]) -> bool:
        """Say whether this is a voice."""
        ...


class Burst:
    """The burst that a connection is in.

    Where its last MIN_RUN records are not equally long, or too slow for any speech, a record costs a few
    comparisons and no question. A burst that keeps the pace of speech is a voice, whatever the model says.
    ``left``: what of it has passed on a budget, ``began_at``: when its first record came, ``told``: it was
    reported as refused.
    """

    __slots__ = (
        "_model",
        "_window",
        "began_at",
        "count",
        "last_at",
        "left",
        "pace",
        "paced_from",
        "run",
        "told",
        "voice",
    )

    def __init__(self, model: VoiceModel | None) -> None:
        """Without a model nothing is recognised, and what passes is counted all the same."""
        self._model = model
        self._window: deque[tuple[int, float, bool]] = deque(maxlen=WINDOW)  # length, time, on a lattice
        self.began_at = self.last_at = -inf
        self.count = 0
        self.run = 0
        self.pace = 0  # records up to now that keep the pace of speech
        self.paced_from = -inf
        self.left = 0
        self.voice = False
        self.told = False

    def receive(self, length: int, now: float, *, lattice: bool) -> bool:
        """Take a record; say whether the burst became a voice with it."""
        window = self._window
        if now - self.last_at > PAUSE_S:
            window.clear()
            self.began_at = now
            self.count = self.run = self.pace = self.left = 0
            self.voice = self.told = False
        self.run = self.run + 1 if window and window[-1][0] == length else 1
        if length > PACE_LONGEST:
            self.pace = 0
        elif self.pace and now - self.last_at <= PACE_GAP_S:
            self.pace += 1
        else:
            self.pace, self.paced_from = 1, now
        self.last_at = now
        self.count += 1
        window.append((length, now, lattice))
        if self.voice:
            return False
        model = self._model
        if self.pace >= PACE and now - self.paced_from >= PACE_S:
            self.voice = True
        elif self.run >= MIN_RUN and model is not None:
            spoken = length * (MIN_RUN - 1)  # before the last was sent
            if spoken >= LEAST_BYTES_PER_S * (now - window[-MIN_RUN][1]):
                self.voice = model.is_voice(self.get_vector())
        return self.voice

    def is_voice(self, now: float) -> bool:
        """Say whether a voice is being sent at ``now``, as far as the model can tell."""
        return self.voice and now - self.last_at <= PAUSE_S

    def get_vector(self) -> list[float]:
        """Return the FEATURES of the burst after its last record."""
        window = self._window
        lengths = [row[0] for row in window]
        count = len(lengths)
        span = window[-1][1] - window[0][1]
        mean_gap = span / (count - 1) if count > 1 else 0.0
        longest_gap = square = 0.0
        before = window[0][1]
        for _, at, _ in window:
            gap = at - before
            before = at
            square += gap * gap
            longest_gap = max(longest_gap, gap)
        variance = max(0.0, square / max(1, count - 1) - mean_gap * mean_gap)
        kinds = set(lengths)
        total = sum(lengths)
        shortest = min(kinds)
        return [
            min(CAP, float(self.count)),
            self.last_at - self.began_at,
            total / max(span, 0.001),
            max(map(lengths.count, kinds)) / count,
            min(CAP, float(self.run)),
            float(len(kinds)),
            float(gcd(*[length - shortest for length in kinds])),
            float(lengths[-1]),
            total / count,
            float(max(kinds)),
            float(shortest),
            mean_gap,
            longest_gap,
            sqrt(variance) / mean_gap if mean_gap else 0.0,
            sum(row[2] for row in window) / count,
        ]
