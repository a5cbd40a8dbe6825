"""The wire of a simulated chip inside the machine, and of a mock outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.vm.pins import MockWire, SimulatedChip, Wire, is_in_machine, simulated_chip


@pytest.fixture(scope="session")
def chip_wire() -> Iterator[SimulatedChip | None]:
    # One for the whole session: a second factory in one process loses events on lgpio.
    if not is_in_machine():
        yield None
        return
    with simulated_chip() as chip:
        yield chip


@pytest.fixture
def wire(chip_wire: SimulatedChip | None) -> Wire:
    """Return a wire to the pin: simulated by the kernel in the guest, by gpiozero elsewhere."""
    return MockWire() if chip_wire is None else chip_wire
