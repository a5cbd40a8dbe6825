"""Condemned flows on the real kernel: reset at both ends, and living again when they may."""

from __future__ import annotations

import socket

import pytest

from guard.core.verdict import Mode
from tests.netns.connection import PORT, connected
from tests.netns.families import families
from tests.netns.household import Household, wait_until
from tests.netns.judge import FORWARD, Judge, condemn_packets, condemn_text
from tests.netns.rules import count_packets, install

pytestmark = pytest.mark.kernel


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
    assert {seen.hook for seen in tcp} == {FORWARD}, "the gate's own resets are not judged"


@families
def test_an_accepted_datagram_ends_the_condemnation_of_its_flow(
    household: Household, family: socket.AddressFamily
) -> None:
    target = (household.cloud_address[family], 5005)
    install(household, Mode.ENFORCE)

    with (
        Judge(household.gate, script=condemn_packets(b"secret")),
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

    def dial() -> tuple[socket.socket, socket.socket]:
        client = household.cloud.socket(family, socket.SOCK_STREAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((household.cloud_address[family], 50_002))
        client.connect((household.echo_address[family], PORT))
        end, _ = server.accept()
        end.settimeout(5)
        return client, end

    with (
        Judge(household.gate, script=condemn_packets(b"secret")),
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
