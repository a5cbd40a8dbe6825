"""From the very first packet: the rules before the interface, before forwarding, and before the gate."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.gate import GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household, wait_until
from tests.netns.manager import UNITS, read_unit

pytestmark = pytest.mark.kernel

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; not in Python's socket


@contextlib.contextmanager
def talking(home: Household) -> Iterator[list[bytes]]:
    """Let the Echo send without a pause, over UDP and TCP; yield what the cloud was given."""
    heard: list[bytes] = []
    stop = threading.Event()
    target = (home.cloud_address[socket.AF_INET], 5005)
    with (
        home.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        home.cloud.socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
        home.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 * 1024 * 1024)
        server.settimeout(0.05)
        server.bind(target)
        listener.bind(target)
        listener.listen()
        listener.settimeout(0.05)

        def send() -> None:
            while not stop.wait(0.0005):
                with contextlib.suppress(OSError):
                    client.sendto(b"voice", target)

        def stream() -> None:
            while not stop.wait(0.01):
                with (
                    contextlib.suppress(OSError),
                    home.echo.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
                ):
                    tcp.settimeout(0.2)
                    tcp.connect(target)
                    tcp.sendall(b"voice")
                    stop.wait(0.05)

        def receive() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    heard.append(server.recv(100))

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    end, _ = listener.accept()
                    with end:
                        end.settimeout(0.3)
                        heard.extend(data for data in [end.recv(100)] if data)

        threads = [threading.Thread(target=work) for work in (send, stream, receive, accept)]
        for thread in threads:
            thread.start()
        try:
            yield heard
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def know_the_cloud(home: Household) -> None:
    """Spare the Echo asking for the cloud's MAC: at boot not even the question crosses a bridge."""
    link = home.cloud.run("ip", "-o", "link", "show", "eth0").split()
    mac = link[link.index("link/ether") + 1]
    address = home.cloud_address[socket.AF_INET]
    home.echo.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0", "nud", "permanent")


def count_voice(home: Household) -> int:
    """Return how many frames of the Echo have reached the gate's machine."""
    return int(home.gate.run("cat", "/sys/class/net/lan0/statistics/rx_packets"))


@pytest.mark.parametrize("bridged", [False, True], ids=["routed", "bridged"])
def test_no_packet_passes_between_the_rules_and_the_gate(bridged: bool, tmp_path: Path) -> None:
    """Rules, then forwarding, then the gate, while an Echo talks all the time."""
    with Household(bridged=bridged) as home, TlsCloud(home) as cloud:
        home.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
        if bridged:  # not there before the module is: the bridge's own rules close then
            home.gate.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
            home.gate.run("ip", "link", "set", "wan0", "nomaster")
            know_the_cloud(home)
        gate = GateProcess(home, tmp_path)
        applied = gate.call("rules", "apply", "--boot")
        assert (applied.returncode, applied.stderr) == (0, "")
        with talking(home) as heard:
            home.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
            if bridged:
                home.gate.run("ip", "link", "set", "wan0", "master", "br0")
            before = count_voice(home)
            wait_until(lambda: count_voice(home) > before + 200)
            if bridged:
                home.gate.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
            with gate:
                gate.tell("mute")
                wait_until(lambda: gate.count(verdict="refuse", reason="opaque_datagram") > 200)
                with cloud.connect() as stream:
                    assert talks_in_vain(stream, 1000)
                assert gate.call("rules", "check").returncode == 0, "the gate's own rules are in their place"
        assert heard == []
        assert cloud.received == 0


def test_with_forwarding_on_nothing_passes_from_the_moment_the_rules_are_there(
    routed: Household, tmp_path: Path
) -> None:
    gate = GateProcess(routed, tmp_path)
    with talking(routed) as heard:
        wait_until(lambda: len(heard) > 50)
        assert gate.call("rules", "apply", "--boot").returncode == 0
        wait_until(lambda: not drained(heard))
        seen = len(heard)
        before = count_voice(routed)
        wait_until(lambda: count_voice(routed) > before + 200)
        with gate:
            wait_until(lambda: gate.count(verdict="refuse", reason="opaque_datagram") > 200)
        assert len(heard) == seen


