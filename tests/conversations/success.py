"""A hundred conversations between what else an Echo sends; and how it comes back after a mute.

Two ways of life. *Everyday*: reports of settings and telemetry come at random, at the rates of quiet Echos;
people speak at random. *Pressing*: each conversation begins within ``PRESSING_S`` of a report that nothing
explains, which under strict has just cost the Echo its session. The same seed gives the same life.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from guard.core.event import MuteState
from guard.lab import frames
from guard.lab.household import CLOUD
from guard.lab.namespaces import DEVICES
from guard.lab.scenario import Act
from tests.conversations.director import Director

STATE_EVERY_S = 180.0  # with telemetry 113 kB an hour; quiet Echos send 19 to 166 kB (rules/policy.toml)
TELEMETRY_EVERY_S = 600.0
TALK_EVERY_S = 120.0
PRESSING_S = 8.0
LATEST_S = 0.7  # the wake event comes at most so late
SPEECH_S = 1.2
_WHOLE = frames.get_bytes(frames.utterance(0, 0, seconds=SPEECH_S))
_ANSWER_S = 6.0  # the eager Echo's second upload included
_AGAIN_S = 4.0  # people say it again after so long
_TRIES = 15


@dataclass
class Life:
    """What became of an Echo's conversations."""

    spoken: int = 0
    answered: int = 0
    declined: int = 0  # the Echo had no session and said so
    hours: float = 0.0
    resets: int = 0
    dials: int = 0
    waits: list[float] = field(default_factory=list)  # from unmuting to the first answered command, s


Lives = dict[str, Life]


async def live_everyday(director: Director, *, talks: int, seed: int) -> Lives:
    """Speak ``talks`` times at random while reports come at random."""
    random = Random(seed)
    started = director.now()
    async with _chatter(director, random):
        for _ in range(talks):
            await asyncio.sleep(10.0 + random.expovariate(1 / (TALK_EVERY_S - 10.0)))
            await _converse(director, random)
    return await _sum_up(director, talks, director.now() - started)


async def live_pressing(director: Director, *, talks: int, seed: int) -> Lives:
    """Speak ``talks`` times, each time shortly after a report that nothing explains."""
    random = Random(seed)
    started = director.now()
    for _ in range(talks):
        director.set_mute(MuteState.MUTED)  # ends the interaction before
        director.set_mute(MuteState.UNMUTED)
        await director.send(Act.STATE)
        await asyncio.sleep(random.uniform(0.0, PRESSING_S))
        await _converse(director, random)
    return await _sum_up(director, talks, director.now() - started)


async def live_muted(
    director: Director, *, times: int, seconds: float, seed: int, pressing: bool = False
) -> Lives:
    """Mute for about ``seconds``, unmute, speak until both Echos have answered; ``times`` over.

    ``pressing``: a report was refused shortly before unmuting.
    """
    random = Random(seed)
    lives: Lives = {device.name: Life() for device in DEVICES}
    async with _chatter(director, random):
        for _ in range(times):
            director.set_mute(MuteState.MUTED)
            before = {name: await director.report(name) for name in lives}
            muted = director.now()
            await asyncio.sleep(seconds * random.uniform(0.8, 1.2))
            if pressing:
                await director.send(Act.STATE)
                await asyncio.sleep(random.uniform(0.0, PRESSING_S))
            for name, life in lives.items():
                report = await director.report(name)
                life.resets += _total(report["resets"]) - _total(before[name]["resets"])
                life.dials += _total(report["dials"]) - _total(before[name]["dials"])
                life.hours += (director.now() - muted) / 3600.0
            director.set_mute(MuteState.UNMUTED)
            await _come_back(director, random, lives)
    return lives


async def _come_back(director: Director, random: Random, lives: Lives) -> None:
    """Speak again and again until both Echos have answered; note when each had."""
    started = director.now()
    missing = set(lives)
    for _ in range(_TRIES):
        item = await director.talk(SPEECH_S)
        await asyncio.sleep(random.uniform(0.0, LATEST_S))
        director.hear_word()
        end = director.now() + _AGAIN_S
        while missing and director.now() < end:
            await asyncio.sleep(0.1)
            for name in sorted(missing):
                report = await director.report(name)
                if any(number == item for _phase, number in report["succeeded"]):
                    lives[name].waits.append(director.now() - started)
                    missing.discard(name)
        if not missing:
            return
    for name in missing:
        lives[name].waits.append(float("inf"))


async def _converse(director: Director, random: Random) -> None:
    await director.talk(SPEECH_S)
    await asyncio.sleep(random.uniform(0.0, LATEST_S))
    director.hear_word()
    await asyncio.sleep(_ANSWER_S)


@asynccontextmanager
async def _chatter(director: Director, random: Random) -> AsyncIterator[None]:
    """Send reports and telemetry at random times meanwhile."""

    async def repeat(act: Act, every: float) -> None:
        while True:
            await asyncio.sleep(random.expovariate(1 / every))
            await director.send(act)

    tasks = [
        asyncio.ensure_future(repeat(act, every))
        for act, every in ((Act.STATE, STATE_EVERY_S), (Act.TELEMETRY, TELEMETRY_EVERY_S))
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def _sum_up(director: Director, talks: int, seconds: float) -> Lives:
    cloud = await director.report(CLOUD)
    lives: Lives = {}
    for device in DEVICES:
        report = await director.report(device.name)
        received: dict[int, int] = {}
        for name, _phase, _kind, item, count in cloud["received"]:
            if name == device.name:
                received[item] = received.get(item, 0) + count
        answered = [item for _phase, item in report["succeeded"] if item <= talks]
        assert all(received[item] >= _WHOLE for item in answered)
        lives[device.name] = Life(
            spoken=talks,
            answered=len(answered),
            declined=len(report["declined"]),
            hours=seconds / 3600.0,
            resets=_total(report["resets"]),
            dials=_total(report["dials"]),
        )
    return lives


def _total(counts: list[list[int]]) -> int:
    return sum(count for _phase, count in counts)
