"""A policy chosen while the gate runs: on the disk first, then in force, until the file says otherwise."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from guard.config import Config, parse_config
from guard.errors import ConfigError, ControlError
from guard.policies import Choice, PolicySwitch
from guard.state import StateDirectory
from guard.telemetry.log import Log

KITCHEN = {"name": "kitchen", "mac": "68:37:e9:00:00:01"}
BATH = {"name": "bath", "mac": "68:37:e9:00:00:02", "policy": "balanced"}


def make_config(**settings: Any) -> Config:
    return parse_config({"device": [KITCHEN, BATH], **settings})


class Scene:
    def __init__(self, chosen: Mapping[str, Choice] | None = None) -> None:
        self.config = make_config()
        self.stored: list[Mapping[str, Choice]] = []
        self.fault: OSError | None = None
        self.broken: ConfigError | None = None  # why nothing can be put in force
        self.in_force: list[dict[str, str]] = []
        self.calls: list[Callable[[], None]] = []
        self.answers: list[Any] = []
        self.switch = PolicySwitch(
            chosen or {}, store=self.store, call=self.calls.append, log=Log(io.StringIO())
        )
        self.switch.get_config = lambda: self.config
        self.switch.apply = self.apply

    def store(self, chosen: Mapping[str, Choice]) -> None:
        if self.fault is not None:
            raise self.fault
        self.stored.append(chosen)

    def apply(self) -> None:
        if self.broken is not None:
            raise self.broken
        self.in_force.append(self.get_policies())

    def request(self, devices: list[str], policy: str) -> Any:
        self.switch.request(devices, policy, self.answers.append)
        self.switch.wait()
        for call in self.calls:  # the loop's own turn comes too late, and must do no harm
            call()
        assert len(self.answers) == 1
        return self.answers.pop()

    def get_policies(self) -> dict[str, str]:
        return self.switch.overlay(self.config).get_policies()


def test_a_choice_counts_and_is_told_beside_what_the_file_says() -> None:
    scene = Scene()
    rows = scene.request(["kitchen"], "balanced")
    assert rows == [{"device": "kitchen", "policy": "balanced", "file": "strict"}]
    assert scene.get_policies() == {"kitchen": "balanced", "bath": "balanced"}
    assert scene.in_force == [{"kitchen": "balanced", "bath": "balanced"}]
    assert scene.stored == [{"kitchen": Choice("balanced", "strict")}]


def test_choosing_what_the_file_says_is_no_choice_any_more() -> None:
    scene = Scene({"kitchen": Choice("balanced", "strict")})
    scene.request(["kitchen", "bath"], "strict")
    assert scene.stored == [{"bath": Choice("strict", "balanced")}]
    assert scene.get_policies() == {"kitchen": "strict", "bath": "strict"}


def test_who_edits_the_file_later_has_the_last_word() -> None:
    scene = Scene({"kitchen": Choice("balanced", "strict")})
    assert scene.get_policies()["kitchen"] == "balanced"
    scene.config = make_config(policy="balanced")
    assert scene.get_policies()["kitchen"] == "balanced"
    assert scene.switch.tell(["kitchen"]) == [{"device": "kitchen", "policy": "balanced", "file": "balanced"}]
    scene = Scene({"bath": Choice("strict", "strict")})  # chosen before the file said balanced
    assert scene.get_policies()["bath"] == "balanced"


def test_a_choice_that_cannot_be_stored_changes_nothing() -> None:
    scene = Scene()
    scene.fault = OSError(28, "No space left on device")
    fault = scene.request(["kitchen"], "balanced")
    assert isinstance(fault, ControlError)
    assert "No space left" in str(fault)
    assert "\n" not in str(fault)
    assert scene.in_force[-1] == scene.get_policies() == {"kitchen": "strict", "bath": "balanced"}
    scene.fault = None
    assert scene.request(["kitchen"], "balanced")[0]["policy"] == "balanced"


def test_a_choice_that_cannot_be_put_in_force_is_not_stored() -> None:
    before = {"bath": Choice("strict", "balanced")}
    scene = Scene(before)
    scene.broken = ConfigError("limits.hold.hold_s is 99; use 0 to 5")
    with pytest.raises(
        ControlError, match=r"^the policy stays as it was: limits\.hold\.hold_s is 99; use 0 to 5$"
    ):
        scene.request(["kitchen", "bath"], "balanced")
    assert (scene.stored, scene.in_force, scene.answers, scene.calls) == ([], [], [], [])
    assert scene.get_policies() == {"kitchen": "strict", "bath": "strict"}
    scene.broken = None
    assert scene.request(["kitchen"], "balanced")[0]["policy"] == "balanced"
    assert scene.stored == [{**before, "kitchen": Choice("balanced", "strict")}]


def test_a_choice_that_can_neither_be_stored_nor_taken_back_is_told_of() -> None:
    scene = Scene()
    scene.fault = OSError(28, "No space left on device")
    scene.switch.request(["kitchen"], "balanced", scene.answers.append)
    scene.broken = ConfigError("rules/policy.toml is gone; put it back")
    scene.switch.wait()
    (fault,) = scene.answers
    assert isinstance(fault, ControlError)
    assert "counts until the gate ends" in str(fault)
    assert "put it back" in str(fault)
    assert scene.get_policies() == scene.in_force[-1] == {"kitchen": "balanced", "bath": "balanced"}


def test_one_change_at_a_time() -> None:
    scene = Scene()
    scene.switch.request(["kitchen"], "balanced", scene.answers.append)
    with pytest.raises(ControlError, match="under way"):
        scene.switch.request(["kitchen"], "strict", scene.answers.append)
    scene.switch.wait()
    assert scene.get_policies()["kitchen"] == "balanced"


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(ControlError, match='did you mean "balanced"'):
        Scene().request(["kitchen"], "balance")


def test_choices_survive_in_the_state_directory(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        assert state.load_policies() == {}
        chosen = {"kitchen": Choice("balanced", "strict")}
        state.store_policies(chosen)
        assert state.load_policies() == chosen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate.lock", "policies.json"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"version":1}',
        '{"version":2,"policies":{}}',
        '{"version":1,"policies":[]}',
        '{"version":1,"policies":{"kitchen":"balanced"}}',
        '{"version":1,"policies":{"kitchen":{"policy":"lax","instead_of":"strict"}}}',
        '{"version":1,"policies":{"kitchen":{"policy":"strict"}}}',
    ],
)
def test_damaged_choices_are_no_reason_to_guess(tmp_path: Path, content: str) -> None:
    (tmp_path / "policies.json").write_text(content)
    with pytest.raises(ConfigError, match=r"policies\.json is damaged; remove it"):
        StateDirectory(tmp_path).load_policies()
