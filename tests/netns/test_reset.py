"""Both ends learn at once when a flow is refused: real TCP ends, none of which says a word by itself."""

from __future__ import annotations

import contextlib
import socket
import struct
from pathlib import Path

import pytest

from tests.netns.connection import connected
from tests.netns.families import families
from tests.netns.gate import GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household, wait_until

pytestmark = pytest.mark.kernel

PATIENCE = 2.0  # seconds; a hold may come before the refusal


def learns(end: socket.socket) -> bool:
    """Tell whether this end is reset within ``PATIENCE``, having said nothing."""
    end.settimeout(PATIENCE)
    try:
        return end.recv(1) != end.recv(1)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def masquerade(home: Household) -> None:
    """Hide the Echo behind the gate's address; the cloud knows no way to the Echo's own."""
    for program, family, default in (("iptables", "-4", "10.78.0.1"), ("ip6tables", "-6", "fd78::1")):
        home.gate.run(program, "-t", "nat", "-A", "POSTROUTING", "-o", "wan0", "-j", "MASQUERADE")
        home.cloud.run("ip", family, "route", "del", "default", "via", default)


@families
@pytest.mark.parametrize("layout", ["routed", "masquerade", "bridged", "input"])
def test_a_silent_server_learns_at_once(tmp_path: Path, family: socket.AddressFamily, layout: str) -> None:
    with Household(bridged=layout == "bridged") as home, GateProcess(home, tmp_path) as gate:
        if layout == "masquerade":
            masquerade(home)
        gate.tell("mute")
        at_gate = layout == "input"
        with connected(home, family, port=50_003, at_gate=at_gate) as (echo, end):
            echo.sendall(b"secret")
            assert learns(end)
            assert learns(echo)
        # The same ports at once: the next life is its own, its handshake passes, and it is refused anew.
        with connected(home, family, port=50_003, at_gate=at_gate) as (echo, end):
            echo.sendall(b"secret")
            assert learns(end)
            assert learns(echo)


@families
def test_after_a_wait_in_vain_a_silent_server_learns(
    household: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    """Nobody spoke: what waited for the wake word is refused, and both ends are told then."""
    with GateProcess(household, tmp_path) as gate, TlsCloud(household, family) as cloud:
        with cloud.connect() as stream:
            wait_until(lambda: cloud.established == 1)
            assert talks_in_vain(stream, 20_000)
            wait_until(lambda: cloud.established == 0)
        assert cloud.received == 0
        assert gate.count(verdict="refuse", reason="no_interaction") > 0


@families
def test_a_reset_passes_where_policy_routing_needs_the_users_mark(
    routed: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    """The user's bits of the refused packet decide the reset's way, too."""
    program, option = ("iptables", "-4") if family is socket.AF_INET else ("ip6tables", "-6")
    gateway = routed.cloud_address[family]
    routed.gate.run(program, "-t", "mangle", "-A", "PREROUTING", "-j", "MARK", "--set-xmark", "0x7/0xffffff")
    routed.gate.run("ip", option, "rule", "add", "pref", "31000", "fwmark", "0x7/0xffffff", "lookup", "77")
    routed.gate.run("ip", option, "route", "add", gateway, "dev", "wan0", "table", "77")
    routed.gate.run("ip", option, "rule", "add", "pref", "32000", "to", gateway, "prohibit")
    with GateProcess(routed, tmp_path) as gate:
        routed.gate.run(
            "ip", option, "route", "add", routed.echo_address[family], "dev", "lan0", "table", "77"
        )
        gate.tell("mute")
        with connected(routed, family) as (echo, end):
            echo.sendall(b"secret")
            assert learns(end)


@families
def test_the_echos_own_reset_with_timestamps_passes_on_a_condemned_flow(
    household: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    program, size = ("iptables", "52") if family is socket.AF_INET else ("ip6tables", "72")
    match = ("-p", "tcp", "--tcp-flags", "RST", "RST")
    household.echo.run(program, "-A", "INPUT", *match, "-j", "DROP")  # it is not told
    household.cloud.run(program, "-A", "INPUT", *match, "-m", "length", "--length", size, "-j", "ACCEPT")
    with GateProcess(household, tmp_path) as gate, connected(household, family) as (echo, end):
        end.sendall(b"unread")
        assert echo.recv(1) == b"u"
        gate.tell("mute")
        echo.sendall(b"secret")
        assert learns(end)
        echo.close()  # with bytes unread: an abort

        def arrived() -> bool:
            rows = household.cloud.run(program, "-nvxL", "INPUT").splitlines()
            return any("ACCEPT" in row and int(row.split()[0]) > 0 for row in rows[2:])

        wait_until(arrived)


def test_what_the_rules_let_out_as_a_reset_is_a_connections_own(routed: Household, tmp_path: Path) -> None:
    """The mark alone opens nothing: without a connection a marked packet is dropped."""
    with (
        GateProcess(routed, tmp_path),
        routed.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        routed.gate.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        target = (routed.cloud_address[socket.AF_INET], 5006)
        server.bind(target)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("=I", 0xC0000000))
        with contextlib.suppress(PermissionError):
            sender.sendto(b"marked", target)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)
        sender.sendto(b"plain", target)
        assert server.recv(100) == b"plain"


def test_without_the_right_the_gate_says_so_once_and_goes_on(routed: Household, tmp_path: Path) -> None:
    gate = GateProcess(routed, tmp_path)
    gate.prefix = ("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw")
    with gate:
        gate.tell("mute")
        for _ in range(3):
            with connected(routed, socket.AF_INET) as (echo, end):
                echo.sendall(b"secret")
                assert learns(echo)
                end.sendall(b"anyone there?")
                assert learns(end)
        log = (tmp_path / "gate.log").read_text()
        assert log.count('"reset failed"') == 1
