"""What crosses a bridge past iptables: frames that are neither IPv4 nor IPv6, and VLAN-tagged ones.

One table of the bridge family, ``wakeguard``, drops them when a device sends them; it is there in enforce on
a bridge, and before the gate's first start (``boot``), when it drops all that a device sends across any
bridge. This file knows nft's text and how to put, compare and take away that one table.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from string import Template
from typing import TYPE_CHECKING, Final

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import netlink, programs
from guard.rules import rules_path

if TYPE_CHECKING:
    from guard.netfilter.ruleset import DeviceMatch, RulesetSpec

TABLE: Final = "wakeguard"
_NFPROTO_BRIDGE: Final = 7
_TEMPLATE: Final = "enforce.bridge.nft"
_CROSSING: Final = ("ip", "ip6", "arp")
_ENTERING: Final = (*_CROSSING, "0x888e")  # EAPOL
_REPLACE: Final = f"table bridge {TABLE}\ndelete table bridge {TABLE}\n"


def render(spec: RulesetSpec) -> str:
    """Return the table as nft reads and prints it; empty where none belongs."""
    if spec.mode is not Mode.ENFORCE or not (spec.bridge or spec.boot):
        return ""
    template = Template(rules_path(_TEMPLATE).read_text(encoding="utf-8"))
    if spec.boot:
        return template.substitute(
            forward=_list(spec, _drop_all), input=_list(spec, _drop_strange(_ENTERING))
        )
    crossing, entering = _drop_strange(_CROSSING), _drop_strange(_ENTERING)
    return template.substitute(forward=_list(spec, crossing), input=_list(spec, entering))


def test(text: str) -> None:
    """Have nft and the kernel read ``text`` without committing it."""
    if text:
        try:
            programs.run("nft", "--check", "--file", "-", text=text)
        except NetfilterError as error:
            raise NetfilterError(
                f"a bridge needs nft's bridge family (CONFIG_NF_TABLES_BRIDGE): {error}"
            ) from None


def put(text: str) -> None:
    """Make ``text`` the table, in place of whatever it was; empty text takes it away."""
    if text:
        programs.run("nft", "--file", "-", text=_REPLACE + text)
    elif is_installed():
        generation = netlink.get_generation()
        if generation is None or not netlink.delete_table(_NFPROTO_BRIDGE, TABLE, generation=generation):
            programs.run("nft", "delete", "table", "bridge", TABLE)


def read() -> str:
    """Return the table as it is now, empty when there is none."""
    return programs.run("nft", "--stateless", "list", "table", "bridge", TABLE) if is_installed() else ""


def is_installed() -> bool:
    """Tell whether the table is there, in whatever state. Needs no program."""
    try:
        return netlink.count_table_objects(_NFPROTO_BRIDGE, TABLE) is not None
    except OSError:
        return False  # no nf_tables, no table


def compare(installed: str, wanted: str) -> list[str]:
    """Return how the two differ, a line each; empty when they are equal."""
    here, there = _lines(installed), _lines(wanted)
    if here == there:
        return []
    if not here:
        return [f"bridge: table {TABLE} is missing"]
    missing = [f"bridge: missing: {line}" for line in there if line not in here]
    foreign = [f"bridge: not ours: {line}" for line in here if line not in there]
    return missing + foreign or [f"bridge: the rules of table {TABLE} are in another order or there twice"]


def count_dropped() -> int:
    """Return how many frames the table has dropped since it was put."""
    if not is_installed():
        return 0
    listing = programs.run("nft", "list", "table", "bridge", TABLE)
    return sum(int(number) for number in re.findall(r"counter packets (\d+)", listing))


def _list(spec: RulesetSpec, make: Callable[[RulesetSpec, DeviceMatch], list[str]]) -> str:
    return "\n".join(f"\t\t{rule}" for device in spec.devices for rule in make(spec, device))


def _drop_strange(types: tuple[str, ...]) -> Callable[[RulesetSpec, DeviceMatch], list[str]]:
    strange = " ".join(f"ether type != {name}" for name in types)

    def make(spec: RulesetSpec, device: DeviceMatch) -> list[str]:
        """Return the rule: such frames have no address, so a port stands for a device of unknown MAC."""
        if device.mac is not None:
            return [f"ether saddr {device.mac.lower()} {strange} counter drop"]
        return [f'iifname "{spec.lan}" {strange} counter drop'] if spec.bridge_port else []

    return make


def _drop_all(_spec: RulesetSpec, device: DeviceMatch) -> list[str]:
    if device.mac is not None:
        return [f"ether saddr {device.mac.lower()} counter drop"]
    addresses = [ipaddress.ip_address(text) for text in device.addresses]
    return [
        f"{'ip' if address.version == 4 else 'ip6'} saddr {address} counter drop" for address in addresses
    ]


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]
