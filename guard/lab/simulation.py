"""The household in one process, for a machine without namespaces or a queue.

The same Echos, cloud and TLS, the same engine and policy; the packets are put together by hand and the
time is virtual. It shows what the gate decides. It cannot show what a kernel makes of that.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import Event
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.verdict import Decision, Direction, Mode, Scope, Verdict
from guard.lab.certificate import client_context, make_certificate, server_context
from guard.lab.cloud import Cloud
from guard.lab.echo import Echo
from guard.lab.household import CLOUD, GateCounts, Said
from guard.lab.namespaces import DEVICES, Device
from guard.lab.process import Command
from guard.lab.segments import Endpoint
from guard.lab.session import Session
from guard.lab.simulated_tcp import Connection, Outcome, Settle
from guard.rules import load_policy

_HTTPS = 443
_FIRST_PORT = 40_000
_SEQUENCE_STEP = 1_000_003  # a prime, so that no two connections look alike


class SimulatedHousehold:
    """A Household without a kernel. Run it on a ``VirtualTimeLoop``, or it takes its real time."""

    kernel = False

    def __init__(self, *, period_scale: float, policy: Policy | None = None, balanced: bool = False) -> None:
        self.period_scale = period_scale
        self._engine = Engine(
            (policy or load_policy()).scaled(period_scale),
            devices={device.name: DeviceSettings(sensor=True, balanced=balanced) for device in DEVICES},
            mode=Mode.MONITOR,
        )
        self._mode = Mode.MONITOR
        self._time_ns = 0
        self._connections = 0
        self._held: dict[int, Settle] = {}  # packet id -> whom to tell
        self._timer: asyncio.TimerHandle | None = None
        with tempfile.TemporaryDirectory(prefix="wakeguard-lab-") as directory:
            certificate, key = make_certificate(Path(directory))
            server = server_context(certificate, key)
            clients = {device.name: client_context(certificate, device.tls) for device in DEVICES}
        self._cloud = Cloud(context=server, devices={device.address: device.name for device in DEVICES})
        self._echos = {
            device.name: Echo(
                device.name,
                context=clients[device.name],
                dial=self._make_dial(device),
                period_scale=period_scale,
            )
            for device in DEVICES
        }

    async def start(self) -> None:
        """Do nothing: everything was made before."""

    async def stop(self) -> None:
        """Let every connection go."""
        for echo in self._echos.values():
            echo.handle({"do": "stop"})
        if self._timer is not None:
            self._timer.cancel()

    async def set_mode(self, mode: Mode) -> None:
        """Switch the engine."""
        self._mode = mode
        self._engine.set_mode(mode)

    def publish(self, event: Event) -> None:
        """Hand the event to the engine, once for each device."""
        for device in DEVICES:
            now = self._advance()
            self._release(self._engine.receive_event(event, device=device.name, now=now))
        self._set_timer()

    def make_room(self) -> None:
        """Return None: nobody hears anything in virtual time."""

    async def call(self, who: str, command: Command) -> Command:
        """Call the Echo or the cloud directly."""
        if who == CLOUD:
            return self._cloud.handle(command)
        return self._echos[who].handle(command)

    async def read_gate(self) -> GateCounts:
        """Return the engine's counters."""
        said: GateCounts = {}
        for device in DEVICES:
            counts = said[device.name] = Counter[Said]()
            for direction, decision, packets, _bytes in self._engine.counters(device.name):
                if direction is Direction.UPSTREAM:
                    fields = decision.packet_class, decision.justification, decision.verdict
                    counts[Said(*(str(field or "") for field in fields))] += packets
        return said

    def _make_dial(self, device: Device) -> Callable[[Callable[[], Session], str], asyncio.Future[Session]]:
        async def dial(make: Callable[[], Session], host: str) -> Session:
            self._connections += 1
            connection = Connection(
                lambda packet, direction, settle: self._judge(device.name, packet, direction, settle),
                Endpoint(device.address, _FIRST_PORT + self._connections),
                Endpoint(device.cloud[host], _HTTPS),
                sequence=self._connections * _SEQUENCE_STEP,
            )
            session = make()
            connection.open(session, self._cloud.make_session())
            return session

        return lambda make, host: asyncio.ensure_future(dial(make, host))

    def _judge(self, device: str, packet: bytes, direction: Direction, settle: Settle) -> Outcome:
        decision = self._engine.receive_packet(
            packet, device=device, direction=direction, now=self._advance()
        )
        outcome = self._get_outcome(decision)
        if outcome is Outcome.HOLD:
            self._held[self._engine.facts.packet_id] = settle
            self._set_timer()
        return outcome

    def _get_outcome(self, decision: Decision) -> Outcome:
        if self._mode is Mode.MONITOR or decision.verdict is Verdict.ACCEPT:
            return Outcome.PASS
        if decision.verdict is Verdict.HOLD:
            return Outcome.HOLD
        return Outcome.RESET if decision.scope is Scope.FLOW else Outcome.DROP

    def _release(self, released: list[Held]) -> None:
        """Tell the connections, one after the other and not from within the engine's own call."""
        loop = asyncio.get_running_loop()
        for held in released:
            settle = self._held.pop(held.packet_id, None)
            if settle is not None:
                loop.call_soon(settle, self._get_outcome(held.answer))

    def _set_timer(self) -> None:
        """See to it that the engine's timer is served when it is due, packets or not."""
        if self._timer is not None:
            self._timer.cancel()
        due = self._engine.get_timer()
        self._timer = None if due is None else asyncio.get_running_loop().call_at(due, self._serve_timer)

    def _serve_timer(self) -> None:
        self._advance()
        self._set_timer()

    def _advance(self) -> float:
        """Return the engine's time, strictly increasing, with its timers done."""
        self._time_ns = max(self._time_ns + 1, round(asyncio.get_running_loop().time() * 1e9))
        now = self._time_ns / 1e9
        while (deadline := self._engine.get_timer()) is not None and deadline <= now:
            self._release(self._engine.handle_timer(now=now))
        return now
