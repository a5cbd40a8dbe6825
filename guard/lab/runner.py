"""Walk the situations in a household and note what was sent, said and received.

The runner plays the sensing process (mute and wake events, and its 1 Hz sign of life) unless a situation has
real ones, tells the Echos what to do when, and asks everyone for their counts at the end. It judges nothing:
``report`` does. A situation whose real ears are missing is left out, and said to be.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Mode
from guard.errors import LabError
from guard.lab.frames import HEARTBEATS
from guard.lab.household import CLOUD, GateCounts, Household, Said
from guard.lab.namespaces import DEVICES
from guard.lab.room import Room
from guard.lab.scenario import EVENTS, Act, Item, Situation, get_items

ALIVE_S = 1.0
_SETTLE_S = 0.5  # what is in flight arrives
_CONNECT_S = 10.0
_SOURCE = "lab"

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Phase:
    """One walk through one situation in one mode."""

    number: int
    mode: Mode
    situation: Situation


@dataclass(slots=True)
class ItemResult:
    """What became of one errand of one Echo, bytes of plaintext."""

    item: Item
    sent: int = 0
    received: int = 0
    succeeded: bool = False
    declined: bool = False  # the Echo had no session for it and told its user so


@dataclass(slots=True)
class Result:
    """What one Echo did in one phase, what the gate said to it and what the cloud got of it."""

    phase: Phase
    device: str
    items: list[ItemResult]
    said: Counter[Said] = field(default_factory=Counter)
    heartbeats_sent: int = 0
    heartbeats_received: int = 0
    heard: int = 0  # bytes from the cloud
    cut: int = 0  # bytes of incomplete application-data records that reached the cloud
    dials: int = 0
    resets: int = 0


def make_phases(situations: Sequence[Situation], modes: Sequence[Mode]) -> list[Phase]:
    """Return the phases of a walk: every situation in the first mode, then in the next.

    Real ears hear the same in both modes: such a situation is walked once, in enforce.
    """
    pairs = [
        (mode, situation)
        for mode in modes
        for situation in situations
        if mode is Mode.ENFORCE or not situation.real_ears
    ]
    return [Phase(number, mode, situation) for number, (mode, situation) in enumerate(pairs)]


class Runner:
    """One walk through ``phases``. ``tell`` gets a line for each thing that happens."""

    def __init__(
        self, household: Household, phases: Sequence[Phase], *, tell: Tell, pause: float = 0.0
    ) -> None:
        self._household = household
        self._phases = phases
        self._tell = tell
        self._pause = pause
        self._mute = MuteState.UNMUTED
        self._said: list[GateCounts] = []
        self._room: Room | None = None  # while real ears listen
        self._walked: list[Phase] = []

    async def run(self) -> list[Result]:
        """Walk and return the results in the order of the phases, each Echo in turn."""
        household = self._household
        async with self._alive():
            for device in DEVICES:
                await household.call(device.name, {"do": "start"})
            await self._await_connections()
            mode = Mode.MONITOR
            for phase in self._phases:
                if phase.mode is not mode:
                    mode = phase.mode
                    await household.set_mode(mode)
                    self._tell(f"the gate is switched to {mode} while it runs")
                async with self._ears(phase.situation) as missing:
                    if missing is not None:
                        self._tell(f"{phase.situation.name} is left out: {missing}")
                        continue
                    self._said.append(await household.read_gate())
                    self._walked.append(phase)
                    await self._walk(phase)
                    await self._tell_outcome(phase)
            await asyncio.sleep(_SETTLE_S)
            self._said.append(await household.read_gate())
            return await self._collect()

    @asynccontextmanager
    async def _ears(self, situation: Situation) -> AsyncIterator[str | None]:
        """Have what the situation needs to hear; yield what of it is missing."""
        if not situation.real_ears:
            yield None
            return
        room = self._household.make_room()
        if room is None:
            yield "there is no gate for real ears to talk to"
            return
        try:
            missing = await room.start()
            if missing is None:
                self._tell("wakeguard sense listens, one for each Echo, with its real detector")
                self._room = room
            yield missing
        finally:
            self._room = None
            await room.stop()

    async def _walk(self, phase: Phase) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        situation = phase.situation
        self._tell(f"{phase.mode}: {situation.name}")
        self._set_mute(MuteState.MUTED)  # ends an interaction that a situation before left open
        for who in (*(device.name for device in DEVICES), CLOUD):
            await self._household.call(who, {"do": "phase", "phase": phase.number})
        items = {item.step: item.number for item in get_items(situation)}
        for step in situation.steps:
            await asyncio.sleep(max(0.0, start + step.t - loop.time()))
            self._tell(_DESCRIPTIONS[step.act] if self._room is None else _IN_THE_ROOM[step.act])
            if step.act in EVENTS and self._room is not None:
                self._room.act(step.act)
                continue
            if step.act in EVENTS:
                self._publish(step.act)
                continue
            command = {"do": "errand", "errand": step.act, "item": items[step], "seconds": step.seconds}
            for device in DEVICES:
                await self._household.call(device.name, command)
        await asyncio.sleep(max(0.0, start + situation.length + self._pause - loop.time()))

    async def _tell_outcome(self, phase: Phase) -> None:
        """Say at once what the cloud got of this phase; the report has the rest."""
        cloud = await self._household.call(CLOUD, {"do": "report"})
        arrived = dict.fromkeys((device.name for device in DEVICES), 0)
        for device, number, kind, _item, count in cloud["received"]:
            if number == phase.number and kind not in HEARTBEATS:
                arrived[device] += count
        texts = (f"{count:,} bytes from {device}" for device, count in arrived.items())
        self._tell(f"the cloud got {', '.join(texts)}")

    def _publish(self, act: Act) -> None:
        if act is Act.WAKE:
            self._household.publish(WakeEvent(self._now(), "alexa", 1.0, _SOURCE))
        else:
            self._set_mute(MuteState.MUTED if act is Act.MUTE else MuteState.UNMUTED)

    def _set_mute(self, state: MuteState) -> None:
        self._mute = state
        self._household.publish(MuteEvent(self._now(), state, _SOURCE))

    def _now(self) -> float:
        """Return CLOCK_MONOTONIC seconds, which is what asyncio's clock is (virtual in a simulation)."""
        return asyncio.get_running_loop().time()

    @asynccontextmanager
    async def _alive(self) -> AsyncIterator[None]:
        async def beat() -> None:
            while True:
                if self._room is None:
                    self._household.publish(self._alive_event())
                await asyncio.sleep(ALIVE_S)

        task = asyncio.ensure_future(beat())
        try:
            yield
        finally:
            task.cancel()

    def _alive_event(self) -> Event:
        return AliveEvent(self._now(), self._mute)

    async def _await_connections(self) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + _CONNECT_S
        for device in DEVICES:
            while "gateway" not in (await self._household.call(device.name, {"do": "report"}))["connected"]:
                if loop.time() > end:
                    raise LabError(f"the {device.name} Echo could not reach its cloud through the gate")
                await asyncio.sleep(0.1)
            self._tell(f"the {device.name} Echo is connected, TLS {device.tls}")

    async def _collect(self) -> list[Result]:
        cloud = await self._household.call(CLOUD, {"do": "report"})
        received: Counter[tuple[str, int, int, int]] = Counter()
        for device, phase, kind, item, count in cloud["received"]:
            received[device, phase, kind, item] += count
        cut = {(device, phase): count for device, phase, count in cloud["cut"]}
        results = []
        echos = {device.name: await self._household.call(device.name, {"do": "report"}) for device in DEVICES}
        for index, phase in enumerate(self._walked):
            for device in DEVICES:
                echo = echos[device.name]
                result = Result(phase, device.name, [ItemResult(item) for item in get_items(phase.situation)])
                result.said = self._said[index + 1][device.name] - self._said[index][device.name]
                result.cut = cut.get((device.name, phase.number), 0)
                for name in ("heard", "dials", "resets"):
                    setattr(result, name, dict(echo[name]).get(phase.number, 0))
                for number, kind, item, count in echo["sent"]:
                    if number == phase.number:
                        _add(result, kind, item, sent=count)
                for (name, number, kind, item), count in received.items():
                    if (name, number) == (device.name, phase.number):
                        _add(result, kind, item, received=count)
                for outcome in ("succeeded", "declined"):
                    for number, item in echo[outcome]:
                        if number == phase.number:
                            setattr(result.items[item - 1], outcome, True)
                results.append(result)
        return results


def _add(result: Result, kind: int, item: int, *, sent: int = 0, received: int = 0) -> None:
    if kind in HEARTBEATS:
        result.heartbeats_sent += sent
        result.heartbeats_received += received
    else:
        result.items[item - 1].sent += sent
        result.items[item - 1].received += received


_DESCRIPTIONS = {
    Act.MUTE: "the mute LED turns red",
    Act.UNMUTE: "the mute LED is off",
    Act.WAKE: "our own microphone hears the wake word",
    Act.TELEMETRY: "each Echo sends a burst of telemetry",
    Act.STATE: "each Echo reports its state to the gateway",
    Act.VOICE: "each Echo uploads voice",
    Act.SONG: "each Echo streams a song",
}
_IN_THE_ROOM = _DESCRIPTIONS | {Act.WAKE: 'somebody says "Alexa" in the room'}
