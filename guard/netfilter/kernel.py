"""What the kernel has, lacks and counts.

``check_requirements`` is asked before anything is touched; each thing missing is one NetfilterError
that says what to do. The tables below are the whole list of requirements. ``read_statistics`` reads
the queue's losses where the kernel itself counts them: the library swallows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import interface, netlink, programs
from guard.netfilter.ruleset import RulesetSpec

# The thread's own view: a process may have entered a namespace with one thread only.
PROC: Final = Path("/proc/thread-self")
_QUEUES: Final = Path("net/netfilter/nfnetlink_queue")
_SYSCTL: Final = Path("/proc/sys/net")

_CAP_NET_ADMIN: Final = 12


class Extension(NamedTuple):
    """One xtables match or target that the rules use, and how a kernel is built to have it."""

    kind: Literal["match", "target"]
    name: str
    revision: int
    option: str
    modes: tuple[Mode, ...] = (Mode.MONITOR, Mode.ENFORCE)


EXTENSIONS: Final = (
    Extension("target", "NFQUEUE", 2, "CONFIG_NETFILTER_XT_TARGET_NFQUEUE"),
    Extension("target", "MARK", 2, "CONFIG_NETFILTER_XT_MARK"),
    Extension("target", "CONNMARK", 1, "CONFIG_NETFILTER_XT_CONNMARK"),
    Extension(
        "target", "REJECT", 0, "CONFIG_IP_NF_TARGET_REJECT and CONFIG_IP6_NF_TARGET_REJECT", (Mode.ENFORCE,)
    ),
    Extension("match", "mark", 1, "CONFIG_NETFILTER_XT_MARK"),
    Extension("match", "connmark", 1, "CONFIG_NETFILTER_XT_CONNMARK", (Mode.ENFORCE,)),
    Extension("match", "conntrack", 3, "CONFIG_NETFILTER_XT_MATCH_CONNTRACK"),
    Extension("match", "tcp", 0, "CONFIG_NETFILTER_XTABLES", (Mode.ENFORCE,)),
)
FAST_PATH: Final = (  # of either of its two parts
    Extension("match", "bpf", 1, "CONFIG_NETFILTER_XT_MATCH_BPF"),
    Extension("match", "limit", 0, "CONFIG_NETFILTER_XT_MATCH_LIMIT"),
    Extension("match", "connmark", 1, "CONFIG_NETFILTER_XT_CONNMARK"),
)
MAC: Final = Extension("match", "mac", 0, "CONFIG_NETFILTER_XT_MATCH_MAC")
PHYSDEV: Final = Extension("match", "physdev", 0, "CONFIG_NETFILTER_XT_MATCH_PHYSDEV")


class Sysctl(NamedTuple):
    """A kernel setting that enforce cannot do without, and why."""

    name: str
    value: str
    why: str


BRIDGE_SYSCTLS: Final = (
    Sysctl("bridge.bridge-nf-call-iptables", "1", "IPv4 frames cross the bridge past iptables"),
    Sysctl("bridge.bridge-nf-call-ip6tables", "1", "IPv6 frames cross the bridge past ip6tables"),
)
ENFORCE_SYSCTLS: Final = (
    Sysctl("netfilter.nf_conntrack_checksum", "1", "the gate would judge packets that the receiver ignores"),
)


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """One row of ``/proc/net/netfilter/nfnetlink_queue``.

    ``dropped_queue_full`` counts packets that found ``maximum_length`` others waiting,
    ``dropped_userspace`` those that found the socket's buffer full. In monitor, where the queue fails
    open, such packets pass and are counted in neither.
    """

    number: int
    port: int  # netlink port of the owner; as a rule its process id
    waiting: int
    dropped_queue_full: int
    dropped_userspace: int
    packets: int  # sequence number of the last packet queued


def read_statistics(number: int, *, proc: Path = PROC) -> QueueStatistics | None:
    """Return the kernel's counters of queue ``number``; None when nobody has bound it."""
    try:
        text = (proc / _QUEUES).read_text(encoding="ascii")
    except FileNotFoundError:  # the module is loaded with the first binding
        return None
    for line in text.splitlines():
        columns = [int(word) for word in line.split()]
        if columns and columns[0] == number:
            _, port, waiting, _mode, _range, full, userspace, sequence, *_ = columns
            return QueueStatistics(number, port, waiting, full, userspace, sequence)
    return None


