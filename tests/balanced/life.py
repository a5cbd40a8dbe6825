"""Conversations as people have them, and what an Echo must not send, in the lab's household.

A hundred commands at realistic pauses, every third with a follow-up turn that has no wake word, every tenth
asks for a song that plays on; reports and telemetry come in between. The same life is led without a gate
(monitor: nothing is held or refused), under strict and under balanced. Bytes are counted behind the cloud's
TCP and TLS.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from guard.core.event import MuteState
from guard.lab import frames
from guard.lab.frames import Kind
from guard.lab.household import CLOUD
from guard.lab.namespaces import DEVICES
from guard.lab.scenario import Act
from tests.conversations.director import Director
from tests.conversations.success import STATE_EVERY_S, TALK_EVERY_S, TELEMETRY_EVERY_S

SPEECH_S = 1.2
WHOLE = frames.get_bytes(frames.utterance(0, 0, seconds=SPEECH_S))
LATEST_S = 0.7  # the wake event comes at most so late
FOLLOW_EVERY, SONG_EVERY = 3, 10
ANSWER_S = 4.0  # until the answer has come
FOLLOW_PAUSE_S = (0.5, 4.0)  # people answer a question within five seconds: then the Echo listens no more
SONG_S = 60.0
SPOKEN = (Kind.VOICE, Kind.VOICE_END)
OPENING = frames.get_bytes(frames.utterance(0, 0, seconds=0.0)[: frames.OPENING_FRAMES])
ATTEMPTS = {"eager": 3, "lazy": 1}  # to say the same
SETTLED_S = 12.0  # an eager Echo says it three times
_TALKS_BEFORE_PHASE = 90  # an item's number is a byte; 100 of them are commands


@dataclass
class Tally:
    """What became of an Echo's day."""

    commands: int = 0
    answered: int = 0
    follow_ups: int = 0
    followed: int = 0
    songs: int = 0
    played: int = 0
    resets: int = 0
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        """Take another part of the day."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class _Part:
    """The items of what was done since the last phase began."""

    commands: list[int] = field(default_factory=list)
    follow_ups: list[int] = field(default_factory=list)
    songs: list[int] = field(default_factory=list)


async def converse(
    director: Director, *, talks: int, seed: int, every: float = TALK_EVERY_S, song_s: float = SONG_S
) -> dict[str, Tally]:
    """Lead a life of ``talks`` commands; return what became of them at each Echo."""
    random = Random(seed)
    day = {device.name: Tally() for device in DEVICES}
    chatter = [
        asyncio.ensure_future(_repeat(director, act, often, Random(seed + number)))
        for number, (act, often) in enumerate(
            ((Act.STATE, STATE_EVERY_S), (Act.TELEMETRY, TELEMETRY_EVERY_S))
        )
    ]
    try:
        done = phase = 0
        while done < talks:
            phase += 1
            await director.start_phase(phase % frames.MAX_PHASES)
            part, before = _Part(), director.now()
            while done < talks and len(part.commands) + len(part.follow_ups) < _TALKS_BEFORE_PHASE:
                await asyncio.sleep(10.0 + random.expovariate(1 / (every - 10.0)))
                await _talk(director, random, part, number=done, song_s=song_s)
                done += 1
            for name, tally in (await _count(director, phase % frames.MAX_PHASES, part)).items():
                tally.seconds = director.now() - before
                day[name].add(tally)
    finally:
        for task in chatter:
            task.cancel()
    for name, tally in day.items():
        tally.resets = sum(count for _phase, count in (await director.report(name))["resets"])
    return day


async def _talk(director: Director, random: Random, part: _Part, *, number: int, song_s: float) -> None:
    part.commands.append(await director.talk(SPEECH_S))
    await asyncio.sleep(random.uniform(0.0, LATEST_S))
    director.hear_word()
    await asyncio.sleep(ANSWER_S)
    if number % FOLLOW_EVERY == 0:
        await asyncio.sleep(random.uniform(*FOLLOW_PAUSE_S))
        part.follow_ups.append(await director.talk(SPEECH_S))
        await asyncio.sleep(ANSWER_S)
    if number % SONG_EVERY == 0:
        part.songs.append(await director.send(Act.SONG, song_s))
        await asyncio.sleep(song_s + ANSWER_S)


async def _repeat(director: Director, act: Act, every: float, random: Random) -> None:
    while True:
        await asyncio.sleep(random.expovariate(1 / every))
        await director.send(act)


async def _count(director: Director, phase: int, part: _Part) -> dict[str, Tally]:
    cloud = await director.report(CLOUD)
    tallies = {}
    for device in DEVICES:
        report = await director.report(device.name)
        succeeded = {item for its_phase, item in report["succeeded"] if its_phase == phase}
        received: Counter[int] = Counter()
        for name, its_phase, _kind, item, count in cloud["received"]:
            if name == device.name and its_phase == phase:
                received[item] += count
        for item in succeeded.intersection(part.commands + part.follow_ups):
            assert received[item] >= WHOLE  # answered means that every byte had come

        def fit(items: Sequence[int], succeeded: set[int] = succeeded) -> int:
            return len(succeeded.intersection(items))

        tallies[device.name] = Tally(
            commands=len(part.commands),
            answered=fit(part.commands),
            follow_ups=len(part.follow_ups),
            followed=fit(part.follow_ups),
            songs=len(part.songs),
            played=fit(part.songs),
        )
    return tallies


@dataclass
class Silence:
    """What reached the cloud of utterances that nothing explains: device -> bytes.

    ``opening``: headers and JSON, in which there is no speech; ``speech``: all else, pieces of records too.
    """

    utterances: int = 0
    opening: dict[str, int] = field(default_factory=dict)
    speech: dict[str, int] = field(default_factory=dict)


async def speak_unexplained(
    director: Director, *, times: int, seed: int, muted: bool, seconds: float = 2.0
) -> Silence:
    """Let both Echos upload ``times`` with no wake word, or muted (then a wake word is heard as well).

    So few times that the budget lasts: a report of which only a piece leaves cannot be told from speech here.
    """
    random = Random(seed)
    director.set_mute(MuteState.MUTED if muted else MuteState.UNMUTED)
    await director.start_phase(1)
    for _ in range(times):
        await asyncio.sleep(random.uniform(6.0, 12.0))
        await director.talk(seconds)
        if muted:
            await asyncio.sleep(random.uniform(0.0, LATEST_S))
            director.hear_word()
    await asyncio.sleep(SETTLED_S)
    cloud = await director.report(CLOUD)
    silence = Silence(times)
    for device in DEVICES:
        whole = sum(
            count
            for name, phase, kind, _item, count in cloud["received"]
            if name == device.name and phase == 1 and kind in SPOKEN
        )
        pieces = sum(count for name, phase, count in cloud["cut"] if name == device.name and phase == 1)
        # Openings come whole and first, each once for each attempt: whatever is beyond them is speech.
        openings = min(whole // OPENING, times * ATTEMPTS[device.name]) * OPENING
        silence.opening[device.name] = openings
        silence.speech[device.name] = whole - openings + pieces
    return silence
