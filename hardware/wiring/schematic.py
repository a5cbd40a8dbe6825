"""Draw the schematic: ``python -m hardware.wiring.schematic`` writes wiring.svg and wiring.png here.

The picture is data below: a header, a module, wires between named terminals. The PNG is made from the SVG
by rsvg-convert (Debian: librsvg2-bin).
"""

from __future__ import annotations

import subprocess
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 1000, 640
PITCH = 30  # between two pins of the header
HEADER_X, HEADER_Y = 810, 128  # of pin 1
MODULE_X, MODULE_Y = 330, 250

# The header's first 20 pins as they lie on a Raspberry Pi: odd ones left, even ones right.
LEFT = ("3V3", "GPIO2", "GPIO3", "GPIO4", "GND", "GPIO17", "GPIO27", "GPIO22", "3V3", "GPIO10")
RIGHT = ("5V", "5V", "GND", "GPIO14", "GPIO15", "GPIO18", "GND", "GPIO23", "GPIO24", "GND")

# module terminal -> header pin, colour, what it is
WIRES = (
    ("VCC", 17, "#c62828", "3.3 V"),
    ("GND", 9, "#212121", "ground"),
    ("DO", 13, "#2e7d32", "low while lit"),
)
TERMINALS = ("VCC", "GND", "DO", "AO")

NOTES = (
    "Settings: pin GPIO27, active_level low, pull down. Lamp lit: the comparator pulls DO low: muted.",
    "An open DO or VCC wire reads as muted: the Pi's pull-down wins. An open GND wire may read unmuted.",
    "3.3 V only: a module on 5 V puts 5 V on DO and destroys the pin. AO stays unconnected.",
)


def pin_position(number: int) -> tuple[int, int]:
    """Return the centre of a header pin."""
    row, column = divmod(number - 1, 2)
    return HEADER_X + column * PITCH, HEADER_Y + row * PITCH


def terminal_position(name: str) -> tuple[int, int]:
    """Return the centre of a module terminal."""
    return MODULE_X + 150, MODULE_Y + 28 + TERMINALS.index(name) * PITCH


def text(x: int, y: int, words: str, *, size: int = 14, anchor: str = "start", weight: str = "normal") -> str:
    """Return a line of text."""
    style = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'


def box(x: int, y: int, width: int, height: int, fill: str, *, radius: int = 6) -> str:
    """Return a rectangle."""
    place = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"'
    return f'<rect {place} fill="{fill}" stroke="#37474f" stroke-width="1.5"/>'


def disc(x: int, y: int, radius: int, fill: str) -> str:
    """Return a circle."""
    return f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{fill}" stroke="#37474f" stroke-width="1.5"/>'


def draw_echo() -> list[str]:
    """Return the Echo seen from above, with its mute button and the filter over it."""
    return [
        text(120, 150, "Echo, from above", anchor="middle", weight="bold"),
        disc(120, 290, 110, "#eceff1"),
        disc(120, 290, 98, "#cfd8dc"),
        disc(165, 290, 22, "#ef5350"),
        text(165, 334, "mute button,", size=12, anchor="middle"),
        text(165, 350, "red while muted", size=12, anchor="middle"),
        disc(75, 290, 18, "#eceff1"),
        box(222, 268, 16, 44, "#b71c1c", radius=2),
        text(240, 420, "red long-pass filter (600 nm), black tape", size=12, anchor="middle"),
        text(240, 436, "around button and sensor", size=12, anchor="middle"),
        '<path d="M 230 405 V 318" stroke="#b71c1c" stroke-dasharray="4 3" fill="none"/>',
        '<path d="M 190 284 H 216 M 190 296 H 216" stroke="#ef5350" stroke-width="2" fill="none"/>',
        '<path d="M 242 284 H 286 M 242 296 H 286" stroke="#ef5350" stroke-width="2" fill="none"/>',
    ]


