"""A reporter for tests: a gate that nobody asks, a queue that nobody bound, a loop that gives its turns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from guard.config import load_config
from guard.core.engine import DeviceSettings, Engine
from guard.core.verdict import Mode
from guard.gate import Gate
from guard.losses import Queue
from guard.reporter import Reporter

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
    """Return a reporter of two devices, and their gate."""
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
