"""The rules on the real kernel: what the receiver's TCP delivers, with and without a gate."""

from __future__ import annotations

import socket
import struct

import pytest

from guard.core.verdict import Mode
from guard.netfilter import marks, ruleset
from tests.netns.connection import PORT, connected, connects
from tests.netns.families import families
from tests.netns.household import Household, wait_until
from tests.netns.judge import FORWARD, LOCAL_IN, LOCAL_OUT, Judge, condemn_packets, condemn_text
from tests.netns.rules import count_packets, install, tables

pytestmark = pytest.mark.kernel


@families
@pytest.mark.parametrize("by_address", [False, True], ids=["mac", "address"])
def test_enforce_without_a_gate_passes_nothing(
    household: Household, family: socket.AddressFamily, by_address: bool
) -> None:
    assert connects(household, family, 3)
    install(household, Mode.ENFORCE, by_address=by_address)
    assert not connects(household, family)
    assert count_packets(household.gate, family, "WAKEGUARD-QUEUE", "NFQUEUE") > 0


@families
def test_enforce_without_a_gate_passes_no_datagram(
    household: Household, family: socket.AddressFamily
) -> None:
    with (
        household.cloud.socket(family, socket.SOCK_DGRAM) as server,
        household.echo.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((household.cloud_address[family], PORT))
        target = (household.cloud_address[family], PORT)
        client.sendto(b"before", target)
        assert server.recv(100) == b"before"
        install(household, Mode.ENFORCE)
        for _ in range(5):
            client.sendto(b"after", target)
        wait_until(lambda: count_packets(household.gate, family, "WAKEGUARD-QUEUE", "NFQUEUE") >= 5)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.recv(100)


@families
def test_monitor_without_a_gate_passes(household: Household, family: socket.AddressFamily) -> None:
    install(household, Mode.MONITOR)
    assert connects(household, family, 5)
    assert count_packets(household.gate, family, "WAKEGUARD-QUEUE", "NFQUEUE") > 0


@families
def test_both_directions_are_queued_and_what_is_accepted_arrives(
    household: Household, family: socket.AddressFamily
) -> None:
    install(household, Mode.ENFORCE)
    with Judge(household.gate) as judge, connected(household, family) as (echo, cloud):
        echo.sendall(b"hello")
        assert cloud.recv(100) == b"hello"
        cloud.sendall(b"world")
        assert echo.recv(100) == b"world"
        forwarded = [seen for seen in judge.seen if seen.hook == FORWARD]
    assert any(seen.upstream and seen.payload.endswith(b"hello") for seen in forwarded)
    assert any(not seen.upstream and seen.payload.endswith(b"world") for seen in forwarded)
    assert {marks.get_device(seen.mark) for seen in judge.seen} == {1}


@families
def test_users_established_accept_opens_nothing(household: Household, family: socket.AddressFamily) -> None:
    install(household, Mode.ENFORCE)
    for chain in ("FORWARD", "INPUT"):
        tables(
            family,
            household.gate,
            "-I",
            chain,
            "-m",
            "conntrack",
            "--ctstate",
            "ESTABLISHED,RELATED",
            "-j",
            "ACCEPT",
        )
    tables(family, household.gate, "-t", "mangle", "-I", "FORWARD", "-p", "udp", "-j", "ACCEPT")
    with (
        Judge(household.gate, script=condemn_packets(b"secret")),
        connected(household, family) as (echo, cloud),
    ):
        echo.sendall(b"open")
        assert cloud.recv(100) == b"open"
        echo.sendall(b"secret")
        # The reset is gone around, but the last word in POSTROUTING is not.
        wait_until(lambda: count_packets(household.gate, family, "WAKEGUARD-POSTROUTING", "DROP") >= 1)
        cloud.settimeout(0)
        with pytest.raises(BlockingIOError):
            cloud.recv(100)


@families
def test_foreign_mark_bits_survive(household: Household, family: socket.AddressFamily) -> None:
    tables(
        family,
        household.gate,
        "-t",
        "mangle",
        "-A",
        "PREROUTING",
        "-j",
        "MARK",
        "--set-xmark",
        "0x00abcdef/0x00ffffff",
    )
    tables(
        family,
        household.gate,
        "-t",
        "mangle",
        "-A",
        "PREROUTING",
        "-j",
        "CONNMARK",
        "--set-xmark",
        "0x00123456/0x00ffffff",
    )
    tables(
        family,
        household.gate,
        "-t",
        "mangle",
        "-A",
        "POSTROUTING",
        "-m",
        "mark",
        "--mark",
        "0x00abcdef",
        "-j",
        "RETURN",
    )
    install(household, Mode.ENFORCE)
    with Judge(household.gate) as judge, connected(household, family) as (echo, cloud):
        echo.sendall(b"hello")
        assert cloud.recv(100) == b"hello"
    version = 4 if family is socket.AF_INET else 6  # the bridge passes both, our rules mark one
    ours = [seen for seen in judge.seen if seen.hook == FORWARD and seen.payload[0] >> 4 == version]
    assert {seen.mark & ~marks.MARK_MASK for seen in ours} == {0xABCDEF}
    # Unmasked, so it matches only when ours are gone again at the end.
    assert count_packets(household.gate, family, "POSTROUTING", "RETURN") > 0
    connections = household.gate.run("conntrack", "-L", "-f", "ipv4" if family is socket.AF_INET else "ipv6")
    assert f"mark={0x01123456}" in connections


@families
def test_a_users_restored_mark_does_not_hide_the_device(
    household: Household, family: socket.AddressFamily
) -> None:
    install(household, Mode.ENFORCE)
    tables(family, household.gate, "-t", "mangle", "-A", "PREROUTING", "-j", "CONNMARK", "--restore-mark")
    with Judge(household.gate) as judge, connected(household, family) as (echo, cloud):
        echo.sendall(b"hello")
        assert cloud.recv(100) == b"hello"
    assert any(seen.upstream and seen.payload.endswith(b"hello") for seen in judge.seen)
    assert not any(not seen.upstream and seen.payload.endswith(b"hello") for seen in judge.seen)


@families
def test_what_goes_to_the_gate_itself_is_queued(household: Household, family: socket.AddressFamily) -> None:
    install(household, Mode.ENFORCE)
    tables(family, household.gate, "-I", "INPUT", "-j", "ACCEPT")
    gate = household.gate_address[family]
    with (
        Judge(household.gate, script=condemn_packets(b"secret")) as judge,
        household.gate.socket(family, socket.SOCK_DGRAM) as server,
        household.echo.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((gate, 53))
        client.bind((household.echo_address[family], 0))
        client.sendto(b"secret query", (gate, 53))
        client.sendto(b"query", (gate, 53))
        message, peer = server.recvfrom(100)
        assert message == b"query"
        server.sendto(b"reply", peer)
        assert client.recv(100) == b"reply"
    assert any(seen.upstream and seen.hook == LOCAL_IN and b"query" in seen.payload for seen in judge.seen)
    assert any(
        not seen.upstream and seen.hook == LOCAL_OUT and b"reply" in seen.payload for seen in judge.seen
    )


@families
def test_others_are_never_queued(household: Household, family: socket.AddressFamily) -> None:
    household.echo.run("ip", "link", "set", "eth0", "down")  # not even its own neighbour discovery
    install(household, Mode.ENFORCE)
    for address in (household.cloud_address[family], "127.0.0.1" if family is socket.AF_INET else "::1"):
        space = household.gate if address in ("127.0.0.1", "::1") else household.cloud
        with (
            space.socket(family, socket.SOCK_DGRAM) as server,
            household.gate.socket(family, socket.SOCK_DGRAM) as client,
        ):
            server.bind((address, PORT))
            client.sendto(b"mine", (address, PORT))
            message, peer = server.recvfrom(100)
            server.sendto(message, peer)
            assert client.recv(100) == b"mine"
    assert count_packets(household.gate, family, "WAKEGUARD-QUEUE", "NFQUEUE") == 0


@families
@pytest.mark.parametrize("bridged", [True, False], ids=["bridged", "routed"])
@pytest.mark.parametrize("lan", ["br0", "lan0"])
def test_a_bridge_and_its_port_as_lan(family: socket.AddressFamily, bridged: bool, lan: str) -> None:
    with Household(bridged=bridged, lan_bridge=True) as home:
        install(home, Mode.ENFORCE, lan=lan)
        with home.gate.enter():
            assert ruleset.check(home.make_spec(Mode.ENFORCE, lan=lan)) == ()
        assert not connects(home, family)
        with (
            Judge(home.gate, script=condemn_text(b"secret")) as judge,
            connected(home, family) as (echo, cloud),
        ):
            echo.sendall(b"hello")
            assert cloud.recv(100) == b"hello"
            echo.sendall(b"secret")
            with pytest.raises(ConnectionResetError):
                echo.recv(100)
        assert any(seen.upstream and seen.payload.endswith(b"hello") for seen in judge.seen)


@families
def test_a_wrong_checksum_is_dropped_before_the_judge(
    household: Household, family: socket.AddressFamily
) -> None:
    """The receiver would ignore it: were it judged, a second datagram could say something else."""
    install(household, Mode.ENFORCE)
    target = household.cloud_address[family]
    with (
        Judge(household.gate) as judge,
        household.cloud.socket(family, socket.SOCK_DGRAM) as server,
        household.echo.socket(family, socket.SOCK_DGRAM) as client,
        household.echo.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw,
    ):
        server.bind((target, 5005))
        client.bind((household.echo_address[family], 5005))
        client.sendto(b"first", (target, 5005))
        assert server.recv(100) == b"first"
        if family is socket.AF_INET6:
            raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, -1)
        raw.sendto(struct.pack(">HHHH", 5005, 5005, 8 + 7, 0xBAD1) + b"forgery", (target, 0))
        wait_until(lambda: count_packets(household.gate, family, "WAKEGUARD-QUEUE", "INVALID") == 1)
        client.sendto(b"last", (target, 5005))
        assert server.recv(100) == b"last"
    assert not any(b"forgery" in seen.payload for seen in judge.seen)


@families
def test_a_users_accept_before_ours_opens_no_way_to_the_gate_itself(
    household: Household, family: socket.AddressFamily
) -> None:
    gate = household.gate_address[family]
    with (
        household.gate.socket(family, socket.SOCK_DGRAM) as server,
        household.echo.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((gate, 53))
        client.sendto(b"before", (gate, 53))
        assert server.recv(100) == b"before"
        install(household, Mode.ENFORCE)
        tables(family, household.gate, "-t", "mangle", "-I", "INPUT", "-p", "udp", "-j", "ACCEPT")
        client.sendto(b"after", (gate, 53))
        wait_until(lambda: count_packets(household.gate, family, "WAKEGUARD-INPUT", "DROP", "filter") == 1)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.recv(100)
