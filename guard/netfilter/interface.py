"""What kind of interface the devices are behind: a plain one, a bridge, or a port of a bridge."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from guard.errors import NetfilterError
from guard.netfilter import programs


class Kind(Enum):
    """How iptables meets what arrives there."""

    PLAIN = "plain"
    BRIDGE = "bridge"
    BRIDGE_PORT = "bridge port"


def get_kind(name: str) -> Kind:
    """Return the kind of interface ``name`` in this namespace. NetfilterError when there is none."""
    link = _read_link(name).get("linkinfo", {})
    if link.get("info_slave_kind") == "bridge":
        return Kind.BRIDGE_PORT
    if link.get("info_kind") == "bridge":
        return Kind.BRIDGE
    return Kind.PLAIN


def get_bridge(name: str) -> str | None:
    """Return the bridge that ``name`` is, or is a port of; None for a plain interface."""
    kind = get_kind(name)
    return {Kind.BRIDGE: name, Kind.BRIDGE_PORT: _read_link(name).get("master")}.get(kind)


def reaches(bridge: str, addresses: tuple[str, ...]) -> bool:
    """Tell whether a route leads out of ``bridge``: to each of ``addresses``, or any where none is known."""
    if not addresses:
        routes: list[Any] = json.loads(
            programs.run("ip", "-json", "-4", "route", "show", "dev", bridge) or "[]"
        )
        return routes != []
    for address in addresses:
        try:
            route = json.loads(programs.run("ip", "-json", "route", "get", address))[0]
        except NetfilterError:
            return False
        if route.get("dev") != bridge:
            return False
    return True


def _read_link(name: str) -> dict[str, Any]:
    try:
        printed = programs.run("ip", "-json", "-details", "link", "show", "dev", name)
    except NetfilterError as error:
        if "does not exist" not in str(error):
            raise
        raise NetfilterError(
            f'network.lan "{name}" is no interface of this machine: `ip link` lists them'
        ) from None
    link: dict[str, Any] = json.loads(printed)[0]
    return link
