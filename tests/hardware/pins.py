"""A pin of gpiozero's mock, and a hand on its other end. The kernel's own pins are tests/vm's."""

from __future__ import annotations

from gpiozero.pins.mock import MockFactory

from hardware.config import MuteLedSettings


class MockBench:
    """GPIO17 with the default polarity: low while the lamp is lit."""

    def __init__(self) -> None:
        self.factory = MockFactory()
        self.settings = MuteLedSettings(pin="GPIO17", active_level="low", pull="down")

    def drive(self, *, high: bool) -> None:
        """Put a level on the pin."""
        pin = self.factory.pin(17)
        if high:
            pin.drive_high()
        else:
            pin.drive_low()

    def unplug(self) -> None:
        """Take the whole chip away."""

        def fail() -> bool:
            raise OSError(19, "No such device")  # what the kernel says; the mock itself goes on reading

        self.factory.pin(17)._get_state = fail
