"""What the runner needs of a household, whether it is made of namespaces or of one process."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol

from guard.core.event import Event
from guard.core.verdict import Mode
from guard.lab.process import Command
from guard.lab.room import Room

CLOUD = "cloud"


class Said(NamedTuple):
    """One kind of answer of the gate about what a device sent; empty text where a field is None."""

    packet_class: str
    justification: str
    verdict: str


GateCounts = dict[str, Counter[Said]]  # device -> answer -> packets upstream since the gate's start


class Household(Protocol):
    """Two Echos, a gate and a cloud. ``kernel`` says whether a real one stands between them."""

    kernel: bool
    period_scale: float

    async def start(self) -> None:
        """Build everything and bring the Echos up; ``stop`` must be called whatever comes of it."""

    async def stop(self) -> None:
        """Take everything down; nothing remains. Twice does no harm."""

    async def set_mode(self, mode: Mode) -> None:
        """Switch the gate while it runs."""

    def publish(self, event: Event) -> None:
        """Tell the gate what the sensing process of each Echo saw or heard."""

    def make_room(self) -> Room | None:
        """Return a room for real ears; None where there is no gate with sockets."""

    async def call(self, who: str, command: Command) -> Command:
        """Send a command to an Echo (by device name) or to the cloud and return the answer."""

    async def read_gate(self) -> GateCounts:
        """Return what the gate has said so far."""
