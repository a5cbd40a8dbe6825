"""Everything else that carries payload: sent by real kernels and raw sockets, looked for on the cloud's wire.

Each carrier holds ``SECRET``. A name query that may pass is sent last; what the cloud saw before it is all
that ever left.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN
from scapy.packet import Raw

from guard.core.bound import get_bound
from guard.rules import load_policy
from tests.netns.families import families
from tests.netns.gate import GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household, wait_until

pytestmark = pytest.mark.kernel

SECRET = b"SECRET-voice"
_ETH_P_ALL = 3
_PACKET_OUTGOING = 4
_QUIC_LONG = b"\xc3\x00\x00\x00\x01\x08" + SECRET
_STUN = b"\x00\x01\x00\x0c\x21\x12\xa4\x42" + SECRET
_SRTP = b"\x80\x60\x00\x01" + SECRET
_DATAGRAMS = {443: _QUIC_LONG, 3478: _STUN, 40_000: _SRTP, 7: SECRET, 4500: SECRET}


class Wiretap:
    """The cloud's interface, and a raw socket of the Echo."""

    def __init__(self, home: Household, family: socket.AddressFamily) -> None:
        self.home = home
        self.family = family
        self.ears = home.cloud.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self.ears.bind(("eth0", _ETH_P_ALL))
        self.raw = home.echo.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.queries = home.echo.socket(family, socket.SOCK_DGRAM)
        self.target = home.cloud_address[family]
        self._last = 0

    def __enter__(self) -> Wiretap:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in (self.ears, self.raw, self.queries):
            opened.close()

    def ip(self) -> Any:
        """Return the header of a raw packet to the cloud."""
        header = IP if self.family is socket.AF_INET else IPv6
        return header(src=self.home.echo_address[self.family], dst=self.target)

    def send(self, packet: Any) -> None:
        """Send a raw packet from the Echo."""
        self.raw.sendto(bytes(packet), (self.target, 0))

    def get_frames(self) -> list[bytes]:
        """Return every frame that the cloud saw from the Echo up to a query sent now."""
        self._last += 1
        mark = b"last%d" % self._last
        self.queries.sendto(mark, (self.target, 53))
        frames: list[bytes] = []
        while True:
            frame, (_, _, kind, *_) = self.ears.recvfrom(65536)
            if mark in frame:
                return frames
            if kind != _PACKET_OUTGOING:
                frames.append(frame)

    def leaks(self, gate: GateProcess) -> bool:
        """Tell whether the secret reached the cloud, once nothing waits for a wake word any more."""
        frames = self.get_frames()
        wait_until(lambda: gate.ask("status")["devices"][0]["holds"]["packets"] == 0)
        return any(SECRET in frame for frame in frames + self.get_frames())


HOLD = load_policy().hold_s + 1.0  # seconds until what waits is refused, and a bit


def send_datagrams(tap: Wiretap) -> None:
    with tap.home.echo.socket(tap.family, socket.SOCK_DGRAM) as sender:
        for port, content in _DATAGRAMS.items():
            sender.sendto(content, (tap.target, port))
    with tap.home.echo.socket(tap.family, socket.SOCK_DGRAM) as sender:
        sender.bind((tap.home.echo_address[tap.family], 53))  # a server's port is no licence
        sender.sendto(SECRET, (tap.target, 40_001))


def send_fragments(tap: Wiretap) -> None:
    """A datagram of three fragments: conntrack puts them together before the judge."""
    with tap.home.echo.socket(tap.family, socket.SOCK_DGRAM) as sender:
        sender.sendto(SECRET * 300, (tap.target, 40_002))


def send_syn_data(tap: Wiretap) -> None:
    for port in (80, 443):
        tap.send(tap.ip() / TCP(sport=50_010, dport=port, flags="S", seq=1) / SECRET)


def send_strange_protocols(tap: Wiretap) -> None:
    for number in (4, 41, 47, 50, 51, 89, 132, 253):
        header = tap.ip()
        setattr(header, "proto" if tap.family is socket.AF_INET else "nh", number)
        tap.send(header / Raw(SECRET * 4))


def send_extension_headers(tap: Wiretap) -> None:
    """The datagram behind them is judged as it would be without them."""
    if tap.family is socket.AF_INET:
        tap.send(IP(bytes(tap.ip() / UDP(sport=5, dport=40_003) / SECRET)))
        return
    for header in (IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop):
        options = header(options=[PadN(optdata=b"\0" * 4)])
        tap.send(tap.ip() / options / UDP(sport=5, dport=40_003) / SECRET)


def send_orphans(tap: Wiretap) -> None:
    """Segments of connections that nobody knows."""
    for flags in ("PA", "A", "FPA", "R", "RA", "", "FPU", "UPA"):
        tap.send(tap.ip() / TCP(sport=50_011, dport=443, flags=flags, seq=9, ack=9, urgptr=3) / SECRET)


