"""A pause of one Echo: when it begins, what ends it, and what may not be paused."""

from __future__ import annotations

import io
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, VoiceEvent, WakeEvent
from guard.core.verdict import Mode
from guard.errors import ControlError, WakeguardError
from guard.gate import Gate
from guard.pauses import LONGEST, Pauses
from guard.rules import load_policy
from guard.telemetry.log import Log

NAMES = ("kitchen", "bath")


class Scene:
    def __init__(self, mode: Mode = Mode.ENFORCE) -> None:
        self.now = 100.0
        devices = {name: DeviceSettings(sensor=True) for name in NAMES}
        engine = Engine(load_policy(), devices=devices, mode=mode)
        self.gate = Gate(engine, NAMES, clock=lambda: int(self.now * 1e9), mode=mode)
        self.log = io.StringIO()
        self.pauses = Pauses(self.gate, log=Log(self.log), clock=lambda: self.now)
        self.notes: list[tuple[Any, ...]] = []
        self.pauses.note = lambda *note: self.notes.append(note)

    def is_paused(self, name: str) -> bool:
        enforced = self.gate.engine.get_device(name).enforce
        paused = name in self.gate.paused
        assert enforced is not paused
        assert (self.pauses.get_left(name, now=self.now) is not None) is paused
        return paused

    def get_paused(self) -> list[str]:
        return [name for name in NAMES if self.is_paused(name)]


def test_whoever_wants_to_know_hears_of_a_pause_once_it_is_in_force() -> None:
    scene = Scene()
    heard: list[tuple[str, bool]] = []
    scene.pauses.on_begin = lambda name: heard.append((name, name in scene.gate.paused))
    scene.pauses.begin(["bath"], 300)
    scene.pauses.end(["bath"], "resumed")
    assert heard == [("bath", True)]


def test_a_pause_ends_at_its_time_and_not_before() -> None:
    scene = Scene()
    assert scene.pauses.get_due() == inf
    scene.pauses.begin(["kitchen"], 300)
    assert scene.get_paused() == ["kitchen"]
    assert scene.pauses.get_due() == pytest.approx(scene.now + 300)
    scene.now += 299.9
    scene.pauses.handle_timer()
    assert scene.get_paused() == ["kitchen"]
    scene.now += 0.2
    assert scene.pauses.get_due() <= scene.now
    scene.pauses.handle_timer()
    assert scene.get_paused() == []
    assert (scene.notes[0][0], scene.notes[0][3:]) == ("kitchen", ())
    assert scene.notes[1][4] == "its time was up"
    assert scene.log.getvalue().count("\n") == 2


def test_resume_ends_it_and_says_whose_there_were() -> None:
    scene = Scene()
    scene.pauses.begin(NAMES, 300)
    assert scene.pauses.end(["bath"], "resumed") == ["bath"]
    assert scene.pauses.end(["bath"], "resumed") == []
    assert scene.get_paused() == ["kitchen"]
    scene.pauses.end_all("the gate ended")
    assert scene.get_paused() == []


def test_pausing_again_sets_the_end_anew() -> None:
    scene = Scene()
    scene.pauses.begin(["kitchen"], 300)
    scene.pauses.begin(["kitchen"], 10)
    assert scene.pauses.get_left("kitchen", now=scene.now) == pytest.approx(10, abs=0.01)


@pytest.mark.parametrize("event", [MuteEvent(100.0, MuteState.MUTED), AliveEvent(100.0, MuteState.MUTED)])
def test_muting_ends_it_before_the_engine_hears(event: Event) -> None:
    scene = Scene()
    scene.pauses.begin(NAMES, 300)
    scene.gate.receive_event(event, device="kitchen")
    assert scene.get_paused() == ["bath"]
    with pytest.raises(ControlError, match="kitchen is muted"):
        scene.pauses.begin(NAMES, 10)
    assert scene.pauses.get_left("bath", now=scene.now) == pytest.approx(300, abs=0.01)  # nothing was changed


@pytest.mark.parametrize(
    "event",
    [
        MuteEvent(100.0, MuteState.UNMUTED),
        MuteEvent(100.0, MuteState.UNKNOWN),
        AliveEvent(100.0, MuteState.UNKNOWN),
        WakeEvent(100.0, "alexa"),
        VoiceEvent(100.0),
    ],
)
def test_nothing_else_a_sensor_says_ends_it(event: Event) -> None:
    scene = Scene()
    scene.pauses.begin(["kitchen"], 300)
    scene.gate.receive_event(event, device="kitchen")
    assert scene.get_paused() == ["kitchen"]


def test_in_monitor_there_is_nothing_to_pause() -> None:
    scene = Scene(Mode.MONITOR)
    with pytest.raises(ControlError, match="nothing to pause"):
        scene.pauses.begin(["kitchen"], 300)


@pytest.mark.parametrize("seconds", [0, -5, nan, inf, LONGEST + 1, 0.5])
def test_a_length_that_makes_no_sense_changes_nothing(seconds: float) -> None:
    scene = Scene()
    with pytest.raises(WakeguardError, match="use at"):
        scene.pauses.begin(["kitchen"], seconds)
    assert scene.get_paused() == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("pause", "resume", "mute", "unmute", "wait", "lose")),
        st.sampled_from(NAMES),
        st.floats(1, 1000),
    ),
    max_size=30,
)


@given(STEPS)
def test_however_it_goes_a_pause_is_over_by_its_time_and_never_while_muted(
    steps: list[tuple[str, str, float]],
) -> None:
    scene = Scene()
    latest = dict.fromkeys(NAMES, 0.0)
    for what, name, seconds in steps:
        if what == "pause":
            try:
                scene.pauses.begin([name], seconds)
            except ControlError:
                assert scene.gate.engine.get_device(name).context.mute is MuteState.MUTED
            else:
                latest[name] = scene.now + seconds + 0.001
        elif what == "resume":
            scene.pauses.end([name], "resumed")
        elif what == "wait":
            scene.now += seconds
            scene.pauses.handle_timer()
            scene.gate.handle_timer()
        elif what == "lose":
            scene.gate.receive_event(AliveEvent(scene.now, MuteState.UNKNOWN), device=name)
        else:
            state = MuteState.MUTED if what == "mute" else MuteState.UNMUTED
            scene.gate.receive_event(MuteEvent(scene.now, state), device=name)
        for device in NAMES:
            if scene.is_paused(device):
                assert scene.now <= latest[device]
                assert scene.gate.engine.get_device(device).context.mute is not MuteState.MUTED
