"""Looks on while a capture is replayed and writes down one story for each connection.

Knows: what may be asked of the engine right after a packet. Refuses to know: how a story is told. It changes
nothing: the replay's verdicts are the same without it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from guard.core.engine import Engine
from guard.core.event import AliveEvent, MuteEvent, MuteState, VoiceEvent, WakeEvent
from guard.core.facts import DeviceStatus
from guard.core.flow import Flow
from guard.core.packet import TCP
from guard.core.suite import TLS_1_3, Suite
from guard.core.tls import Framing
from guard.core.verdict import Decision, Direction, Mode, PacketClass, Verdict
from guard.explain.story import Explanation, Look, Mark, Occasion, Record, Step, Story, Turn, Wait
from guard.replay import Replay
from guard.trace import Item, Settings

NANOSECONDS = 1e9
NOW_S = 0.0005
_OWN_PORT = re.compile(r":\d+ > ")
_VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", TLS_1_3: "TLS 1.3"}


@dataclass(slots=True)
class _Known:
    """What was known of a connection when it was looked at last."""

    flow: Flow
    version: int = 0
    finished: bool = False
    framing: Framing = Framing.START
    condemned: bool = False
    reset_at: float | None = None
    closed: bool = False
    voice: bool = False


@dataclass(slots=True)
class _Waiting:
    """A packet that was told to wait."""

    step: Step
    story: Story
    size: int
    since: float
    look: Look | None = field(default=None)


class Witness:
    """A ``replay.Witness``: attach it with ``watch`` before the replay runs.

    ``frame`` is the one to look at closely. ``before`` and ``after`` are the device's frames next to it.
    """

    def __init__(self, run: Replay, *, start_ns: int, frame: int | None = None) -> None:
        self.explanation = Explanation(run.device, run.mode.value, run.policy)
        self.before: int | None = None
        self.after: int | None = None
        self._engine: Engine = run.engine
        self._device = run.device
        self._start_ns = start_ns
        self._frame = frame
        self._offset = 0.0  # engine's clock - seconds since the first frame
        self._early: list[tuple[Item, float]] = []  # told before the first packet
        self._placed = False
        self._known: dict[str, _Known] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._mute: MuteState | None = None
        self._until: float | None = None  # of the interaction that is open
        self._over = -math.inf  # when the last one ended
        run.witness = self

    # -- what it is told ---------------------------------------------------------------------------

    def see_packet(
        self, frame: int, time_ns: int, direction: Direction, decision: Decision, now: float
    ) -> None:
        """Write down a packet and its answer."""
        at = (time_ns - self._start_ns) / NANOSECONDS
        if not self._placed:
            self._offset, self._placed = now - at, True
            for item, when in self._early:
                self.see_item(item, when)
        at = now - self._offset  # where the capture's time goes back, the engine's stands still
        facts = self._engine.facts
        flow, size = facts.flow, facts.payload_bytes
        records: list[Record] = [*facts.records]
        status = self._look_at_room(now) if size or decision.verdict is Verdict.REFUSE else None
        story = self._get_story(flow, frame, at)
        close_look = frame == self._frame
        known = self._known.get(story.name)
        condemned = known is not None and known.condemned
        if self._frame is not None and not close_look:
            if frame < self._frame:
                self.before = frame
            elif self.after is None:
                self.after = frame
        parts_before = len(story.parts)
        step = self._write(story, frame, at, direction, decision, size, records, status)
        look = None
        if close_look:
            look = self._look(frame, at, now, story, direction, decision, flow, records)
            look.condemned_before, look.parts_before = condemned, parts_before
            self.explanation.look = look
        if step is not None and decision.verdict is Verdict.HOLD:
            self._waiting[facts.packet_id] = _Waiting(step, story, size, now, look)
        if flow is not None:
            self._compare(story, flow, frame, at, now)
        self.explanation.ended = at

    def see_release(self, packet_id: int, decision: Decision, now: float) -> None:
        """Write down what became of a packet that waited."""
        waiting = self._waiting.pop(packet_id, None)
        if waiting is None:
            return
        step, story = waiting.step, waiting.story
        waited = now - waiting.since
        step.outcomes.setdefault(decision, Wait()).add(waiting.size, waited, now - self._offset)
        story.verdicts[decision] += waiting.size
        if waiting.look is not None:
            waiting.look.final, waiting.look.waited = decision, waited
        known = self._known.get(story.name)
        if known is not None:
            self._compare(story, known.flow, None, now - self._offset, now)

    def see_item(self, item: Item, now: float) -> None:
        """Write down an event, and what it changed on connections."""
        if not self._placed:
            self._early.append((item, now))
            return
        told = self._describe(item)
        if told is not None:
            self.explanation.occasions.append(Occasion(now - self._offset, *told))
        if not isinstance(item, AliveEvent | VoiceEvent):
            self._look_at_room(now)
            for name, known in self._known.items():
                self._compare(self.explanation.stories[name], known.flow, None, now - self._offset, now)

    # -- inside ------------------------------------------------------------------------------------

    def _describe(self, item: Item) -> tuple[str, str] | None:
        """Return what an item is in words, and its kind; None where it says nothing new."""
        if isinstance(item, WakeEvent):
            return f'wake word "{item.word}", score {item.score:.2f}', "wake"
        if isinstance(item, Mode):
            return f"mode {item.value}", "mode"
        if isinstance(item, Settings):
            return "settings read again", "settings"
        if isinstance(item, AliveEvent | MuteEvent):
            state = item.mute if isinstance(item, AliveEvent) else item.state
            if state is not self._mute:
                self._mute = state
                return f"microphone {state.value}", "mute"
        return None

    def _look_at_room(self, now: float) -> DeviceStatus:
        """Return the device's status; note when an interaction ended in the meantime."""
        status = self._engine.get_status(self._device, now=now)
        if status.interaction_until is None and self._until is not None:
            self._over = min(self._until, now)  # muting ends it at once
            self.explanation.occasions.append(
                Occasion(self._over - self._offset, "the interaction is over", "end")
            )
        self._until = status.interaction_until
        return status

    def _get_story(self, flow: Flow | None, frame: int, at: float) -> Story:
        facts = self._engine.facts
        name = flow.get_name() if flow is not None else self._engine.get_flow_name()
        if flow is None and facts.protocol != TCP:
            name = join_datagrams(name)
        story = self.explanation.stories.get(name)
        if story is None:
            story = self.explanation.stories[name] = Story(name, at, frame)
        if flow is not None and name not in self._known:
            self._known[name] = _Known(flow, framing=flow.client.framing)
            story.add_turns(_begin(flow, frame, at))
        story.ended, story.last_frame = at, frame
        return story

    @staticmethod
    def _write(
        story: Story,
        frame: int,
        at: float,
        direction: Direction,
        decision: Decision,
        size: int,
        records: list[Record],
        status: DeviceStatus | None,
    ) -> Step | None:
        if direction is Direction.DOWNSTREAM:
            story.packets_down += 1
            story.bytes_down += size
            if not size:
                return None
        else:
            story.packets_up += 1
            story.bytes_up += size
            if decision.packet_class is PacketClass.ACK and decision.verdict is Verdict.ACCEPT:
                story.acks += 1
                return None
            if decision.verdict is not Verdict.HOLD:
                story.verdicts[decision] += size
        step = story.open_steps.get(direction)
        interrupted = direction is Direction.DOWNSTREAM and step is not story.latest
        if step is None or interrupted or not step.takes(decision, at):
            step = Step(direction, decision, frame, at, status)
            story.add_step(step)
        step.add(frame, size, records, at)
        step.last_status = status or step.last_status
        return step

    def _look(
        self,
        frame: int,
        at: float,
        now: float,
        story: Story,
        direction: Direction,
        decision: Decision,
        flow: Flow | None,
        records: list[Record],
    ) -> Look:
        return Look(
            frame,
            at,
            direction,
            decision,
            story.name,
            self._engine.facts.payload_bytes,
            records,
            self._look_at_room(now),
            framing=None if flow is None else flow.client.framing.name.lower(),
            suite=story.suite,
            handshake_done=flow is not None and flow.conversation.finished,
            explained=flow is not None and flow.lineage,
            condemned_before=False,
            since_interaction=now - self._over if self._over > -math.inf else None,
            voice=describe_voice(flow, now),
            parts_before=0,
        )

    def _compare(self, story: Story, flow: Flow, frame: int | None, at: float, now: float) -> None:
        """Note what changed on a connection since it was looked at last."""
        known = self._known[story.name]
        talk = flow.conversation
        marks: list[tuple[Mark, str]] = []
        if talk.version and not known.version:
            story.suite = _describe_suite(talk.version, talk.suite)
            marks.append((Mark.AGREED, story.suite))
        if talk.finished and not known.finished:
            marks.append((Mark.FINISHED, ""))
        framing = flow.client.framing
        if framing is not known.framing and framing in _FRAMING_MARKS:
            marks.append((_FRAMING_MARKS[framing], ""))
        voice = talk.is_voice_like(now)
        if voice and not known.voice:
            marks.append((Mark.VOICE, describe_voice(flow, now)))
        if flow.condemned and not known.condemned:
            marks.append((Mark.CONDEMNED, ""))
        if flow.reset_at != known.reset_at:
            marks.append((Mark.FORGIVEN if flow.reset_at is None else Mark.VIRTUAL_RESET, ""))
        if flow.closed and not known.closed:
            marks.append((Mark.CLOSED, ""))
        story.add_turns([Turn(mark, at, frame, detail) for mark, detail in marks])
        known.version, known.finished, known.framing = talk.version, talk.finished, framing
        known.condemned, known.reset_at = flow.condemned, flow.reset_at
        known.closed, known.voice = flow.closed, voice


