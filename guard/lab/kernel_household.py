"""The household in network namespaces: the real gate on the real queue, real TCP on both sides.

Everything that this process starts lives in a namespace of its own making and dies with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import guard
from guard.control import GateAbsentError, ask
from guard.core.event import Event, format_line
from guard.core.verdict import Direction, Mode
from guard.errors import ControlError, LabError
from guard.lab.certificate import make_certificate
from guard.lab.household import CLOUD, GateCounts, Said
from guard.lab.namespaces import DEVICES, HOSTS_V4, HOSTS_V6, LAN, Namespaces
from guard.lab.process import Child, Command
from guard.lab.room import Room

_GATE_S = 10.0
_POLL_S = 0.05
_CONFIG = """\
mode = "monitor"
policy = "{policy}"

[network]
lan = "{lan}"

[sensors]
socket = "{directory}/{{device}}.sock"

[control]
socket = "{directory}/control.sock"

[metrics]
enabled = {metrics}

[state]
directory = "{directory}/state"

[sense.wake]
detector = "microwakeword"  # the one that the lab installs

[lab]
period_scale = {period_scale}
"""
_DEVICE = """
[[device]]
name = "{name}"
mac = "{mac}"
"""


class KernelHousehold:
    """A Household of namespaces. ``gate`` False leaves plain forwarding between Echo and cloud.

    ``balanced``: the gate's policy is balanced, else strict. ``metrics``: the gate serves Prometheus, in its
    namespace.
    """

    kernel = True

    def __init__(
        self,
        *,
        period_scale: float,
        record: Path | None = None,
        gate: bool = True,
        balanced: bool = False,
        metrics: bool = False,
    ) -> None:
        self.period_scale = period_scale
        self.namespaces = Namespaces()
        self.events: list[Event] = []
        self._record = record
        self._with_gate = gate
        self._metrics = metrics
        self._policy = "balanced" if balanced else "strict"
        self._children: dict[str, Child] = {}
        self._gate: asyncio.subprocess.Process | None = None
        self._sensor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @property
    def _config(self) -> Path:
        return self.namespaces.directory / "wakeguard.toml"

    @property
    def control(self) -> Path:
        """The gate's control socket."""
        return self.namespaces.directory / "control.sock"

    async def start(self) -> None:
        """Build the namespaces, then start the cloud, the gate and the Echos."""
        self.namespaces.create()
        certificate, key = make_certificate(self.namespaces.directory)
        await self._start_child(
            CLOUD,
            "cloud",
            {
                "certificate": str(certificate),
                "key": str(key),
                "addresses": [*HOSTS_V4.values(), *HOSTS_V6.values()],
                "devices": {device.address: device.name for device in DEVICES},
            },
        )
        if self._with_gate:
            await self._start_gate()
        for device in DEVICES:
            await self._start_child(
                device.name,
                "echo",
                {
                    "temperament": device.name,
                    "certificate": str(certificate),
                    "tls": device.tls,
                    "hosts": device.cloud,
                    "period_scale": self.period_scale,
                },
            )

    async def stop(self) -> None:
        """End every process and remove every namespace, in that order, whatever fails."""
        try:
            for child in self._children.values():
                await child.stop()
            await self._stop_gate()
        finally:
            self.namespaces.destroy()
            self._sensor.close()

    async def set_mode(self, mode: Mode) -> None:
        """Switch the running gate through its control socket, as ``wakeguard mode`` does."""
        if self._with_gate:
            await self._ask("mode", mode=mode.value)

    def publish(self, event: Event) -> None:
        """Send the event to both sensor sockets."""
        self.events.append(event)
        if not self._with_gate:
            return
        for device in DEVICES:
            path = self.namespaces.directory / f"{device.name}.sock"
            try:
                self._sensor.sendto(format_line(event).encode() + b"\n", str(path))
            except OSError as error:
                raise LabError(f"the gate takes no events on {path.name}: {error.strerror}") from None

    def make_room(self) -> Room | None:
        """Return a room whose sensing processes write to the gate's sockets."""
        if not self._with_gate:
            return None
        environment = child_environment()

        def wrap(*command: str) -> tuple[str, ...]:
            return self.namespaces.command("gate", *command)

        return Room(self._config, wrap=wrap, environment=environment)

    async def call(self, who: str, command: Command) -> Command:
        """Ask one of the lab's processes."""
        return await self._children[who].call(command)

    async def read_gate(self) -> GateCounts:
        """Return the counters in the gate's status."""
        said: GateCounts = {device.name: Counter() for device in DEVICES}
        if not self._with_gate:
            return said
        status = await self._ask("status")
        for device in status["devices"]:
            for row in device["packets"]:
                if row["direction"] == Direction.UPSTREAM.name.lower():
                    key = Said(row["class"] or "", row["justification"] or "", row["verdict"])
                    said[device["name"]][key] += row["packets"]
        return said

    async def _start_child(self, name: str, part: str, settings: Command) -> None:
        command = self.namespaces.command(name, sys.executable, "-m", "guard.lab.child", part)
        self._children[name] = await Child.start(name, command, settings, environment=child_environment())

    async def _start_gate(self) -> None:
        directory = self.namespaces.directory
        devices = "".join(_DEVICE.format(name=device.name, mac=device.mac) for device in DEVICES)
        text = _CONFIG.format(
            lan=LAN,
            directory=directory,
            period_scale=self.period_scale,
            policy=self._policy,
            metrics=str(self._metrics).lower(),
        )
        self._config.write_text(text + devices)
        command = [sys.executable, "-m", "guard", "run", "--config", str(self._config)]
        if self._record is not None:
            command += ["--record", str(self._record)]
        with (directory / "gate.log").open("wb") as log:
            self._gate = await asyncio.create_subprocess_exec(
                *self.namespaces.command("gate", *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=child_environment(),
            )
        loop = asyncio.get_running_loop()
        end = loop.time() + _GATE_S
        while True:
            try:
                ask(self.control, "status", timeout=_GATE_S)
            except GateAbsentError:
                if self._gate.returncode is not None or loop.time() > end:
                    raise LabError(f"the gate did not start: {self._get_last_words()}") from None
                await asyncio.sleep(_POLL_S)
            else:
                return

    async def _stop_gate(self) -> None:
        if self._gate is None:
            return
        if self._gate.returncode is None:
            self._gate.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_GATE_S):
                await self._gate.wait()
        except TimeoutError:
            self._gate.kill()
            await self._gate.wait()

    async def _ask(self, command: str, **fields: Any) -> Command:
        try:
            answer: Command = await asyncio.to_thread(lambda: ask(self.control, command, **fields))
        except ControlError as error:
            raise LabError(f"the gate failed: {error}; it said: {self._get_last_words()}") from None
        return answer

    def _get_last_words(self) -> str:
        log = self.namespaces.directory / "gate.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "nothing"


def child_environment() -> dict[str, str]:
    """Return an environment in which ``python -m guard`` finds this very package."""
    path = str(Path(guard.__file__).resolve().parent.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))}
