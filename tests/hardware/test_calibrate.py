"""Calibration passes a sensor that sees red alone, and no other."""

from __future__ import annotations

import pytest

from hardware.calibrate import TRIALS, calibrate
from hardware.errors import CalibrationError

GOOD = {trial.name: trial.lit for trial in TRIALS}


class Person:
    """Does as told; the lamp then shows what ``sees`` says for the trial."""

    def __init__(self, sees: dict[str, bool | None]) -> None:
        self._sees = sees
        self._trial = -1
        self.said: list[str] = []
        self.waited = 0.0

    def read(self) -> bool | None:
        return self._sees[TRIALS[self._trial].name]

    def close(self) -> None:
        """There is no pin."""

    def obey(self, instruction: str) -> None:
        self._trial += 1
        assert TRIALS[self._trial].instruction in instruction

    def wait(self, seconds: float) -> None:
        self.waited += seconds

    def calibrate(self) -> None:
        calibrate(self, ask=self.obey, say=self.said.append, wait=self.wait)


def test_a_sensor_that_sees_red_alone_passes() -> None:
    person = Person(dict(GOOD))
    person.calibrate()
    assert len(person.said) == len(TRIALS)
    assert person.waited > 10


@pytest.mark.parametrize("colour", ["cyan", "white", "yellow", "dark", "daylight"])
def test_another_light_that_trips_it_fails(colour: str) -> None:
    person = Person({**GOOD, colour: True})
    with pytest.raises(CalibrationError, match=f"fails with {colour}: turn the trimmer"):
        person.calibrate()
    assert len(person.said) == len(TRIALS)


def test_a_sensor_that_misses_red_fails() -> None:
    with pytest.raises(CalibrationError, match="fails with red"):
        Person({**GOOD, "red": False}).calibrate()


def test_an_open_wire_that_reads_unmuted_fails() -> None:
    with pytest.raises(CalibrationError, match=r"open wire: use active_level"):
        Person({**GOOD, "open wire": False}).calibrate()


def test_a_pin_that_goes_ends_it() -> None:
    with pytest.raises(CalibrationError, match="cannot be read"):
        Person({**GOOD, "white": None}).calibrate()
