"""Every check of the doctor sees its fault: forced, on real kernels where the kernel is what is asked."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guard import __version__, cli
from guard.config import parse_config
from guard.core.verdict import Mode
from guard.doctor import machine, network, sensing, service
from guard.doctor.examination import CHECKS, Check, examine
from guard.doctor.finding import Finding, State, fault, ok
from guard.doctor.situation import Situation, look
from guard.errors import NetfilterError
from guard.netfilter import interface, netlink, programs, ruleset
from guard.netfilter.queue import PacketQueue
from guard.setup import units
from tests.netns.household import ECHO_MAC, Household

QUEUE = 1878
CONTENT: dict[str, Any] = {
    "device": [{"name": "kitchen", "mac": ECHO_MAC}],
    "network": {"lan": "lan0", "queue": QUEUE},
    "metrics": {"port": 9918},
}
SENSOR = {"age_s": 0.4, "hears": True, "accepted": 9, "rejected": {}}
STATUS: dict[str, Any] = {
    "mode": "monitor",
    "gate_version": __version__,
    "uptime_s": 12.0,
    "failures": {},
    "devices": [{"name": "kitchen", "mute": "unmuted", "sensor": SENSOR}],
}


def make(
    *, status: dict[str, Any] | None = None, kind: interface.Kind | None = interface.Kind.PLAIN, **more: Any
) -> Situation:
    """Return a situation in which all is well but for what a test changes."""
    content = {**CONTENT, **more.pop("content", {})}
    return Situation(Path("gate.toml"), parse_config(content), status=status, kind=kind, **more)


def is_fault(finding: Finding, words: str) -> None:
    assert finding.state is State.FAULT, finding
    assert words in finding.text, finding
    assert finding.remedy, "a fault names its remedy"


@pytest.fixture
def routed() -> Iterator[Household]:
    with Household() as home, home.gate.enter():
        yield home


@pytest.fixture
def bridged() -> Iterator[Household]:
    with Household(bridged=True) as home, home.gate.enter():
        yield home


def force_configuration(tmp_path: Path) -> Iterator[tuple[Finding, str]]:
    yield service.check_configuration(look(tmp_path / "none.toml", managed=False)), "is not there"
    broken = tmp_path / "broken.toml"
    broken.write_text("[[device\n")
    yield service.check_configuration(look(broken, managed=False)), "not TOML"


def force_programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Finding, str]]:
    monkeypatch.setattr(programs, "run", lambda *_: "iptables v1.8.9 (legacy)")
    yield machine.check_programs(make()), "writes the old firewall"

    def find(name: str) -> str:
        raise NetfilterError(f"{name} is not installed: apt install iproute2")

    monkeypatch.setattr(programs, "find_program", find)
    yield machine.check_programs(make()), "ip is not installed"


def force_packages() -> Iterator[tuple[Finding, str]]:
    yield machine.check_packages(make(), names=("no_such_package",)), "no_such_package is not installed"


def force_kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Finding, str]]:
    monkeypatch.setattr(netlink, "has_extension", lambda _family, _kind, name, _revision: name != "connmark")
    yield machine.check_kernel(make()), "ipv4 connmark (CONFIG_NETFILTER_XT_CONNMARK)"
    monkeypatch.setattr(netlink, "has_extension", lambda _family, _kind, name, _revision: name != "bpf")
    assert machine.check_kernel(make()).state is State.OK
    for part in ("acknowledgements", "condemned"):
        fast = {"network": {"lan": "lan0"}, "fast_path": {part: True}}
        yield machine.check_kernel(make(content=fast)), "ipv6 bpf (CONFIG_NETFILTER_XT_MATCH_BPF)"


def force_kernel_settings(bridged: Household) -> Iterator[tuple[Finding, str]]:
    bridge: dict[str, Any] = {
        "content": {"network": {"lan": "br0", "queue": QUEUE}},
        "kind": interface.Kind.BRIDGE,
    }
    assert machine.check_settings(make(**bridge)).state is State.OK
    bridged.gate.run("sysctl", "-qw", "net.bridge.bridge-nf-call-ip6tables=0")
    yield machine.check_settings(make(**bridge)), "IPv6 frames cross the bridge past ip6tables"
    bridged.gate.run("sysctl", "-qw", "net.bridge.bridge-nf-call-ip6tables=1")
    bridged.gate.run("ip", "address", "flush", "dev", "br0")
    yield machine.check_settings(make(**bridge)), "no route out of br0"


def force_interface(routed: Household) -> Iterator[tuple[Finding, str]]:
    assert network.check_interface(make()).state is State.OK
    routed.gate.run("ip", "link", "set", "lan0", "down")
    yield network.check_interface(make()), "lan0 is down"
    yield network.check_interface(make(kind=None)), "is no interface here"


def force_echos(routed: Household) -> Iterator[tuple[Finding, str]]:
    routed.gate.run("ip", "neigh", "flush", "all")
    assert network.check_echo(make()).state is State.NOTE
    routed.gate.run("ip", "neigh", "replace", "10.77.0.2", "lladdr", ECHO_MAC, "dev", "lan0")
    assert network.check_echo(make()).state is State.OK
    routed.gate.run("ip", "neigh", "flush", "all")
    routed.gate.run("ip", "neigh", "replace", "10.78.0.7", "lladdr", ECHO_MAC, "dev", "wan0")
    yield network.check_echo(make()), "kitchen was met on wan0, not on lan0"


def force_gate() -> Iterator[tuple[Finding, str]]:
    assert service.check_gate(make(status=STATUS)).state is State.OK
    yield service.check_gate(make(complaint="no gate listens; start it")), "no gate listens"
    yield service.check_gate(make(status={**STATUS, "gate_version": "0.0.9"})), "is 0.0.9"
    yield service.check_gate(make(status={**STATUS, "failures": {"engine_error": 2}})), "engine_error 2"


def force_services(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Finding, str]]:
    answers = {"is-enabled": "enabled", "is-active": "active", "show": "0"}
    monkeypatch.setattr(units, "systemctl", lambda word, *_, check=True: answers[word])
    assert service.check_units(make()).state is State.OK
    for word, said, words in (
        ("is-enabled", "disabled", "is not started at boot"),
        ("is-active", "failed", "is failed"),
        ("show", "7", "started again 7 times"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(answers, word, said)
            yield service.check_units(make()), words


def force_rules(routed: Household) -> Iterator[tuple[Finding, str]]:
    assert network.check_rules(make()).state is State.ABSENT
    ruleset.apply(make().get_spec(Mode.MONITOR))
    assert network.check_rules(make(status=STATUS)).state is State.OK
    yield network.check_rules(make(status={**STATUS, "mode": "enforce"})), "ipv4"
    routed.gate.run("ip6tables", "-t", "mangle", "-I", "FORWARD", "1", "-j", "ACCEPT")
    yield network.check_rules(make(status=STATUS)), "ipv6"
    ruleset.remove()
    yield network.check_rules(make(status=STATUS)), "nothing of Wakeguard is installed"


def force_queue(routed: Household, tmp_path: Path) -> Iterator[tuple[Finding, str]]:
    yield network.check_queue(make(status=STATUS)), f"nobody reads queue {QUEUE}"
    queue = PacketQueue(QUEUE)
    queue.bind(lambda _packet, mark, _payload, _ns: mark, clock=time.monotonic_ns, mode=Mode.MONITOR)
    try:
        assert network.check_queue(make(status=STATUS)).state is State.OK
        yield network.check_queue(make()), "is held by another program"
    finally:
        queue.close()
    rows = tmp_path / "net/netfilter"
    rows.mkdir(parents=True)
    (rows / "nfnetlink_queue").write_text(f"{QUEUE} 77 3 2 3840 40 2 900 1\n")
    yield network.check_queue(make(status=STATUS, proc=tmp_path)), "42 packets were lost"


def force_bypass(routed: Household, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Finding, str]]:
    assert network.check_bypass(make()).state is State.OK
    monkeypatch.setattr(network, "read_large_receive", lambda name: name == "lan0")
    yield network.check_bypass(make()), "lan0 merges packets in hardware"
    # Not every kernel can offload; what nft prints where it does is known.
    listed = "table inet mine {\n\tflowtable fast {\n\t\thook ingress priority filter\n\t}\n}\n"
    monkeypatch.setattr(
        programs, "run", lambda *words: listed if words == ("nft", "list", "flowtables") else ""
    )
    yield network.check_bypass(make()), "offloads connections past every rule, QUIC included"


def force_forwarding(routed: Household, tmp_path: Path) -> Iterator[tuple[Finding, str]]:
    assert network.check_forwarding(make()) == ok("on")
    routed.gate.run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=0")
    assert network.check_forwarding(make()) == ok("on, IPv6 off")
    routed.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    yield network.check_forwarding(make()), "IPv4 forwarding is off"
    sysctl, unit = (
        tmp_path / "etc/sysctl.d/99-router.conf",
        tmp_path / "etc/systemd/system/wakeguard-forwarding.service",
    )
    for path in (sysctl, unit):
        path.parent.mkdir(parents=True)
        path.write_text("# net.ipv4.ip_forward=1\n")
    assert network.check_forwarding(make(root=tmp_path)).state is State.OK
    sysctl.write_text("net.ipv4.ip_forward = 1\n")
    yield network.check_forwarding(make(root=tmp_path)), "/etc/sysctl.d/99-router.conf switches forwarding on"


def force_ipv6(routed: Household) -> Iterator[tuple[Finding, str]]:
    assert network.check_ipv6(make()).state is State.OK
    router = ("neigh", "replace", "fe80::99", "lladdr", "02:00:00:00:77:99", "dev", "lan0", "router")
    routed.gate.run("ip", *router)
    yield network.check_ipv6(make()), "fe80::99 offers itself as IPv6 router on lan0"


def force_sensors() -> Iterator[tuple[Finding, str]]:
    def see(mute: str = "unmuted", **sensor: object) -> Finding:
        devices = [{"name": "kitchen", "mute": mute, "sensor": {**SENSOR, **sensor}}]
        return sensing.check_sensors(make(status={**STATUS, "devices": devices}, content={"sensors": {}}))

    assert sensing.check_sensors(make(status=STATUS)).state is State.NOTE, "no sensor at all"
    assert see().state is State.OK
    assert see(hears=False).state is State.NOTE
    yield see(age_s=None), "were never heard"
    yield see(age_s=61.0), "are silent for 61 s"
    yield see(mute="unknown"), "mute state of kitchen is unknown"


def force_light_sensor(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Finding, str]]:
    sensed: dict[str, Any] = {"content": {"sensors": {}}}
    no_pin = {"sensors": {}, "sense": {"mute_led": {"pin": "none"}}}
    assert sensing.check_pin(make(content=no_pin)).state is State.ABSENT
    monkeypatch.setitem(sys.modules, "lgpio", types.ModuleType("lgpio"))
    yield sensing.check_pin(make(**sensed)), "PyPI's empty package"
    monkeypatch.setitem(sys.modules, "lgpio", None)
    yield sensing.check_pin(make(**sensed)), "lgpio is not installed"


def force_models(tmp_path: Path) -> Iterator[tuple[Finding, str]]:
    assert machine.check_models(make(status=STATUS)).state is State.OK
    yield machine.check_models(make(), folder=tmp_path), "holds no model"
    (tmp_path / "voice-v9").mkdir()
    (tmp_path / "voice-v9" / "CARD.md").touch()
    (tmp_path / "voice-v9" / "model.json").touch()
    yield machine.check_models(make(), folder=tmp_path), "voice-v9 is without its weights"
    missing = {**STATUS, "failures": {"model_missing": 1}}
    yield machine.check_models(make(status=missing)), "without its voice model"


@contextlib.contextmanager
def serve(text: bytes) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def force_metrics() -> Iterator[tuple[Finding, str]]:
    def see(port: int, status: dict[str, Any] | None = STATUS) -> Finding:
        return service.check_metrics(make(status=status, content={"metrics": {"port": port}}))

    with serve(b"wakeguard_up 1\n") as port:
        assert see(port).state is State.OK
    with serve(b"<html>") as port:
        yield see(port), "another program answers"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused = free.getsockname()[1]
    yield see(unused), "does not answer"
    assert see(unused, None).state is State.ABSENT


def force_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Finding, str]]:
    state: dict[str, Any] = {"content": {"state": {"directory": str(tmp_path)}}}
    yield machine.check_journal(make(status={**STATUS, "journal": "disk_full"}, **state)), "cannot be written"
    monkeypatch.setattr(machine, "MIN_FREE_BYTES", 1 << 62)
    yield machine.check_journal(make(status=STATUS, **state)), "nothing can be kept"


def force_clock() -> Iterator[tuple[Finding, str]]:
    assert machine.check_clock(make(), synchronised=True).state is State.OK
    assert machine.check_clock(make(), synchronised=False).state is State.NOTE
    yield machine.check_clock(make(), now=0.0), "before the day on which Wakeguard was installed"


FORCED: dict[str, Callable[..., Iterator[tuple[Finding, str]]]] = {
    "configuration": force_configuration,
    "programs": force_programs,
    "packages": force_packages,
    "kernel": force_kernel,
    "kernel settings": force_kernel_settings,
    "interface": force_interface,
    "echos": force_echos,
    "gate": force_gate,
    "services": force_services,
    "rules": force_rules,
    "queue": force_queue,
    "offload, QUIC": force_bypass,
    "forwarding": force_forwarding,
    "IPv6": force_ipv6,
    "sensors": force_sensors,
    "light sensor": force_light_sensor,
    "models": force_models,
    "metrics": force_metrics,
    "journal": force_journal,
    "clock": force_clock,
}


def test_every_check_has_its_fault_forced_and_stands_in_the_documents(repository: Path) -> None:
    names = [check.name for check in CHECKS]
    assert sorted(names) == sorted(FORCED)
    page = (repository / "docs" / "operations.md").read_text(encoding="utf-8")
    assert [name for name in names if f"\n| {name} | " not in page] == []


NEEDS_A_KERNEL = {
    name for name, force in FORCED.items() if {"routed", "bridged"} & set(force.__annotations__)
}


@pytest.mark.kernel
@pytest.mark.parametrize("name", sorted(NEEDS_A_KERNEL))
def test_on_a_real_kernel_the_fault_is_seen(name: str, request: pytest.FixtureRequest) -> None:
    see_each(name, request)


@pytest.mark.parametrize("name", sorted(set(FORCED) - NEEDS_A_KERNEL))
def test_the_fault_is_seen(name: str, request: pytest.FixtureRequest) -> None:
    see_each(name, request)


def see_each(name: str, request: pytest.FixtureRequest) -> None:
    force = FORCED[name]
    wanted = [argument for argument in force.__annotations__ if argument != "return"]
    seen = 0
    for finding, words in force(**{argument: request.getfixturevalue(argument) for argument in wanted}):
        is_fault(finding, words)
        seen += 1
    assert seen > 0


def test_all_are_run_whatever_one_of_them_finds() -> None:
    def break_down(_situation: Situation) -> Finding:
        raise NetfilterError("no right to change the firewall")

    def deny(_situation: Situation) -> Finding:
        raise PermissionError(1, "Operation not permitted", "/proc/net/x")

    checks = (
        Check("a", break_down),
        Check("b", deny),
        Check("c", lambda _: fault("x", "y")),
        Check("d", lambda _: ok("z")),
    )
    assert [finding.state for _check, finding in examine(make(), checks)] == ["fault", "fault", "fault", "ok"]
    unconfigured = Situation(Path("gate.toml"), complaint="no file")
    assert [finding.state for _check, finding in examine(unconfigured, checks)] == ["absent"] * 4


@pytest.mark.kernel
def test_the_command_tells_and_exits_by_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "none.toml")
    assert cli.main(["doctor", "--config", path]) == 1
    assert "is not there" in capsys.readouterr().out
    assert cli.main(["doctor", "--config", path, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["version"] == 1
    assert report["faults"] == sum(row["state"] == "fault" for row in report["checks"]) >= 1
    assert [row["check"] for row in report["checks"]] == [check.name for check in CHECKS]
    assert cli.main(["doctor", "--colour"]) == 2
