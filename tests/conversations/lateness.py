"""The wake event comes late: does the whole utterance arrive, and how soon after the event?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from guard.core.event import MuteState
from guard.lab import frames
from guard.lab.household import CLOUD
from guard.lab.namespaces import DEVICES
from tests.conversations.director import Director

LATENESS_S = tuple(tenths / 10 for tenths in range(8))
SPEECH_S = 0.6
WHOLE = frames.get_bytes(frames.utterance(0, 0, seconds=SPEECH_S))
_ANSWERED_S = 1.5  # after the event or the speech, whichever is later
_REST_S = 0.5


@dataclass(frozen=True, slots=True)
class Upload:
    """One command of one Echo; times are seconds on one clock."""

    device: str
    planned: float  # lateness of the wake event
    began: float  # the Echo wrote its first byte
    heard: float  # the wake event was sent
    arrived: float | None  # the cloud read the first record
    received: int

    @property
    def lateness(self) -> float:
        """Return how long after the first byte the event really came."""
        return max(0.0, self.heard - self.began)

    @property
    def delay(self) -> float | None:
        """Return how much later than the lateness the first byte arrived."""
        return None if self.arrived is None else self.arrived - self.began - self.lateness


async def measure(director: Director, lateness: Sequence[float], *, repeats: int) -> list[Upload]:
    """Let both Echos speak ``repeats`` times for each lateness; each time no interaction is open before."""
    uploads = []
    for planned in lateness:
        for _ in range(repeats):
            director.set_mute(MuteState.MUTED)
            director.set_mute(MuteState.UNMUTED)
            await asyncio.sleep(_REST_S)
            start = director.now()
            item = await director.talk(SPEECH_S)
            await asyncio.sleep(max(0.0, start + planned - director.now()))
            heard = director.hear_word()
            await asyncio.sleep(max(heard, start + SPEECH_S) + _ANSWERED_S - director.now())
            uploads += [await _read(director, device.name, item, planned, heard) for device in DEVICES]
    return uploads


async def _read(director: Director, device: str, item: int, planned: float, heard: float) -> Upload:
    echo, cloud = await director.report(device), await director.report(CLOUD)
    (began,) = [t for _phase, number, t in echo["began"] if number == item]
    arrived = [t for name, _phase, number, t in cloud["first"] if (name, number) == (device, item)]
    received = sum(row[4] for row in cloud["received"] if (row[0], row[3]) == (device, item))
    return Upload(device, planned, began, heard, arrived[0] if arrived else None, received)
