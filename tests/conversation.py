"""One TCP connection of a device, played against an engine; a test is a script before it is code.

A script has one step a line. Payloads are names from ``PAYLOADS`` or the test's own, joined with ``+``;
what the engine must answer stands behind them.

    open                                     SYN, SYN ACK, ACK
    up client_hello   handshake accept handshake
    down server_hello                        acknowledged by the device
    ack                                      the peer acknowledges everything
    wait 30                                  seconds, timers included
    mute | unmute | unknown | wake | alive unmuted
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, WakeEvent
from guard.core.policy import Policy
from guard.core.verdict import Decision, Direction, Mode
from guard.rules import load_policy
from tests import wire
from tests.wire import ACK, PSH, SYN

# Nothing waits for a wake word: each packet has its answer at once.
POLICY: Policy = dataclasses.replace(load_policy(), hold_s=0.0)
DEVICE = "kitchen"
MASK = 0xFFFFFFFF
UP, DOWN = Direction.UPSTREAM, Direction.DOWNSTREAM

# Answers as ``describe`` words them.
NO_INTERACTION = "app_data justified refuse flow no_interaction"
CONDEMNED = "app_data justified refuse flow condemned"
EXPECTED = "app_data expected accept interaction"
SETUP = "handshake accept connection_setup"
CONTROL = "ack accept tcp_control"

PAYLOADS: dict[str, bytes] = {
    "client_hello": wire.client_hello(),
    "client_hello_1_3": wire.client_hello(versions=(wire.TLS_1_3, wire.TLS_1_2)),
    "server_hello": wire.server_hello() + wire.SERVER_FLIGHT_1_2,
    "server_hello_1_3": wire.server_hello(wire.AES_128_GCM_SHA256) + wire.CCS + wire.app_data(1200),
    "retry": wire.server_hello(wire.AES_128_GCM_SHA256, retry=True) + wire.CCS,
    "key_exchange": wire.CLIENT_KEY_EXCHANGE,
    "ccs": wire.CCS,
    "finished": wire.FINISHED_GCM,
    "server_finished": wire.CCS + wire.FINISHED_GCM,
    "finished_1_3": wire.app_data(53),
    "ping": wire.PING_GCM,
    "beat": wire.app_data(28),
    "voice": wire.app_data(353),
}


def describe(decision: Decision) -> str:
    """Return the decision as words: class, justification, verdict, scope, reason; what is None left out."""
    words = [
        decision.packet_class,
        decision.justification,
        decision.verdict,
        decision.scope,
        decision.reason,
        "after_virtual_reset" if decision.after_virtual_reset else None,
    ]
    return " ".join(str(word) for word in words if word is not None)


def make_engine(
    mode: Mode = Mode.ENFORCE,
    *,
    policy: Policy = POLICY,
    sensor: bool = False,
    devices: tuple[str, ...] = (DEVICE,),
) -> Engine:
    """Return an engine with devices that are unmuted, unless a sensor is yet to say so."""
    return Engine(policy, {name: DeviceSettings(sensor=sensor) for name in devices}, mode=mode)


class Conversation:
    """A connection between a device and a peer, with both sides' sequence numbers and a clock."""

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        mode: Mode = Mode.ENFORCE,
        device: str = DEVICE,
        isn: int = 1000,
        peer_isn: int = 900_000,
        port: int = wire.ECHO_PORT,
        peer_port: int = wire.TLS_PORT,
        version: int = 4,
        now: float = 100.0,
    ) -> None:
        self.engine = make_engine(mode) if engine is None else engine
        self.device = device
        self.now = now
        self.isn = isn
        self.peer_isn = peer_isn
        self.seq = isn  # the next byte that the device sends
        self.peer_seq = peer_isn
        self._ports = (port, peer_port)
        self._version = version

    # -- single packets ----------------------------------------------------------------------------

    def make(self, direction: Direction, payload: bytes, *, seq: int, ack: int, flags: int) -> bytes:
        """Return the packet; nothing moves."""
        ports = self._ports if direction is UP else self._ports[::-1]
        segment = wire.tcp(
            payload, source_port=ports[0], target_port=ports[1], seq=seq & MASK, ack=ack & MASK, flags=flags
        )
        if self._version == 4:
            ends = (wire.ECHO, wire.CLOUD) if direction is UP else (wire.CLOUD, wire.ECHO)
            return wire.ipv4(segment, source=ends[0], target=ends[1])
        ends = (wire.ECHO6, wire.CLOUD6) if direction is UP else (wire.CLOUD6, wire.ECHO6)
        return wire.ipv6(segment, source=ends[0], target=ends[1])

    def receive(self, packet: bytes, direction: Direction = UP) -> Decision:
        """Give the engine a packet."""
        return self.engine.receive_packet(packet, device=self.device, direction=direction, now=self.now)

    def send(self, payload: bytes = b"", *, at: int | None = None, flags: int = ACK | PSH) -> Decision:
        """Send as the device: at the next sequence number, which moves on; ``at`` another, nothing moves."""
        seq = self.seq if at is None else at
        if at is None:
            self.seq = (seq + len(payload) + bool(flags & (wire.FIN | SYN))) & MASK
        return self.receive(self.make(UP, payload, seq=seq, ack=self.peer_seq, flags=flags))

    def answer(
        self, payload: bytes = b"", *, at: int | None = None, ack: int | None = None, flags: int = ACK
    ) -> None:
        """Send as the peer, acknowledging everything unless ``ack`` says otherwise."""
        seq = self.peer_seq if at is None else at
        if at is None:
            self.peer_seq = (seq + len(payload) + bool(flags & (wire.FIN | SYN))) & MASK
        packet = self.make(DOWN, payload, seq=seq, ack=self.seq if ack is None else ack, flags=flags)
        assert describe(self.receive(packet, DOWN)) == "accept downstream"

    # -- the script's steps ------------------------------------------------------------------------

    def open(self) -> Conversation:
        """Do the three-way handshake."""
        self.send(flags=SYN)
        self.answer(flags=SYN | ACK)
        self.send(flags=ACK)
        return self

    def up(self, payload: bytes) -> str:
        """Send as the device, return the decision in words."""
        return describe(self.send(payload))

    def down(self, payload: bytes) -> None:
        """Send as the peer; the device acknowledges it."""
        self.answer(payload)
        self.send(flags=ACK)

    def ack(self) -> None:
        """Acknowledge everything as the peer."""
        self.answer()

    def wait(self, seconds: float) -> None:
        """Let time pass; timers that fall due are served on the way."""
        self.now += seconds
        due = self.engine.get_timer()
        if due is not None and due <= self.now:
            assert self.engine.handle_timer(now=self.now) == []

    def tell(self, event: Event) -> None:
        """Give the engine a sensor event."""
        assert self.engine.receive_event(event, device=self.device, now=self.now) == []

    def mute(self, state: MuteState = MuteState.MUTED) -> None:
        """Let the LED say so."""
        self.tell(MuteEvent(self.now, state))

    def wake(self) -> None:
        """Let the wake word be heard now."""
        self.tell(WakeEvent(self.now, "alexa"))

    def play(self, script: str, payloads: Mapping[str, bytes] | None = None) -> Conversation:
        """Play a script; an answer other than the one written fails, naming its line."""
        known = {**PAYLOADS, **(payloads or {})}
        for line in filter(None, map(str.strip, script.splitlines())):
            step, *words = line.split()
            if step in ("up", "down"):
                payload = b"".join(known[name] for name in words[0].split("+"))
                if step == "down":
                    self.down(payload)
                else:
                    got = self.up(payload)
                    assert got == " ".join(words[1:]), f"{line!r}: got {got!r}"
            elif step == "wait":
                self.wait(float(words[0]))
            elif step in ("mute", "unmute", "unknown"):
                self.mute({"mute": MuteState.MUTED, "unmute": MuteState.UNMUTED}.get(step, MuteState.UNKNOWN))
            elif step == "alive":
                self.tell(AliveEvent(self.now, MuteState(words[0])))
            else:
                {"open": self.open, "ack": self.ack, "wake": self.wake}[step]()
        assert self.engine.engine_errors == 0
        return self

    def establish(self) -> Conversation:
        """Open and do a TLS 1.2 handshake with AES-GCM."""
        return self.play("""
            open
            up client_hello              handshake accept handshake
            down server_hello
            up key_exchange+ccs+finished handshake accept handshake
            down server_finished
        """)

    def establish_1_3(self) -> Conversation:
        """Open and do a TLS 1.3 handshake with AES-128-GCM."""
        return self.play("""
            open
            up client_hello_1_3  handshake accept handshake
            down server_hello_1_3
            up ccs+finished_1_3  handshake accept handshake
        """)
