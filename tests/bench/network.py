"""Three network namespaces: the Echo's end, the gate, the cloud's end.

    echo  up0 -- lan0  gate  wan0 -- down0  cloud

Packets are put into ``up0`` and ``down0`` by ``send.c`` and routed by the gate's kernel, whose
neighbours are written down beforehand. At the other end they die in the receiving kernel: no address
there is theirs. The machine's own namespace is not touched.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.bench.traffic import (
    CLOUD_MAC,
    CLOUD_NETWORK,
    ECHO_ADDRESS,
    ECHO_MAC,
    GATE_ADDRESS,
    LAN_MAC,
    WAN_MAC,
)

QUEUE = 1789

_OWN_NAMESPACE = Path("/proc/thread-self/ns/net")
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = count()


@dataclass(frozen=True, slots=True)
class Network:
    """The names of the three namespaces and a folder for the run's files."""

    echo: str
    gate: str
    cloud: str
    folder: Path

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs ``command`` in the gate's namespace."""
        return ["ip", "netns", "exec", self.gate, *command]

    def run(self, *command: str) -> str:
        """Run a command in the gate's namespace and return what it prints."""
        return run(*self.command(*command))

    def read_queue(self) -> Queue:
        """Return the kernel's own counters of the queue; zeros while nobody has bound it."""
        # Not by `ip netns exec cat`: the reader would disturb what is being measured.
        with entered(self.gate):
            lines = Path("/proc/thread-self/net/netfilter/nfnetlink_queue").read_text().splitlines()
        for line in lines:
            fields = [int(field) for field in line.split()]
            if fields[0] == QUEUE:
                return Queue(fields[1], fields[2], fields[5] + fields[6], fields[7])
        return Queue(0, 0, 0, 0)

    def read_forwarded(self) -> int:
        """Return how many packets the gate's kernel has sent out at both its ends."""
        with entered(self.gate):
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        sent = 0
        for line in lines:
            interface, _, counters = line.partition(":")
            if interface.strip() in {"lan0", "wan0"}:
                sent += int(counters.split()[9])
        return sent


@dataclass(frozen=True, slots=True)
class Queue:
    """One row of ``/proc/net/netfilter/nfnetlink_queue``."""

    listener: int
    waiting: int
    lost: int
    queued: int


def run(*command: str, seconds: float = 60) -> str:
    """Run a command and return what it prints; RuntimeError with its stderr when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Put the calling thread into a network namespace for a moment."""
    with _OWN_NAMESPACE.open("rb") as home, Path("/run/netns", namespace).open("rb") as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(home.fileno())


@contextmanager
def build_network() -> Iterator[Network]:
    """Build the namespaces, and remove them whatever happens."""
    stem = f"wgbench-{os.getpid()}-{next(_numbers)}"
    echo, gate, cloud = names = tuple(f"{stem}-{end}" for end in ("echo", "gate", "cloud"))
    with tempfile.TemporaryDirectory(prefix="wgbench-") as folder:
        try:
            for name in names:
                run("ip", "netns", "add", name)
            network = Network(echo, gate, cloud, Path(folder))
            _wire(network)
            yield network
        finally:
            for name in names:
                subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _wire(network: Network) -> None:
    ends = (
        (network.echo, "up0", ECHO_MAC, "lan0", LAN_MAC),
        (network.cloud, "down0", CLOUD_MAC, "wan0", WAN_MAC),
    )
    for namespace, outer, outer_mac, inner, inner_mac in ends:
        with entered(namespace):  # no router solicitations among the measured packets
            _write("net/ipv6/conf/default/disable_ipv6", "1")
        veth = ["add", outer, "address", outer_mac.hex(":"), "type", "veth", "peer", "name", inner]
        run("ip", "-n", namespace, "link", *veth, "address", inner_mac.hex(":"), "netns", network.gate)
        run("ip", "-n", namespace, "link", "set", outer, "up")
        run("ip", "-n", network.gate, "link", "set", inner, "up")
    wan = "172.31.255.1"
    lines = (
        "link set lo up",
        f"address add {GATE_ADDRESS}/24 dev lan0",
        f"address add {wan}/24 dev wan0",
        f"neighbour add {ECHO_ADDRESS} lladdr {ECHO_MAC.hex(':')} dev lan0 nud permanent",
        f"neighbour add 172.31.255.2 lladdr {CLOUD_MAC.hex(':')} dev wan0 nud permanent",
        f"route add {CLOUD_NETWORK}/15 via 172.31.255.2",
    )
    subprocess.run(
        ["ip", "-n", network.gate, "-batch", "-"], input="\n".join(lines), text=True, check=True, timeout=60
    )
    with entered(network.gate):
        _write("net/ipv4/ip_forward", "1")


def _write(key: str, value: str) -> None:
    Path("/proc/sys", key).write_text(value)


def _setns(descriptor: int) -> None:
    # os.setns came with Python 3.12; the gate runs on 3.11 too.
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