CARRIERS: dict[str, Callable[[Wiretap], None]] = {
    "datagrams": send_datagrams,
    "fragments": send_fragments,
    "data in a SYN": send_syn_data,
    "strange protocols": send_strange_protocols,
    "extension headers": send_extension_headers,
    "segments without a connection": send_orphans,
}


@families
def test_no_carrier_gets_through(household: Household, tmp_path: Path, family: socket.AddressFamily) -> None:
    with GateProcess(household, tmp_path, mode="monitor") as gate, Wiretap(household, family) as tap:
        with household.cloud.socket(family, socket.SOCK_DGRAM) as server:
            server.bind((tap.target, 40_002))
            for name, send in CARRIERS.items():
                send(tap)
                frames = tap.get_frames()
                assert any(SECRET in frame for frame in frames), f"in monitor {name} must arrive"
        gate.ask("mode", mode="enforce")
        for send in CARRIERS.values():
            send(tap)
        assert not tap.leaks(gate)
        assert gate.count(verdict="refuse", reason="opaque_datagram") > 0
        assert gate.count(verdict="refuse", reason="opaque_protocol") > 0


@families
@pytest.mark.parametrize("muted", [True, False], ids=["muted", "unmuted"])
def test_tcp_that_is_not_tls_delivers_nothing(
    household: Household, tmp_path: Path, family: socket.AddressFamily, muted: bool
) -> None:
    """Plain, urgent, and dribbled byte by byte; counted by the receiving kernel, and on its wire."""
    with GateProcess(household, tmp_path) as gate, Wiretap(household, family) as tap:
        if muted:
            gate.tell("mute")
        for step, flags in ((len(SECRET), 0), (len(SECRET), socket.MSG_OOB), (1, 0)):
            with (
                household.cloud.socket(family, socket.SOCK_STREAM) as listener,
                household.echo.socket(family, socket.SOCK_STREAM) as client,
            ):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
                listener.bind((tap.target, 80))
                listener.listen()
                client.connect((tap.target, 80))
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end, _ = listener.accept()
                with end, contextlib.suppress(OSError):
                    for at in range(0, len(SECRET), step):
                        client.send(SECRET[at : at + step], flags)
                with end, contextlib.suppress(ConnectionResetError, OSError):
                    end.settimeout(HOLD)
                    assert end.recv(100) == b""
        assert not tap.leaks(gate)


@families
def test_a_connection_from_before_a_restart_is_reset_and_a_new_one_works(
    household: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    with GateProcess(household, tmp_path) as gate, TlsCloud(household, family) as cloud:
        gate.tell("wake")
        with cloud.connect() as stream:
            cloud.deliver(stream, 5000)
            gate.stop(signal.SIGKILL)
            gate.start()
            # no key to read it by, and no wake word: in mid-stream it is application data
            assert talks_in_vain(stream, 5000)
        gate.tell("wake")
        with cloud.connect() as stream:
            cloud.deliver(stream, 5000)
        assert cloud.received == 10_000
        assert gate.count(reason="midstream", verdict="refuse") > 0


@families
def test_names_asked_of_the_gateway_pass_within_their_budget(
    routed: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    """On INPUT as elsewhere; the rest is refused without an answer."""
    gateway, received = routed.gate_address[family], 0
    with (
        GateProcess(routed, tmp_path) as gate,
        routed.gate.socket(family, socket.SOCK_DGRAM) as server,
        routed.echo.socket(family, socket.SOCK_DGRAM) as client,
    ):
        began = time.monotonic()
        server.bind((gateway, 53))
        for _ in range(100):
            client.sendto(b"n" * 200, (gateway, 53))
            client.sendto(SECRET, (gateway, 8053))
        wait_until(lambda: gate.count(verdict="refuse", reason="budget_exhausted") > 10)
        server.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while True:
                received += len(server.recv(500))
        bound = get_bound(load_policy(), balanced=False, seconds=time.monotonic() - began)["dns"]
        assert 0.9 * load_policy().budgets["dns"].burst <= received <= bound


@families
def test_echo_requests_pass_within_their_budget(
    household: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    with GateProcess(household, tmp_path) as gate, Wiretap(household, family) as tap:
        began = time.monotonic()
        echo = ICMP() if family is socket.AF_INET else ICMPv6EchoRequest()
        for _ in range(60):
            tap.send(tap.ip() / echo / Raw(SECRET * 10))
        wait_until(lambda: gate.count(verdict="refuse", reason="budget_exhausted") > 10)
        frames = [frame for frame in tap.get_frames() if SECRET * 10 in frame]
        bound = get_bound(load_policy(), balanced=False, seconds=time.monotonic() - began)["icmp"]
        assert 0 < len(frames) * (8 + len(SECRET) * 10) <= bound
