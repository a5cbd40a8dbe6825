"""The rules: rendered from the templates in ``rules/``, installed whole, checked and removed.

``apply`` and ``remove`` act on the network namespace of the calling process, on both families or none.
This file knows which template belongs to which mode and how a device becomes a match; the path of a
packet is the templates' own business (``docs/netfilter.md``).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from dataclasses import dataclass, replace
from string import Template
from typing import Final

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import fastpath, fence, interface, netlink, programs, tables
from guard.netfilter.marks import MARK_MASK, MAX_DEVICES, UNJUDGED, format_match, make_upstream_mark
from guard.netfilter.programs import FAMILIES, Family
from guard.rules import rules_path

_TEMPLATES: Final[dict[tuple[Mode, Family], str]] = {
    (Mode.MONITOR, "ipv4"): "monitor.v4.rules",
    (Mode.MONITOR, "ipv6"): "monitor.v6.rules",
    (Mode.ENFORCE, "ipv4"): "enforce.v4.rules",
    (Mode.ENFORCE, "ipv6"): "enforce.v6.rules",
}
_PREFIX_LENGTHS: Final[dict[Family, int]] = {"ipv4": 32, "ipv6": 128}

_INTERFACE = re.compile(r"[^\s/:%+!\"'\\-][^\s/:%+!\"'\\]{0,14}")  # a + would be iptables' wildcard
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_MAX_QUEUE: Final = 65535


@dataclass(frozen=True, slots=True)
class DeviceMatch:
    """How a device is told: by its MAC, or by its addresses (both families mixed) where ``mac`` is None."""

    number: int
    name: str
    mac: str | None = None
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RulesetSpec:
    """All that the rules depend on.

    ``lan`` is the interface on the devices' side: a plain one, a bridge, or one port of a bridge. The
    last is matched as such (``bridge_port``); ``resolve`` finds out which it is. ``boot``: before any
    interface is there, a device is matched wherever its packets come in. ``pass_quiet``: the kernel passes
    acknowledgements on quiet connections by itself; ``refuse_condemned``: in enforce it refuses what a device
    sends on condemned ones (``guard.netfilter.fastpath``). ``refuse_unknown``: in enforce nothing is
    forwarded that comes in there and is no device's.
    """

    mode: Mode
    lan: str
    queue: int
    devices: tuple[DeviceMatch, ...]
    bridge_port: bool = False
    bridge: bool = False
    boot: bool = False
    pass_quiet: bool = False
    refuse_condemned: bool = False
    refuse_unknown: bool = False


def resolve(spec: RulesetSpec) -> RulesetSpec:
    """Return ``spec`` with ``bridge`` and ``bridge_port`` as they are on this machine."""
    if spec.boot:
        return spec
    kind = interface.get_kind(spec.lan)
    if spec.refuse_unknown and kind is interface.Kind.BRIDGE:
        raise NetfilterError(
            f'network.unknown = "refuse" would refuse the router too, since {spec.lan} is a whole bridge; '
            "set network.lan to the bridge's port on the Echos' side"
        )
    return replace(
        spec, bridge=kind is not interface.Kind.PLAIN, bridge_port=kind is interface.Kind.BRIDGE_PORT
    )


def render(spec: RulesetSpec) -> dict[Family, str]:
    """Return the rules of both families in iptables-restore's format. Needs no right and no kernel."""
    _check_spec(spec)
    return {family: _render_family(spec, family) for family in FAMILIES}


