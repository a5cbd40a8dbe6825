"""The rules on the real kernel: what the receiver's TCP delivers, with and without a gate."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from guard.core.verdict import Mode
from guard.netfilter import marks, queue, ruleset
from tests.netns.household import Household, Namespace, wait_until
from tests.netns.judge import Judge, Seen, Verdict, condemn_text

pytestmark = pytest.mark.kernel

FAMILIES = [socket.AF_INET, socket.AF_INET6]
PORT = 4433
_LOCAL_IN, _FORWARD, _LOCAL_OUT = 1, 2, 3

families = pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])


def install(home: Household, mode: Mode, **options: object) -> None:
    with home.gate.enter():
        ruleset.apply(home.make_spec(mode, **options))  # type: ignore[arg-type]  # any option


def tables(family: socket.AddressFamily, gate: Namespace, *words: str) -> str:
    return gate.run("iptables" if family is socket.AF_INET else "ip6tables", *words)


def count_packets(
    gate: Namespace, family: socket.AddressFamily, chain: str, text: str, table: str = "mangle"
) -> int:
    listing = tables(family, gate, "-t", table, "-nvxL", chain)
    return sum(int(line.split()[0]) for line in listing.splitlines() if text in line)


@contextlib.contextmanager
def listening(home: Household, family: socket.AddressFamily, port: int = PORT) -> Iterator[socket.socket]:
    with home.cloud.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((home.cloud_address[family], port))
        server.listen()
        yield server


@contextlib.contextmanager
def connected(
    home: Household, family: socket.AddressFamily, port: int = 0
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the Echo's end and the cloud's end of a new connection."""
    with listening(home, family) as server, home.echo.socket(family, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((home.echo_address[family], port))
        client.connect((home.cloud_address[family], PORT))
        end, _ = server.accept()
        end.settimeout(5)
        with end:
            yield client, end


def connects(home: Household, family: socket.AddressFamily, seconds: float = 0.3) -> bool:
    with listening(home, family), home.echo.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        try:
            client.connect((home.cloud_address[family], PORT))
        except TimeoutError:
            return False
        return True


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
        forwarded = [seen for seen in judge.seen if seen.hook == _FORWARD]
    assert any(seen.upstream and seen.payload.endswith(b"hello") for seen in forwarded)
    assert any(not seen.upstream and seen.payload.endswith(b"world") for seen in forwarded)
    assert {marks.get_device(seen.mark) for seen in judge.seen} == {1}


@families
def test_users_established_accept_opens_nothing(household: Household, family: socket.AddressFamily) -> None:
    def refuse_secret(seen: Seen) -> Verdict:
        if not seen.upstream:
            return queue.pass_downstream
        return queue.condemn if b"secret" in seen.payload else queue.accept

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
    with Judge(household.gate, script=refuse_secret), connected(household, family) as (echo, cloud):
        echo.sendall(b"open")
        assert cloud.recv(100) == b"open"
        echo.sendall(b"secret")
        # The reset is gone around, but the last word in POSTROUTING is not.
        wait_until(lambda: count_packets(household.gate, family, "WAKEGUARD-POSTROUTING", "DROP") >= 1)
        cloud.settimeout(0)
        with pytest.raises(BlockingIOError):
            cloud.recv(100)


@families
def test_a_condemned_flow_is_reset_at_both_ends_and_a_new_one_works(
    household: Household, family: socket.AddressFamily
) -> None:
    install(household, Mode.ENFORCE)
    with Judge(household.gate, script=condemn_text(b"secret")):
        with connected(household, family, port=50_001) as (echo, cloud):
            echo.sendall(b"open")
            assert cloud.recv(100) == b"open"
            echo.sendall(b"secret")
            with pytest.raises(ConnectionResetError):
                echo.recv(100)
            cloud.sendall(b"anyone there?")
            with pytest.raises(ConnectionResetError):
                cloud.recv(100)
        # The same tuple: conntrack still holds the condemned connection when its SYN comes.
        with connected(household, family, port=50_001) as (echo, cloud):
            echo.sendall(b"again")
            assert cloud.recv(100) == b"again"
            cloud.sendall(b"answer")
            assert echo.recv(100) == b"answer"


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
    assert {seen.mark & ~marks.MARK_MASK for seen in judge.seen if seen.hook == _FORWARD} == {0xABCDEF}
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
    def refuse_secret(seen: Seen) -> Verdict:
        if not seen.upstream:
            return queue.pass_downstream
        return queue.condemn if b"secret" in seen.payload else queue.accept

    install(household, Mode.ENFORCE)
    tables(family, household.gate, "-I", "INPUT", "-j", "ACCEPT")
    gate = household.gate_address[family]
    with (
        Judge(household.gate, script=refuse_secret) as judge,
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
    assert any(seen.upstream and seen.hook == _LOCAL_IN and b"query" in seen.payload for seen in judge.seen)
    assert any(
        not seen.upstream and seen.hook == _LOCAL_OUT and b"reply" in seen.payload for seen in judge.seen
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
def test_resets_pass_where_replies_reflect_the_mark(
    household: Household, family: socket.AddressFamily
) -> None:
    """The kernel's own reset then bears the condemned packet's mark; it goes out all the same."""
    name = "net.ipv4.fwmark_reflect" if family is socket.AF_INET else "net.ipv6.fwmark_reflect"
    household.gate.run("sysctl", "-qw", f"{name}=1")
    install(household, Mode.ENFORCE)
    with (
        Judge(household.gate, script=condemn_text(b"secret")) as judge,
        connected(household, family) as (echo, cloud),
    ):
        echo.sendall(b"secret")
        with pytest.raises(ConnectionResetError):
            echo.recv(100)
        cloud.sendall(b"anyone there?")
        with pytest.raises(ConnectionResetError):
            cloud.recv(100)
    tcp = [seen for seen in judge.seen if seen.payload[6 if family is socket.AF_INET6 else 9] == 6]
    assert {seen.hook for seen in tcp} == {_FORWARD}, "the gate's own resets are not judged"


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
def test_an_accepted_datagram_ends_the_condemnation_of_its_flow(
    household: Household, family: socket.AddressFamily
) -> None:
    target = (household.cloud_address[family], 5005)
    install(household, Mode.ENFORCE)

    def script(seen: Seen) -> Verdict:
        if not seen.upstream:
            return queue.pass_downstream
        return queue.condemn if b"secret" in seen.payload else queue.accept

    with (
        Judge(household.gate, script=script),
        household.cloud.socket(family, socket.SOCK_DGRAM) as server,
        household.echo.socket(family, socket.SOCK_DGRAM) as client,
    ):
        server.bind(target)
        client.sendto(b"open", target)
        _, peer = server.recvfrom(100)
        client.sendto(b"secret", target)
        wait_until(
            lambda: count_packets(household.gate, family, "WAKEGUARD-CONDEMNED", "DROP", "filter") == 1
        )
        server.sendto(b"answer to nobody", peer)
        wait_until(
            lambda: count_packets(household.gate, family, "WAKEGUARD-CONDEMNED", "DROP", "filter") == 2
        )
        client.sendto(b"again", target)
        assert server.recv(100) == b"again"
        server.sendto(b"answer", peer)
        assert client.recv(100) == b"answer"


@families
def test_an_inbound_connection_lives_again_after_it_was_condemned(
    household: Household, family: socket.AddressFamily
) -> None:
    """Its SYN comes from the other side, on a tuple that conntrack still holds as condemned."""
    install(household, Mode.ENFORCE)

    def script(seen: Seen) -> Verdict:
        if not seen.upstream:
            return queue.pass_downstream
        return queue.condemn if b"secret" in seen.payload else queue.accept

    def dial() -> tuple[socket.socket, socket.socket]:
        client = household.cloud.socket(family, socket.SOCK_STREAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((household.cloud_address[family], 50_002))
        client.connect((household.echo_address[family], PORT))
        end, _ = server.accept()
        end.settimeout(5)
        return client, end

    with (
        Judge(household.gate, script=script),
        household.echo.socket(family, socket.SOCK_STREAM) as server,
    ):
        server.bind((household.echo_address[family], PORT))
        server.listen()
        cloud, echo = dial()
        with cloud, echo:
            echo.sendall(b"secret")
            with pytest.raises(ConnectionResetError):
                echo.recv(100)
            cloud.sendall(b"anyone there?")
            with pytest.raises(ConnectionResetError):
                cloud.recv(100)
        cloud, echo = dial()
        with cloud, echo:
            echo.sendall(b"again")
            assert cloud.recv(100) == b"again"


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
