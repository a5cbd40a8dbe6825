"""One device: its state, and what an answer means for the packets that follow.

Knows: context, budgets, flows, waiting packets and counters of one device, and the mode. Refuses to know:
how a packet is read (``segment``), other devices, the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Final

from guard.core.context import NEVER, Context
from guard.core.counts import Counts
from guard.core.event import MuteState
from guard.core.facts import DeviceSettings, DeviceStatus, Facts
from guard.core.flow import Flow, FlowTable
from guard.core.hold import FlowHold, Held, HoldTable, Waiting
from guard.core.judge import Judge
from guard.core.notice import Notices
from guard.core.packet import FIN, RST
from guard.core.policy import Action, Policy
from guard.core.verdict import (
    Decision,
    Direction,
    PacketClass,
    Reason,
    Scope,
    Verdict,
    decision,
    flag,
)
from guard.core.watch import VoiceWatch

_ACCEPT: Final = Verdict.ACCEPT
_HOLD: Final = Verdict.HOLD
_REFUSE: Final = Verdict.REFUSE
_APP_DATA: Final = PacketClass.APP_DATA
# accepted whatever the microphone does
_ALWAYS_READY: Final = frozenset(
    {
        Reason.TCP_CONTROL,
        Reason.HANDSHAKE,
        Reason.HEARTBEAT,
        Reason.HEARTBEAT_REPLY,
        Reason.RETRANSMISSION,
        Reason.WITHIN_BUDGET,
    }
)
_FLOW: Final = Scope.FLOW
_BUDGETED: Final = frozenset({Reason.CONTROL_BUDGET, Reason.LINEAGE})
_WAITING_REASONS: Final = frozenset({Reason.AWAITING_WAKE_WORD, Reason.PROBING})


class Device:
    """The state of one device.

    ``due``: never later than when something is to be settled; ``on_due(when)`` is called when it becomes
    earlier, ``on_flow(now)`` when a flow begins. ``facts`` and ``notices`` are the engine's.
    """

    __slots__ = (
        "_on_due",
        "_pending_limit",
        "_policy",
        "acks",
        "by_key",
        "context",
        "counts_down",
        "counts_up",
        "due",
        "enforce",
        "facts",
        "flows",
        "holds",
        "judge",
        "kept_limit",
        "ledger",
        "on_flow",
        "recent",
        "reconnect_s",
        "unacked_limit",
        "wakes_at",
        "watch",
    )

    def __init__(
        self,
        name: str,
        policy: Policy,
        settings: DeviceSettings,
        facts: Facts,
        notices: Notices,
        *,
        on_due: Callable[[float], None],
        on_flow: Callable[[float], None],
    ) -> None:
        self._on_due = on_due
        self.due = inf
        self.on_flow = on_flow
        self.facts = facts
        self.enforce = False
        self.context = Context(policy, sensor=settings.sensor)
        self.judge = Judge(policy, self.context, balanced=settings.balanced)
        self.holds = HoldTable(policy)
        self.watch = VoiceWatch(name, policy, self.context, notices)
        buckets = self.judge.buckets
        self.flows = FlowTable(
            policy,
            buckets["heartbeat"],
            buckets["handshake"],
            self.hear_voice,
            facts.listed,
            observed=settings.balanced,
        )
        self.counts_up = Counts()
        self.counts_down = Counts()
        self.wakes_at = NEVER  # when the last interaction began
        # what the engine's straight way asks for, one look-up away
        self.acks = self.judge.acks
        self.by_key, self.recent = self.flows.by_key, self.flows.recent
        self.ledger = self.flows.ledger
        self._set_limits(policy)
        if policy.exceptions[Reason.STARTING] is Action.ACCEPT:
            self.context.closed = None

    def _set_limits(self, policy: Policy) -> None:
        self._policy = policy
        self._pending_limit = policy.pending_flow_bytes
        self.unacked_limit = policy.unacked_flow_bytes
        self.kept_limit = policy.kept_device_bytes
        self.reconnect_s = policy.reconnect_s

    def set_policy(self, policy: Policy, settings: DeviceSettings, now: float) -> None:
        """Go on under other limits; connections and budgets stay as they are."""
        self._set_limits(policy)
        self.judge.set_policy(policy, now, balanced=settings.balanced)
        self.context.set_policy(policy)
        self.holds.set_policy(policy)
        self.watch.set_policy(policy)
        self.flows.set_policy(policy, observed=settings.balanced)

    def get_status(self, now: float) -> DeviceStatus:
        """Return the state at ``now``."""
        context = self.context
        since, heard = context.mute_since, context.heard_at
        open_ = now < context.interaction_until
        return DeviceStatus(
            mute=context.mute,
            mute_age=None if since is None else now - since,
            mute_source=context.mute_source,
            sensor_age=None if heard is None else now - heard,
            closed=context.closed,
            interaction_until=context.interaction_until if open_ else None,
            interaction_cause=context.extended_by if open_ else None,
            interaction_bytes=max(0.0, context.interaction_bytes) if open_ else None,
            interactions=context.interactions,
            flows=len(self.flows),
            condemned_flows=sum(flow.condemned for flow in self.flows),
            held_packets=self.holds.packets,
            held_bytes=self.holds.bytes,
            unheard_wakes=self.watch.unheard,
            voice_refusals=self.watch.refusals,
            voice_leaked=tuple(self.watch.leaked),
            voice_leaked_bytes=self.watch.leaked_bytes,
            budgets={name: bucket.get_left(now) for name, bucket in self.judge.buckets.items()},
            model=None if self._policy.voice is None else self._policy.voice.name,
        )

    def get_counts(self) -> Iterator[tuple[Direction, Decision, int, int]]:
        """Yield (direction, decision, packets, bytes); what waits is counted when it is settled."""
        for direction, counts in (
            (Direction.UPSTREAM, self.counts_up),
            (Direction.DOWNSTREAM, self.counts_down),
        ):
            for answer, packets, octets in counts:
                if answer.verdict is not _HOLD:
                    yield direction, answer, packets, octets

    def lose_sensor(self, now: float) -> None:
        """Close: the sensing process has been silent for too long."""
        muted = self.context.mute is MuteState.MUTED
        self.context.lose_sensor(now)
        if self._policy.exceptions[Reason.SENSOR_LOST] is Action.ACCEPT and not muted:
            self.context.closed = None
            return
        for hold in reversed(list(self.holds)):  # then they stand in order, and each is found at once
            self.holds.end_at(hold, now)

    def conclude(
        self,
        flow: Flow | None,
        answer: Decision,
        flags: int,
        now: float,
        *,
        seq: int = 0,
        size: int = 0,
        octets: int = 0,
    ) -> Decision:
        """Apply what the flow's past and this answer mean for each other."""
        if flow is None:
            return answer
        if flow.condemned:
            self.flows.note_condemned(flow)
        if flow.condemned and self.enforce:
            if flags & RST and answer.reason is Reason.TCP_CONTROL and answer.verdict is _ACCEPT:
                return answer  # the device may say that it gives up
            if answer.reason is Reason.INTERACTION:
                self.context.interaction_bytes += self.facts.payload_bytes  # it did not pass
            return decision(answer.packet_class, answer.justification, _REFUSE, Scope.FLOW, Reason.CONDEMNED)
        if size and not flow.answered and answer.verdict is not _REFUSE:
            answer = self.judge.judge_app_data(
                size, now, Reason.NOT_CONNECTED, answer.packet_class or _APP_DATA
            )
        after = self.is_after_reset(flow, now)
        behind = flow.hold is not None and (size or flags & FIN) and answer.verdict is _ACCEPT
        if answer.verdict is _HOLD or behind:
            answer = self.let_wait(flow, answer, seq, size, octets, now, after=after)
        if answer.scope is Scope.FLOW:
            self.condemn(flow, now)
        return flag(answer) if after else answer

    def let_wait(
        self,
        flow: Flow | None,
        answer: Decision,
        seq: int,
        size: int,
        octets: int,
        now: float,
        *,
        after: bool,
    ) -> Decision:
        """Hold a packet, for a wake word or behind others that wait for one; refuse it when too many do."""
        waiting = Waiting.PROBE if answer.reason is Reason.PROBING else Waiting.WAKE_WORD
        held = Held(self.facts.packet_id, now, size, octets, answer, after=after)
        self.facts.held = held
        hold = self.holds.get(flow)
        if hold is not None:
            waits = self.holds.join(hold, held)
        elif (hold := self.holds.begin(flow, seq, held, waiting)) is not None:
            waits = True
            self._wait_until(hold.deadline)
        else:
            waits = False
        if not waits:
            scope = Scope.PACKET if flow is None else Scope.FLOW
            return decision(answer.packet_class, answer.justification, _REFUSE, scope, Reason.HOLD_FULL)
        if answer.verdict is _HOLD:
            return answer
        return decision(answer.packet_class, answer.justification, _HOLD, None, Reason.AWAITING_WAKE_WORD)

    def wait_along(self, flow: Flow, answer: Decision, size: int, octets: int, now: float) -> Decision | None:
        """Do what ``conclude`` does for data behind other that waits; None where it must be asked."""
        hold = flow.hold
        if hold is None or flow.condemned or not flow.answered:
            return None
        after = flow.reset_at is not None and self.is_after_reset(flow, now)
        held = Held(self.facts.packet_id, now, size, octets, answer, after=after)
        if not self.holds.join(hold, held):
            return None
        self.facts.held = held
        return flag(answer) if after else answer

    def settle(self, hold: FlowHold, now: float, released: list[Held], due: float = inf) -> None:
        """Judge what waited, for good and in order, and add it to ``released``; of a probe what is due."""
        flow = hold.flow
        refused = flow is not None and flow.condemned
        reusable = now >= self.context.interaction_until  # refusals then differ in nothing but what waited
        told_before: Decision | None = None
        after = refused_before = False
        answer: Decision | None = None
        for held in self.holds.take(hold, due):
            told = held.told
            if (
                answer is None
                or answer.scope is not _FLOW
                or not reusable
                or told is not told_before
                or held.after != after
                or refused != refused_before
            ):
                told_before, after, refused_before = told, held.after, refused
                answer = self._judge_held(flow, told, held.since, held.size, now, refused=refused)
                refused = refused or answer.scope is _FLOW
                if after and flow is not None and self.is_after_reset(flow, now):
                    answer = flag(answer)
            if answer is told and told.reason in _BUDGETED and flow is not None and not refused:
                flow.conversation.let_pass(held.size, now)
            self.count(answer, held.octets)
            held.answer = answer
            released.append(held)
        if flow is not None and refused:
            self.condemn(flow, now)

    def _judge_held(
        self, flow: Flow | None, told: Decision, since: float, size: int, now: float, *, refused: bool
    ) -> Decision:
        packet_class, justification = told.packet_class or _APP_DATA, told.justification
        closed = self.context.closed  # muted since: what only an open microphone had allowed waits in vain
        reason = None if told.reason in _WAITING_REASONS else told.reason
        if refused and self.enforce:
            return decision(packet_class, justification, _REFUSE, _FLOW, Reason.CONDEMNED)
        if told.verdict is _ACCEPT:
            if closed is None or told.reason in _ALWAYS_READY:
                return told
            reason = None
        elif closed is None and now < self.context.interaction_until and since < self.context.explained_from:
            scope = Scope.PACKET if flow is None else _FLOW
            return decision(packet_class, justification, _REFUSE, scope, reason or Reason.NO_INTERACTION)
        if flow is not None and packet_class is _APP_DATA:
            return self.judge.judge_tls(flow, size, now, reason, may_wait=False)
        return self.judge.judge_app_data(size, now, reason, packet_class, may_wait=False)

    def look_ahead(self) -> None:
        """Find out anew when ``settle_due`` is due next, ``inf`` when nothing is pending."""
        first = min(self.context.alive_until, self.holds.get_deadline())
        self.due = min(first, self.watch.get_deadline())  # two at a time: compiled, that is no call

    def _wait_until(self, when: float) -> None:
        if when < self.due:
            self.due = when
            self._on_due(when)

    def settle_due(self, due: float, released: list[Held]) -> None:
        """Do what is due, add what waits no longer to ``released``; a probe that found a voice waits on."""
        if self.context.alive_until <= due:
            self.lose_sensor(due)
        for hold in self.holds.get_due(due):
            if hold.waiting is Waiting.WAKE_WORD or hold.flow is None or hold.flow.condemned:
                self.settle(hold, due, released)
            elif hold.flow.conversation.is_voice_like(due):
                self.holds.wait_on(hold)
            else:
                self.settle(hold, due, released, due)
        self.watch.look_again(due)

    def hear_voice(self, flow: Flow, now: float) -> None:
        """Take it that a connection's records have become a voice."""
        refused = flow.condemned or self.is_after_reset(flow, now)
        due = self.watch.spot(flow, now, refused=refused)
        if due is not None:
            self._wait_until(due)

    def is_after_reset(self, flow: Flow, now: float) -> bool:
        """Say whether enforce would have cut the flow before ``now``, and the Echo not yet redialled."""
        if flow.reset_at is None:
            return False
        over = flow.reset_at < self.wakes_at or now - flow.reset_at >= self.reconnect_s
        if over or self.enforce:
            flow.reset_at = None
            return False
        return True

    def count(self, answer: Decision, octets: int) -> None:
        """Count a packet of the device that bears ``answer`` for good."""
        self.counts_up.add(answer, octets)

    def condemn(self, flow: Flow, now: float) -> None:
        """Refuse the flow from now on, or say that enforce would; what waits on it is refused as well."""
        if self.enforce:
            flow.condemned = True
            self.flows.note_condemned(flow)
        elif flow.reset_at is None:
            flow.reset_at = now
        self.watch.refuse(flow, now)
        if flow.hold is not None:
            self.holds.end_at(flow.hold, now)
            self._wait_until(now)

    def get_room(self, flow: Flow) -> int:
        """Return how many bytes beyond a gap one stream of ``flow`` may keep now.

        What is beyond gaps has half of the room: however much it is, retransmissions can be verified.
        """
        ledger = self.flows.ledger
        if ledger.kept_bytes > self.kept_limit // 2:
            self.flows.make_room(flow)
            if ledger.kept_bytes > self.kept_limit // 2:
                return 0
        if flow.condemned:
            self.flows.note_condemned(flow)
        return self._pending_limit

    def over_rate(self, now: float) -> Decision:
        """Judge a packet without payload that its budget has no room for."""
        return self.judge.judge_app_data(0, now, Reason.BUDGET_EXHAUSTED, PacketClass.ACK)
