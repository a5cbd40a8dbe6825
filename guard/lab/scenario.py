"""The paper's four situations, as data.

A situation is a script: at so many seconds, someone does something. Both Echos follow it at once. An
item is *explained* when the microphone is not muted and a wake word was heard before it in the same
situation; only what is explained may reach the cloud in enforce.

Holding comes to the engine later, so here the wake event precedes the first audio packet: our own
microphone hears the word while the Echo still prepares its upload.
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


@dataclass(frozen=True, slots=True)
class Step:
    """At ``t`` seconds into the situation, ``act``, for ``seconds`` where that means something."""

    t: float
    act: Act
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Situation:
    """One of the paper's four. ``length`` in seconds; the last errand ends before it."""

    name: str
    promise: str
    length: float
    steps: tuple[Step, ...]


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
        Step(3.2, Act.WAKE),  # a muted Echo cannot have heard it
        Step(3.5, Act.VOICE, 1.0),
    ),
)
NO_WAKE_WORD = Situation(
    "no_wake_word",
    "nothing without a wake word",
    8.0,
    (
        Step(0.0, Act.UNMUTE),
        Step(0.6, Act.TELEMETRY),
        Step(2.0, Act.STATE),
        Step(3.5, Act.VOICE, 1.0),  # the Echo woke by itself
    ),
)
NORMAL_CONVERSATION = Situation(
    "normal_conversation",
    "of the conversation, what follows the wake word",
    11.0,
    (
        Step(0.0, Act.UNMUTE),
        Step(0.4, Act.TELEMETRY),
        Step(1.2, Act.STATE),  # cuts the gateway session just before it is needed
        Step(1.8, Act.WAKE),
        Step(2.1, Act.VOICE, 1.2),
        Step(4.8, Act.WAKE),
        Step(5.1, Act.VOICE, 1.2),
        Step(7.8, Act.WAKE),
        Step(8.1, Act.VOICE, 1.0),
    ),
)
MUSIC_STREAM = Situation(
    "music_stream",
    "the command and the song",
    8.0,
    (
        Step(0.0, Act.UNMUTE),
        Step(0.5, Act.WAKE),
        Step(0.8, Act.VOICE, 1.0),
        Step(2.8, Act.SONG, 4.0),
    ),
)
SITUATIONS = {
    situation.name: situation
    for situation in (MICROPHONE_MUTE, NO_WAKE_WORD, NORMAL_CONVERSATION, MUSIC_STREAM)
}


def get_items(situation: Situation) -> Iterator[Item]:
    """Return the errands of a situation, numbered from 1 (0 is for heartbeats), each with its excuse."""
    muted = woken = False
    number = 0
    for step in situation.steps:
        if step.act in EVENTS:
            muted = muted if step.act is Act.WAKE else step.act is Act.MUTE
            woken = not muted and (woken or step.act is Act.WAKE)
            continue
        number += 1
        yield Item(number, step, woken)
