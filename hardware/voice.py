"""Does the person still speak? Extends an interaction that a wake word began.

Pure: whether each short frame sounds like speech goes in, voice events come out. Without a wake word
before it speech means nothing here, and an interaction is never extended beyond ``max_s``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from guard.core.event import VoiceEvent

SMOOTHED_FRAMES = 10  # 200 ms: a cough or a door is shorter
SPEECH_SHARE = 0.6  # of these frames
EVERY_S = 0.5  # an event at most so often; the gate's flood limit is far above


@dataclass(frozen=True, slots=True)
class VoiceTimes:
    """How long is long; seconds."""

    silence_s: float = 1.5
    max_s: float = 20.0


class Voice:
    """Follows one speaker from a wake word until they fall silent."""

    def __init__(self, times: VoiceTimes) -> None:
        self._times = times
        self._frames: deque[bool] = deque(maxlen=SMOOTHED_FRAMES)
        self._began: float | None = None  # the wake word; None while nobody is listened to
        self._spoke = 0.0
        self._told = 0.0

    def receive_wake(self, *, now: float) -> None:
        """Begin to follow: a wake word ended at ``now``."""
        self._began = self._spoke = self._told = now
        self._frames.clear()

    def receive_frame(self, speech: bool, *, now: float) -> VoiceEvent | None:  # noqa: FBT001 - it is the sample
        """Take whether the frame that ended at ``now`` sounds like speech."""
        if self._began is None:
            return None
        self._frames.append(speech)
        if sum(self._frames) >= SPEECH_SHARE * SMOOTHED_FRAMES:
            self._spoke = now
        if now - self._began >= self._times.max_s or now - self._spoke >= self._times.silence_s:
            self._began = None
            return None
        if self._spoke < now or now - self._told < EVERY_S:
            return None
        self._told = now
        return VoiceEvent(now)
