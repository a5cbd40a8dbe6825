"""One Echo's sensor: levels, scores and time in; the events for the gate out.

Pure, and the same for a real pin and a scripted one, a microphone and a file, real and accelerated time.
"""

from __future__ import annotations

import math

from guard.core.event import AliveEvent, Event, MuteEvent, MuteState
from hardware.mute_led import MuteLed
from hardware.voice import Voice
from hardware.wake_word import WakeWord

HEARTBEAT_S = 1.0  # the gate takes 3 s of silence for a lost sensor


class Sensor:
    """Mute LED, wake word, voice and heartbeat of one Echo.

    Without ``mute_led`` the owner said that there is none: the Echo counts as unmuted, by "assumed".
    """

    def __init__(
        self, mute_led: MuteLed | None, wake_word: WakeWord, voice: Voice | None, *, now: float
    ) -> None:
        self.mute_led = mute_led
        self.wake_word = wake_word
        self.hears = False  # whether a microphone with a detector is at work
        self._voice = voice
        self._next_alive = now
        self._told: MuteState | None = None

    @property
    def mute(self) -> MuteState:
        """Return the mute state that is said."""
        return MuteState.UNMUTED if self.mute_led is None else self.mute_led.state

    def receive_level(self, lit: bool | None, *, now: float) -> list[Event]:  # noqa: FBT001 - it is the sample
        """Take a sample of the lamp (None: unreadable)."""
        if self.mute_led is not None:
            self.mute_led.receive_level(lit, now=now)
        return self._tell_mute(now)

    def receive_score(self, word: str, score: float, *, now: float, source: str) -> list[Event]:
        """Take a detector's score of a word that ended about ``now``."""
        event = self.wake_word.receive_score(word, score, now=now, source=source)
        if event is None:
            return []
        if self._voice is not None:
            self._voice.receive_wake(now=now)
        return [event]

    def receive_frame(self, speech: bool, *, now: float) -> list[Event]:  # noqa: FBT001 - it is the sample
        """Take whether the audio frame that ended at ``now`` sounds like speech."""
        event = self._voice.receive_frame(speech, now=now) if self._voice is not None else None
        return [] if event is None else [event]

    def handle_timer(self, *, now: float) -> list[Event]:
        """Let time pass: what the lamp means by now, and the heartbeat."""
        if self.mute_led is not None:
            self.mute_led.handle_time(now=now)
        events = self._tell_mute(now)
        if now >= self._next_alive:
            events.append(AliveEvent(now, self.mute, self.hears))
            self._next_alive += HEARTBEAT_S
            if self._next_alive <= now:  # the machine slept: no burst of what was missed
                self._next_alive = now + HEARTBEAT_S
        return events

    def get_timer(self) -> float:
        """Return when ``handle_timer`` is next due (s)."""
        lamp = math.inf if self.mute_led is None else self.mute_led.get_timer()
        return min(self._next_alive, lamp)

    def _tell_mute(self, now: float) -> list[Event]:
        if self.mute is self._told:
            return []
        self._told = self.mute
        return [MuteEvent(now, self.mute, "assumed" if self.mute_led is None else "led")]
