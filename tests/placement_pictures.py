"""Draw where a gate can stand: ``python -m tests.placement_pictures`` writes docs/pictures/placement-*.

Each picture is data below: boxes in a row, what is in them, and the ways between them. The PNG is made from
the SVG by rsvg-convert (Debian: librsvg2-bin).
"""

from __future__ import annotations

import subprocess
from html import escape
from typing import NamedTuple

from guard.setup.placement import Placement
from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 1000, 330
TOP, BOX = 96, 150  # of the row of boxes
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"
INK, GUARDED, FREE, GATE = "#263238", "#c62828", "#90a4ae", "#2e7d32"
FREE_LINE = f'stroke="{FREE}" stroke-width="3" stroke-dasharray="7 5" fill="none"'
GUARDED_LINE = f'stroke="{GUARDED}" stroke-width="4"'


class Box(NamedTuple):
    """A machine: where it begins, how wide it is, its colour, its name, and lines within."""

    x: int
    width: int
    fill: str
    name: str
    lines: tuple[str, ...] = ()


class Way(NamedTuple):
    """What the Echo's packets pass: from and to (x), the medium above, addresses below."""

    start: int
    end: int
    medium: str
    below: str = ""


class Picture(NamedTuple):
    """One placement; ``gate`` is the x of the gate's mark, ``others`` the end of the others' way."""

    title: str
    boxes: tuple[Box, ...]
    ways: tuple[Way, ...]
    gate: int
    others: int
    note: str


ECHO = Box(20, 130, "#eceff1", "Echo", ("unchanged",))
CLOUD = Box(850, 130, "#e3f2fd", "Internet", ("Amazon",))
PI, ROUTER = "#e8f5e9", "#fff8e1"

PICTURES: dict[Placement, Picture] = {
    Placement.ACCESS_POINT: Picture(
        "Access point: the Echo has a Wi-Fi of its own, and the Pi routes for it",
        (
            ECHO,
            Box(270, 250, PI, "Raspberry Pi", ("hostapd, dnsmasq", "wlan0 = network.lan", "192.168.4.1")),
            Box(640, 130, ROUTER, "Router", ("192.168.1.1",)),
            CLOUD,
        ),
        (Way(150, 270, "Wi-Fi", "192.168.4.x"), Way(520, 640, "cable", "192.168.1.x"), Way(770, 850, "")),
        395,
        640,
        "Nothing but Echos is on this Wi-Fi. Whoever else is at home goes to the router as before.",
    ),
    Placement.BRIDGE: Picture(
        "Transparent bridge: the Echo stays in the home's network, behind the Pi",
        (
            ECHO,
            Box(
                270,
                250,
                PI,
                "Raspberry Pi",
                ("br0 = network.lan", "wlan0 (hostapd) or eth1, and eth0", "192.168.1.5"),
            ),
            Box(640, 130, ROUTER, "Router", ("192.168.1.1", "DHCP for all")),
            CLOUD,
        ),
        (
            Way(150, 270, "Wi-Fi or cable", "192.168.1.x"),
            Way(520, 640, "cable", "192.168.1.x"),
            Way(770, 850, ""),
        ),
        395,
        640,
        "One network: phones and speakers see the Echo as before. The Pi's bridge needs an address in it.",
    ),
    Placement.ROUTER: Picture(
        "On the router: no further machine",
        (
            ECHO,
            Box(
                380,
                330,
                PI,
                "Router (Debian or a Pi)",
                ("br-lan = network.lan", "192.168.1.1", "wan: masquerade"),
            ),
            CLOUD,
        ),
        (Way(150, 380, "the home's Wi-Fi", "192.168.1.x"), Way(710, 850, "to the provider")),
        545,
        380,
        "Only the Echos' packets go through the queue; all others take their way through the kernel.",
    ),
}


def text(
    x: int,
    y: int,
    words: str,
    *,
    size: int = 14,
    anchor: str = "middle",
    weight: str = "normal",
    fill: str = INK,
) -> str:
    """Return a line of text."""
    style = f'font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}"'
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'


def draw_box(box: Box) -> list[str]:
    """Return a machine with its name and lines."""
    middle = box.x + box.width // 2
    place = f'x="{box.x}" y="{TOP}" width="{box.width}" height="{BOX}" rx="10"'
    parts = [
        f'<rect {place} fill="{box.fill}" stroke="#546e7a" stroke-width="1.5"/>',
        text(middle, TOP + 26, box.name, weight="bold"),
    ]
    first = TOP + BOX - 12 - 18 * (len(box.lines) - 1)
    return [
        *parts,
        *(text(middle, first + 18 * number, line, size=12) for number, line in enumerate(box.lines)),
    ]


def draw_way(way: Way) -> list[str]:
    """Return a stretch of the guarded way with its words."""
    y, middle = TOP + 62, (way.start + way.end) // 2
    return [
        f'<path d="M {way.start} {y} H {way.end - 6}" {GUARDED_LINE} marker-end="url(#head)"/>',
        text(middle, y - 12, way.medium, size=12),
        text(middle, y + 24, way.below, size=11, fill="#546e7a"),
    ]


def draw_gate(picture: Picture) -> list[str]:
    """Return the way through the gate's own machine, and the mark on it."""
    machine = next(box for box in picture.boxes if box.x < picture.gate < box.x + box.width)
    x, y = picture.gate, TOP + 62
    return [
        f'<path d="M {machine.x} {y} H {machine.x + machine.width}" {GUARDED_LINE}/>',
        f'<path d="M {x} {y - 20} l 20 20 l -20 20 l -20 -20 Z" fill="{GATE}" stroke="#1b5e20"/>',
        text(x, y + 5, "gate", size=11, weight="bold", fill="#ffffff"),
    ]


def draw_others(picture: Picture) -> list[str]:
    """Return the way of everybody else, which no queue sees."""
    y = TOP + BOX + 34
    target = next(box for box in picture.boxes if box.x == picture.others)
    end = target.x + target.width // 2
    return [
        f'<rect x="20" y="{y - 16}" width="190" height="32" rx="8" fill="#fafafa" stroke="{FREE}"/>',
        text(115, y + 5, "everybody else at home", size=12),
        f'<path d="M 210 {y} H {end} V {TOP + BOX + 6}" {FREE_LINE} marker-end="url(#free)"/>',
    ]


def draw(picture: Picture) -> str:
    """Return the SVG."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="6" refY="5" markerWidth="{size}" '
        f'markerHeight="{size}" orient="auto"><path d="M 0 0 L 10 5 L 0 10 Z" fill="{colour}"/></marker>'
        for name, size, colour in (("head", 4, GUARDED), ("free", 5, FREE))
    )
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {FONT}>',
        f"<title>{escape(picture.title)}</title><defs>{heads}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        text(20, 34, picture.title, size=17, anchor="start", weight="bold"),
        text(
            20, 60, "red: the Echo's packets, each judged by the gate", size=12, anchor="start", fill=GUARDED
        ),
        *(part for box in picture.boxes for part in draw_box(box)),
        *(part for way in picture.ways for part in draw_way(way)),
        *draw_gate(picture),
        *draw_others(picture),
        text(20, HEIGHT - 14, picture.note, size=12, anchor="start"),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write all pictures."""
    for placement, picture in PICTURES.items():
        path = FOLDER / f"placement-{placement}.svg"
        path.write_text(draw(picture), encoding="utf-8")
        subprocess.run(("rsvg-convert", "-o", str(path.with_suffix(".png")), str(path)), check=True)


if __name__ == "__main__":
    main()
