"""The paper's four situations, as data.

A situation is a script: at so many seconds, someone does something. Both Echos follow it at once. An
item is *explained* when the microphone is not muted and a wake word was heard before it in the same
situation, or at most ``HELD_S`` after it; only what is explained may reach the cloud in enforce.

The Echo hears its wake word first and uploads at once; our own detector is sure ``LATE_S`` later. What
nothing explains is sent long enough before a wake word that it cannot be taken for part of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Act(StrEnum):
    """What a step does. The first three are sensor events, the others errands of each Echo."""

    MUTE = "mute"
    UNMUTE = "unmute"
    WAKE = "wake"
    TELEMETRY = "telemetry"
    STATE = "state"
    VOICE = "voice"
    SONG = "song"


EVENTS = frozenset({Act.MUTE, Act.UNMUTE, Act.WAKE})
LATE_S = 0.3  # our own detector, after the Echo's first audio packet
HELD_S = 0.8  # so long packets wait for a wake word (hold_s of rules/policy.toml)


@dataclass(frozen=True, slots=True)
class Step:
    """At ``t`` seconds into the situation, ``act``, for ``seconds`` where that means something."""

    t: float
    act: Act
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """One of the paper's four, or ours. ``length`` in seconds; the last errand ends before it.

    ``real_ears``: its sensor events come from real sensing processes, and a wake word is a sound in the room.
    """

    name: str
    promise: str
    length: float
    steps: tuple[Step, ...]
    real_ears: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """An errand with the number its bytes bear."""

    number: int
    step: Step
    explained: bool


MICROPHONE_MUTE = Situation(
    "microphone_mute",
    "nothing while the microphone is muted, whatever is sent",
    8.0,
    (
        Step(0.0, Act.MUTE),
        Step(0.6, Act.TELEMETRY),
        Step(2.0, Act.STATE),
        Step(3.5, Act.VOICE, 1.0),
        Step(3.5 + LATE_S, Act.WAKE),  # a muted Echo cannot have heard it
    ),
)
NO_WAKE_WORD = Situation(
    "no_wake_word",
    "nothing without a wake word",
    8.0,
    (
        Step(0.0, Act.UNMUTE),
        Step(0.4, Act.TELEMETRY),
        Step(0.8, Act.STATE),
        Step(3.6, Act.VOICE, 1.0),  # the Echo woke by itself
    ),
)
# What is refused waits for HELD_S first, and the eager Echo sends it three times: over after 2.6 s. The lazy
# one redials after a second when its session had lived for 3 s. Both are up again for the first command.
NORMAL_CONVERSATION = Situation(
    "normal_conversation",
    "of the conversation, what follows the wake word",
    13.0,
    (
        Step(0.0, Act.UNMUTE),
        Step(0.4, Act.TELEMETRY),
        Step(1.4, Act.STATE),
        Step(4.5, Act.VOICE, 1.2),
        Step(4.5 + LATE_S, Act.WAKE),
        Step(7.3, Act.VOICE, 1.2),
        Step(7.3 + LATE_S, Act.WAKE),
        Step(10.1, Act.VOICE, 1.0),
        Step(10.1 + LATE_S, Act.WAKE),
    ),
)
MUSIC_STREAM = Situation(
    "music_stream",
    "the command and the song",
    8.0,
    (
        Step(0.0, Act.UNMUTE),
        Step(0.8, Act.VOICE, 1.0),
        Step(0.8 + LATE_S, Act.WAKE),
        Step(3.0, Act.SONG, 4.0),
    ),
)
SITUATIONS = {
    situation.name: situation
    for situation in (MICROPHONE_MUTE, NO_WAKE_WORD, NORMAL_CONVERSATION, MUSIC_STREAM)
}
# The clip lasts 0.8 s, and the lamp's decoder takes 1.5 s to believe in its silence.
SPOKEN_WORD = Situation(
    "spoken_word",
    "the command, after a word that the real detector heard",
    7.5,
    (
        Step(0.0, Act.UNMUTE),
        Step(3.2, Act.WAKE),
        Step(4.0, Act.VOICE, 1.0),
    ),
    real_ears=True,
)


def get_items(situation: Situation) -> Iterator[Item]:
    """Return the errands of a situation, numbered from 1 (0 is for heartbeats), each with its excuse."""
    errands = [step for step in situation.steps if step.act not in EVENTS]
    for number, step in enumerate(errands, start=1):
        yield Item(number, step, _is_explained(step, situation.steps))


def _is_explained(errand: Step, steps: tuple[Step, ...]) -> bool:
    """Say whether a wake word was heard before the errand or while it was held, with no muting between."""
    words = [step.t for step in steps if step.act is Act.WAKE and step.t <= errand.t + HELD_S]
    return any(
        _get_mute(steps, word) is not Act.MUTE
        and not any(step.act is Act.MUTE and word <= step.t <= errand.t for step in steps)
        and not any(step.act is Act.MUTE and errand.t <= step.t <= word for step in steps)
        for word in words
    )


def _get_mute(steps: tuple[Step, ...], t: float) -> Act:
    states = [step.act for step in steps if step.act in {Act.MUTE, Act.UNMUTE} and step.t <= t]
    return states[-1] if states else Act.UNMUTE