def apply(spec: RulesetSpec) -> None:
    """Install exactly these rules, in place of any of ours, in both families and the bridge or in none.

    Tested first, then committed table by table (``iptables-restore --noflush``), the old chains swapped
    for the new within each transaction. A family that fails puts everything back to what was there before.
    """
    resolved = resolve(spec)
    rendered = render(resolved)
    wanted = {family: tables.parse_tables(text) for family, text in rendered.items()}
    before = {family: tables.parse_tables(programs.save(family)) for family in FAMILIES}
    swaps = {family: tables.format_swap(before[family], wanted[family]) for family in FAMILIES}
    for family in FAMILIES:
        programs.test(family, swaps[family])
    fenced, fencing = fence.read(), fence.render(resolved)
    fence.test(fencing)
    touched: list[Family] = []
    try:
        if fencing:  # what closes comes first, what opens last
            fence.put(fencing)
        for family in FAMILIES:
            touched.append(family)
            programs.restore(family, swaps[family])
        if not fencing:
            fence.put("")
    except NetfilterError as error:
        _roll_back(before, tuple(touched), fenced, error)
        raise


def check(spec: RulesetSpec) -> tuple[str, ...]:
    """Return how the installed rules differ from ``spec``, a line each; empty when they are exactly these."""
    differences: list[str] = []
    resolved = resolve(spec)
    for family, text in render(resolved).items():
        installed = tables.parse_tables(programs.save(family))
        if not installed:
            differences.append(f"{family} nothing of Wakeguard is installed")
            continue
        found = tables.compare_tables(installed, tables.parse_tables(text))
        differences += [f"{family} {difference}" for difference in found]
    return (*differences, *fence.compare(fence.read(), fence.render(resolved)))


def remove() -> None:
    """Remove every chain and jump of ours from both families and the bridge, in whatever state they are.

    All are tried even where one fails; the first failure is then raised.
    """
    failures: list[NetfilterError] = []
    for family in FAMILIES:
        try:
            if _put(family, {}):
                _delete_hollow_tables(family)
        except NetfilterError as error:
            failures.append(error)
    try:
        fence.put("")
    except NetfilterError as error:
        failures.append(error)
    if failures:
        raise failures[0]


def is_installed() -> bool:
    """Tell whether anything of ours, whole or in part, is in either family or on the bridge."""
    return fence.is_installed() or any(tables.parse_tables(programs.save(family)) for family in FAMILIES)


def _put(family: Family, wanted: tables.Tables) -> bool:
    """Turn what is installed now into ``wanted``; tell whether there was anything to do."""
    swap = tables.format_swap(tables.parse_tables(programs.save(family)), wanted)
    if swap:
        programs.restore(family, swap)
    return bool(swap)


def _delete_hollow_tables(family: Family) -> None:
    """Delete the tables that iptables-nft made for our rules and that hold nothing any more.

    Their built-in chains go first, which the kernel refuses for one that holds a rule. A table is left
    alone when it still holds anything then (a native chain or set, which iptables does not show), or when
    anything changes before the deletion: the kernel compares the generation. Failing here harms nobody,
    an empty table that accepts is no rule.
    """
    printed = programs.save(family)
    if "(nf_tables)" not in printed:
        return
    for table, chains in tables.find_hollow_tables(printed).items():
        if table not in tables.ORDER:
            continue
        for chain in chains:
            # One that was never used is printed and does not exist.
            with contextlib.suppress(NetfilterError):
                programs.restore(family, f"*{table}\n-X {chain}\nCOMMIT\n")
        with contextlib.suppress(OSError):
            _delete_empty_table(family, table)


def _delete_empty_table(family: Family, table: str) -> None:
    number, generation = programs.FAMILY_NUMBERS[family], netlink.get_generation()
    if generation is not None and netlink.count_table_objects(number, table) == 0:
        netlink.delete_table(number, table, generation=generation)


def _roll_back(
    before: dict[Family, dict[str, tables.OwnTable]],
    touched: tuple[Family, ...],
    fenced: str,
    cause: NetfilterError,
) -> None:
    try:
        fence.put(fenced)
    except NetfilterError as error:
        raise NetfilterError(
            f"{cause}; then the former rules of the bridge could not be put back ({error}): "
            "run `wakeguard rules remove`"
        ) from cause
    for family in touched:
        try:
            _put(family, before[family])
            _delete_hollow_tables(family)
        except NetfilterError as error:
            raise NetfilterError(
                f"{cause}; then the former {family} rules could not be put back ({error}): "
                "run `wakeguard rules remove`"
            ) from cause


