"""What changed about a device since somebody looked last: its microphone, its interactions, its connections.

Looked at by the gate's loop about once a second and after each sensor event; nothing is asked of a packet.
The engine's own state is read and never written. This file knows the journal's entries; it writes none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guard.core.device import Device
from guard.core.event import Event, MuteState, WakeEvent
from guard.core.flow import Flow
from guard.core.tcp import MASK
from guard.core.verdict import Reason
from guard.telemetry import journal_schema as schema

Note = Callable[[schema.Entry], None]

OPEN, CLOSED, REFUSED, IDLE = "open", "closed", "refused", "idle"
NEW_A_LOOK: Final = 256  # connections taken up in one look; a flood of them has to wait, verdicts have not
_UNKNOWN_WORD: Final = ("", "")


class _FlowSighting:
    """A connection as it was seen last."""

    __slots__ = ("_down_seq", "_up_seq", "began", "end", "received", "sent", "told", "turn")

    def __init__(self, flow: Flow, began: int) -> None:
        self.began = began
        self.turn = 0
        self.end = ""
        self.told = ("", 0, 0)
        first = flow.up.next_seq if flow.isn is None else flow.isn + 1
        self._up_seq = first & MASK
        self._down_seq: int | None = None
        self.sent = self.received = 0

    def follow(self, flow: Flow) -> str:
        """Count what went on since, and return how the connection stands."""
        seq = flow.up.next_seq
        self.sent += (seq - self._up_seq) & MASK
        self._up_seq = seq
        if flow.down is not None:
            seq = flow.down.next_seq
            if self._down_seq is not None:
                self.received += (seq - self._down_seq) & MASK
            self._down_seq = seq
        if self.end == REFUSED or flow.condemned or flow.reset_at is not None:
            return REFUSED
        return CLOSED if flow.closed else OPEN


class DeviceSightings:
    """One device; ``note`` takes an entry whenever there is something to say."""

    def __init__(
        self, name: str, state: Device, *, run: int, note: Note, to_ms: Callable[[float], int]
    ) -> None:
        """``to_ms`` turns the engine's seconds into milliseconds since 1970; ``run`` marks the entries."""
        self._name = name
        self._state = state
        self._run = run
        self._note = note
        self._to_ms = to_ms
        self._mute: MuteState | None = None
        self._mute_since: float | None = None
        self._interactions = state.context.interactions
        self._interaction: schema.Interaction | None = None
        self._until = 0.0
        self._word = _UNKNOWN_WORD
        self._flows: dict[Flow, _FlowSighting] = {}
        self._turn = 0

    def hear(self, event: Event) -> None:
        """Remember the wake word that may open the next interaction."""
        if isinstance(event, WakeEvent):
            self._word = (event.word, event.source)

    def look(self, now: float) -> None:
        """See whether the microphone or an interaction changed."""
        context = self._state.context
        if context.mute is not self._mute and context.mute_since is not None:
            self._mute = context.mute
            self._note(
                schema.Mute(
                    self._run,
                    self._name,
                    self._to_ms(context.mute_since),
                    context.mute.value,
                    "" if context.mute is MuteState.UNKNOWN else context.mute_source or "",
                )
            )
        if context.interactions != self._interactions:
            self._interactions = context.interactions
            self._end_interaction(now)
            self._interaction = schema.Interaction(
                self._run, self._name, self._to_ms(now), None, *self._word, "", self._count_explained()
            )
            self._word = _UNKNOWN_WORD
            self._note(self._interaction._replace(sent=0))
        if self._interaction is not None:
            if now < context.interaction_until:
                self._until = context.interaction_until
            else:
                closed = context.closed is not None  # muted meanwhile: it ended before its time
                self._end_interaction(now if closed else min(now, self._until))

    def finish(self, now: float) -> None:
        """Note how everything stands: nobody will look any more."""
        self.look(now)
        self._end_interaction(now)
        self.look_at_flows(now, at_most=len(self._state.flows))
        for flow, seen in self._flows.items():
            self._tell_flow(flow, seen, None)

    def look_at_flows(self, now: float, *, at_most: int = NEW_A_LOOK) -> int:
        """See which connections began (so many ``at_most``), ended or were refused; return how many."""
        self._turn += 1
        room = len(self._flows) + at_most
        for flow in self._state.flows:
            seen = self._flows.get(flow)
            if seen is None:
                if len(self._flows) >= room:
                    continue
                seen = self._flows[flow] = _FlowSighting(flow, self._to_ms(now))
            seen.turn = self._turn
            end = seen.follow(flow)
            if end != seen.end:
                seen.end = end
                self._tell_flow(flow, seen, None if end == OPEN else now)
        gone = [(flow, seen) for flow, seen in self._flows.items() if seen.turn != self._turn]
        for flow, seen in gone:
            if seen.end == OPEN:
                seen.end = IDLE
            self._tell_flow(flow, seen, now)
            del self._flows[flow]
        return len(self._flows)

    def _end_interaction(self, ended: float) -> None:
        if self._interaction is None:
            return
        before, self._interaction = self._interaction, None
        self._note(
            before._replace(
                ended=max(before.began, self._to_ms(ended)),
                cause=self._state.context.extended_by or "",
                sent=self._count_explained() - before.sent,
            )
        )

    def _count_explained(self) -> int:
        counts = self._state.counts_up
        return sum(octets for answer, _, octets in counts if answer.reason is Reason.INTERACTION)

    def _tell_flow(self, flow: Flow, seen: _FlowSighting, ended: float | None) -> None:
        told = (seen.end, seen.sent, seen.received)
        if told == seen.told:
            return
        seen.told = told
        self._note(
            schema.Flow(
                self._run,
                self._name,
                seen.began,
                None if ended is None else self._to_ms(ended),
                flow.get_name(),
                seen.sent,
                seen.received,
                flow.lineage,
                flow.inbound,
                seen.end,
            )
        )
