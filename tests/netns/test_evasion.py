"""The evasion cases on real kernels: the real gate, its rules, and Linux's TCP as the receiver.

The Echo's packets are written to the wire as the case has them, with addresses and acknowledgement numbers of
this household. A DNS query behind each tells when the kernels and the gate are through with it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from guard.core.event import Event, MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Mode
from guard.netfilter import ruleset
from tests import wire
from tests.cases import segments, tls
from tests.cases.scene import CLOUD_ISN, ECHO, MODULUS, PORT, VOICE, Scene, ping, voice
from tests.netns.gate import GateProcess
from tests.netns.household import Household
from tests.netns.judge import Judge

pytestmark = pytest.mark.kernel

BARRIER_PORT, BARRIER = 53, b"barrier"
LONGEST_S = 3.0  # of a case on its own clock; what waits longer for a heartbeat is replayed only
# What a real cloud does not do, or this short way does not: it acknowledges no unseen bytes, and no hop is
# missing between the gate and it.
ELSEWHERE = {"acknowledged-unseen", "acknowledged-wildly", "retransmitted-while-muted"}
CASES = {
    name: case
    for name, case in {**segments.CASES, **tls.CASES}.items()
    if case().now < LONGEST_S and name not in ELSEWHERE
}


@dataclass
class Cable:
    """The Echo's network card, written to directly, and the cloud's application."""

    home: Household

    def __post_init__(self) -> None:
        self.raw = self.home.echo.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.raw.bind(("eth0", 0x0800))
        # The Echo's own TCP knows nothing of these connections: it must not end them.
        self.home.echo.run("iptables", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP")
        self.echo = self.home.echo_address[socket.AF_INET]
        self.cloud = self.home.cloud_address[socket.AF_INET]
        self.macs = [
            namespace.run("cat", f"/sys/class/net/{interface}/address").strip()
            for namespace, interface in ((self.home.echo, "eth0"), (self.home.gate, "lan0"))
        ]
        self.barrier = self.home.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.barrier.bind((self.cloud, BARRIER_PORT))
        self.listener = self.home.cloud.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((self.cloud, PORT))
        self.listener.listen()
        self.listener.setblocking(False)
        self.ends: list[socket.socket] = []
        self.read = b""
        self.server_isn = 0

    def close(self) -> None:
        for end in (*self.ends, self.raw, self.barrier, self.listener):
            end.close()

    def write(self, packet: Packet) -> None:
        """Send a packet of a case; what comes back is taken note of before this returns."""
        packet = packet.copy()
        packet[Ether].src, packet[Ether].dst = self.macs
        packet[IP].src, packet[IP].dst = self.echo, self.cloud
        if packet[TCP].ack:
            packet[TCP].ack = (packet[TCP].ack - CLOUD_ISN + self.server_isn) % MODULUS
        self.raw.send(bytes(packet))
        self.settle()
        if packet[TCP].flags == "S" and not packet.haslayer(Raw) and self.server_isn == 0:
            self.server_isn = self._read_isn()
        self._read_all()

    def settle(self) -> None:
        """Return when everything written so far is through, or refused."""
        query = wire.udp(BARRIER, target_port=BARRIER_PORT)
        packet = wire.ipv4(query, protocol=wire.UDP, source=self.echo, target=self.cloud)
        self.raw.send(bytes.fromhex("".join(reversed(self.macs)).replace(":", "")) + b"\x08\x00" + packet)
        assert self.barrier.recv(100) == BARRIER

    def answer(self, payload: bytes) -> None:
        """Let the cloud's application send."""
        for end in self.ends[-1:]:
            try:
                end.sendall(payload)
            except OSError:
                return

    def _read_isn(self) -> int:
        while True:
            packet = IP(self.raw.recv(2048)[14:])
            if packet.haslayer(TCP) and packet[TCP].sport == PORT and packet[TCP].flags == "SA":
                return int(packet[TCP].seq)

    def _read_all(self) -> None:
        try:
            end, _ = self.listener.accept()
        except BlockingIOError:
            pass
        else:
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.ends.append(end)
        for end in self.ends:
            try:
                while data := end.recv(1 << 16):
                    self.read += data
            except OSError:
                continue


@pytest.fixture
def cable(routed: Household) -> Iterator[Cable]:
    made = Cable(routed)
    yield made
    made.close()


def tell(gate: GateProcess, event: Event) -> None:
    if isinstance(event, WakeEvent):
        gate.tell("wake")
    else:
        assert isinstance(event, MuteEvent)
        gate.tell({MuteState.MUTED: "mute", MuteState.UNMUTED: "unmute"}[event.state])


def play(cable: Cable, scene: Scene, gate: GateProcess | None) -> None:
    """Lead a case through the household, its events in their places."""
    events = list(scene.events)
    for at, packet in scene.packets:
        while events and events[0].t <= at:
            event = events.pop(0)
            if gate is not None:
                tell(gate, event)
        if packet[IP].src == ECHO:
            cable.write(packet)
        elif packet.haslayer(Raw):
            cable.answer(bytes(packet[Raw]))
            cable.settle()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_delivers_no_more_than_is_written(cable: Cable, name: str, tmp_path: Path) -> None:
    scene = CASES[name]()
    with GateProcess(cable.home, tmp_path, extra="[limits.hold]\nhold_s = 0\n") as gate:
        play(cable, scene, gate)
        assert gate.ask("status")["mode"] == "enforce"
    assert cable.read.count(VOICE) == scene.gated
    assert cable.read or not scene.gated


@pytest.mark.parametrize("name", ["tiny-segments", "gap-then-fill", "syn-inside", "reset-inexact"])
def test_without_a_gate_the_case_arrives(cable: Cable, name: str) -> None:
    """The cases have teeth on this very kernel."""
    scene = CASES[name]()
    play(cable, scene, None)
    assert cable.read.count(VOICE) == scene.ungated > 0


# What lies before the window is no INVALID for conntrack (it may be a retransmission): the engine refuses it.
INVALID: dict[str, dict[str, Any]] = {
    "checksum": {"chksum": 0x1234},
    "beyond the window": {"at": 1 << 24},
}


@pytest.mark.parametrize("kind", INVALID)
def test_what_the_receiver_ignores_never_reaches_the_engine(cable: Cable, kind: str) -> None:
    """The rules drop what conntrack calls INVALID: the judge accepts everything, and does not see it."""
    with cable.home.gate.enter():
        ruleset.apply(cable.home.make_spec(Mode.ENFORCE))
    scene = Scene("").open()
    scene.up(ping(), "")
    with Judge(cable.home.gate) as judge:
        play(cable, scene, None)
        assert cable.read == ping()
        fields = dict(INVALID[kind])
        at = fields.pop("at", scene.sent)
        cable.write(Ether() / scene.ip() / scene.tcp(voice(), at=at, **fields))
        cable.write(Ether() / scene.ip() / scene.tcp(b"end", at=scene.sent))
        seen = [packet.payload for packet in judge.seen]
    assert not any(VOICE * 10 in payload for payload in seen)
    assert any(payload.endswith(b"end") for payload in seen)
    assert cable.read == ping() + b"end"
