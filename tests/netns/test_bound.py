"""A hostile sender that spends every budget as fast as it can: what arrives stays below the printed bound."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.core.bound import get_bound, get_local_bound
from guard.core.packet import TCP, parse_packet
from guard.rules import load_policy
from tests.netns.families import families
from tests.netns.gate import GateProcess, TlsCloud
from tests.netns.household import Household

pytestmark = pytest.mark.kernel

SECONDS = 5.0
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
_HELLO_BYTES = 4096  # the most that a ClientHello may have (limits: handshake.hello_bytes)
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; not in Python's socket


class Receiver:
    """What reached the other side: datagrams by the wire, TCP by what the kernel delivered."""

    def __init__(self, home: Household, family: socket.AddressFamily) -> None:
        self.datagrams: dict[int, int] = {}  # destination port (0: no port) -> payload bytes
        self.delivered = 0
        self._echo = socket.inet_pton(family, home.echo_address[family])
        kind = _ETH_P_IP if family is socket.AF_INET else _ETH_P_IPV6
        self._wire = home.cloud.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(kind))
        self._wire.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 * 1024 * 1024)
        self._wire.bind(("eth0", kind))
        self._wire.settimeout(0.2)
        self._listener = home.cloud.socket(family, socket.SOCK_STREAM)
        self._listener.bind((home.cloud_address[family], 8443))
        self._listener.listen(64)
        self._listener.settimeout(0.2)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=work) for work in (self._watch, self._accept)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._wire.close()
        self._listener.close()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                packet = self._wire.recv(65536)
                protocol, key, _, size, *_ = parse_packet(packet)
                if key.startswith(self._echo) and protocol != TCP:
                    port = int.from_bytes(key[-2:]) if len(key) in (12, 36) else 0
                    self.datagrams[port] = self.datagrams.get(port, 0) + size

    def _accept(self) -> None:
        ends = []
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                end, _ = self._listener.accept()
                thread = threading.Thread(target=self._read, args=(end,))
                thread.start()
                ends.append(thread)
        for thread in ends:
            thread.join()

    def _read(self, end: socket.socket) -> None:
        end.settimeout(0.2)
        with end:
            while not self._stopping.is_set():
                try:
                    data = end.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                with self._lock:
                    self.delivered += len(data)


def make_hello() -> bytes:
    """Return a ClientHello that is all secret, as long as one may be."""
    body = _HELLO_BYTES - 9 - 2 - 32 - 1 - 4 - 2 - 2 - 4
    hello = b"\x03\x03" + os.urandom(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    hello += struct.pack(">HHH", body + 4, 21, body) + os.urandom(body)
    message = b"\x01" + len(hello).to_bytes(3) + hello
    return b"\x16\x03\x01" + len(message).to_bytes(2) + message


@families
@pytest.mark.parametrize("muted", [True, False], ids=["muted", "unmuted"])
def test_a_hostile_sender_stays_below_the_bound(
    routed: Household, tmp_path: Path, family: socket.AddressFamily, muted: bool
) -> None:
    target = routed.cloud_address[family]
    stop = threading.Event()

    def flood(port: int, size: int) -> Callable[[], None]:
        def send() -> None:
            with routed.echo.socket(family, socket.SOCK_DGRAM) as sender:
                while not stop.wait(0.004):
                    with contextlib.suppress(OSError):
                        sender.sendto(os.urandom(size), (target, port))

        return send

    def ping() -> None:
        protocol, kind = (
            (socket.IPPROTO_ICMP, 8) if family is socket.AF_INET else (socket.IPPROTO_ICMPV6, 128)
        )
        with routed.echo.socket(family, socket.SOCK_RAW, protocol) as sender:
            while not stop.wait(0.01):
                content = struct.pack(">BBHHH", kind, 0, 0, 1, 1) + os.urandom(200)
                if family is socket.AF_INET:
                    content = content[:2] + struct.pack(">H", checksum(content)) + content[4:]
                with contextlib.suppress(OSError):
                    sender.sendto(content, (target, 0))

    def greet() -> None:
        """Handshakes that are nothing but payload, then voice on the same connection."""
        while not stop.wait(0.01):
            with contextlib.suppress(OSError), routed.echo.socket(family, socket.SOCK_STREAM) as client:
                client.settimeout(1)
                client.connect((target, 8443))
                client.sendall(make_hello())
                client.sendall(b"\x17\x03\x03\x04\x00" + os.urandom(1024))
                client.recv(1)

    def beat(cloud: TlsCloud) -> Callable[[], None]:
        """Records as long as a heartbeat, one after the other, on connection after connection."""

        def send() -> None:
            while not stop.wait(0.2):
                with contextlib.suppress(OSError), cloud.connect(ssl.TLSVersion.TLSv1_2, seconds=1) as stream:
                    for _ in range(50):
                        stream.sendall(os.urandom(17))

        return send

    receiver = Receiver(routed, family)
    try:
        with GateProcess(routed, tmp_path) as gate, TlsCloud(routed, family) as cloud:
            began = time.monotonic()
            if muted:
                gate.tell("mute")
            work = [flood(53, 100), flood(123, 48), flood(443, 900), flood(5353, 100), flood(1900, 100)]
            work += [ping, greet, greet, greet, beat(cloud)]
            threads = [threading.Thread(target=part) for part in work]
            for thread in threads:
                thread.start()
            stop.wait(SECONDS)
            stop.set()
            for thread in threads:
                thread.join()
            printed = sum(gate.ask("status")["devices"][0]["bound"]["unexplained"].values())
            rows = gate.ask("status")["devices"][0]["packets"]
            seconds = time.monotonic() - began
    finally:
        stop.set()
        receiver.close()
    policy = load_policy()
    bound = get_bound(policy, balanced=False, seconds=seconds)
    assert printed == pytest.approx(sum(get_bound(policy, balanced=False).values()))
    heard = receiver.datagrams
    for port, name in ((53, "dns"), (123, "ntp"), (0, "icmp")):
        assert 0.5 * policy.budgets[name].burst < heard.pop(port) <= bound[name], name
    local = get_local_bound(policy, seconds=seconds)
    for port, name in ((5353, "mdns"), (1900, "ssdp")):
        assert heard.pop(port, 0) <= local[name], name
    assert heard == {}, "no other datagram"
    streams = receiver.delivered + cloud.received
    spent = policy.budgets["handshake"].burst if not muted else 0.5 * policy.budgets["handshake"].burst
    assert 0.5 * spent < streams <= bound["handshake"] + bound["heartbeat"] + bound["retransmit"]
    passed = {(row["class"], row["justification"]) for row in rows if row["verdict"] == "accept"}
    assert not any(kind == "app_data" for kind, _ in passed)


def checksum(content: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f">{len(content) // 2}H", content))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
