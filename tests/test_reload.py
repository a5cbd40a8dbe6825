"""Reading the owner's file again: all of it counts, or nothing does."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from guard.config import Config, load_config
from guard.core.policy import Policy
from guard.core.verdict import Mode
from guard.errors import ConfigError, ControlError
from guard.policies import Choice, PolicySwitch
from guard.reload import NEEDS_RESTART, TAKEN_OVER, Reload, make_settings
from guard.telemetry.log import Log
from guard.trace import Settings

FILE = """
mode = "monitor"
policy = "strict"
[[device]]
name = "kitchen"
mac = "68:37:e9:00:00:01"
[network]
lan = "lo"
[sensors]
[state]
directory = "/var/lib/wakeguard"
"""


class Scene:
    """Gate and switch as a reload sees them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "wakeguard.toml"
        self.path.write_text(FILE)
        self.settings: list[tuple[Settings, Policy]] = []
        self.taken_over: list[Config] = []
        self.modes: list[Mode] = []
        self.mode_fault: ControlError | None = None
        self.answers: list[Any] = []
        self.log = io.StringIO()
        self.stored: list[Mapping[str, Choice]] = []
        self.calls: list[Callable[[], None]] = []
        self.policies = PolicySwitch({}, store=self.stored.append, call=self.calls.append, log=Log(self.log))
        self.reload = Reload(
            load_config(self.path),
            self,  # type: ignore[arg-type]  # a double of the gate
            self,  # type: ignore[arg-type]  # and of the switch
            policies=self.policies,
            load=lambda: load_config(self.path),
            take_over=lambda config, _: self.taken_over.append(config),
            log=Log(self.log),
        )

    def set_settings(self, settings: Settings, policy: Policy) -> None:
        self.settings.append((settings, policy))

    def request(self, wanted: Mode, answer: Any) -> None:
        self.modes.append(wanted)
        answer(self.mode_fault or {"mode": wanted.value})

    def change(self, old: str, new: str) -> Any:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))
        return self.again()

    def again(self) -> Any:
        self.reload.request(self.answers.append)
        assert len(self.answers) == 1
        return self.answers.pop()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_nothing_new_changes_nothing(scene: Scene) -> None:
    assert scene.again() == {"changed": []}
    assert (scene.settings, scene.taken_over, scene.modes) == ([], [], [])


def test_policy_and_limits_are_taken_over(scene: Scene) -> None:
    assert scene.change('"strict"', '"balanced"') == {"changed": ["policy"]}
    settings, _ = scene.settings[-1]
    assert settings.devices["kitchen"].balanced
    assert settings.devices["kitchen"].sensor
    assert scene.change("[sensors]", "[sensors]\n[limits.interaction]\nlisten_s = 9") == {
        "changed": ["limits"]
    }
    settings, policy = scene.settings[-1]
    assert policy.listen_s == 9
    assert settings.limits is not None
    assert settings.limits.make_policy() == policy
    assert scene.taken_over[-1].policy == "balanced"
    assert scene.again() == {"changed": []}


def test_a_devices_own_policy_is_taken_over(scene: Scene) -> None:
    answer = scene.change('name = "kitchen"', 'name = "kitchen"\npolicy = "balanced"')
    assert answer == {"changed": ["device.policy"]}
    assert scene.settings[-1][0].devices["kitchen"].balanced


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"strict"', '"lax"', "policy"),
        ('"strict"', "", "not TOML"),
        ("[sensors]", "[sensors]\n[limits.hold]\nhold_s = 99", "limits.hold.hold_s"),
        ("[sensors]", "[sensors]\n[limits.hold]\nhold = 1", 'did you mean "hold_s"'),
    ],
)
def test_a_fault_keeps_the_old_settings_and_says_why(scene: Scene, old: str, new: str, message: str) -> None:
    answer = scene.change(old, new)
    assert isinstance(answer, ConfigError)
    assert str(answer).startswith("the old settings stay: ")
    assert message in str(answer)
    assert (scene.settings, scene.taken_over, scene.modes) == ([], [], [])
    assert "reload failed" in scene.log.getvalue()


def test_a_file_that_is_gone_keeps_the_old_settings(scene: Scene) -> None:
    scene.path.unlink()
    assert "the old settings stay" in str(scene.again())
    assert scene.settings == []


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("01", "02", "device needs"),
        ('name = "kitchen"', 'name = "bath"', "device needs"),
        ('"lo"', '"eth0"', "network needs"),
        ("[sensors]", "[sensors]\nmax_per_second = 9", "sensors needs"),
        ("[sensors]", "", "sensors needs"),
        ("[sensors]", "[sensors]\n[lab]\nperiod_scale = 0.5", "lab needs"),
        ("/var/lib", "/srv", "state needs"),
        ("[sensors]", "[sensors]\n[metrics]\nport = 1\n[control]\nusers = ['x']", "control, metrics need a"),
    ],
)
def test_what_needs_a_restart_is_named_and_nothing_is_changed(
    scene: Scene, old: str, new: str, keys: str
) -> None:
    scene.path.write_text(FILE.replace('"strict"', '"balanced"').replace('"monitor"', '"enforce"'))
    answer = scene.change(old, new)
    assert f"the old settings stay: {keys}" in str(answer)
    assert "restart" in str(answer)
    assert (scene.settings, scene.taken_over, scene.modes) == ([], [], [])


def test_a_mode_that_the_file_names_anew_is_switched_to(scene: Scene) -> None:
    assert scene.change('"monitor"', '"enforce"') == {"changed": ["mode"]}
    assert scene.modes == [Mode.ENFORCE]
    assert scene.settings == []
    assert scene.again() == {"changed": []}  # what `wakeguard mode` set since is not undone
    assert scene.modes == [Mode.ENFORCE]


def test_a_mode_that_cannot_be_had_is_asked_for_again(scene: Scene) -> None:
    scene.mode_fault = ControlError("no room")
    scene.path.write_text(FILE.replace('"strict"', '"balanced"'))
    answer = scene.change('"monitor"', '"enforce"')
    assert str(answer) == "taken over: policy; but mode stays as it was: no room"
    scene.mode_fault = None
    assert scene.again() == {"changed": ["mode"]}
    assert scene.modes == [Mode.ENFORCE] * 2


def test_every_key_is_either_taken_over_or_needs_a_restart() -> None:
    keys = {key.partition(".")[0] for key in (*NEEDS_RESTART, *TAKEN_OVER)}
    assert keys == set(Config.__struct_fields__) - {"sense"}


def test_settings_hold_every_device(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    settings = make_settings(load_config(scene.path))
    assert list(settings.devices) == ["kitchen"]
    assert not settings.devices["kitchen"].balanced


def test_a_policy_chosen_meanwhile_outlives_a_reload_that_does_not_speak_of_it(scene: Scene) -> None:
    answers: list[Any] = []
    scene.policies.request(["kitchen"], "balanced", answers.append)
    scene.policies.wait()
    assert answers == [[{"device": "kitchen", "policy": "balanced", "file": "strict"}]]
    assert scene.settings[-1][0].devices["kitchen"].balanced is True
    scene.change("[sensors]", "[sensors]\n[limits.hold]\nhold_s = 0")
    assert scene.settings[-1][0].devices["kitchen"].balanced is True
    assert scene.taken_over[-1].get_policies() == {"kitchen": "balanced"}
    scene.change('policy = "strict"', 'policy = "balanced"')
    scene.change('policy = "balanced"', 'policy = "strict"')
    assert scene.settings[-1][0].devices["kitchen"].balanced is True  # the file says again what it said then