def draw_module() -> list[str]:
    """Return the comparator module."""
    thin = 'stroke="#5d4037" fill="none"'
    parts = [
        text(MODULE_X + 80, MODULE_Y - 34, "light-sensor module:", anchor="middle", weight="bold"),
        text(MODULE_X + 80, MODULE_Y - 14, "photoresistor, LM393 comparator", size=12, anchor="middle"),
        box(MODULE_X, MODULE_Y, 165, 140, "#bbdefb"),
        disc(MODULE_X - 22, MODULE_Y + 40, 17, "#fff8e1"),
        f'<path d="M {MODULE_X - 32} {MODULE_Y + 40} l 5 -7 l 5 14 l 5 -14 l 5 7" {thin}/>',
        f'<path d="M {MODULE_X - 5} {MODULE_Y + 40} h 10" stroke="#5d4037" stroke-width="2"/>',
        box(MODULE_X + 30, MODULE_Y + 28, 46, 40, "#64b5f6", radius=2),
        text(MODULE_X + 53, MODULE_Y + 53, "LM393", size=11, anchor="middle"),
        disc(MODULE_X + 53, MODULE_Y + 102, 17, "#ffffff"),
        f'<path d="M {MODULE_X + 41} {MODULE_Y + 102} h 24" stroke="#37474f" stroke-width="3"/>',
        text(MODULE_X + 53, MODULE_Y + 134, "trimmer", size=11, anchor="middle"),
    ]
    for name in TERMINALS:
        x, y = terminal_position(name)
        parts += [text(x - 12, y + 5, name, size=12, anchor="end"), disc(x, y, 6, "#ffe082")]
    return parts


def draw_header() -> list[str]:
    """Return the Pi's header."""
    height = 10 * PITCH
    parts = [
        text(
            HEADER_X + PITCH // 2, HEADER_Y - 60, "Raspberry Pi, GPIO header", anchor="middle", weight="bold"
        ),
        text(HEADER_X + PITCH // 2, HEADER_Y - 40, "pins 1 to 20 of 40", size=12, anchor="middle"),
        box(HEADER_X - 18, HEADER_Y - 18, PITCH + 36, height + 6, "#455a64"),
    ]
    used = {pin for _, pin, _, _ in WIRES}
    for row, names in enumerate(zip(LEFT, RIGHT, strict=True)):
        for column, name in enumerate(names):
            number = 2 * row + column + 1
            x, y = pin_position(number)
            parts.append(disc(x, y, 8, "#ffca28" if number in used else "#b0bec5"))
            label_x, anchor = (x - 26, "end") if column == 0 else (x + 26, "start")
            weight = "bold" if number in used else "normal"
            parts.append(text(label_x, y - 4, f"{number} {name}", size=11, anchor=anchor, weight=weight))
    return parts


def draw_wires() -> list[str]:
    """Return the wires, each in a lane of its own."""
    parts = []
    for lane, (terminal, pin, colour, meaning) in enumerate(WIRES):
        x, y = terminal_position(terminal)
        end_x, end_y = pin_position(pin)
        turn = 640 + lane * 20
        path = f"M {x} {y} H {turn} V {end_y} H {end_x}"
        parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="3" fill="none"/>')
        parts.append(text(x + 18, y - 5, meaning, size=12))
    return parts


def draw() -> str:
    """Return the whole schematic as SVG."""
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="DejaVu Sans, Arial, sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(30, 40, "Wakeguard: the mute LED's light sensor", size=20, weight="bold"),
        *draw_echo(),
        *draw_module(),
        *draw_header(),
        *draw_wires(),
        *(text(30, 550 + 24 * row, note, size=13) for row, note in enumerate(NOTES)),
        text(30, 626, "Drawn by hardware/wiring/schematic.py", size=10),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write both pictures."""
    svg = FOLDER / "wiring.svg"
    svg.write_text(draw(), encoding="utf-8")
    subprocess.run(["rsvg-convert", "-o", str(FOLDER / "wiring.png"), str(svg)], check=True)


if __name__ == "__main__":
    main()
