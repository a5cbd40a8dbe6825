"""Who is in a capture: one row for each host on the captured link.

A host is a MAC where the link layer tells one, else a name (in a recording of the gate), else an IP
address. This file counts frames; it judges nothing. Every table is bounded, because a capture is not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from guard.capture import Capture, Frame, Interface
from guard.core.verdict import Direction
from guard.link import NOT_IP, get_locator
from guard.selector import EPB_DIRECTION_MASK, EPB_DIRECTIONS, get_addresses
from guard.vendor import get_vendor

MAX_HOSTS = 4096
MAX_ADDRESSES = 256  # a host; a gateway speaks for the whole Internet
GROUP_BIT = 0x01  # of the first byte of a MAC: multicast and broadcast
MAC_BYTES = 6


@dataclass(slots=True)
class Host:
    """What one host sent and received; bytes are those of whole frames on the wire."""

    mac: str = ""
    name: str = ""
    addresses: set[bytes] = field(default_factory=set)
    sent_packets: int = 0
    sent_bytes: int = 0
    received_packets: int = 0
    received_bytes: int = 0

    @property
    def packets(self) -> int:
        """Return how many frames it sent and received."""
        return self.sent_packets + self.received_packets

    @property
    def total_bytes(self) -> int:
        """Return how many bytes it sent and received."""
        return self.sent_bytes + self.received_bytes

    @property
    def share_upstream(self) -> float:
        """Return the part of its bytes that it sent, 0..1."""
        return self.sent_bytes / self.total_bytes if self.total_bytes else 0.0

    @property
    def vendor(self) -> str:
        """Return who made its network card."""
        return get_vendor(self.mac) if self.mac else "unknown"

    @property
    def label(self) -> str:
        """Return what ``--device`` takes for this host."""
        return self.mac or self.name or self.list_addresses(1)[0]

    def list_addresses(self, limit: int) -> list[str]:
        """Return up to ``limit`` addresses, those of the home first."""
        addresses = sorted(
            map(ipaddress.ip_address, self.addresses),
            key=lambda address: (not address.is_private, address.is_link_local, address.version, address),
        )
        return [str(address) for address in addresses[:limit]]


class Household:
    """Takes frames one by one; ``list_hosts`` gives the rows."""

    def __init__(self) -> None:
        self._hosts: dict[bytes | str, Host] = {}

    def read(self, frames: Iterable[Frame]) -> None:
        """Count ``frames``; what was counted stays if they end in a CaptureError."""
        for _number, _time_ns, interface, data, wire_bytes, flags in frames:
            self.add(interface, data, wire_bytes, flags)

    def add(self, interface: Interface, frame: bytes, wire_bytes: int, flags: int) -> None:
        """Count one frame for its sender and its receiver."""
        source, destination, offset = get_locator(interface.link_type)(frame)
        addresses = (b"", b"") if offset == NOT_IP else get_addresses(frame[offset:])
        direction = EPB_DIRECTIONS.get(flags & EPB_DIRECTION_MASK)
        sender: bytes | str = source
        receiver: bytes | str = destination
        if not source and interface.name and direction is not None:
            sender, receiver = interface.name, ""
            if direction is Direction.DOWNSTREAM:
                sender, receiver = receiver, sender
        elif not source and not destination:
            sender, receiver = addresses
        if sender and (host := self._get_host(sender)):
            host.sent_packets += 1
            host.sent_bytes += wire_bytes
            if addresses[0] and any(addresses[0]) and len(host.addresses) < MAX_ADDRESSES:
                host.addresses.add(addresses[0])
        if receiver and (host := self._get_host(receiver)):
            host.received_packets += 1
            host.received_bytes += wire_bytes

    def list_hosts(self) -> list[Host]:
        """Return the hosts, the one with the most bytes first."""
        return sorted(self._hosts.values(), key=lambda host: -host.total_bytes)

    def _get_host(self, key: bytes | str) -> Host | None:
        host = self._hosts.get(key)
        if host is None:
            if len(self._hosts) >= MAX_HOSTS:
                return None
            host = Host()
            if isinstance(key, str):
                host.name = key
            elif len(key) == MAC_BYTES:
                if key[0] & GROUP_BIT:
                    return None
                host.mac = key.hex(":")
            elif len(key) in (4, 16):
                host.addresses.add(key)
            else:
                return None
            self._hosts[key] = host
        return host


def describe_candidates(hosts: list[Host], limit: int = 5) -> str:
    """Return the hosts that ``--device`` could name, Amazon's first, on one line."""
    ranked = sorted(hosts, key=lambda host: host.vendor != "Amazon")
    texts = []
    for host in ranked[:limit]:
        addresses = [address for address in host.list_addresses(2) if address != host.label]
        known = [host.vendor] if host.mac and host.vendor != "unknown" else []
        details = ", ".join(known + addresses)
        texts.append(f"{host.label} ({details})" if details else host.label)
    if len(ranked) > limit:
        texts.append(f"{len(ranked) - limit} more (see: wakeguard devices)")
    return "; ".join(texts)


def explain_absence(path: Path, device: str) -> str:
    """Return the line that says who is in the capture, since ``device`` is not."""
    household = Household()
    household.read(Capture(path))
    hosts = household.list_hosts()
    known = f"it holds {describe_candidates(hosts)}" if hosts else "it holds no frame"
    return f"device {device} is not in {path}: {known}"
