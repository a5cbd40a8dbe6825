"""The snapshot: taken in the loop, one device a turn, and complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard import reporter as reporter_module
from guard.core.event import MuteEvent, MuteState
from guard.core.policy import BUDGET_UNITS
from guard.core.verdict import Direction
from tests import wire
from tests.reporting import NoQueue, Turns, make_reporter


def test_a_scrape_takes_a_turn_for_each_device_and_one_for_the_gate(tmp_path: Path) -> None:
    turns = Turns()
    reporter, gate = make_reporter(tmp_path, turns)
    gate.receive_event(MuteEvent(1.0, MuteState.MUTED), device="bath")
    status = reporter.read_from_thread()
    assert turns.given == 3
    assert [device.name for device in status.devices] == ["kitchen", "bath"]
    assert [device.policy for device in status.devices] == ["strict", "balanced"]
    assert [device.mute for device in status.devices] == ["unmuted", "muted"]
    assert status.devices[1].events["mute"] == 1


def test_a_scrape_of_a_gate_that_stands_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter_module, "SNAPSHOT_TIMEOUT", 0.01)
    reporter, _ = make_reporter(tmp_path, Turns(stands_still=True))
    with pytest.raises(TimeoutError):
        reporter.read_from_thread()


def test_budgets_are_told_with_size_and_unit(tmp_path: Path) -> None:
    reporter, gate = make_reporter(tmp_path, Turns())
    question = wire.ipv4(wire.udp(bytes(100), target_port=53), protocol=wire.UDP)
    gate.engine.receive_packet(question, device="kitchen", direction=Direction.UPSTREAM, now=2.0)
    kitchen, bath = reporter.read().devices
    assert {name: row.unit for name, row in kitchen.budgets.items()} == BUDGET_UNITS
    assert kitchen.budgets["dns"].left < kitchen.budgets["dns"].size == bath.budgets["dns"].left


def test_verdict_times_are_told_in_seconds(tmp_path: Path) -> None:
    reporter, gate = make_reporter(tmp_path, Turns())
    gate.verdict_times.add(15_000)
    times = reporter.read().verdict_times
    assert times.bounds[:2] == (1e-05, 2e-05)
    assert times.counts[:3] == (0, 1, 0)
    assert len(times.counts) == len(times.bounds) + 1
    assert times.sum == pytest.approx(15e-6)


@pytest.mark.parametrize(
    ("failed", "told"), [(None, {}), (0, {"verdict_failed": 0}), (3, {"verdict_failed": 3})]
)
def test_verdicts_that_the_kernel_refused_are_told_where_anybody_knows(
    tmp_path: Path, failed: int | None, told: dict[str, int]
) -> None:
    failures = make_reporter(tmp_path, Turns(), NoQueue(failed))[0].read().failures
    assert {name: count for name, count in failures.items() if name == "verdict_failed"} == told
    assert failures["queue_full"] == 0
