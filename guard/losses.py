"""Packets that the gate never judged, or judged in vain: looked at once a second, told of once each time.

Knows: what was told before. Refuses to know: who reads log and journal, and what the numbers are in all;
``reporter`` has those.

    queue full       the kernel's queue had no room for a packet, or its socket had none
    verdict failed   the kernel refused a verdict: the packet was gone, as when its interface went down
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from guard.core.verdict import Reason

if TYPE_CHECKING:
    from guard.netfilter.kernel import QueueStatistics
    from guard.telemetry.log import Log

QUEUE_FULL: Final = Reason.QUEUE_FULL.value
VERDICT_FAILED: Final = "verdict_failed"


class Queue(Protocol):
    """What is asked of the queue (``guard.netfilter.queue.PacketQueue``)."""

    @property
    def failed(self) -> int | None:
        """How many verdicts the kernel refused, None where nobody can say."""

    def read_statistics(self) -> QueueStatistics | None:
        """Return the kernel's own counters; None when the queue is gone."""


class LossWatch:
    """Tells log and journal of the losses since the last look."""

    def __init__(self, queue: Queue, *, note: Callable[[str, str, int], None], log: Log) -> None:
        """``note(kind, device, packets)`` writes a loss into the journal; it is of no device."""
        self._queue = queue
        self._note = note
        self._log = log
        self._seen = {QUEUE_FULL: 0, VERDICT_FAILED: 0}

    def look(self) -> None:
        """Tell of what was lost since the last look."""
        statistics = self._queue.read_statistics()
        lost = 0 if statistics is None else statistics.dropped_queue_full + statistics.dropped_userspace
        for kind, count in ((QUEUE_FULL, lost), (VERDICT_FAILED, self._queue.failed or 0)):
            more = count - self._seen[kind]
            self._seen[kind] = count
            if more > 0:
                self._log.warning(kind.replace("_", " "), packets=more)
                self._note(kind, "", more)
