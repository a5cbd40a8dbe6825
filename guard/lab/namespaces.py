r"""The household's network: five namespaces, four cables, nothing in the machine's own namespace.

    eager --\
             air (a bridge, as an access point is) -- lan [gate] wan -- cloud
    lazy  --/

Each name holds the process id and start time of the lab that made it, so that a later lab knows which
namespaces nobody owns any more (a killed lab cannot clean up) and removes those and only those. Both
ends of every cable are made inside namespaces: the machine's own interfaces, routes and firewall are
never touched. Addresses are of the documentation ranges (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guard.errors import LabError

PREFIX: Final = "wakeguard-lab"
ROLES: Final = ("eager", "lazy", "air", "gate", "cloud")
LAN: Final = "lan"
_NAME = re.compile(rf"{PREFIX}-(?P<pid>\d+)-(?P<start>\d+)(?:-\w+)?")


@dataclass(frozen=True, slots=True)
class Device:
    """A simulated Echo's place in the network. ``cloud`` maps a host's name to its address."""

    name: str
    mac: str
    address: str
    tls: str
    cloud: dict[str, str]


HOSTS_V4: Final = {"gateway": "198.51.100.10", "beat": "198.51.100.11"} | {
    "metrics": "198.51.100.12",
    "media": "198.51.100.13",
}
HOSTS_V6: Final = {host: f"2001:db8:2::{10 + index}" for index, host in enumerate(HOSTS_V4)}
EAGER: Final = Device("eager", "02:00:00:00:ec:01", "192.0.2.11", "1.2", HOSTS_V4)
LAZY: Final = Device("lazy", "02:00:00:00:ec:02", "2001:db8:1::12", "1.3", HOSTS_V6)
DEVICES: Final = (EAGER, LAZY)

# namespace -> commands run in it, in this order. {eager} and so on are full names.
_CABLES: Final = (
    "link add echo0 netns {eager} address 02:00:00:00:ec:01 type veth peer name port1 netns {air}",
    "link add echo0 netns {lazy} address 02:00:00:00:ec:02 type veth peer name port2 netns {air}",
    f"link add {LAN} netns {{gate}} address 02:00:00:00:00:01 type veth peer name port3 netns {{air}}",
    "link add wan netns {gate} type veth peer name up0 netns {cloud}",
)
_ONE_BY_ONE: Final = "gso_max_segs 1"  # a segment is a frame, as on a wire, and not one of 64 kB
_SET_UP: Final = {
    "air": (
        "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        *(f"link set port{number} master br0 up" for number in (1, 2, 3)),
        "link set br0 up",
    ),
    "gate": (
        f"address add 192.0.2.1/24 dev {LAN}",
        f"address add 2001:db8:1::1/64 dev {LAN} nodad",
        "address add 198.51.100.1/24 dev wan",
        "address add 2001:db8:2::1/64 dev wan nodad",
        f"link set {LAN} up",
        "link set wan up",
    ),
    "cloud": (
        *(f"address add {address}/24 dev up0" for address in HOSTS_V4.values()),
        *(f"address add {address}/64 dev up0 nodad" for address in HOSTS_V6.values()),
        f"link set up0 {_ONE_BY_ONE} up",
        "route add default via 198.51.100.1",
        "-6 route add default via 2001:db8:2::1",
    ),
    "eager": (
        "address add 192.0.2.11/24 dev echo0",
        f"link set echo0 {_ONE_BY_ONE} up",
        "route add default via 192.0.2.1",
    ),
    "lazy": (
        "address add 2001:db8:1::12/64 dev echo0 nodad",
        f"link set echo0 {_ONE_BY_ONE} up",
        "-6 route add default via 2001:db8:1::1",
    ),
}
# An address that must first prove unique (RFC 4862) would cost the first connections a second or two.
_SYSCTLS: Final = ("net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0")
_GATE_SYSCTLS: Final = ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")


class Namespaces:
    """The namespaces of one lab and its temporary directory; ``create``, then ``destroy``."""

    def __init__(self) -> None:
        pid = os.getpid()
        self._stem = f"{PREFIX}-{pid}-{_start_time(pid)}"
        self._made: list[str] = []
        self.directory = Path(tempfile.gettempdir()) / self._stem

    def name(self, role: str) -> str:
        """Return the full name of the namespace that plays ``role``."""
        return f"{self._stem}-{role}"

    def command(self, role: str, *command: str) -> tuple[str, ...]:
        """Return ``command`` as run in a namespace; it ends when the lab does."""
        return ("setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.name(role), *command)

    def create(self) -> None:
        """Build the network. LabError when a step fails; call ``destroy`` then, too."""
        remove_leftovers()
        self.directory.mkdir(mode=0o700)
        for role in ROLES:
            self._made.append(self.name(role))
            _ip("netns", "add", self.name(role))
            sysctls = _SYSCTLS + (_GATE_SYSCTLS if role == "gate" else ())
            _run("ip", "netns", "exec", self.name(role), "sysctl", "-q", "-w", *sysctls)
            self._ip(role, "link set lo up")
        names = {role: self.name(role) for role in ROLES}
        for cable in _CABLES:
            _ip(*cable.format(**names).split())
        for role, lines in _SET_UP.items():
            for line in lines:
                self._ip(role, line)

    def destroy(self) -> None:
        """Remove every namespace, what still runs in it, and the directory. Twice does no harm."""
        while self._made:
            _remove(self._made.pop())
        shutil.rmtree(self.directory, ignore_errors=True)

    def _ip(self, role: str, line: str) -> None:
        _ip("-n", self.name(role), *line.split())


def remove_leftovers() -> list[str]:
    """Remove what labs left behind that are not running any more; return the namespaces' names."""
    removed = []
    for name in list_namespaces():
        if _is_orphan(name):
            _remove(name)
            removed.append(name)
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}-*"):
        if _is_orphan(directory.name):
            shutil.rmtree(directory, ignore_errors=True)
    return removed


def list_namespaces() -> list[str]:
    """Return the names of every lab's namespaces on this machine."""
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(f"{PREFIX}-*")) if folder.is_dir() else []


def _is_orphan(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and _start_time(int(match["pid"])) != match["start"]


def _start_time(pid: int) -> str | None:
    """Return when a process started (clock ticks since boot), None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]  # field 22 of proc_pid_stat(5)


def _remove(name: str) -> None:
    listed = subprocess.run(("ip", "netns", "pids", name), capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    subprocess.run(("ip", "netns", "delete", name), capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise LabError(f"{command[0]} is missing: apt install iproute2 procps") from None
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip() or f"exit status {error.returncode}"
        raise LabError(f"`{' '.join(command)}` failed: {why}") from None
