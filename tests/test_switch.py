"""Switching the mode: the order of steps, and what is left when one fails."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from guard.core.verdict import Mode
from guard.errors import ControlError, NetfilterError
from guard.gate import ACTING, Acting
from guard.switch import ModeSwitch
from guard.telemetry.log import Log

ENFORCE, MONITOR = Mode.ENFORCE, Mode.MONITOR


class Scene:
    """Gate, rules and state as the switch sees them; every step is written down."""

    def __init__(self, mode: Mode) -> None:
        self.steps: list[tuple[str, object]] = []
        self.engine_mode = mode
        self.faults: dict[str, Exception] = {}
        self.calls: list[Callable[[], None]] = []
        self.answers: list[Any] = []
        self.switch = ModeSwitch(
            self,  # type: ignore[arg-type]  # a double of the gate
            mode=mode,
            apply=lambda wanted: self.step("rules", wanted),
            set_queue_mode=lambda wanted: self.step("queue", wanted),
            store=lambda wanted: self.step("store", wanted),
            call=self.calls.append,
            log=Log(io.StringIO()),
        )

    def step(self, what: str, value: object) -> None:
        self.steps.append((what, value))
        fault = self.faults.pop(f"{what} {value}", None)
        if fault is not None:
            raise fault

    def set_mode(self, mode: Mode) -> None:
        self.engine_mode = mode
        self.steps.append(("engine", mode))

    def set_acting(self, acting: Acting) -> None:
        self.steps.append(("acting", acting))

    def change(self, wanted: Mode) -> Any:
        self.switch.request(wanted, self.answers.append)
        self.switch.wait()
        for call in self.calls:  # the loop's own turn comes too late, and must do no harm
            call()
        assert len(self.answers) == 1
        return self.answers.pop()


def test_towards_enforce_the_engine_goes_first() -> None:
    scene = Scene(MONITOR)
    assert scene.change(ENFORCE) == {"mode": "enforce"}
    assert scene.steps == [
        ("acting", Acting.DROPPING),
        ("engine", ENFORCE),
        ("queue", ENFORCE),
        ("rules", ENFORCE),
        ("store", ENFORCE),
        ("queue", ENFORCE),
        ("acting", Acting.CONDEMNING),
    ]
    assert scene.switch.mode is ENFORCE


def test_towards_monitor_the_rules_go_first() -> None:
    scene = Scene(ENFORCE)
    assert scene.change(MONITOR) == {"mode": "monitor"}
    assert scene.steps == [
        ("acting", Acting.DROPPING),
        ("rules", MONITOR),
        ("store", MONITOR),
        ("engine", MONITOR),
        ("queue", MONITOR),
        ("acting", Acting.PASSING),
    ]
    assert scene.switch.mode is MONITOR


@pytest.mark.parametrize("old", list(Mode))
@pytest.mark.parametrize("step", ["rules", "store"])
def test_a_step_that_fails_brings_everything_back(old: Mode, step: str) -> None:
    scene = Scene(old)
    new = ENFORCE if old is MONITOR else MONITOR
    fault = NetfilterError("no; do this") if step == "rules" else OSError(28, "No space left on device")
    scene.faults[f"{step} {new}"] = fault
    answer = scene.change(new)
    assert isinstance(answer, NetfilterError if step == "rules" else ControlError)
    assert scene.switch.mode is old
    assert scene.engine_mode is old
    assert scene.steps[-1] == ("acting", ACTING[old])
    assert [value for what, value in scene.steps if what == "queue"][-1] is old
    rules = [value for what, value in scene.steps if what == "rules"]
    assert rules == ([new] if step == "rules" else [new, old])  # apply itself rolls back


def test_one_switch_at_a_time() -> None:
    scene = Scene(MONITOR)
    scene.switch.request(ENFORCE, scene.answers.append)
    with pytest.raises(ControlError, match="under way"):
        scene.switch.request(MONITOR, scene.answers.append)
    scene.switch.wait()
    assert scene.answers == [{"mode": "enforce"}]
    scene.answers.clear()
    assert scene.change(MONITOR) == {"mode": "monitor"}


def test_the_mode_it_is_in_is_put_in_place_anew() -> None:
    scene = Scene(ENFORCE)
    assert scene.change(ENFORCE) == {"mode": "enforce"}
    assert ("rules", ENFORCE) in scene.steps
    assert ("acting", Acting.DROPPING) not in scene.steps
