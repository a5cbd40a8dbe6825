"""The compiled reader's verdicts, some for many packets, on a real queue: each packet gets its own."""

from __future__ import annotations

import random
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from guard.core.verdict import Mode
from guard.netfilter.queue import DROP, KEEP, PacketQueue, give
from tests.built import BATCH, build_batch
from tests.netns.household import QUEUE, Household, wait_until

if TYPE_CHECKING:
    from netfilterqueue import Packet

pytestmark = pytest.mark.kernel

COUNT = 200
CLEAN, BAD = 0, 7  # marks; a rule behind the queue drops what bears the second
ANSWERS = (CLEAN, BAD, DROP, KEEP)


def count_waiting(queue: PacketQueue) -> int:
    statistics = queue.read_statistics()
    assert statistics is not None
    return statistics.waiting


@pytest.mark.parametrize("weights", [(1, 1, 1, 0), (8, 1, 1, 0), (20, 1, 1, 1), (1, 1, 1, 1)])
def test_what_passes_is_what_was_let_pass_and_what_waits_is_what_was_kept(
    routed: Household, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: tuple[int, ...]
) -> None:
    monkeypatch.setitem(sys.modules, BATCH, build_batch(tmp_path))
    draw = random.Random(repr(weights))
    kept: list[tuple[int, Packet]] = []
    passed: set[int] = set()
    asked = 0

    def receive(packet: Packet, _mark: int, _payload: bytes, _ns: int) -> int:
        nonlocal asked
        number, asked = asked, asked + 1
        (answer,) = draw.choices(ANSWERS, weights)
        if answer == KEEP:
            kept.append((number, packet))
        elif answer == CLEAN:
            passed.add(number)
        if kept and draw.random() < 0.1:
            release(kept.pop(draw.randrange(len(kept))))
        return answer

    def release(waiting: tuple[int, Packet]) -> None:
        number, packet = waiting
        answer = draw.choice((CLEAN, BAD, DROP))
        give(packet, answer)
        if answer == CLEAN:
            passed.add(number)

    target = (routed.cloud_address[socket.AF_INET], 9999)
    mangle = ("iptables", "-t", "mangle", "-A")
    routed.gate.run(*mangle, "FORWARD", "-i", routed.lan, "-j", "NFQUEUE", "--queue-num", str(QUEUE))
    routed.gate.run(*mangle, "POSTROUTING", "-m", "mark", "--mark", str(BAD), "-j", "DROP")
    queue = PacketQueue(QUEUE)
    with (
        routed.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM) as cloud,
        routed.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo,
        routed.gate.enter(),
    ):
        cloud.bind(target)
        queue.bind(receive, clock=time.monotonic_ns, mode=Mode.ENFORCE)
        try:
            for number in range(COUNT):
                echo.sendto(b"%d" % number, target)
            wait_until(lambda: count_waiting(queue) == COUNT)
            queue.run()
            assert asked == COUNT
            assert count_waiting(queue) == len(kept)
            while kept:
                release(kept.pop())
            assert count_waiting(queue) == 0
            assert {int(cloud.recv(100)) for _ in passed} == passed
            cloud.setblocking(False)
            with pytest.raises(BlockingIOError):
                cloud.recv(100)
            assert queue.failed == 0
        finally:
            queue.close()