def check_queue_free(number: int, *, proc: Path = PROC) -> None:
    """Raise NetfilterError, naming the owner, when queue ``number`` is bound by anyone."""
    statistics = read_statistics(number, proc=proc)
    if statistics is None:
        return
    raise NetfilterError(
        f"queue {number} is in use by {_describe_owner(statistics.port)}: stop it, or give another number "
        "in network.queue"
    )


def check_requirements(spec: RulesetSpec) -> None:
    """Raise NetfilterError for the first thing that this machine lacks. Touches nothing."""
    check_rights()
    for name in ("iptables", "ip6tables"):
        programs.find_program(f"{name}-save")
        programs.find_program(f"{name}-restore")
    kind = interface.Kind.PLAIN if spec.boot else interface.get_kind(spec.lan)
    wanted = [extension for extension in EXTENSIONS if spec.mode in extension.modes]
    if any(device.mac is not None for device in spec.devices):
        wanted.append(MAC)
    if kind is interface.Kind.BRIDGE_PORT:
        wanted.append(PHYSDEV)
    if spec.pass_quiet or spec.refuse_condemned:
        wanted += FAST_PATH
    for extension in wanted:
        _check_extension(extension)
    if spec.mode is Mode.ENFORCE:
        check_settings(spec, kind)


def check_settings(spec: RulesetSpec, kind: interface.Kind) -> None:
    """Raise NetfilterError for the first kernel setting or route that enforce cannot do without."""
    if kind is not interface.Kind.PLAIN:
        _check_sysctls(BRIDGE_SYSCTLS, absent="load the module br_netfilter (modprobe br_netfilter)")
        _check_bridge(spec, kind)
    _check_sysctls(ENFORCE_SYSCTLS, absent=None)


def check_rights(*, proc: Path = PROC) -> None:
    """Raise NetfilterError unless this process may administer the network."""
    for line in (proc / "status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff" and int(value, 16) >> _CAP_NET_ADMIN & 1:
            return
    raise NetfilterError("no right to change the firewall (CAP_NET_ADMIN): run as root (sudo wakeguard ...)")


def _check_bridge(spec: RulesetSpec, kind: interface.Kind) -> None:
    """Raise NetfilterError where a device could not be reset, or its frames other than IP not be told."""
    programs.find_program("nft")
    bridge = interface.get_bridge(spec.lan)
    for device in spec.devices:
        if bridge is not None and not interface.reaches(bridge, device.addresses):
            raise NetfilterError(
                f"no route out of {bridge} to device {device.name}: the gate could not reset the connections "
                f"that it refuses; give {bridge} an address in the device's network"
            )
        if device.mac is None and kind is interface.Kind.BRIDGE:
            raise NetfilterError(
                f"device {device.name} is known by addresses alone, which its frames other than IP do not "
                f"have: give its device.mac, or the bridge's port towards it as network.lan"
            )


def _check_extension(extension: Extension) -> None:
    for family, number in programs.FAMILY_NUMBERS.items():
        try:
            present = netlink.has_extension(number, extension.kind, extension.name, extension.revision)
        except PermissionError:
            raise NetfilterError(
                "no right to change this namespace's firewall: run as root of the machine"
            ) from None
        except OSError:
            return  # no nfnetlink: legacy iptables, whose --test asks the kernel itself
        if present is False:
            raise NetfilterError(
                f"the kernel has no {family} {extension.kind} {extension.name}: install the module, or a "
                f"kernel built with {extension.option}"
            )


def _check_sysctls(settings: tuple[Sysctl, ...], *, absent: str | None) -> None:
    for setting in settings:
        path = _SYSCTL / setting.name.replace(".", "/")
        try:
            value = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            if absent is None:
                continue
            raise NetfilterError(f"net.{setting.name} is missing, {setting.why}: {absent}") from None
        if value != setting.value:
            raise NetfilterError(
                f"net.{setting.name} is {value}, {setting.why}: sysctl -w net.{setting.name}={setting.value}"
            )


def _describe_owner(port: int) -> str:
    try:
        name = Path(f"/proc/{port}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return f"another program (netlink port {port})"
    return f"process {port} ({name})"
