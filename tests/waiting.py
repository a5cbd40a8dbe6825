"""A conversation whose packets may have to wait for a wake word, and what became of them."""

from __future__ import annotations

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import MuteEvent, MuteState, WakeEvent
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.verdict import Mode
from guard.rules import load_policy
from tests import wire
from tests.conversation import DEVICE, Conversation, describe

HELD: Policy = load_policy()
WAITS = "app_data justified hold awaiting_wake_word"
VOICE = wire.app_data(353)


class Waiting(Conversation):
    """A conversation whose waiting packets are released into ``released``, as (packet number, words)."""

    def __init__(
        self,
        *,
        policy: Policy = HELD,
        mode: Mode = Mode.ENFORCE,
        balanced: bool = False,
        engine: Engine | None = None,
        port: int = wire.ECHO_PORT,
    ) -> None:
        made = engine or Engine(policy, {DEVICE: DeviceSettings(balanced=balanced)}, mode=mode)
        super().__init__(made, port=port)
        self.released: list[tuple[int, str]] = []

    def note(self, released: list[Held]) -> None:
        self.released += [(held.packet_id, describe(held.answer)) for held in released]

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = self.engine.get_timer()
        if due is not None and due <= self.now:
            self.note(self.engine.handle_timer(now=self.now))

    def mute(self, state: MuteState = MuteState.MUTED) -> None:
        event = MuteEvent(self.now, state)
        self.note(self.engine.receive_event(event, device=self.device, now=self.now))

    def hear(self, late: float = 0.0) -> None:
        """Let the wake word be heard that was said ``late`` seconds ago."""
        event = WakeEvent(self.now - late, "alexa")
        self.note(self.engine.receive_event(event, device=self.device, now=self.now))

    def take(self) -> list[str]:
        """Return what was released since the last call, in order, and forget it."""
        taken, self.released = self.released, []
        assert [number for number, _ in taken] == sorted(number for number, _ in taken)
        return [words for _, words in taken]

    @property
    def held(self) -> tuple[int, int]:
        status = self.engine.get_status(DEVICE, now=self.now)
        return status.held_packets, status.held_bytes
