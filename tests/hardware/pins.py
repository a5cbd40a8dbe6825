"""Pins to test on: gpiozero's mock and, where there is one, a line of the kernel's gpio-sim.

The same tests run on both. ``WAKEGUARD_GPIO_SIM`` is the folder of the simulated line in sysfs (it holds
``pull``), ``WAKEGUARD_GPIO_PIN`` its name for gpiozero.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from hardware.config import MuteLedSettings

SIM = os.environ.get("WAKEGUARD_GPIO_SIM")
KINDS = ["mock", "chip"] if SIM else ["mock"]


class Bench(Protocol):
    """A pin, and a hand on its other end."""

    factory: Any
    settings: MuteLedSettings

    def drive(self, *, high: bool) -> None:
        """Put a level on the pin."""

    def unplug(self) -> None:
        """Take the whole chip away."""


class MockBench:
    """gpiozero's own mock."""

    def __init__(self) -> None:
        from gpiozero.pins.mock import MockFactory

        self.factory = MockFactory()
        self.settings = MuteLedSettings(pin="GPIO17", active_level="low", pull="down")

    def drive(self, *, high: bool) -> None:
        pin = self.factory.pin(17)
        if high:
            pin.drive_high()
        else:
            pin.drive_low()

    def unplug(self) -> None:
        def fail() -> bool:
            raise OSError(19, "No such device")  # what the kernel says; the mock itself goes on reading

        self.factory.pin(17)._get_state = fail


class ChipBench:
    """A line of gpio-sim through gpiozero's default factory. Opening with a pull would set the level."""

    def __init__(self) -> None:
        from hardware.gpio import get_default_factory

        assert SIM is not None
        self._pull = Path(SIM) / "pull"
        self.factory = get_default_factory()
        self.settings = MuteLedSettings(
            pin=os.environ.get("WAKEGUARD_GPIO_PIN", "GPIO17"), active_level="low", pull="none"
        )

    def drive(self, *, high: bool) -> None:
        self._pull.write_text("pull-up" if high else "pull-down")

    def unplug(self) -> None:
        self.factory.close()


def make_bench(kind: str) -> Bench:
    return ChipBench() if kind == "chip" else MockBench()
