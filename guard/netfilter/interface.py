"""What kind of interface the devices are behind: a plain one, a bridge, or a port of a bridge."""

from __future__ import annotations

import json
from enum import Enum

from guard.errors import NetfilterError
from guard.netfilter import programs


class Kind(Enum):
    """How iptables meets what arrives there."""

    PLAIN = "plain"
    BRIDGE = "bridge"
    BRIDGE_PORT = "bridge port"


def get_kind(name: str) -> Kind:
    """Return the kind of interface ``name`` in this namespace. NetfilterError when there is none."""
    try:
        printed = programs.run("ip", "-json", "-details", "link", "show", "dev", name)
    except NetfilterError as error:
        if "does not exist" not in str(error):
            raise
        raise NetfilterError(
            f'network.lan "{name}" is no interface of this machine: `ip link` lists them'
        ) from None
    link = json.loads(printed)[0].get("linkinfo", {})
    if link.get("info_slave_kind") == "bridge":
        return Kind.BRIDGE_PORT
    if link.get("info_kind") == "bridge":
        return Kind.BRIDGE
    return Kind.PLAIN
