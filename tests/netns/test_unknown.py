"""A device that the configuration does not name: passed, or refused where the Echos are by themselves."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.netns.connection import download
from tests.netns.families import families
from tests.netns.gate import GateProcess, TlsCloud
from tests.netns.household import ECHO_MAC, Household, wait_until

pytestmark = pytest.mark.kernel

OTHER_MAC = "02:00:00:00:77:99"


def unknown(value: str) -> str:
    return f'unknown = "{value}"\n'


def count_refused(home: Household) -> int:
    """Return how many packets the rule has refused that nobody named."""
    printed = home.gate.run("iptables-save", "--counters", "--table=mangle")
    found = re.search(r"^\[(\d+):\d+\] -A WAKEGUARD-FORWARD .*-j DROP$", printed, re.MULTILINE)
    return int(found[1]) if found else 0


@families
@pytest.mark.parametrize("value", ["pass", "refuse"])
def test_a_stranger_is_treated_as_configured(
    routed: Household, tmp_path: Path, family: socket.AddressFamily, value: str
) -> None:
    gate = GateProcess(routed, tmp_path, device=f'mac = "{OTHER_MAC}"')
    gate.config.write_text(gate.config.read_text().replace("[network]\n", f"[network]\n{unknown(value)}"))
    with gate, TlsCloud(routed, family) as cloud:
        assert cloud.can_connect(seconds=1.0) is (value == "pass")
        assert gate.call("rules", "check").returncode == 0
        gate.ask("mode", mode="monitor")
        assert cloud.can_connect(seconds=5.0)


@pytest.mark.parametrize("fast_path", [(), ("acknowledgements", "condemned")], ids=["queue", "fast path"])
def test_the_echo_itself_is_judged_all_the_same(
    routed: Household, tmp_path: Path, fast_path: tuple[str, ...]
) -> None:
    gate = GateProcess(routed, tmp_path, device=f'mac = "{ECHO_MAC}"', fast_path=fast_path)
    gate.config.write_text(gate.config.read_text().replace("[network]\n", f"[network]\n{unknown('refuse')}"))
    with gate, TlsCloud(routed) as cloud:
        gate.tell("wake")
        with cloud.connect() as stream:
            cloud.deliver(stream, 20_000)
            download(routed, socket.AF_INET, 2_000_000)
            if fast_path:
                wait_until(lambda: gate.ask("status")["devices"][0]["passed_by_kernel"] > 20, seconds=20)
        assert count_refused(routed) == 0
        assert gate.call("rules", "check").returncode == 0


def test_who_leaves_its_name_on_a_connection_is_refused_there(routed: Household, tmp_path: Path) -> None:
    gate = GateProcess(routed, tmp_path, device=f'mac = "{ECHO_MAC}"')
    gate.config.write_text(gate.config.read_text().replace("[network]\n", f"[network]\n{unknown('refuse')}"))
    with gate, TlsCloud(routed) as cloud:
        gate.tell("wake")
        with cloud.connect() as stream:
            cloud.deliver(stream, 2_000)
            routed.echo.run("ip", "link", "set", "eth0", "address", OTHER_MAC)
            received = cloud.received
            stream.sendall(b"v" * 2_000)
            wait_until(lambda: count_refused(routed) > 0 or cloud.received > received)
            assert cloud.received == received


def test_on_a_whole_bridge_it_is_refused_to_refuse(tmp_path: Path) -> None:
    with Household(bridged=True) as home:
        gate = GateProcess(home, tmp_path)
        gate.config.write_text(
            gate.config.read_text().replace("[network]\n", f"[network]\n{unknown('refuse')}")
        )
        refused = gate.call("run")
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert "port on the Echos' side" in refused.stderr
        gate.write_config(lan="lan0")
        gate.config.write_text(
            gate.config.read_text().replace("[network]\n", f"[network]\n{unknown('refuse')}")
        )
        with gate, TlsCloud(home) as cloud:
            gate.tell("wake")
            with cloud.connect() as stream:
                cloud.deliver(stream, 20_000)
