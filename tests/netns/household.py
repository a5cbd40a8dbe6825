"""A household in network namespaces: an Echo, the gate, the cloud, joined by real kernels' TCP.

``with Household(bridged=False) as home`` builds it with names of its own and takes it down whatever
happens. Sockets made inside ``home.echo.enter()`` stay in that namespace, so both ends of a connection
can be driven from one test. Routed, the gate forwards between two subnets; bridged, it is a bridge
with an address, and the cloud's subnet is the Echo's. With ``lan_bridge`` it routes, and the Echo is
behind a port of a bridge, as behind an access point that hostapd put there.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from guard.core.verdict import Mode
from guard.netfilter.ruleset import DeviceMatch, RulesetSpec
from tests.block import ForABlock

ECHO_MAC = "02:00:00:00:77:02"
QUEUE = 1877
PATIENCE = float(os.environ.get("WAKEGUARD_PATIENCE", "1"))  # an emulated machine needs more of it
_CLONE_NEWNET = 0x40000000
_counter = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """One network namespace, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a program in here and return what it prints; CalledProcessError when it fails."""
        return subprocess.run(
            ("ip", "netns", "exec", self.name, *command),
            input=text,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Move the calling thread in here for the length of the block."""
        with Path("/proc/thread-self/ns/net").open() as home, Path("/run/netns", self.name).open() as here:
            _setns(here.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def socket(
        self, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """Return a socket that lives in here, with a timeout against hanging tests."""
        with self.enter():
            made = socket.socket(family, kind, protocol)
        made.settimeout(5)
        return made


class Household(ForABlock):
    """Echo, gate and cloud. ``lan`` is the interface that the rules are for."""

    def __init__(self, *, bridged: bool = False, lan_bridge: bool = False) -> None:
        prefix = f"wgt{os.getpid()}-{next(_counter)}"
        self.echo = Namespace(f"{prefix}-echo")
        self.gate = Namespace(f"{prefix}-gate")
        self.cloud = Namespace(f"{prefix}-cloud")
        self.bridged = bridged
        self.bridge_ports = ("lan0", "wan0") if bridged else ("lan0",) if lan_bridge else ()
        self.lan = "br0" if self.bridge_ports else "lan0"
        self.echo_address = {socket.AF_INET: "10.77.0.2", socket.AF_INET6: "fd77::2"}
        self.gate_address = {socket.AF_INET: "10.77.0.1", socket.AF_INET6: "fd77::1"}
        self.cloud_address = (
            {socket.AF_INET: "10.77.0.9", socket.AF_INET6: "fd77::9"}
            if bridged
            else {socket.AF_INET: "10.78.0.9", socket.AF_INET6: "fd78::9"}
        )

    def close(self) -> None:
        """Delete the namespaces; what is in them goes with them."""
        for namespace in (self.echo, self.gate, self.cloud):
            subprocess.run(("ip", "netns", "delete", namespace.name), capture_output=True, check=False)

    def make_spec(self, mode: Mode, *, by_address: bool = False, lan: str | None = None) -> RulesetSpec:
        """Return the rules' input for the one Echo here."""
        device = (
            DeviceMatch(1, "kitchen", addresses=tuple(self.echo_address.values()))
            if by_address
            else DeviceMatch(1, "kitchen", mac=ECHO_MAC)
        )
        return RulesetSpec(mode, lan or self.lan, QUEUE, (device,))

    def _build(self) -> None:
        for namespace in (self.echo, self.gate, self.cloud):
            _ip("netns", "add", namespace.name)
            # An address that is still being tried is none to speak from yet; nobody else has it here.
            namespace.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
            _ip("-n", namespace.name, "link", "set", "lo", "up")
        for namespace, port in ((self.echo, "lan0"), (self.cloud, "wan0")):
            _ip(
                "link",
                "add",
                port,
                "netns",
                self.gate.name,
                "type",
                "veth",
                "peer",
                "eth0",
                "netns",
                namespace.name,
            )
        _ip("-n", self.echo.name, "link", "set", "eth0", "address", ECHO_MAC)
        if self.bridge_ports:
            self._bridge()
        self._address(self.gate, self.lan, self.gate_address)
        if not self.bridged:
            self._address(self.gate, "wan0", {socket.AF_INET: "10.78.0.1", socket.AF_INET6: "fd78::1"})
        self._address(self.echo, "eth0", self.echo_address)
        self._address(self.cloud, "eth0", self.cloud_address)
        self.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        if not self.bridged:
            for namespace, via in (
                (self.echo, ("10.77.0.1", "fd77::1")),
                (self.cloud, ("10.78.0.1", "fd78::1")),
            ):
                for gateway in via:
                    _ip("-n", namespace.name, "route", "add", "default", "via", gateway)
        for namespace, interface in ((self.echo, "eth0"), (self.cloud, "eth0"), (self.gate, "lan0")):
            wait_until(functools.partial(_is_up, namespace, interface))

    def _bridge(self) -> None:
        _ip("-n", self.gate.name, "link", "add", "br0", "type", "bridge")
        for port in self.bridge_ports:
            _ip("-n", self.gate.name, "link", "set", port, "master", "br0", "up")
        self.gate.run(
            "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1", "net.bridge.bridge-nf-call-ip6tables=1"
        )

    @staticmethod
    def _address(namespace: Namespace, interface: str, addresses: dict[socket.AddressFamily, str]) -> None:
        for family, address in addresses.items():
            length, options = ("24", ()) if family is socket.AF_INET else ("64", ("nodad",))
            _ip("-n", namespace.name, "address", "add", f"{address}/{length}", "dev", interface, *options)
        _ip("-n", namespace.name, "link", "set", interface, "up")


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Return as soon as ``condition()`` holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds * PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain")
        time.sleep(0.005 * PATIENCE)  # between two looks at the kernel's state; no test depends on its length


def _is_up(namespace: Namespace, interface: str) -> bool:
    link = json.loads(namespace.run("ip", "-json", "link", "show", "dev", interface))[0]
    return bool(link["operstate"] == "UP")


def _ip(*words: str) -> None:
    subprocess.run(("ip", *words), check=True, capture_output=True)


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
