"""The pin on gpiozero's mock. What the mock hides is tried on the kernel's own chip, in tests/vm."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import pytest

from guard.core.event import MuteState
from hardware.config import MuteLedSettings
from hardware.errors import PinError
from hardware.gpio import GpioLamp, check_lgpio
from hardware.mute_led import MuteLed, Times
from tests.hardware.pins import MockBench
from tests.hardware.wait import wait_until


@pytest.fixture
def bench() -> Iterator[MockBench]:
    made = MockBench()
    made.drive(high=True)
    yield made
    made.factory.close()


def test_the_level_is_read_with_its_polarity(bench: MockBench) -> None:
    lamp = GpioLamp(bench.settings, lambda _lit, _t: None, factory=bench.factory)
    bench.drive(high=True)
    wait_until(lambda: lamp.read() is False)
    bench.drive(high=False)
    wait_until(lambda: lamp.read() is True)
    lamp.close()


@pytest.mark.parametrize("pull", ["down", "up", "none"])
@pytest.mark.parametrize("active_level", ["low", "high"])
def test_every_pull_and_polarity_means_the_level_of_the_wire(pull: str, active_level: str) -> None:
    bench = MockBench()
    edges: list[bool] = []
    settings = MuteLedSettings(pin="GPIO17", active_level=active_level, pull=pull)
    lamp = GpioLamp(settings, lambda lit, _t: edges.append(lit), factory=bench.factory)
    for high in (True, False, True):
        bench.drive(high=high)
        assert lamp.read() is (high is (active_level == "high"))
    assert edges[-1] is (active_level == "high")
    lamp.close()


def test_an_open_wire_reads_as_lit_with_the_default_settings() -> None:
    bench = MockBench()
    lamp = GpioLamp(MuteLedSettings(), lambda _lit, _t: None, factory=bench.factory)
    assert lamp.read() is True


def test_an_edge_comes_by_callback_with_the_time_it_happened(bench: MockBench) -> None:
    import time

    edges: list[tuple[bool, float]] = []
    lamp = GpioLamp(bench.settings, lambda lit, t: edges.append((lit, t)), factory=bench.factory)
    bench.drive(high=True)
    before = time.monotonic()
    bench.drive(high=False)
    wait_until(lambda: edges and edges[-1][0] is True)
    assert before - 0.001 <= edges[-1][1] <= time.monotonic()
    lamp.close()


def test_a_callback_that_raises_blinds_nobody(bench: MockBench) -> None:
    edges: list[bool] = []

    def receive(lit: bool, t: float) -> None:
        edges.append(lit)
        if edges == [True]:
            raise RuntimeError("broken on purpose")

    lamp = GpioLamp(bench.settings, receive, factory=bench.factory)
    bench.drive(high=True)
    wait_until(lambda: lamp.read() is False)
    edges.clear()
    lamp.callback_faults = 0
    for number, high in enumerate((False, True, False), start=1):
        bench.drive(high=high)
        wait_until(lambda number=number: len(edges) >= number)  # type: ignore[misc] # mypy cannot infer a default
    assert lamp.callback_faults == 1
    assert "broken on purpose" in lamp.last_fault
    assert lamp.read() is True
    lamp.close()


def test_a_chip_that_goes_is_unreadable_and_then_unknown(bench: MockBench) -> None:
    lamp = GpioLamp(bench.settings, lambda _lit, _t: None, factory=bench.factory)
    bench.drive(high=True)
    wait_until(lambda: lamp.read() is False)
    led = MuteLed(Times(), now=0.0)
    for tick in range(40):
        led.receive_level(lamp.read(), now=tick * 0.05)
    assert led.state is MuteState.UNMUTED
    bench.unplug()
    assert lamp.read() is None
    assert led.receive_level(lamp.read(), now=2.0) is MuteState.UNKNOWN
    lamp.close()


def test_the_decoder_follows_a_pin(bench: MockBench) -> None:
    """The pin's levels, the decoder's own time: mute at once, unmute after the hold time."""
    lamp = GpioLamp(bench.settings, lambda _lit, _t: None, factory=bench.factory)
    led = MuteLed(Times(), now=0.0)
    said: list[tuple[float, MuteState]] = []
    for tick in range(140):
        high = not 60 <= tick < 100
        bench.drive(high=high)
        wait_until(lambda high=high: lamp.read() is not high)  # type: ignore[misc] # mypy cannot infer a default
        state = led.receive_level(lamp.read(), now=tick * 0.05)
        if not said or state is not said[-1][1]:
            said.append((round(tick * 0.05, 2), state))
    assert said == [
        (0.0, MuteState.UNKNOWN),
        (1.5, MuteState.UNMUTED),
        (3.05, MuteState.MUTED),
        (6.5, MuteState.UNMUTED),
    ]
    lamp.close()


def test_after_a_chip_has_gone_the_next_pin_is_on_a_new_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    from gpiozero import Device

    bench = MockBench()
    monkeypatch.setattr(Device, "pin_factory", bench.factory)
    lamp = GpioLamp(bench.settings, lambda _lit, _t: None)
    lamp.read()
    lamp.close()
    assert Device.pin_factory is bench.factory
    lamp = GpioLamp(bench.settings, lambda _lit, _t: None)
    bench.unplug()
    assert lamp.read() is None
    lamp.close()
    assert Device.pin_factory is None


def test_a_pin_in_use_says_so() -> None:
    bench = MockBench()
    first = GpioLamp(bench.settings, lambda _lit, _t: None, factory=bench.factory)
    with pytest.raises(PinError, match=r"GPIO17 cannot be opened.*sense\.mute_led\.pin"):
        GpioLamp(bench.settings, lambda _lit, _t: None, factory=bench.factory)
    first.close()


def test_a_pin_that_does_not_exist_says_so() -> None:
    with pytest.raises(PinError, match=r"GPIO99 cannot be opened.*sense\.mute_led\.pin"):
        GpioLamp(MuteLedSettings(pin="GPIO99"), lambda _lit, _t: None, factory=MockBench().factory)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("GPIO busy", "stop that one"),
        ("No permission: not permitted", "group gpio"),
        ("anything", "docs/hardware.md"),
    ],
)
def test_what_the_library_says_gets_its_remedy(
    said: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gpiozero

    def refuse(*_: object, **__: object) -> None:
        raise gpiozero.PinInvalidFunction(said)

    monkeypatch.setattr(gpiozero, "DigitalInputDevice", refuse)
    with pytest.raises(PinError, match=remedy):
        GpioLamp(MuteLedSettings(), lambda _lit, _t: None, factory=object())


def test_the_empty_lgpio_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lgpio", types.ModuleType("lgpio"))
    with pytest.raises(PinError, match=r"empty package.*python3-lgpio.*--system-site-packages"):
        check_lgpio()


def test_a_missing_lgpio_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lgpio", None)
    with pytest.raises(PinError, match="apt install python3-lgpio"):
        check_lgpio()
