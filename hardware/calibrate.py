"""Lead a person through placing the light sensor, and refuse a place that would err.

A comparator cannot see colour. The red filter and the trimmer must make it blind to every light that is
not the mute lamp's own red, so each other colour of the ring is shown to it and must leave it dark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hardware.errors import CalibrationError
from hardware.gpio import Lamp

WATCH_S = 3.0  # longer than two pulses of the ring
EVERY_S = 0.01


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing to show to the sensor, what it must see in it, and what to do when it does not."""

    name: str
    instruction: str
    lit: bool
    remedy: str


_TOO_SENSITIVE = "turn the trimmer until the module's own lamp just goes out, and check the red filter"
TRIALS = (
    Trial("dark", "Unmute the Echo and wait until its ring is dark. Room light on.", False, _TOO_SENSITIVE),
    Trial(
        "red",
        "Press the Echo's mute button: button and ring turn red.",
        True,
        "turn the trimmer until the module's lamp comes on, or place it closer over the button's lamp",
    ),
    Trial(
        "cyan", 'Unmute, say the wake word and "tell me a story": the ring is cyan.', False, _TOO_SENSITIVE
    ),
    Trial("white", "Turn the volume to its highest: the ring is white. Keep turning.", False, _TOO_SENSITIVE),
    Trial(
        "yellow",
        "Let the ring pulse yellow (a waiting notification), or hold a yellow light to it.",
        False,
        _TOO_SENSITIVE,
    ),
    Trial(
        "daylight",
        "Let the brightest light of the room fall on the sensor: sun, lamp.",
        False,
        _TOO_SENSITIVE,
    ),
    Trial(
        "open wire",
        "Pull the wire from the sensor's output (DO) off.",
        True,
        'use active_level "low" with pull "down", so that an open wire reads as muted',
    ),
)


def calibrate(
    lamp: Lamp,
    *,
    ask: Callable[[str], object],
    say: Callable[[str], object],
    wait: Callable[[float], object],
) -> None:
    """Show each trial to ``lamp``. CalibrationError names those it failed and what to do.

    ``ask`` shows an instruction and returns when the person is ready; ``wait`` lets seconds pass.
    """
    failed = []
    for number, trial in enumerate(TRIALS, start=1):
        ask(f"{number}/{len(TRIALS)} {trial.instruction}")
        readings = []
        for _ in range(int(WATCH_S / EVERY_S)):
            readings.append(lamp.read())
            wait(EVERY_S)
        if None in readings:
            raise CalibrationError("the pin cannot be read any more; check the wiring and begin again")
        wrong = sum(reading is not trial.lit for reading in readings)
        seen = f"{100 * sum(map(bool, readings)) / len(readings):.0f} % lit"
        if not wrong:
            say(f"    {trial.name}: {seen}, as it must be")
            continue
        failed.append(trial)
        say(f"    {trial.name}: {seen}, must be {'always' if trial.lit else 'never'}: {trial.remedy}")
    if failed:
        names = ", ".join(trial.name for trial in failed)
        raise CalibrationError(
            f"the light sensor fails with {names}: {failed[0].remedy}; then calibrate again"
        )
