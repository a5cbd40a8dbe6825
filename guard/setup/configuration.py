"""The owner's file, written from the example of a placement.

tomlkit keeps the comments. What is written is read back by ``guard.config`` before it goes anywhere, so a
file that setup writes is one that the gate takes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import tomlkit
from tomlkit.items import AoT, Table

from guard.config import Config, parse_config
from guard.errors import ConfigError, SetupError
from guard.setup.placement import Placement, read_template

SENSE_USER: Final = "wakeguard-sense"
_DEVICE = re.compile(r"(?P<name>[^=]+)=(?P<mac>[0-9A-Fa-f:-]+)")
_SENSORS: Final = """
# Once this table is there, silence of a sensor counts as muted.
[sensors]
socket = "{socket}"
users = ["{user}"]      # who may report mute and wake beside root and the gate's own user

# Read by `wakeguard sense` alone; docs/hardware.md shows the wiring.
[sense.mute_led]
pin = "GPIO27"          # a comparator on the mute button's lamp, low while it is lit; "none": no light sensor

[sense.microphone]
device = ""             # an ALSA name such as "hw:CARD=seeed4micvoicec"; empty: found

[sense.wake]
words = ["alexa"]
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the owner said: Echos as (name, MAC), the interface towards them, the place, sensors or not."""

    devices: tuple[tuple[str, str], ...]
    lan: str
    placement: Placement
    sense: bool = False


def parse_device(text: str) -> tuple[str, str]:
    """Return (name, MAC) of ``NAME=MAC``. SetupError says what is wrong with it."""
    match = _DEVICE.fullmatch(text)
    if match is None:
        raise SetupError(f'--device "{text}" is not NAME=MAC; use such as --device kitchen=68:37:e9:00:00:01')
    return match["name"], match["mac"].lower().replace("-", ":")


def make_config(choices: Choices) -> str:
    """Return the text of a configuration. ConfigError names what the gate would not take."""
    document = tomlkit.parse(read_template(choices.placement))
    rows = document["device"]
    network = document["network"]
    assert isinstance(rows, AoT)
    assert isinstance(network, Table)
    example = rows[0].as_string()
    rows.clear()
    for name, mac in choices.devices:
        row = tomlkit.parse(example)  # with its comments
        row["name"], row["mac"] = name, mac
        rows.append(_as_table(row))
    network["lan"] = choices.lan
    text = tomlkit.dumps(document)
    if choices.sense:
        several = len(choices.devices) > 1
        socket = f"/run/wakeguard/{'{device}' if several else 'sensors'}.sock"
        text += _SENSORS.format(socket=socket, user=SENSE_USER)
    parse_config(tomllib.loads(text))
    return text


def _as_table(document: tomlkit.TOMLDocument) -> Table:
    table = tomlkit.table()
    for key, value in document.items():
        table.add(key, value)
    table.add(tomlkit.nl())
    return table


def check_same(existing: Config, choices: Choices, *, path: object) -> None:
    """Raise SetupError when the file that is there says otherwise about the Echos or the interface."""
    found = tuple((device.name, device.mac or "") for device in existing.device)
    if found != choices.devices or existing.network.lan != choices.lan:
        raise SetupError(
            f"{path} exists and names other devices or another interface than was asked for: edit it, or "
            "replace it with --force (a copy is kept beside it)"
        )
    if choices.sense and existing.sensors is None:
        raise SetupError(
            f"{path} exists and has no table [sensors], which --sense needs: write one as in "
            "docs/configuration.md, or replace the file with --force (a copy is kept beside it)"
        )


def read_sense_source(config: Config) -> str:
    """Return where the wake word comes from, as ``[sense.wake]`` says; its default when it does not."""
    wake: Any = config.sense.get("wake", {})
    return str(wake.get("source", "detector")) if isinstance(wake, dict) else "detector"


def check_devices(devices: Sequence[tuple[str, str]]) -> None:
    """Raise ConfigError or SetupError for devices that no configuration could hold."""
    if not devices:
        raise SetupError(
            "no Echo was found: give it with --device NAME=MAC "
            "(the Alexa app shows the MAC: device settings, About)"
        )
    try:
        parse_config({"device": [{"name": name, "mac": mac} for name, mac in devices]})
    except ConfigError as error:
        raise SetupError(f"--device: {error}") from None
