"""Where the gate stands: the page has all three pictures as they are drawn, and setup tells them apart."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.setup.placement import NEEDS, Placement, guess_placement, make_modules_file, read_installed
from guard.setup.places import MODULES, Places
from tests import placement_pictures as pictures
from tests.conftest import ROOT
from tests.netns.household import Household

PAGE = ROOT / "docs" / "placement.md"


@pytest.mark.parametrize("placement", Placement)
def test_the_page_has_the_picture_that_is_drawn(placement: Placement) -> None:
    path = pictures.FOLDER / f"placement-{placement}.svg"
    drawn = pictures.draw(pictures.PICTURES[placement])
    assert path.read_text(encoding="utf-8") == drawn
    ET.fromstring(drawn)  # noqa: S314 - our own text
    png = path.with_suffix(".png").read_bytes()
    assert struct.unpack(">II", png[16:24]) == (pictures.WIDTH, pictures.HEIGHT)
    page = PAGE.read_text(encoding="utf-8")
    assert f"pictures/{path.name}" in page
    assert f"packaging/examples/{placement}.toml" in page


@pytest.mark.parametrize("placement", Placement)
def test_the_picture_names_the_interface_of_the_example(placement: Placement) -> None:
    example = (ROOT / "packaging" / "examples" / f"{placement}.toml").read_text(encoding="utf-8")
    lines = [line for box in pictures.PICTURES[placement].boxes for line in box.lines]
    (named,) = (line.removesuffix(" = network.lan") for line in lines if line.endswith(" = network.lan"))
    assert f'lan = "{named}"' in example


def test_an_earlier_setup_is_remembered(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert read_installed(places) is None
    path = places.at(MODULES)
    path.parent.mkdir(parents=True)
    for placement in Placement:
        path.write_text(make_modules_file(placement, bridged=True))
        assert read_installed(places) is placement
    path.write_text("# placement: bridge\n")
    assert read_installed(places) is None, "a file of somebody else's says nothing"


def test_only_the_machine_that_forwards_for_echos_alone_is_made_to_forward() -> None:
    assert [placement for placement, needs in NEEDS.items() if needs.forwarding] == [Placement.ACCESS_POINT]


@pytest.fixture
def routed() -> Iterator[Household]:
    with Household() as home, home.gate.enter():
        yield home


@pytest.fixture
def bridged() -> Iterator[Household]:
    with Household(bridged=True) as home, home.gate.enter():
        yield home


@pytest.fixture
def wireless(tmp_path: Path) -> Path:
    (tmp_path / "lan0" / "phy80211").mkdir(parents=True)
    return tmp_path


@pytest.mark.kernel
def test_a_plain_interface_is_a_router_or_an_access_point(routed: Household, wireless: Path) -> None:
    assert guess_placement("lan0") is Placement.ROUTER
    assert guess_placement("lan0", sys=wireless) is Placement.ACCESS_POINT


@pytest.mark.kernel
def test_a_bridge_is_told_by_the_way_out(bridged: Household, wireless: Path) -> None:
    assert guess_placement("br0") is Placement.BRIDGE
    bridged.gate.run("ip", "route", "add", "default", "via", "10.77.0.9", "dev", "br0")
    assert guess_placement("br0") is Placement.BRIDGE
    assert guess_placement("lan0") is Placement.BRIDGE, "a port of it"
    bridged.gate.run("ip", "link", "set", "wan0", "nomaster")
    bridged.gate.run("ip", "address", "add", "192.0.2.1/24", "dev", "wan0")
    bridged.gate.run("ip", "route", "replace", "default", "via", "192.0.2.9", "dev", "wan0")
    assert guess_placement("br0") is Placement.ROUTER
    assert guess_placement("br0", sys=wireless) is Placement.ACCESS_POINT
