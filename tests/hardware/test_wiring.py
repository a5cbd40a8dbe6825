"""The schematic in the repository is the one that the script draws, with the default settings' pins."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from itertools import chain
from pathlib import Path

from hardware.config import MuteLedSettings
from hardware.wiring import schematic

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_the_committed_picture_is_the_drawn_one() -> None:
    assert (schematic.FOLDER / "wiring.svg").read_text(encoding="utf-8") == schematic.draw()
    ET.fromstring(schematic.draw())  # noqa: S314 - our own text


def test_the_png_has_the_size_of_the_drawing() -> None:
    data = (schematic.FOLDER / "wiring.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (schematic.WIDTH, schematic.HEIGHT)


def test_the_wires_end_where_the_settings_expect_them() -> None:
    names = dict(enumerate(chain.from_iterable(zip(schematic.LEFT, schematic.RIGHT, strict=True)), start=1))
    ends = {terminal: names[pin] for terminal, pin, _, _ in schematic.WIRES}
    assert ends == {"VCC": "3V3", "GND": "GND", "DO": MuteLedSettings().pin}


def test_the_hardware_page_shows_it_and_names_the_pin() -> None:
    text = (DOCS / "hardware.md").read_text(encoding="utf-8")
    assert "../hardware/wiring/wiring.svg" in text
    assert MuteLedSettings().pin in text
