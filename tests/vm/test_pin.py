"""The pin and its decoder on a wire.

Here the wire is gpiozero's mock. The guest runs the same tests on a gpiochip of the kernel's, through
lgpio, gpiozero's default: what the mock promises is so checked against the real thing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from guard.core.event import Event, MuteEvent, MuteState
from hardware.config import MuteLedSettings
from hardware.errors import PinError
from hardware.gpio import GpioLamp
from hardware.inbox import Inbox, Level
from hardware.mute_led import MuteLed, Times
from hardware.sense import Sense
from hardware.sensor import Sensor
from hardware.wake_word import WakeWord
from tests.netns.household import wait_until
from tests.vm.pins import PIN, Wire

# A comparator that pulls the line low while it sees light. With a pull of ours gpio-sim would take its level.
SETTINGS = MuteLedSettings(pin=PIN, active_level="low", pull="none", hold_s=1.0)
LIT, DARK = False, True  # as levels of the line
LATE = 0.5  # s: the guest is emulated, and the machine under it is busy
SECONDS = 20.0


class Watched:
    """The sensing loop on the pin, stepped by the test; an output of itself."""

    def __init__(self, wire: Wire) -> None:
        inbox = Inbox()
        self._states: list[MuteState] = []
        self.led = MuteLed(Times(SETTINGS.debounce_s, SETTINGS.hold_s, SETTINGS.dead_s), now=time.monotonic())
        self.lamp = GpioLamp(SETTINGS, lambda lit, t: inbox.put(Level(lit, t)), factory=wire.factory)
        sensor = Sensor(self.led, WakeWord(1.0, 1.0), None, now=time.monotonic())
        self._sense = Sense(
            sensor, inbox, [self], open_lamp=lambda: self.lamp, listening=None, poll_s=SETTINGS.poll_s
        )

    def send(self, event: Event) -> None:
        if isinstance(event, MuteEvent):
            self._states.append(event.state)

    def close(self) -> None:
        self.lamp.close()

    def take(self) -> list[MuteState]:
        """Return what was told since the last time."""
        states, self._states = self._states, []
        return states

    def step_until(self, condition: Callable[[], bool]) -> float:
        """Run the loop until ``condition()``; return how long that took."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < SECONDS, self._states
            self._sense.step()
        return time.monotonic() - begun

    def wait_for(self, state: MuteState) -> float:
        """Run the loop until ``state`` is told; return how long that took."""
        return self.step_until(lambda: self._states[-1:] == [state])

    def settle(self, state: MuteState) -> None:
        """Run the loop until ``state`` is steady."""
        self.step_until(lambda: self.led.settled is state)


@pytest.fixture
def watched(wire: Wire) -> Iterator[Watched]:
    wire.drive(high=DARK)
    loop = Watched(wire)
    yield loop
    loop.close()


@pytest.fixture
def open_lamp(wire: Wire) -> Iterator[Callable[..., GpioLamp]]:
    lamps = []

    def make(receive: Callable[[bool, float], object], **changes: str) -> GpioLamp:
        words = {"pin": PIN, "active_level": "low", "pull": "none"} | changes
        lamps.append(
            GpioLamp(
                MuteLedSettings(pin=words["pin"], active_level=words["active_level"], pull=words["pull"]),
                receive,
                factory=wire.factory,
            )
        )
        return lamps[-1]

    yield make
    for lamp in lamps:
        lamp.close()


def test_a_steady_lamp_mutes_at_once_and_unmutes_slowly(wire: Wire, watched: Watched) -> None:
    watched.settle(MuteState.UNMUTED)
    assert watched.take() == [MuteState.UNKNOWN, MuteState.UNMUTED]
    wire.drive(high=LIT)
    assert watched.wait_for(MuteState.MUTED) < SETTINGS.debounce_s + LATE
    watched.settle(MuteState.MUTED)
    wire.drive(high=DARK)
    assert watched.wait_for(MuteState.UNMUTED) > SETTINGS.hold_s - SETTINGS.poll_s
    assert watched.take() == [MuteState.MUTED, MuteState.UNMUTED]


def test_a_lamp_that_goes_out_soon_was_only_pulsing(wire: Wire, watched: Watched) -> None:
    watched.settle(MuteState.UNMUTED)
    watched.take()
    wire.drive(high=LIT)
    watched.wait_for(MuteState.MUTED)
    wire.drive(high=DARK)
    assert watched.wait_for(MuteState.UNMUTED) < SETTINGS.debounce_s + LATE
    assert watched.take() == [MuteState.MUTED, MuteState.UNMUTED]


def test_each_edge_is_told_with_its_time(wire: Wire, open_lamp: Callable[..., GpioLamp]) -> None:
    edges: list[tuple[bool, float]] = []
    wire.drive(high=DARK)
    lamp = open_lamp(lambda lit, t: edges.append((lit, t)))
    for count, level in enumerate((LIT, DARK, LIT), start=1):
        begun = time.monotonic()
        wire.drive(high=level)
        wait_until(lambda count=count: len(edges) >= count, seconds=SECONDS)  # type: ignore[misc]  # bound now
        lit, t = edges[-1]
        assert lit is (level is LIT)
        assert begun - 0.01 <= t <= time.monotonic()
    assert lamp.read() is True
    assert [lit for lit, _ in edges] == [True, False, True]


def test_a_callback_that_raises_does_not_blind_the_watcher(
    wire: Wire, open_lamp: Callable[..., GpioLamp]
) -> None:
    calls = itertools.count(1)
    seen: list[bool] = []

    def receive(lit: bool, _t: float) -> None:
        if next(calls) == 1:
            raise ZeroDivisionError("the first only")
        seen.append(lit)

    wire.drive(high=DARK)
    lamp = open_lamp(receive)
    wire.drive(high=LIT)
    wait_until(lambda: lamp.callback_faults == 1, seconds=SECONDS)
    assert lamp.last_fault == "ZeroDivisionError: the first only"
    wire.drive(high=DARK)
    wait_until(lambda: seen == [False], seconds=SECONDS)
    wire.drive(high=LIT)
    wait_until(lambda: seen == [False, True], seconds=SECONDS)
    assert lamp.callback_faults == 1


@pytest.mark.parametrize("active_level", ["low", "high"])
def test_either_level_can_be_the_lit_one(
    wire: Wire, open_lamp: Callable[..., GpioLamp], active_level: str
) -> None:
    lamp = open_lamp(lambda _lit, _t: None, active_level=active_level)
    for high in (True, False, True):
        wire.drive(high=high)
        wait_until(lambda high=high: lamp.read() is (high is (active_level == "high")), seconds=SECONDS)  # type: ignore[misc]  # bound now


@pytest.mark.parametrize(("pull", "active_level"), [("down", "low"), ("up", "high")])
def test_an_open_wire_reads_muted(
    wire: Wire, open_lamp: Callable[..., GpioLamp], pull: str, active_level: str
) -> None:
    wire.drive(high=pull == "down")
    assert open_lamp(lambda _lit, _t: None, pull=pull, active_level=active_level).read() is True


def test_a_pin_in_use_is_a_fault_with_a_remedy(wire: Wire, open_lamp: Callable[..., GpioLamp]) -> None:
    open_lamp(lambda _lit, _t: None)
    with pytest.raises(PinError, match=r"choose another with sense\.mute_led\.pin"):
        open_lamp(lambda _lit, _t: None)
