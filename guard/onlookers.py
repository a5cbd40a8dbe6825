"""Who looks on while the gate works: what each is told, and when.

Protocols alone: whoever has these methods may be told. The gate calls them in its loop, so none may wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from guard.core.event import Event
from guard.core.hold import Held
from guard.core.verdict import Decision, Direction, Mode
from guard.trace import Settings


class Witness(Protocol):
    """Who writes down what the engine was told, in that order; ``ns`` is the engine's clock."""

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int) -> None:
        """Note one packet."""

    def event(self, event: Event, device: str, ns: int) -> None:
        """Note one event."""

    def mode(self, mode: Mode, device: str, ns: int) -> None:
        """Note that ``device`` is judged as in ``mode`` from now on; "" is all of them."""

    def settings(self, settings: Settings, ns: int) -> None:
        """Note that the owner's settings were read again."""

    def timer(self, ns: int) -> None:
        """Note that the engine's timer was served."""


class Messenger(Protocol):
    """Who tells the far end of a refused connection (``guard.netfilter.reset``). Never raises."""

    def reset(
        self,
        packet: bytes,
        *,
        mark: int,
        hook: int,
        interface: int,
        now: float,
        life: int = 0,
        expected: int | None = None,
    ) -> None:
        """Reset the receiver of ``packet``."""


class Audit(Protocol):
    """Who writes down what the engine said."""

    def packet(self, packet: bytes, device: str, direction: Direction, ns: int, decision: Decision) -> None:
        """Note the decision about one packet."""

    def release(self, released: Sequence[Held], ns: int) -> None:
        """Note what became of packets that waited."""
