"""Verdicts that the kernel refuses: counted on a real queue, told in status and metrics."""

from __future__ import annotations

import io
import json
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest

from guard.core.verdict import Mode
from guard.losses import LossWatch
from guard.netfilter.queue import KEEP, PacketQueue
from guard.telemetry.log import Log
from guard.telemetry.metrics import make_registry
from tests.built import BATCH, build_batch
from tests.netns.household import QUEUE, Household, wait_until
from tests.reporting import Turns, make_reporter

if TYPE_CHECKING:
    from netfilterqueue import Packet

pytestmark = pytest.mark.kernel


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Build the queue's compiled loop alone, and have it used."""
    monkeypatch.setitem(sys.modules, BATCH, build_batch(tmp_path))


def drive(home: Household, scene: Callable[[PacketQueue, list[Packet]], None]) -> None:
    """Let a datagram of the Echo wait in a queue of the gate's; ``scene`` goes on from there."""
    waiting: list[Packet] = []

    def keep(packet: Packet, _mark: int, _payload: bytes, _ns: int) -> int:
        waiting.append(packet)
        return KEEP

    home.gate.run(
        "iptables",
        "-t",
        "mangle",
        "-A",
        "FORWARD",
        "-i",
        home.lan,
        "-j",
        "NFQUEUE",
        "--queue-num",
        str(QUEUE),
    )
    queue = PacketQueue(QUEUE)
    with home.gate.enter():
        queue.bind(keep, clock=time.monotonic_ns, mode=Mode.ENFORCE)
        try:
            with home.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
                echo.sendto(b"secret", (home.cloud_address[socket.AF_INET], 9))
            assert select.select([queue], [], [], 10)[0]
            queue.run()
            assert len(waiting) == 1
            scene(queue, waiting)
        finally:
            queue.close()


def is_empty(queue: PacketQueue) -> bool:
    statistics = queue.read_statistics()
    return statistics is not None and statistics.waiting == 0


@pytest.mark.usefixtures("compiled")
def test_a_verdict_on_a_packet_whose_interface_went_down_is_a_failure_with_a_name(
    routed: Household, tmp_path: Path
) -> None:
    def scene(queue: PacketQueue, waiting: list[Packet]) -> None:
        reporter, _ = make_reporter(tmp_path, Turns(), queue)
        noted: list[tuple[Any, ...]] = []
        lines = io.StringIO()
        watch = LossWatch(queue, note=lambda *words: noted.append(words), log=Log(lines))
        watch.look()
        assert reporter.read().failures["verdict_failed"] == 0
        routed.gate.run("ip", "link", "set", routed.lan, "down")
        wait_until(lambda: is_empty(queue))
        waiting.pop().accept()
        assert select.select([queue], [], [], 10)[0]
        queue.run()
        assert waiting == []
        assert reporter.read().failures["verdict_failed"] == 1
        page = generate_latest(make_registry(reporter.read)).decode()
        assert 'wakeguard_failures_total{failure="verdict_failed"} 1.0' in page.splitlines()
        watch.look()
        watch.look()
        told = [json.loads(line) for line in lines.getvalue().splitlines()]
        assert [(line["event"], line["packets"]) for line in told] == [("verdict failed", 1)]
        assert noted == [("verdict_failed", "", 1)]

    drive(routed, scene)


@pytest.mark.usefixtures("compiled")
def test_a_verdict_in_time_is_none(routed: Household, tmp_path: Path) -> None:
    def scene(queue: PacketQueue, waiting: list[Packet]) -> None:
        waiting.pop().drop()
        wait_until(lambda: is_empty(queue))
        queue.run()
        assert queue.failed == 0

    drive(routed, scene)
