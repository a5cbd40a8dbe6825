"""How a case is written down: packets in their order, each of the Echo's with the answer it must get.

A scene becomes a folder: ``capture.pcap``, ``events.jsonl`` where the room says something, ``expect.toml``.
Packets are made with scapy, so their checksums are right unless a case wants them wrong. ``VOICE`` fills
whatever could tell something, and nothing else contains it: what the receiver gets of it is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import EDecimal, wrpcap

from guard.core.event import Event, MuteEvent, MuteState, TraceHeader, WakeEvent, format_line
from tests import wire

ECHO_MAC, GATE_MAC = "02:00:00:00:77:02", "02:00:00:00:77:01"
EPOCH = 1_700_000_000
ECHO, CLOUD, ECHO6, CLOUD6 = wire.ECHO, wire.CLOUD, wire.ECHO6, wire.CLOUD6
PORT, ECHO_PORT = 443, 46619
CLOUD_ISN = 900_000
VOICE, BEAT = b"\xee", b"\x11"
MODULUS = 1 << 32

SETUP = "handshake accept connection_setup"
CONTROL = "ack accept tcp_control"
HANDSHAKE = "handshake accept handshake"
HEARTBEAT = "syn accept heartbeat"
AGAIN = "retransmit accept retransmission"
NO_INTERACTION = "app_data justified refuse flow no_interaction"
CONDEMNED = "app_data justified refuse flow condemned"
MISMATCH = "app_data justified refuse flow overlap_mismatch"
OUT_OF_ORDER = "app_data justified refuse packet out_of_order"
SPLIT = "app_data justified refuse packet split_header"
MALFORMED = "app_data justified refuse packet malformed"


def voice(size: int = 353) -> bytes:
    """Return a record of application data that must not arrive."""
    return wire.record(wire.APPLICATION_DATA, VOICE * size)


def ping() -> bytes:
    """Return an HTTP/2 PING as AES-GCM of TLS 1.2 sends it."""
    return wire.record(wire.APPLICATION_DATA, BEAT * 41)


@dataclass
class Scene:
    """One case while it is being written; ``rules`` says what the rules, not the engine, must refuse."""

    shows: str
    isn: int = 1000
    version: int = 4
    rules: str = ""
    budget: str = ""
    answers: list[str] = field(default_factory=list)
    ungated: int = 0
    gated: int = 0
    packets: list[tuple[float, Packet]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    now: float = 0.0
    port: int = ECHO_PORT

    def __post_init__(self) -> None:
        self.seq = (self.isn + 1) % MODULUS
        self.peer = CLOUD_ISN + 1
        self.start = self.seq

    # -- what a case is made of --------------------------------------------------------------------

    def ip(self, *, up: bool = True, **fields: Any) -> Packet:
        """Return the IP header of a packet."""
        if self.version == 4:
            ends = (ECHO, CLOUD) if up else (CLOUD, ECHO)
            return IP(src=ends[0], dst=ends[1], id=1, flags="DF", **fields)
        ends = (ECHO6, CLOUD6) if up else (CLOUD6, ECHO6)
        return IPv6(src=ends[0], dst=ends[1], **fields)

    def tcp(self, payload: bytes = b"", *, at: int | None = None, flags: str = "PA", **fields: Any) -> Packet:
        """Return a segment of the Echo, ``at`` so many bytes from the start; nothing moves."""
        seq = self.seq if at is None else (self.start + at) % MODULUS
        fields = {"ack": self.peer if "A" in flags else 0, **fields}
        made = TCP(sport=self.port, dport=PORT, seq=seq, flags=flags, window=65535, **fields)
        return made / payload if payload else made

    def send(self, packet: Packet, answer: str | None) -> None:
        """Put a packet of the Echo on the wire; an answer of None: it never reaches the engine."""
        frame = packet if packet.haslayer(Ether) else Ether(src=ECHO_MAC, dst=GATE_MAC) / packet
        self.packets.append((self.now, frame))
        if answer is not None:
            self.answers.append(answer)
        self.wait(0.001)

    def up(self, payload: bytes, answer: str, *, at: int | None = None, **fields: Any) -> None:
        """Send a segment; without ``at`` it is the next one."""
        self.send(self.ip() / self.tcp(payload, at=at, **fields), answer)
        if at is None:
            self.seq = (self.seq + len(payload)) % MODULUS

    def down(self, payload: bytes = b"", *, ack: int | None = None, flags: str = "A", **fields: Any) -> None:
        """Send a segment of the cloud; ``ack`` counts from the start."""
        number = self.seq if ack is None else (self.start + ack) % MODULUS
        fields = {"seq": self.peer, "ack": number, "window": 65535, **fields}
        segment = TCP(sport=PORT, dport=self.port, flags=flags, **fields)
        packet = self.ip(up=False) / (segment / payload if payload else segment)
        self.packets.append((self.now, Ether(src=GATE_MAC, dst=ECHO_MAC) / packet))
        self.peer = (self.peer + len(payload)) % MODULUS
        self.wait(0.001)

    def wait(self, seconds: float) -> None:
        self.now = round(self.now + seconds, 6)

    def wake(self) -> None:
        self.events.append(WakeEvent(self.now, "alexa"))

    def mute(self, state: MuteState = MuteState.MUTED) -> None:
        self.events.append(MuteEvent(self.now, state))

    @property
    def sent(self) -> int:
        """How many bytes of the stream were sent."""
        return (self.seq - self.start) % MODULUS

    # -- longer phrases ----------------------------------------------------------------------------

    def open(self) -> Scene:
        """Do the three-way handshake."""
        self.send(self.ip() / self.tcp(flags="S", at=-1), SETUP)
        self.down(flags="SA", seq=self.peer - 1, ack=0)
        self.up(b"", CONTROL, flags="A")
        return self

    def say_hello(self, hello: bytes = b"") -> Scene:
        """Send a ClientHello."""
        self.up(hello or wire.client_hello(), HANDSHAKE)
        return self

    def establish(self) -> Scene:
        """Open and do a TLS 1.2 handshake with AES-GCM."""
        self.open().say_hello()
        self.down(wire.server_hello() + wire.SERVER_FLIGHT_1_2)
        self.up(wire.CLIENT_KEY_EXCHANGE + wire.CCS + wire.FINISHED_GCM, HANDSHAKE)
        self.down(wire.CCS + wire.FINISHED_GCM)
        return self

    def establish_1_3(self) -> Scene:
        """Open and do a TLS 1.3 handshake with AES-128-GCM, up to the client's Finished."""
        self.open().say_hello(wire.client_hello(versions=(wire.TLS_1_3, wire.TLS_1_2)))
        self.down(wire.server_hello(wire.AES_128_GCM_SHA256) + wire.CCS + wire.app_data(1200))
        return self

    def expect(self, *, ungated: int, gated: int = 0) -> Scene:
        """Say how many bytes of VOICE a Linux receiver delivers, without the gate and with it."""
        self.ungated, self.gated = ungated, gated
        return self

    # -- on disk -----------------------------------------------------------------------------------

    def write(self, folder: Path) -> None:
        """Write the case's files."""
        folder.mkdir(parents=True, exist_ok=True)
        for at, packet in self.packets:
            packet.time = EDecimal(EPOCH) + EDecimal(f"{at:.6f}")
        wrpcap(str(folder / "capture.pcap"), [packet for _, packet in self.packets], linktype=1)
        if self.events:
            lines = [format_line(TraceHeader(EPOCH * 1_000_000_000)), *map(format_line, self.events)]
            (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "expect.toml").write_text(self._format(), encoding="utf-8")

    def _format(self) -> str:
        lines = [f'shows = "{self.shows}"']
        lines += [f'rules = "{self.rules}"'] if self.rules else []
        lines += [f'budget = "{self.budget}"'] if self.budget else []
        lines += [f"delivered = {{ ungated = {self.ungated}, gated = {self.gated} }}  # bytes of VOICE"]
        lines += ["enforce = [", *(f'    "{answer}",' for answer in self.answers), "]"]
        return "\n".join(lines) + "\n"


Case = Callable[[], Scene]
Cases = Mapping[str, Case]
