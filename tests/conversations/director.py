"""Someone who tells a household what happens next, in either of its two kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from guard.core.event import AliveEvent, MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Mode
from guard.lab import virtual_time
from guard.lab.household import CLOUD, Household
from guard.lab.kernel_household import KernelHousehold
from guard.lab.namespaces import DEVICES
from guard.lab.runner import ALIVE_S
from guard.lab.scenario import Act
from guard.lab.simulation import SimulatedHousehold

REAL_PERIODS = 1.0
_SOURCE = "lab"
_CONNECT_S = 10.0
_POLL_S = 0.05
_TALK_ITEMS = 100
_OTHER_ITEMS = 155  # an item's number is a byte

T = TypeVar("T")


class Director:
    """Publishes sensor events and sends the Echos on errands; numbers both."""

    def __init__(self, household: Household) -> None:
        self.household = household
        self._mute = MuteState.UNMUTED
        self._talks = 0
        self._others = 0

    def now(self) -> float:
        """Return CLOCK_MONOTONIC seconds, virtual in a simulation."""
        return asyncio.get_running_loop().time()

    async def connect(self, mode: Mode) -> None:
        """Bring both Echos up, then switch the gate to ``mode``."""
        for device in DEVICES:
            await self.household.call(device.name, {"do": "start"})
        end = self.now() + _CONNECT_S
        for device in DEVICES:
            while len((await self.report(device.name))["connected"]) < 2:
                assert self.now() < end, f"the {device.name} Echo does not reach its cloud"
                await asyncio.sleep(_POLL_S)
        await self.household.set_mode(mode)

    def set_mute(self, state: MuteState) -> None:
        """Turn the lamp on or off."""
        self._mute = state
        self.household.publish(MuteEvent(self.now(), state, _SOURCE))

    def hear_word(self) -> float:
        """Let the detector hear the wake word now; return when that was."""
        heard = self.now()
        self.household.publish(WakeEvent(heard, "alexa", 1.0, _SOURCE))
        return heard

    async def talk(self, seconds: float) -> int:
        """Let both Echos upload a command; return the item's number."""
        self._talks = self._talks % _TALK_ITEMS + 1
        await self._send(Act.VOICE, self._talks, seconds)
        return self._talks

    async def send(self, act: Act, seconds: float = 0.0) -> int:
        """Let both Echos send something besides speech; return the item's number."""
        self._others = self._others % _OTHER_ITEMS + 1
        await self._send(act, _TALK_ITEMS + self._others, seconds)
        return _TALK_ITEMS + self._others

    async def start_phase(self, number: int) -> None:
        """Count what follows apart."""
        for who in (*(device.name for device in DEVICES), CLOUD):
            await self.household.call(who, {"do": "phase", "phase": number})
        self._talks = 0

    async def report(self, who: str) -> dict[str, Any]:
        """Return the counts of an Echo or the cloud."""
        return await self.household.call(who, {"do": "report"})

    async def _send(self, act: Act, item: int, seconds: float) -> None:
        command = {"do": "errand", "errand": act, "item": item, "seconds": seconds}
        for device in DEVICES:
            await self.household.call(device.name, command)

    @asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Say every second that the sensing process lives."""

        async def beat() -> None:
            while True:
                self.household.publish(AliveEvent(self.now(), self._mute))
                await asyncio.sleep(ALIVE_S)

        task = asyncio.ensure_future(beat())
        try:
            yield
        finally:
            task.cancel()


def direct(
    play: Callable[[Director], Awaitable[T]],
    *,
    kernel: bool,
    balanced: bool = False,
    mode: Mode = Mode.ENFORCE,
) -> T:
    """Build a household, let ``play`` direct it, take it down and return what came of it."""

    async def main() -> T:
        make = KernelHousehold if kernel else SimulatedHousehold
        household: Household = make(period_scale=REAL_PERIODS, balanced=balanced)
        try:
            await household.start()
            director = Director(household)
            async with director.alive():
                await director.connect(mode)
                return await play(director)
        finally:
            await household.stop()

    return asyncio.run(main()) if kernel else virtual_time.run(main())
