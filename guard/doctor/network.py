"""The path of the Echo's packets: by here, by the rules, and by nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

from guard.doctor.finding import Finding, absent, fault, note, ok
from guard.doctor.offload import read_large_receive
from guard.doctor.situation import Situation
from guard.errors import NetfilterError
from guard.netfilter import interface, kernel, programs, ruleset
from guard.setup.discovery import parse_neighbours

_FORWARDING: Final = {"IPv4": "ipv4/ip_forward", "IPv6": "ipv6/conf/all/forwarding"}
_SETS_FORWARDING: Final = re.compile(
    r"^\s*-?net[./](?:ipv4[./]ip_forward|ipv6[./]conf[./]all[./]forwarding)\s*=\s*1\s*$", re.MULTILINE
)
_SYSCTL_FILES: Final = (
    "etc/sysctl.conf",
    "etc/sysctl.d/*.conf",
    "usr/lib/sysctl.d/*.conf",
    "run/sysctl.d/*.conf",
)


def check_interface(situation: Situation) -> Finding:
    """See that the interface towards the Echo is there and up."""
    lan = situation.get_config().network.lan
    if situation.kind is None:
        return fault(
            f"network.lan {lan} is no interface here", "`ip link` lists them; mend network.lan and restart"
        )
    rows: list[dict[str, Any]] = json.loads(programs.run("ip", "-json", "link", "show", "dev", lan))
    if "UP" not in rows[0].get("flags", []):
        return fault(f"{lan} is down", f"ip link set {lan} up, or start the access point (hostapd)")
    return ok(f"{lan}, {situation.kind.value} interface")


def check_echo(situation: Situation) -> Finding:
    """See whether each Echo was met on the interface that its packets are expected on."""
    config = situation.get_config()
    met: dict[str, set[str]] = {}
    for host in parse_neighbours(programs.run("ip", "-json", "neigh", "show")):
        met.setdefault(host.mac, set()).add(host.interface)
    for device in config.device:
        for where in sorted(met.get(device.mac or "", ())):
            if not _leads_to(where, config.network.lan):
                return fault(
                    f"{device.name} was met on {where}, not on {config.network.lan}: it goes around the gate",
                    f"set network.lan to {where}, or join the Echo to the access point again",
                )
    unseen = [device.name for device in config.device if device.mac is not None and device.mac not in met]
    if unseen:
        return note(
            f"{', '.join(unseen)} not met since this machine started", "speak to the Echo, then look again"
        )
    return ok(f"met on {config.network.lan}")


def check_rules(situation: Situation) -> Finding:
    """See that the rules that are installed are exactly those of the mode in force."""
    if situation.kind is None:
        return absent("there is no interface for them")
    if situation.status is None and not ruleset.is_installed():
        return absent("no gate runs")
    differences = ruleset.check(situation.get_spec())
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        return fault(
            f"{differences[0]}{more}", "restart the gate; if it comes back, another firewall changes them"
        )
    return ok(f"those of {situation.mode}, in both families")


def check_queue(situation: Situation) -> Finding:
    """See that the queue is the gate's and loses nothing."""
    number = situation.get_config().network.queue
    statistics = kernel.read_statistics(number, proc=situation.proc)
    if situation.status is None:
        if statistics is None:
            return absent("no gate runs")
        return fault(
            f"queue {number} is held by another program (netlink port {statistics.port})",
            "stop it, or give another number in network.queue",
        )
    if statistics is None:
        return fault(f"nobody reads queue {number}", "restart the gate: systemctl restart wakeguard")
    lost = statistics.dropped_queue_full + statistics.dropped_userspace
    if lost:
        return fault(
            f"{lost} packets were lost because the gate did not keep up",
            "see `wakeguard status` and docs/benchmarks.md; a faster machine, or fewer Echos for one",
        )
    return ok(f"{number}, {statistics.waiting} packets wait, none lost")


def check_bypass(situation: Situation) -> Finding:
    """See that no flow is offloaded past the rules, QUIC no more than TCP, and no packets are merged."""
    try:
        printed = programs.run("nft", "list", "flowtables")
    except NetfilterError:
        printed = ""  # no nft: iptables cannot offload
    if "flowtable" in printed:
        return fault(
            "a flowtable offloads connections past every rule, QUIC included",
            "remove it: nft list flowtables shows where; on OpenWrt: Network, Firewall, flow offloading off",
        )
    lan = situation.get_config().network.lan
    if read_large_receive(lan):
        return fault(f"{lan} merges packets in hardware (LRO)", f"ethtool -K {lan} lro off")
    return ok("no flowtable, no LRO; what GRO has merged the kernel cuts again before the queue")


def check_forwarding(situation: Situation) -> Finding:
    """See that forwarding is on where this machine routes, and comes after the rules."""
    if situation.kind in (interface.Kind.BRIDGE_PORT, None) or _is_plain_bridge(situation):
        return absent("a bridge does not forward by route")
    off = [
        family for family, path in _FORWARDING.items() if _read(situation.root / "proc/sys/net" / path) == "0"
    ]
    if "IPv4" in off:
        return fault(
            "IPv4 forwarding is off: the Echo reaches nothing",
            "systemctl restart wakeguard-forwarding; on a router, switch it on there",
        )
    early = _find_early_forwarding(situation.root)
    if early is not None and (situation.root / "etc/systemd/system/wakeguard-forwarding.service").exists():
        return fault(
            f"{early} switches forwarding on whether the rules are there or not",
            f"take that line out of {early}; wakeguard-forwarding.service does it after the rules",
        )
    return ok("on, IPv6 off" if off else "on")


def check_ipv6(situation: Situation) -> Finding:
    """See whether the Echo could reach the Internet by IPv6 on another way than through here."""
    if situation.kind in (interface.Kind.BRIDGE_PORT, None) or _is_plain_bridge(situation):
        return absent("on a bridge IPv6 takes the way of IPv4")
    lan = situation.get_config().network.lan
    rows: list[dict[str, Any]] = json.loads(
        programs.run("ip", "-json", "-6", "neigh", "show", "dev", lan) or "[]"
    )
    routers = [row["dst"] for row in rows if "router" in row]
    if routers:
        return fault(
            f"{routers[0]} offers itself as IPv6 router on {lan}: the Echo's IPv6 may go around this machine",
            "put the Echo on a network of its own (docs/placement.md), or switch IPv6 off on that router",
        )
    return ok(f"no other IPv6 router on {lan}")


def _leads_to(where: str, lan: str) -> bool:
    """Tell whether ``where`` is ``lan``, or one is the other's bridge."""
    if where == lan:
        return True
    try:
        return lan == interface.get_bridge(where) or where == interface.get_bridge(lan)
    except NetfilterError:
        return False


def _is_plain_bridge(situation: Situation) -> bool:
    """Tell whether the Echo's side is a bridge that the way to the router leaves by, too."""
    if situation.kind is not interface.Kind.BRIDGE:
        return False
    routes: list[dict[str, Any]] = json.loads(programs.run("ip", "-json", "route", "show", "default") or "[]")
    return any(route.get("dev") == situation.get_config().network.lan for route in routes)


def _find_early_forwarding(root: Path) -> str | None:
    for pattern in _SYSCTL_FILES:
        for path in sorted(root.glob(pattern)):
            if _SETS_FORWARDING.search(path.read_text(encoding="utf-8", errors="replace")):
                return f"/{path.relative_to(root)}"
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
