"""The three places where a gate can stand, and what each asks of the machine: a table.

Knows how to guess the place from the interface towards the Echo. ``docs/placement.md`` has the pictures.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from guard.errors import SetupError
from guard.netfilter import interface
from guard.rules import packaging_path
from guard.setup.places import MODULES, SYSCTL, UNIT_FOLDER, Places, is_ours

_SYS: Final = Path("/sys/class/net")


class Placement(StrEnum):
    """Where the gate stands."""

    ACCESS_POINT = "access-point"
    BRIDGE = "bridge"
    ROUTER = "router"


class Needs(NamedTuple):
    """What a placement asks of the machine besides the rules and the gate.

    ``forwarding``: switched on by us, after the rules. ``access_point``: hostapd waits for the rules.
    ``modules``: loaded at boot. ``sysctl``: settings that must not be otherwise.
    """

    summary: str
    forwarding: bool
    access_point: bool
    modules: tuple[str, ...]
    sysctl: tuple[str, ...]


_QUEUE: Final = ("nfnetlink_queue", "xt_NFQUEUE")
_BRIDGED: Final = ("net.bridge.bridge-nf-call-iptables = 1", "net.bridge.bridge-nf-call-ip6tables = 1")

NEEDS: Final[dict[Placement, Needs]] = {
    Placement.ACCESS_POINT: Needs(
        "this machine is the Echo's Wi-Fi access point and routes for it",
        forwarding=True,
        access_point=True,
        modules=_QUEUE,
        sysctl=(),
    ),
    Placement.BRIDGE: Needs(
        "this machine joins the Echo's cable or Wi-Fi to the router's network",
        forwarding=False,
        access_point=True,
        modules=(*_QUEUE, "br_netfilter"),
        sysctl=_BRIDGED,
    ),
    # It forwards for the whole home already, and must go on doing so where our rules cannot be had.
    Placement.ROUTER: Needs(
        "this machine is the home's router",
        forwarding=False,
        access_point=False,
        modules=_QUEUE,
        sysctl=(),
    ),
}


def guess_placement(lan: str, *, sys: Path = _SYS) -> Placement:
    """Return the likely place for the interface ``lan``. SetupError or NetfilterError when there is none."""
    if (sys / lan / "wireless").exists() or (sys / lan / "phy80211").exists():
        return Placement.ACCESS_POINT
    if interface.get_kind(lan) is interface.Kind.PLAIN:
        return Placement.ROUTER
    bridge = interface.get_bridge(lan) or lan
    ports = [port.name for port in (sys / bridge / "brif").iterdir()]
    if any((sys / port / "phy80211").exists() for port in ports):
        return Placement.ACCESS_POINT if len(ports) == 1 else Placement.BRIDGE
    return Placement.BRIDGE if len(ports) > 1 else Placement.ROUTER


def read_installed(places: Places) -> Placement | None:
    """Return the place that an earlier setup was for; None where there was none."""
    if is_ours(places.at(SYSCTL)):
        return Placement.BRIDGE
    if is_ours(places.at(f"{UNIT_FOLDER}/wakeguard-forwarding.service")):
        return Placement.ACCESS_POINT
    return Placement.ROUTER if is_ours(places.at(MODULES)) else None


def read_template(placement: Placement) -> str:
    """Return the configuration to start from."""
    path = packaging_path("examples") / f"{placement}.toml"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}; install wakeguard again") from None