@pytest.mark.parametrize(("unknown", "passes"), [("pass", True), ("refuse", False)])
def test_a_stranger_is_met_at_boot_as_configured(
    routed: Household, tmp_path: Path, unknown: str, *, passes: bool
) -> None:
    """From the start of forwarding, and through the gate's start."""
    gate = GateProcess(routed, tmp_path, device='mac = "02:00:00:00:77:99"')
    text = gate.config.read_text()
    gate.config.write_text(text.replace("[network]\n", f'[network]\nunknown = "{unknown}"\n'))
    routed.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0")
    applied = gate.call("rules", "apply", "--boot")
    assert (applied.returncode, applied.stderr) == (0, "")
    with talking(routed) as heard:
        routed.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        before = count_voice(routed)
        wait_until(lambda: count_voice(routed) > before + 200)
        assert (heard != []) == passes
        with gate:
            before = count_voice(routed)
            wait_until(lambda: count_voice(routed) > before + 200)
            assert gate.call("rules", "check").returncode == 0
    assert (heard != []) == passes


def drained(heard: list[bytes]) -> bool:
    """Tell whether the cloud still reads what had arrived before."""
    seen = len(heard)
    threading.Event().wait(0.2)
    return len(heard) > seen


def test_the_rules_come_before_their_interface(routed: Household, tmp_path: Path) -> None:
    """At boot there is no wlan0 or br0 yet; wherever the device comes in, it is met."""
    gate = GateProcess(routed, tmp_path, lan="wlan7")
    assert gate.call("rules", "apply").returncode == 2
    assert gate.call("rules", "apply", "--boot").returncode == 0
    with talking(routed) as heard:
        before = count_voice(routed)
        wait_until(lambda: count_voice(routed) > before + 200)
        assert heard == []


@pytest.mark.parametrize(("stored", "passes"), [(None, True), ("enforce", False), ("damaged", False)])
def test_the_mode_at_boot_is_the_one_set_last(
    routed: Household, tmp_path: Path, stored: str | None, passes: bool
) -> None:
    gate = GateProcess(routed, tmp_path, mode="monitor")
    if stored is not None:
        (tmp_path / "state").mkdir()
        content = '{"version": 1, "mode": "enforce"}' if stored == "enforce" else "{"
        (tmp_path / "state" / "mode.json").write_text(content)
    applied = gate.call("rules", "apply", "--boot")
    assert applied.returncode == 0
    assert ("is damaged" in applied.stderr) == (stored == "damaged")
    with talking(routed) as heard:
        before = count_voice(routed)
        wait_until(lambda: count_voice(routed) > before + 200)
        assert (heard != []) == passes


def test_the_units_order_rules_before_network_and_gate() -> None:
    rules = read_unit("wakeguard-rules.service")
    assert "network-pre.target" in rules["Unit"]["Before"].split()
    assert "network-pre.target" in rules["Unit"]["Wants"].split()
    assert rules["Unit"]["DefaultDependencies"] == "no"
    assert rules["Service"]["Type"] == "oneshot"
    assert rules["Service"]["ExecStart"].split()[1:] == ["rules", "apply", "--boot"]
    for name in ("wakeguard.service", "wakeguard-forwarding.service", "hostapd-wakeguard.conf"):
        unit = read_unit(name)["Unit"]
        assert "wakeguard-rules.service" in unit["Requires"].split(), name
        assert "wakeguard-rules.service" in unit["After"].split(), name
    gate = read_unit("wakeguard.service")["Service"]
    assert gate["Type"] == "notify"
    assert gate["Restart"] == "on-failure", "`wakeguard off` ends it with status 0, and it stays off"
    assert gate["WatchdogSignal"] == "SIGKILL"


def test_systemd_reads_the_units() -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        return  # the units are read by the test above; this one asks systemd itself where it is there
    complaints = subprocess.run(
        [analyze, "verify", *map(str, UNITS.glob("*.service"))], capture_output=True, text=True, check=False
    ).stderr.splitlines()
    ours = [line for line in complaints if "wakeguard" in line and "is not executable" not in line]
    assert ours == []
