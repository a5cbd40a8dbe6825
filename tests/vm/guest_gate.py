"""Inside the guest: the lamp's pin turns the verdict. Everything between the two is the real thing.

gpio-sim drives the line; ``wakeguard sense`` reads it through gpiozero's default; ``wakeguard run`` judges
the packets of a household in namespaces, in the kernel's queue; what counts is what TLS delivers.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns.gate import GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household, wait_until
from tests.vm.pins import PIN, SimulatedChip

VOICE = 20_000
SECONDS = 60.0  # the guest is slow to start a process
LIT, DARK = False, True  # as levels of the line

SENSE = f"""
[sense.mute_led]
pin = "{PIN}"
active_level = "low"
pull = "none"
hold_s = 0.6
poll_s = 0.2
dead_s = 3.0
[sense.wake]
source = "none"
"""


class SenseProcess:
    """``wakeguard sense`` for a gate; what it says is in ``log``."""

    def __init__(self, gate: GateProcess) -> None:
        self.log = gate.folder / "sense.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(gate.command("sense"), stdout=file, stderr=file)

    def says(self, text: str) -> bool:
        return text in self.log.read_text()


@pytest.fixture
def chip(chip_wire: SimulatedChip) -> SimulatedChip:
    chip_wire.drive(high=DARK)
    return chip_wire


@pytest.fixture
def home() -> Iterator[Household]:
    with Household() as made:
        yield made


def wait_for_mute(gate: GateProcess, state: str) -> float:
    """Wait until the gate takes the Echo for ``state``; return how long that took."""
    begun = time.monotonic()
    wait_until(lambda: gate.ask("status")["devices"][0]["mute"] == state, seconds=SECONDS)
    return time.monotonic() - begun


def test_the_pin_turns_the_verdict(
    home: Household, chip: SimulatedChip, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with GateProcess(home, tmp_path, sensor=True) as gate, TlsCloud(home) as cloud:
        gate.config.write_text(gate.config.read_text() + SENSE)
        sense = SenseProcess(gate)
        try:
            wait_for_mute(gate, "unmuted")
            assert gate.ask("status")["devices"][0]["mute_source"] == "led"
            gate.tell("wake")
            with cloud.connect(seconds=SECONDS) as stream:
                cloud.deliver(stream, VOICE)
                chip.drive(high=LIT)
                record_property("edge to muted, ms", round(1000 * wait_for_mute(gate, "muted")))
                assert talks_in_vain(stream, VOICE)
            assert cloud.received == VOICE
            assert gate.count(reason="muted", justification="not_justified", verdict="refuse") > 0

            chip.drive(high=DARK)
            wait_for_mute(gate, "unmuted")
            gate.tell("wake")
            with cloud.connect(seconds=SECONDS) as stream:
                cloud.deliver(stream, VOICE)
                chip.unplug()
                wait_for_mute(gate, "unknown")
                assert talks_in_vain(stream, VOICE)
            assert cloud.received == 2 * VOICE
            assert gate.count(reason="mute_unknown", verdict="refuse") > 0
            assert sense.says("its pin cannot be read any more")
            assert sense.process.poll() is None
            sense.process.send_signal(signal.SIGTERM)
            assert sense.process.wait(timeout=SECONDS) == 0
            assert sense.says("pin lost 1")
        finally:
            sense.process.kill()
            sense.process.wait()
