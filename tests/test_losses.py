"""What the kernel's queue loses is told of once, and as many as were lost since."""

from __future__ import annotations

import io
import json

from guard.losses import LossWatch
from guard.netfilter.kernel import QueueStatistics
from guard.telemetry.log import Log


class Queue:
    """A queue with counters to set."""

    def __init__(self) -> None:
        self.failed: int | None = None
        self.lost: tuple[int, int] | None = (0, 0)

    def read_statistics(self) -> QueueStatistics | None:
        if self.lost is None:
            return None
        return QueueStatistics(1789, 4711, 0, *self.lost, 100)


def test_each_loss_is_told_of_once() -> None:
    queue = Queue()
    noted: list[tuple[str, str, int]] = []
    lines = io.StringIO()
    watch = LossWatch(queue, note=lambda *words: noted.append(words), log=Log(lines))
    watch.look()
    assert noted == []
    queue.lost = (5, 2)
    watch.look()
    watch.look()
    assert noted == [("queue_full", "", 7)]
    queue.lost, queue.failed = (5, 3), 4
    watch.look()
    assert noted[1:] == [("queue_full", "", 1), ("verdict_failed", "", 4)]
    queue.lost, queue.failed = None, None  # the queue is gone
    watch.look()
    queue.lost = (1, 0)  # another one: it counts anew
    watch.look()
    assert noted[3:] == [("queue_full", "", 1)]
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(line["event"], line["packets"], line["level"]) for line in told] == [
        ("queue full", 7, "warning"),
        ("queue full", 1, "warning"),
        ("verdict failed", 4, "warning"),
        ("queue full", 1, "warning"),
    ]
