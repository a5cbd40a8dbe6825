"""One simulated wire, twice: on gpiozero's mock, and on the kernel's gpio-sim behind a real /dev/gpiochip0.

The tests of ``test_pin.py`` take either. gpio-sim is driven from the outside, through sysfs, as a light
sensor would drive the pin: neither lgpio nor gpiozero knows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from hardware.gpio import get_default_factory

NUMBER = 17
PIN = f"GPIO{NUMBER}"
LINES = 54  # as the Raspberry Pi 4 has
_CONFIGFS = Path("/sys/kernel/config")
_DEVICES = Path("/sys/devices/platform")


class Wire(Protocol):
    """What drives the pin, and the factory that reads it."""

    @property
    def factory(self) -> Any:
        """Return gpiozero's factory for the pin."""

    def drive(self, *, high: bool) -> None:
        """Give the line a level."""


class MockWire:
    """A line of gpiozero's own mock."""

    def __init__(self) -> None:
        from gpiozero.pins.mock import MockFactory

        self.factory = MockFactory()

    def drive(self, *, high: bool) -> None:
        """Give the line a level."""
        pin = self.factory.pin(PIN)
        (pin.drive_high if high else pin.drive_low)()


class SimulatedChip:
    """A gpio-sim chip with one named line, as root on a kernel that has the module."""

    def __init__(self, name: str = "wakeguard") -> None:
        self._folder = _CONFIGFS / "gpio-sim" / name
        bank = self._folder / "bank0"
        line = bank / f"line{NUMBER}"
        line.mkdir(parents=True)
        (bank / "num_lines").write_text(str(LINES))
        (line / "name").write_text("MUTE_LED")
        (self._folder / "live").write_text("1")
        device, chip = ((self._folder / part).read_text().strip() for part in ("dev_name", "bank0/chip_name"))
        self.node = Path("/dev") / chip
        self._line = _DEVICES / device / chip / f"sim_gpio{NUMBER}"

    @property
    def factory(self) -> Any:
        """Return gpiozero's default factory: one a process."""
        return get_default_factory()

    def drive(self, *, high: bool) -> None:
        """Give the line a level."""
        (self._line / "pull").write_text("pull-up" if high else "pull-down")

    def unplug(self) -> None:
        """Let the chip vanish, open or not."""
        (self._folder / "live").write_text("0")

    def remove(self) -> None:
        """Take everything back."""
        with contextlib.suppress(OSError):
            self.unplug()
        for folder in (self._folder / "bank0" / f"line{NUMBER}", self._folder / "bank0", self._folder):
            folder.rmdir()


@contextlib.contextmanager
def simulated_chip() -> Iterator[SimulatedChip]:
    """Yield a chip, and take it away again."""
    chip = SimulatedChip()
    try:
        yield chip
    finally:
        chip.remove()


def is_in_machine() -> bool:
    """Tell whether this is the guest, which has a chip to offer."""
    return bool(os.environ.get("WAKEGUARD_GPIO_SIM"))
