"""What is known about the room: mute state, sensor liveness, interaction.

One Context a device. It is told events and time; it answers one question, how application data would be
justified now. It does not know packets.
"""

from __future__ import annotations

import math

from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, VoiceEvent
from guard.core.policy import Policy
from guard.core.verdict import Justification, Reason

NEVER = -math.inf

# What may have set an interaction's end: the wake word, the device's upload, the answer, a voice in the room.
WAKE_WORD, VOICE, ANSWER, SPEECH = EXTENSIONS = ("wake_word", "voice", "answer", "speech")


class Context:
    """Mute state and interaction of one device.

    ``sensor`` says that a mute sensor was configured: then the state is unknown until it is heard, and
    silence of ``alive_timeout_s`` makes it unknown again. Unknown counts as muted. Without a sensor the
    device is unmuted until an event says otherwise, and an unknown state counts as muted, too.
    """

    __slots__ = (
        "_ends_at",
        "_policy",
        "_sensor",
        "alive_until",
        "closed",
        "explained_from",
        "extended_by",
        "heard_at",
        "interaction_bytes",
        "interaction_until",
        "interactions",
        "mute",
        "mute_since",
        "mute_source",
    )

    def __init__(self, policy: Policy, *, sensor: bool) -> None:
        self._policy = policy
        self._sensor = sensor
        self.mute = MuteState.UNKNOWN if sensor else MuteState.UNMUTED
        self.mute_since: float | None = None  # when this state began
        self.heard_at: float | None = None  # when a state was last reported
        self.mute_source: str | None = None
        # why application data is not justified, None while the microphone is live
        self.closed: Reason | None = Reason.STARTING if sensor else None
        self.alive_until = math.inf  # set by the first sign of life
        self.interaction_until = NEVER
        self.extended_by: str | None = None  # what set interaction_until last: EXTENSIONS
        self.explained_from = NEVER  # what came before it, the last wake word does not explain
        self._ends_at = NEVER  # whatever extends the interaction, it is over then
        self.interaction_bytes = 0.0  # what this interaction may still send
        self.interactions = 0

    def set_policy(self, policy: Policy) -> None:
        """Go on under other limits; an interaction that is open keeps its end."""
        self._policy = policy

    def justify(self, now: float) -> Justification:
        """Return the justification of application data seen at ``now``."""
        if self.closed is not None:
            return Justification.NOT_JUSTIFIED
        if now < self.interaction_until:
            return Justification.EXPECTED
        return Justification.JUSTIFIED

    def receive(self, event: Event, now: float) -> None:
        """Take one event. A time in the future counts as now; a wake word while muted counts for nothing."""
        policy = self._policy
        if isinstance(event, MuteEvent):
            self._set_mute(event.state, now, event.source)
            if self._sensor:  # one that dies before its first sign of life must not leave the gate open
                self.alive_until = now + policy.alive_timeout_s
        elif isinstance(event, AliveEvent):
            self.alive_until = now + policy.alive_timeout_s
            self._set_mute(event.mute, now, "led")
        elif self.closed is not None:
            return
        elif isinstance(event, VoiceEvent):
            self._hear_speech(min(event.t, now), now)
        else:
            heard = min(event.t, now)
            # an older word than the last one, or the same again, changes nothing
            if heard + policy.listen_s > now and heard + policy.max_s > self._ends_at:
                self.interactions += 1
                if heard + policy.listen_s > self.interaction_until:
                    self.interaction_until = heard + policy.listen_s
                    self.extended_by = WAKE_WORD
                self._ends_at = heard + policy.max_s
                self.explained_from = heard - policy.pre_roll_s
                allowance = (policy.pre_roll_s + policy.listen_s) * policy.voice_bytes_per_s
                self.interaction_bytes = max(self.interaction_bytes, allowance)

    def hear_voice(self, now: float) -> None:
        """Keep the interaction open while the device sends a voice in it."""
        self._extend(now + self._policy.voice_linger_s, VOICE)

    def _hear_speech(self, heard: float, now: float) -> None:
        """Keep the interaction open while the room's microphone hears somebody speak; never open one."""
        if now < self.interaction_until:
            self._extend(heard + self._policy.voice_linger_s, SPEECH)

    def hear_answer(self, now: float) -> None:
        """Keep the interaction open for a follow-up turn after the cloud's answer."""
        if now < self.interaction_until and self._policy.follow_up_s:
            self._extend(now + self._policy.follow_up_s, ANSWER)

    def _extend(self, until: float, cause: str) -> None:
        until = min(until, self._ends_at)
        if until > self.interaction_until:
            self.interaction_bytes += (until - self.interaction_until) * self._policy.voice_bytes_per_s
            self.interaction_until = until
            self.extended_by = cause

    def lose_sensor(self, now: float) -> None:
        """Take it that the sensing process is gone: it has been silent for too long."""
        self.alive_until = math.inf
        if self.mute is not MuteState.UNKNOWN:
            self.mute = MuteState.UNKNOWN
            self.mute_since = now
        self._close(Reason.SENSOR_LOST)

    def _set_mute(self, state: MuteState, now: float, source: str) -> None:
        if state is not self.mute or self.mute_since is None:
            self.mute_since = now
            self.mute_source = source
        self.mute = state
        self.heard_at = now
        if state is MuteState.UNMUTED:
            self.closed = None
        else:
            self._close(Reason.MUTED if state is MuteState.MUTED else Reason.MUTE_UNKNOWN)

    def _close(self, reason: Reason) -> None:
        self.closed = reason
        self.interaction_until = NEVER