_FRAMING_MARKS = {Framing.OPAQUE: Mark.OPAQUE, Framing.UNKNOWN: Mark.LOST, Framing.INFERRED: Mark.FOUND}


def describe_voice(flow: Flow | None, now: float) -> str:
    """Return what the voice detector has seen of a connection, "" when nothing."""
    if flow is None:
        return ""
    run, burst = flow.conversation.voice, flow.conversation.burst
    told = ""
    if run is not None:
        told = _describe_run(run.count, "of a voice's lengths in a row", now - run.last_at)
    elif burst is not None and burst.count:
        told = _describe_run(burst.count, "without a pause", now - burst.last_at)
    if burst is not None and burst.voice:
        told += "; the model takes them for a voice"
    left = max(run.left if run is not None else 0, burst.left if burst is not None else 0)
    return f"{told}; {left} bytes of it had passed on a budget" if left else told


def _describe_run(count: int, what: str, ago: float) -> str:
    told = f"{count} record{'' if count == 1 else 's'} {what}"
    return told if ago < NOW_S else f"{told}, the last {ago:.3f} s ago"


def join_datagrams(name: str) -> str:
    """Return one name for all that goes to one address and port: its own port and life do not count."""
    return _OWN_PORT.sub(":* > ", name.rpartition(" #")[0])


def _begin(flow: Flow, frame: int, at: float) -> list[Turn]:
    turns = [Turn(Mark.MIDSTREAM if flow.isn is None else Mark.OPENED, at, frame)]
    if flow.inbound:
        turns.append(Turn(Mark.INBOUND, at, frame))
    if flow.lineage:
        turns.append(Turn(Mark.EXPLAINED, at, frame))
    return turns


def _describe_suite(version: int, suite: Suite | None) -> str:
    name = _VERSIONS.get(version, f"version {version:#06x}")
    return f"{name}, its suite unknown" if suite is None else f"{name}, +{suite.get_length(0)} bytes a record"
