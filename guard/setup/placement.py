"""The three places where a gate can stand, and what each asks of the machine: a table.

Knows how to guess the place from the interface towards the Echo. ``docs/placement.md`` has the pictures.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

from guard.errors import SetupError
from guard.netfilter import interface, programs
from guard.rules import packaging_path
from guard.setup.places import MARKER, MODULES, Places, is_ours, read_text

_SYS: Final = Path("/sys/class/net")


class Placement(StrEnum):
    """Where the gate stands."""

    ACCESS_POINT = "access-point"
    BRIDGE = "bridge"
    ROUTER = "router"


class Needs(NamedTuple):
    """What a placement asks of the machine besides the rules and the gate.

    ``forwarding``: switched on by us, after the rules. ``access_point``: hostapd waits for the rules.
    """

    summary: str
    forwarding: bool
    access_point: bool


NEEDS: Final[dict[Placement, Needs]] = {
    Placement.ACCESS_POINT: Needs(
        "this machine is the Echo's Wi-Fi access point and routes for it", forwarding=True, access_point=True
    ),
    Placement.BRIDGE: Needs(
        "this machine joins the Echo's cable or Wi-Fi to the router's network",
        forwarding=False,
        access_point=True,
    ),
    # It forwards for the whole home already, and must go on doing so where our rules cannot be had.
    Placement.ROUTER: Needs("this machine is the home's router", forwarding=False, access_point=False),
}

_QUEUE_MODULES: Final = ("nfnetlink_queue", "xt_NFQUEUE")
_BRIDGE_MODULES: Final = ("br_netfilter",)
BRIDGE_SYSCTL: Final = ("net.bridge.bridge-nf-call-iptables = 1", "net.bridge.bridge-nf-call-ip6tables = 1")
"""Wherever Echos come in by a bridge, on a router, too: frames must come by iptables."""

_LABEL: Final = "# placement: "


def list_modules(*, bridged: bool) -> tuple[str, ...]:
    """Return the kernel modules that are needed at boot."""
    return _QUEUE_MODULES + (_BRIDGE_MODULES if bridged else ())


def make_modules_file(placement: Placement, *, bridged: bool) -> str:
    """Return what modules-load.d(5) reads; it also tells a later setup what this one was for."""
    lines = (MARKER, f"{_LABEL}{placement}", *list_modules(bridged=bridged))
    return "".join(f"{line}\n" for line in lines)


def read_installed(places: Places) -> Placement | None:
    """Return the place that an earlier setup was for; None where there was none."""
    path = places.at(MODULES)
    text = read_text(path) or ""
    found = [line.removeprefix(_LABEL) for line in text.splitlines() if line.startswith(_LABEL)]
    return Placement(found[0]) if is_ours(path) and found and found[0] in list(Placement) else None


def is_bridged(lan: str, placement: Placement, places: Places) -> bool:
    """Tell whether Echos come in by a bridge; of another machine's tree only the placement tells."""
    if not places.is_this_machine:
        return placement is Placement.BRIDGE
    return interface.get_kind(lan) is not interface.Kind.PLAIN


def guess_placement(lan: str, *, sys: Path = _SYS) -> Placement:
    """Return the likely place for the interface ``lan``. NetfilterError when there is none."""
    if interface.get_kind(lan) is interface.Kind.PLAIN:
        return Placement.ACCESS_POINT if (sys / lan / "phy80211").exists() else Placement.ROUTER
    bridge = interface.get_bridge(lan) or lan
    ports = [row["ifname"] for row in _ask("link", "show", "master", bridge)]
    ways_out = {route.get("dev") for route in _ask("route", "show", "default")}
    if bridge in ways_out or (len(ports) > 1 and not ways_out):
        return Placement.BRIDGE
    only_wireless = len(ports) == 1 and (sys / ports[0] / "phy80211").exists()
    return Placement.ACCESS_POINT if only_wireless else Placement.ROUTER


def _ask(*words: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(programs.run("ip", "-json", *words) or "[]")
    return rows


def read_template(placement: Placement) -> str:
    """Return the configuration to start from."""
    path = packaging_path("examples") / f"{placement}.toml"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}; install wakeguard again") from None
