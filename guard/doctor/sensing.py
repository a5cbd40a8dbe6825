"""The sensors: whether they are heard, whether they hear, and whether their pin could be read.

What the sensing side knows of its packages is asked by name, as its command is: the two meet nowhere else.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from guard.doctor.finding import Finding, absent, fault, note, ok
from guard.doctor.situation import Situation

_NO_PIN: Final = "none"


def check_sensors(situation: Situation) -> Finding:
    """See that every Echo's sensing process is heard, and that its microphone listens."""
    config = situation.get_config()
    if config.sensors is None:
        return note(
            "no sensor is configured: Echos count as unmuted, and you say `wakeguard event wake` yourself",
            "docs/hardware.md, then `wakeguard setup --sense`",
        )
    if situation.status is None:
        return absent("no gate runs")
    deaf = []
    for device in situation.status["devices"]:
        sensor, name = device["sensor"], device["name"]
        unit = f"journalctl -u wakeguard-sense@{name}"
        if sensor is None or sensor["age_s"] is None:
            return fault(
                f"the sensors of {name} were never heard", f"systemctl start wakeguard-sense@{name}; {unit}"
            )
        if sensor["age_s"] > _limit(situation):
            return fault(
                f"the sensors of {name} are silent for {sensor['age_s']:.0f} s: it counts as muted",
                f"{unit} says why",
            )
        if device["mute"] == "unknown":
            return fault(f"the mute state of {name} is unknown: it counts as muted", f"{unit} says why")
        if not sensor["hears"]:
            deaf.append(name)
    if deaf:
        return note(
            f"no microphone listens for {', '.join(deaf)}: wake words come by hand or not at all",
            f"journalctl -u wakeguard-sense@{deaf[0]} says why",
        )
    return ok("heard, and their microphones listen")


def check_pin(situation: Situation) -> Finding:
    """See that Python's lgpio is a real one: for 3.13 on a Pi, PyPI has only an empty package."""
    config = situation.get_config()
    led: Any = config.sense.get("mute_led", {})
    if config.sensors is None or (isinstance(led, dict) and led.get("pin") == _NO_PIN):
        return absent("no light sensor is configured")
    gpio, errors = importlib.import_module("hardware.gpio"), importlib.import_module("hardware.errors")
    try:
        gpio.check_lgpio()
    except errors.PinError as error:
        text, _, remedy = str(error).partition("; ")
        return fault(text, remedy)
    return ok("lgpio is a real one")


def _limit(situation: Situation) -> float:
    return situation.get_config().load_limits().make_policy().alive_timeout_s
