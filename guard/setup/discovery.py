"""Find the Echos of this home: who is on the network, and whose network card it is.

Three sources, each of which may be absent: the kernel's neighbours (`ip neigh`), the leases of a DHCP server
on this machine, and names by multicast DNS. An Echo is what has a MAC of Amazon's; a name that Amazon's
devices give themselves is the second sign. It only proposes: the owner says which it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from guard.errors import NetfilterError
from guard.netfilter import programs
from guard.setup.leases import Lease, read_leases
from guard.setup.mdns import ask_names
from guard.vendor import AMAZON, get_vendor

GONE: Final = ("FAILED", "INCOMPLETE", "NOARP")  # states of a neighbour that nobody was met at
_AMAZON_NAME = re.compile(r"^(amazon|echo|alexa)\b|^amazon-[0-9a-f]+", re.IGNORECASE)
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(slots=True)
class Host:
    """Somebody on the network: a network card, where it was met, its addresses and its name if known."""

    mac: str
    interface: str = ""
    addresses: list[str] = field(default_factory=list)
    name: str = ""

    @property
    def vendor(self) -> str:
        """Return who made the network card."""
        return get_vendor(self.mac)

    @property
    def is_echo(self) -> bool:
        """Tell whether this is probably a device of Amazon's."""
        return self.vendor == AMAZON or _AMAZON_NAME.match(self.name) is not None


def find_hosts(
    root: Path = Path("/"),
    *,
    read_neighbours: Callable[[], str] | None = None,
    ask: Callable[..., Mapping[str, str]] = ask_names,
) -> list[Host]:
    """Return who is on the network, probable Echos first. Sends one multicast question for each of those."""
    printed = (read_neighbours or _read_neighbours)()
    hosts = merge(parse_neighbours(printed), read_leases(root))
    for interface in sorted({host.interface for host in hosts if host.is_echo and host.interface}):
        wanted = [host for host in hosts if host.is_echo and host.interface == interface]
        names = ask([address for host in wanted for address in host.addresses], interface=interface)
        for host in wanted:
            host.name = next((names[address] for address in host.addresses if address in names), host.name)
    return hosts


def parse_neighbours(printed: str) -> list[Host]:
    """Return the hosts in ``ip -json neigh``."""
    rows: list[dict[str, Any]] = json.loads(printed or "[]")
    return [
        Host(row["lladdr"].lower(), row.get("dev", ""), [row["dst"]])
        for row in rows
        if _MAC.fullmatch(row.get("lladdr", "").lower()) and not set(row.get("state", ())) & set(GONE)
    ]


def merge(neighbours: Iterable[Host], leases: Iterable[Lease]) -> list[Host]:
    """Return one host for each MAC, probable Echos first, then by MAC."""
    hosts: dict[str, Host] = {}
    for seen in neighbours:
        host = hosts.setdefault(seen.mac, Host(seen.mac))
        host.interface = host.interface or seen.interface
        host.addresses += [address for address in seen.addresses if address not in host.addresses]
    for lease in leases:
        if _MAC.fullmatch(lease.mac):
            host = hosts.setdefault(lease.mac, Host(lease.mac))
            host.name = lease.name or host.name
            if lease.address not in host.addresses:
                host.addresses.append(lease.address)
    return sorted(hosts.values(), key=lambda host: (not host.is_echo, host.mac))


def propose_names(hosts: Iterable[Host]) -> dict[str, str]:
    """Return a name for each MAC that the configuration takes: its own, else ``echo-`` and a number."""
    taken: dict[str, str] = {}
    for number, host in enumerate(hosts, start=1):
        name = _NOT_IN_A_NAME.sub("-", host.name.partition(".")[0]).strip("-_")[:32]
        if not name or name in taken.values():
            name = f"echo-{number}"
        taken[host.mac] = name
    return taken


def _read_neighbours() -> str:
    try:
        return programs.run("ip", "-json", "neigh", "show")
    except NetfilterError:
        return "[]"  # no `ip`: the leases are left
