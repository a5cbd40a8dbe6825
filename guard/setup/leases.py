"""Who asked this machine for an address: the lease files of DHCP servers.

Only a server's files name other machines; a client's (dhcpcd, dhclient) hold this machine's own lease. What a
line cannot be read as is passed over: a lease file is a hint, never the truth.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

_ISC_LEASE = re.compile(r"^lease (?P<address>\S+) \{(?P<body>.*?)^\}", re.MULTILINE | re.DOTALL)
_ISC_MAC = re.compile(r"hardware ethernet (?P<mac>[0-9a-f:]{17});", re.IGNORECASE)
_ISC_NAME = re.compile(r'client-hostname "(?P<name>[^"]*)"')
_MAC_BYTES = 6


class Lease(NamedTuple):
    """One lease: whose network card, which address, and the name that it gave (empty: none)."""

    mac: str
    address: str
    name: str


def read_leases(root: Path = Path("/")) -> list[Lease]:
    """Return the leases of every server known here, the newest file's word last."""
    found: list[Lease] = []
    for pattern, parse in SERVERS:
        for path in sorted(root.glob(pattern)):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue  # somebody else's, and this user may not look
            found += parse(text)
    return found


def parse_dnsmasq(text: str) -> Iterator[Lease]:
    """Read ``expiry MAC address name client-id``; dnsmasq writes ``*`` for no name."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4 and fields[1].count(":") == _MAC_BYTES - 1:
            yield Lease(fields[1].lower(), fields[2], "" if fields[3] == "*" else fields[3])


def parse_isc(text: str) -> Iterator[Lease]:
    """Read dhcpd.leases(5): blocks, the last one of an address counts."""
    for lease in _ISC_LEASE.finditer(text):
        mac, name = _ISC_MAC.search(lease["body"]), _ISC_NAME.search(lease["body"])
        if mac is not None:
            yield Lease(mac["mac"].lower(), lease["address"], name["name"] if name else "")


def parse_kea(text: str) -> Iterator[Lease]:
    """Read Kea's memfile: CSV with a header."""
    for row in csv.DictReader(text.splitlines()):
        if row.get("hwaddr") and row.get("address"):
            yield Lease(
                str(row["hwaddr"]).lower(), str(row["address"]), (row.get("hostname") or "").rstrip(".")
            )


def parse_networkd(text: str) -> Iterator[Lease]:
    """Read what systemd-networkd's server keeps since version 256: JSON with addresses as lists of bytes."""
    try:
        content: Any = json.loads(text)
        rows = content.get("Leases", [])
    except (ValueError, AttributeError):
        return
    for row in rows:
        try:
            mac, address = bytes(row["HardwareAddress"]), bytes(row["Address"])
        except (KeyError, TypeError, ValueError):
            continue
        if len(mac) == _MAC_BYTES and len(address) == 4:
            yield Lease(mac.hex(":"), ".".join(map(str, address)), str(row.get("Hostname", "")))


SERVERS: Final[tuple[tuple[str, Callable[[str], Iterator[Lease]]], ...]] = (
    ("var/lib/misc/dnsmasq.leases", parse_dnsmasq),
    ("var/lib/dnsmasq/*.leases", parse_dnsmasq),
    ("var/lib/NetworkManager/dnsmasq-*.leases", parse_dnsmasq),
    ("etc/pihole/dhcp.leases", parse_dnsmasq),
    ("tmp/dhcp.leases", parse_dnsmasq),
    ("var/lib/dhcp/dhcpd.leases", parse_isc),
    ("var/lib/kea/kea-leases4.csv", parse_kea),
    ("var/lib/systemd/network/dhcp-server-lease/*", parse_networkd),
)
"""Pattern below the root, and how such a file is read."""
