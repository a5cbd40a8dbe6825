"""What the owner should be told of, beside the packets' verdicts.

Knows: the closed set of notices and the bounded list they wait in. Refuses to know: who reads them (the gate
after each batch of packets), how they are worded, what led to them (``watch``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

MAX_NOTICES = 256  # that wait to be taken; where nobody takes them (a replay) no more are kept


class NoticeKind(StrEnum):
    """What a notice may say."""

    UNHEARD_WAKE = (
        "unheard_wake"  # a pre-roll burst without our wake event: ours missed it, or the Echo erred
    )
    VOICE_REFUSED = "voice_refused"  # a run of records as a voice sends them was refused


class Notice(NamedTuple):
    """One notice. ``flow`` is a flow's name, ``now`` seconds on the engine's clock.

    ``bytes``: of a burst, what it had sent of itself by then; of a refused voice, what had left before.
    """

    device: str
    kind: NoticeKind
    flow: str
    now: float
    bytes: int


NO_NOTICES: list[Notice] = []


class Notices:
    """Those that wait to be taken, of all devices."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Notice] = []

    def put(self, notice: Notice) -> None:
        """Keep a notice until it is taken; none beyond MAX_NOTICES (the counters go on)."""
        if len(self._waiting) < MAX_NOTICES:
            self._waiting.append(notice)

    def take(self) -> list[Notice]:
        """Return what waits, the oldest first, and forget it; the same empty list where nothing does."""
        if not self._waiting:
            return NO_NOTICES
        taken, self._waiting = self._waiting, []
        return taken