def _render_family(spec: RulesetSpec, family: Family) -> str:
    template = Template(rules_path(_TEMPLATES[spec.mode, family]).read_text(encoding="utf-8"))
    lines = [
        f"-A WAKEGUARD-MARK {match} -j MARK --set-xmark "
        + format_match(make_upstream_mark(device.number), MARK_MASK)
        for device in spec.devices
        for match in _match_device(spec, device, family)
    ]
    numbers = [device.number for device in spec.devices]
    refuse = spec.refuse_condemned and spec.mode is Mode.ENFORCE
    return template.substitute(
        queue=spec.queue,
        unknown=_render_unknown(spec),
        devices="\n".join(lines),
        fast_chains=fastpath.render_chains(acknowledgements=spec.pass_quiet, condemned=refuse),
        fast_pass=fastpath.render_pass(numbers, family) if spec.pass_quiet else "",
        fast_quiet=fastpath.render_quiet() if spec.pass_quiet else "",
        fast_refuse=fastpath.render_refuse(numbers, family) if refuse else "",
    )


def _render_unknown(spec: RulesetSpec) -> str:
    """Return the rule that refuses what no device sent.

    Asked before the judge is: not whose connection it is, which says nothing of the sender, but who sent it.
    At boot the interface is not there yet and is taken for a plain one.
    """
    if not spec.refuse_unknown:
        return ""
    arrival = f"-m physdev --physdev-in {spec.lan}" if spec.bridge_port else f"-i {spec.lan}"
    return f"-A WAKEGUARD-FORWARD {arrival} -m mark --mark {format_match(0, UNJUDGED)} -j DROP"


def _match_device(spec: RulesetSpec, device: DeviceMatch, family: Family) -> list[str]:
    """Return the matches, each in the order in which iptables-save prints them."""
    arrival = ("", f"-m physdev --physdev-in {spec.lan} ") if spec.bridge_port else (f"-i {spec.lan} ", "")
    if spec.boot:
        arrival = ("", "")
    if device.mac is not None:
        return [f"{arrival[0]}{arrival[1]}-m mac --mac-source {device.mac.lower()}"]
    length = _PREFIX_LENGTHS[family]
    addresses = [ipaddress.ip_address(text) for text in device.addresses]
    return [
        f"-s {address}/{length} {arrival[0]}{arrival[1]}".rstrip()
        for address in addresses
        if address.max_prefixlen == length
    ]


def _check_spec(spec: RulesetSpec) -> None:
    """Refuse whatever would read as something else inside a rule. Config reports it better, and earlier."""
    if not _INTERFACE.fullmatch(spec.lan):
        raise NetfilterError(f"network.lan {spec.lan!r} is no interface name")
    if not 0 <= spec.queue <= _MAX_QUEUE:
        raise NetfilterError(f"network.queue {spec.queue} is outside 0 to {_MAX_QUEUE}")
    if not 1 <= len(spec.devices) <= MAX_DEVICES:
        raise NetfilterError(f"{len(spec.devices)} devices: there must be 1 to {MAX_DEVICES}")
    if len({device.number for device in spec.devices}) < len(spec.devices):
        raise NetfilterError("two devices have the same number")
    for device in spec.devices:
        _check_device(device)


def _check_device(device: DeviceMatch) -> None:
    if device.mac is None and not device.addresses:
        raise NetfilterError(f"device {device.name}: neither a MAC nor an address tells its packets")
    if device.mac is not None and not _MAC.fullmatch(device.mac.lower()):
        raise NetfilterError(f"device {device.name}: {device.mac!r} is no MAC address")
    try:
        make_upstream_mark(device.number)
        for text in device.addresses:
            ipaddress.ip_address(text)
    except ValueError as error:
        raise NetfilterError(f"device {device.name}: {error}") from None
