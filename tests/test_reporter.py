"""The snapshot: taken in the loop, one device a turn, and complete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from guard import reporter as reporter_module
from guard.config import load_config
from guard.core.engine import DeviceSettings, Engine
from guard.core.event import MuteEvent, MuteState
from guard.core.policy import BUDGET_UNITS
from guard.core.verdict import Direction, Mode
from guard.gate import Gate
from guard.losses import Queue
from guard.reporter import Reporter
from tests import wire

CONFIG = """\
[[device]]
name = "kitchen"
mac = "02:00:00:00:00:01"
[[device]]
name = "bath"
mac = "02:00:00:00:00:02"
policy = "balanced"
[network]
lan = "lo"
"""


class Turns:
    """A loop that gives a turn when it is asked to, and counts them; or one that stands still."""

    def __init__(self, *, stands_still: bool = False) -> None:
        self.errors = 0
        self.given = 0
        self._stands_still = stands_still

    def call(self, handler: Callable[[], None]) -> None:
        if not self._stands_still:
            self.given += 1
            handler()


class NoQueue:
    """A queue that nobody has bound."""

    def __init__(self, failed: int | None = None) -> None:
        self.failed = failed

    def read_statistics(self) -> None:
        return None


def make_reporter(folder: Path, turns: Turns, queue: Queue | None = None) -> tuple[Reporter, Gate]:
    path = folder / "gate.toml"
    path.write_text(CONFIG)
    config = load_config(path)
    policy = config.load_limits().make_policy()
    names = config.get_device_names()
    engine = Engine(policy, devices={name: DeviceSettings() for name in names}, mode=Mode.MONITOR)
    ticks = iter(range(1_000_000_000, 2_000_000_000, 1_000_000))
    gate = Gate(engine, names, clock=ticks.__next__, mode=Mode.MONITOR)
    unasked: Any = SimpleNamespace(get_left=lambda name, *, now: None)
    made = Reporter(
        config,
        policy,
        gate,
        turns,  # type: ignore[arg-type]  # a double
        sensors={},
        queue=queue or NoQueue(),
        get_mode=lambda: Mode.MONITOR,
        get_recording=lambda: "off",
        count_resets=dict,
        pauses=unasked,
        get_journalist=lambda: None,
    )
    return made, gate


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
