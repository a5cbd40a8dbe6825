"""What the length of a record may mean under one cipher suite.

Knows: the lengths of heartbeats, of a voice's records and of those that may hold what was said before the
wake word; so also which records are worth a question at all. Refuses to know: connections, times, verdicts.
One object serves all connections under a suite; nobody writes to it.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from guard.core.burst import CONTROL_BYTES, UNKNOWN_CONTROL_LENGTH
from guard.core.policy import Heartbeat, Policy
from guard.core.suite import Suite
from guard.core.tls import MAX_RECORD_BYTES
from guard.core.voice import get_pre_roll_lengths, get_voice_lengths

MAY_BE_BEAT: Final = 1
MAY_BE_VOICE: Final = 2
MAY_BE_PRE_ROLL: Final = 4


class Lengths:
    """Record lengths and what they may mean.

    ``beats``: heartbeats. ``voice``: speech, by length, None where it is none. ``control``: the longest
    record that holds none. ``of_client``, ``of_server``: by length, what a record of that side may be once
    the handshake is over: MAY_BE_BEAT, MAY_BE_VOICE, MAY_BE_PRE_ROLL, 0 for nothing. Bytes, since most
    records ask for nothing else.
    """

    __slots__ = ("beats", "control", "of_client", "of_server", "suite", "voice")

    def __init__(self, beats: dict[int, Heartbeat], suite: Suite | None) -> None:
        self.suite = suite
        self.beats = beats
        voice = get_voice_lengths(suite)
        self.voice = [voice.get(length) for length in range(max(voice) + 1)]
        self.control = UNKNOWN_CONTROL_LENGTH if suite is None else suite.get_length(CONTROL_BYTES)
        flags = bytearray(MAX_RECORD_BYTES + 1)
        for flag, lengths in (
            (MAY_BE_BEAT, beats.keys()),
            (MAY_BE_VOICE, voice.keys()),
            (MAY_BE_PRE_ROLL, get_pre_roll_lengths(suite).keys()),
        ):
            for length in lengths:
                if length <= MAX_RECORD_BYTES:
                    flags[length] |= flag
        self.of_client = bytes(flags)
        self.of_server = bytes([flag & MAY_BE_BEAT for flag in self.of_client])


@cache
def get_lengths(heartbeats: tuple[Heartbeat, ...], suite: Suite | None) -> Lengths:
    """Return the lengths under a suite; under one that is not known no length is a heartbeat's."""
    return Lengths(
        {} if suite is None else {suite.get_length(beat.plaintext): beat for beat in heartbeats}, suite
    )


@cache
def _infer(heartbeats: tuple[Heartbeat, ...], rows: tuple[tuple[int, int], ...]) -> Lengths:
    return Lengths({length: heartbeats[row] for length, row in rows}, None)


def infer_lengths(policy: Policy) -> Lengths:
    """Return the lengths by which a connection is read whose ServerHello was not seen (yet)."""
    return _infer(policy.heartbeats, tuple(policy.inferred_lengths.items()))
