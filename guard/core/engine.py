"""The verdict engine: one packet, one event, one moment in; one decision out.

Knows: the way of a packet through ``packet``, ``flow``, ``classify`` and ``judge``, and the state of each
device. Refuses to know: the clock, the queue, files, the other end of anything. It always answers, and
the same input at the same times gets the same answers: live, replayed, simulated.

Whoever feeds it keeps two rules. Times never go backwards. Whenever ``get_timer()`` is due, ``handle_timer``
is called before the next packet or event, so that a late timer decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guard.core.context import NEVER, Context
from guard.core.event import Event, MuteState
from guard.core.flow import Flow, FlowTable
from guard.core.hold import FlowHold, Held, HoldTable, Waiting
from guard.core.judge import Judge
from guard.core.packet import ACK, FIN, RST, SYN, TCP, URG, Fields, format_key, parse_packet, reverse_key
from guard.core.policy import Action, Policy
from guard.core.tcp import MASK, distance
from guard.core.tls import KIND_APP_DATA, KIND_HANDSHAKE, KIND_SPLIT, Framing
from guard.core.verdict import (
    Decision,
    Direction,
    Justification,
    Mode,
    PacketClass,
    Reason,
    Scope,
    Verdict,
    decision,
)

_ACCEPT, _HOLD, _REFUSE = Verdict.ACCEPT, Verdict.HOLD, Verdict.REFUSE
_APP_DATA, _NOT_RELEVANT = PacketClass.APP_DATA, PacketClass.NOT_RELEVANT
_HANDSHAKE_CLASS, _RETRANSMIT = PacketClass.HANDSHAKE, PacketClass.RETRANSMIT

_DOWNSTREAM = decision(None, None, _ACCEPT, None, Reason.DOWNSTREAM)
_TCP_CONTROL = decision(PacketClass.ACK, None, _ACCEPT, None, Reason.TCP_CONTROL)
_SETUP = decision(_HANDSHAKE_CLASS, None, _ACCEPT, None, Reason.CONNECTION_SETUP)
_SETUP_AGAIN = decision(_RETRANSMIT, None, _ACCEPT, None, Reason.CONNECTION_SETUP)
_RETRANSMISSION = decision(_RETRANSMIT, None, _ACCEPT, None, Reason.RETRANSMISSION)
_HANDSHAKE = decision(_HANDSHAKE_CLASS, None, _ACCEPT, None, Reason.HANDSHAKE)
_HEARTBEAT = decision(PacketClass.SYN, None, _ACCEPT, None, Reason.HEARTBEAT)
_HELD = decision(_RETRANSMIT, None, _REFUSE, Scope.PACKET, Reason.HELD)
_HEARTBEAT_REPLY = decision(PacketClass.SYN, None, _ACCEPT, None, Reason.HEARTBEAT_REPLY)

_APP_DATA_KINDS = KIND_APP_DATA | KIND_SPLIT
_SPECIAL_FLAGS = SYN | RST | URG
_NO_RECORDS: list[tuple[int, int]] = []
_WAITING_REASONS = frozenset({Reason.AWAITING_WAKE_WORD, Reason.PROBING})
_KEEP_ALIVE_BYTES = 1  # RFC 9293, 3.8.4: one garbage byte before the next one due


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """What is set up for a device.

    ``sensor``: a mute sensor will report; ``balanced``: control traffic may use the device's leak budget.
    """

    sensor: bool = False
    balanced: bool = False


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A device at one moment. Times are seconds on the engine's clock, ages seconds.

    ``mute`` is what the sensor says, ``closed`` why application data is not justified (None: it may be);
    ``mute_age`` is the time since the state began, ``sensor_age`` since it was last reported.
    """

    mute: MuteState
    mute_age: float | None
    mute_source: str | None
    sensor_age: float | None
    closed: Reason | None
    interaction_until: float | None
    interaction_cause: str | None  # what set its end: one of ``context.EXTENSIONS``
    interaction_bytes: float | None  # what it may still send
    interactions: int
    flows: int
    condemned_flows: int
    held_packets: int
    held_bytes: int


class Facts:
    """About the packet received last; overwritten by the next one.

    ``records``: ``(content_type, length)`` of each TLS record whose header this packet completed.
    """

    __slots__ = ("direction", "fields", "flow", "packet_id", "records")

    def __init__(self) -> None:
        self.packet_id = 0  # how many packets there were
        self.direction = Direction.UPSTREAM
        self.fields: Fields = parse_packet(b"")
        self.flow: Flow | None = None
        self.records = _NO_RECORDS

    @property
    def payload_bytes(self) -> int:
        """Transport payload by the IP length."""
        return self.fields[3]


class _Device:
    """The state of one device."""

    __slots__ = ("context", "counts_down", "counts_up", "flows", "holds", "judge", "wakes_at")

    def __init__(self, policy: Policy, settings: DeviceSettings) -> None:
        self.context = Context(policy, sensor=settings.sensor)
        self.judge = Judge(policy, self.context, balanced=settings.balanced)
        self.holds = HoldTable(policy)
        self.flows = FlowTable(policy, self.judge.buckets["heartbeat"], self.judge.buckets["handshake"])
        # decision -> [packets, bytes]
        self.counts_up: dict[Decision, list[int]] = {}
        self.counts_down: dict[Decision, list[int]] = {}
        self.wakes_at = NEVER  # when the last interaction began


class Engine:
    """The verdict engine for any number of devices."""

    def __init__(self, policy: Policy, devices: Mapping[str, DeviceSettings], *, mode: Mode) -> None:
        self._set_limits(policy)
        self._devices = {name: _Device(policy, settings) for name, settings in devices.items()}
        self._enforce = mode is Mode.ENFORCE
        self._next_sweep = math.inf
        self._after: dict[Decision, Decision] = {}
        self.facts = Facts()
        self.timer = math.inf  # when handle_timer is due; the attribute behind get_timer, for hot loops
        self.engine_errors = 0
        if policy.exceptions[Reason.STARTING] is Action.ACCEPT:
            for device in self._devices.values():
                device.context.closed = None

    def _set_limits(self, policy: Policy) -> None:
        self._policy = policy
        self._pending_limit = policy.pending_flow_bytes
        self._unacked_limit = policy.unacked_flow_bytes
        self._kept_limit = policy.kept_device_bytes

    # -- what it is told ---------------------------------------------------------------------------

    def set_mode(self, mode: Mode) -> None:
        """Carry out refusals from now on, or only report them. Condemned flows stay known in both."""
        self._enforce = mode is Mode.ENFORCE

    def set_policy(self, policy: Policy, devices: Mapping[str, DeviceSettings], *, now: float) -> None:
        """Go on under other limits for the same ``devices``; connections and budgets stay as they are.

        ``DeviceSettings.sensor`` cannot change. A connection keeps the handshake and heartbeat limits with
        which it began.
        """
        self._set_limits(policy)
        for name, state in self._devices.items():
            state.judge.set_policy(policy, now, balanced=devices[name].balanced)
            state.context.set_policy(policy)
            state.holds.set_policy(policy)
            state.flows.set_policy(policy)

    def receive_packet(self, packet: bytes, *, device: str, direction: Direction, now: float) -> Decision:
        """Judge one packet (from the IP header on). Never raises for what the packet holds."""
        facts = self.facts
        facts.packet_id += 1
        facts.direction = direction
        facts.flow = None
        facts.records = _NO_RECORDS
        try:
            state = self._devices[device]
            facts.fields = fields = parse_packet(packet)
            protocol, key, offset, size, seq, ack, flags, fault = fields
            if direction:
                answer = _DOWNSTREAM
                counts = state.counts_down
                if protocol == TCP and fault is None:
                    self._receive_tcp_down(state, key, packet, offset, size, seq, ack, flags, now)
            else:
                counts = state.counts_up
                if fault is not None:
                    answer = state.judge.judge_app_data(size, now, fault)
                elif protocol == TCP:
                    answer = self._receive_tcp_up(state, key, packet, offset, size, seq, flags, now)
                else:
                    answer = state.judge.judge_other(protocol, key, packet, offset, size, now)
                    if answer.verdict is _HOLD:
                        answer = self._let_wait(state, None, answer, 0, size, len(packet), now, after=False)
            try:
                count = counts[answer]
            except KeyError:
                count = counts[answer] = [0, 0]
            count[0] += 1
            count[1] += len(packet)
        except Exception:  # noqa: BLE001  # the engine always answers: a fault in it is a verdict with a name
            return self._fail(device, direction)
        return answer

    def receive_event(self, event: Event, *, device: str, now: float) -> list[tuple[int, Decision]]:
        """Take a sensor event; return the packets it releases as (packet_id, decision)."""
        state = self._devices[device]
        context = state.context
        before = context.interactions
        context.receive(event, now)
        if context.interactions != before:
            state.wakes_at = now
        released: list[tuple[int, Decision]] = []
        if context.justify(now) is not Justification.JUSTIFIED:
            for hold in state.holds:
                released += self._settle(state, hold, now)
        if context.closed is Reason.MUTED:
            for flow in state.flows:
                if flow.has_unacked_app_data():
                    self._condemn(state, flow, now)
        self._set_timer()
        return released

    def handle_timer(self, *, now: float) -> list[tuple[int, Decision]]:
        """Do what is due at ``now``, each thing as of its own time; return the packets released."""
        released: list[tuple[int, Decision]] = []
        while self.timer <= now:
            due = self.timer
            for state in self._devices.values():
                if state.context.alive_until <= due:
                    muted = state.context.mute is MuteState.MUTED
                    state.context.lose_sensor(due)
                    if self._policy.exceptions[Reason.SENSOR_LOST] is Action.ACCEPT and not muted:
                        state.context.closed = None
                    else:
                        for hold in state.holds:
                            hold.deadline = due
                released += self._settle_due(state, due)
            if self._next_sweep <= due:
                for state in self._devices.values():
                    state.flows.expire(due)
                busy = any(len(state.flows) for state in self._devices.values())
                self._next_sweep = due + self._policy.sweep_s if busy else math.inf
            self._set_timer()
        return released

    # -- what it is asked --------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """Return when ``handle_timer`` is due next, None when nothing is pending."""
        return None if self.timer == math.inf else self.timer

    def get_flow_name(self) -> str:
        """Return ``tcp 10.0.0.2:46619 > 52.4.1.9:443 #2`` for the packet received last, the device first."""
        facts = self.facts
        if facts.flow is not None:
            return facts.flow.get_name()
        protocol, key = facts.fields[:2]
        if facts.direction:
            key = reverse_key(key)
        life = max((state.flows.get_life(key) for state in self._devices.values()), default=1)
        return f"{format_key(protocol, key)} #{life}"

    def get_status(self, device: str, *, now: float) -> DeviceStatus:
        """Return one device's state (KeyError for a device that was not set up)."""
        state = self._devices[device]
        context = state.context
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
            flows=len(state.flows),
            condemned_flows=sum(flow.condemned for flow in state.flows),
            held_packets=state.holds.packets,
            held_bytes=state.holds.bytes,
        )

    def counters(self, device: str) -> Iterator[tuple[Direction, Decision, int, int]]:
        """Yield (direction, decision, packets, bytes) since the start; bytes are those of the IP packets."""
        state = self._devices[device]
        for direction, counts in (
            (Direction.UPSTREAM, state.counts_up),
            (Direction.DOWNSTREAM, state.counts_down),
        ):
            for answer, (packets, octets) in list(counts.items()):
                if answer.verdict is not _HOLD:  # what waits is counted when it is settled
                    yield direction, answer, packets, octets

    # -- TCP ---------------------------------------------------------------------------------------

    def _receive_tcp_up(
        self,
        state: _Device,
        key: bytes,
        packet: bytes,
        offset: int,
        size: int,
        seq: int,
        flags: int,
        now: float,
    ) -> Decision:
        flow: Flow | None = state.flows.get(key)
        if flags & SYN or (flow is None and size):
            flow, answer = self._open_flow(state, key, flow, size, seq, flags, now)
            if answer is not None or flow is None:
                return self._conclude(state, flow, answer or _TCP_CONTROL, flags, now)
        if flow is None:
            return _TCP_CONTROL if state.judge.acks.take(1, now) else self._over_rate(state, now)
        self.facts.flow = flow
        flow.last_seen = now
        if not size:
            if flags & (FIN | RST):
                flow.closed = True
                if flags & FIN:
                    flow.up.finish(seq)
            answer = _TCP_CONTROL if state.judge.acks.take(1, now) else self._over_rate(state, now)
        elif flags & _SPECIAL_FLAGS:
            answer = state.judge.judge_app_data(
                size, now, Reason.RST_PAYLOAD if flags & RST else Reason.URGENT_DATA
            )
        else:
            if flags & FIN:
                flow.closed = True
            answer = self._receive_payload(state, flow, packet, offset, size, seq, now)
            if flags & FIN:
                flow.up.finish((seq + size) & MASK)
            if flow.client.records:
                self.facts.records = flow.client.records
                flow.client.records = []
        if (
            flow.condemned
            or flow.reset_at is not None
            or flow.held_seq is not None
            or not flow.answered
            or answer.touches_flow
        ):
            return self._conclude(state, flow, answer, flags, now, seq=seq, size=size, octets=len(packet))
        return answer

    def _receive_payload(
        self, state: _Device, flow: Flow, packet: bytes, offset: int, size: int, seq: int, now: float
    ) -> Decision:
        up = flow.up
        if seq == up.next_seq:
            kinds = flow.receive_new(packet, offset, size, now)
            reason = flow.get_reason() if kinds & KIND_APP_DATA else Reason.SPLIT_HEADER
            reply = flow.conversation.heartbeat_reply
            if up.pending:
                flow.drain(now)
        else:
            old = distance(up.next_seq, seq)
            if old < 0:
                up.put_aside(seq, packet, offset, size, self._get_room(state))
                return state.judge.judge_app_data(size, now, Reason.OUT_OF_ORDER)
            if old >= size:
                return self._judge_retransmission(state, flow, packet, offset, size, seq, now)
            same, kinds, forgotten = up.compare(seq, packet, offset, old)
            if not same:
                return state.judge.judge_app_data(size, now, Reason.OVERLAP_MISMATCH)
            never_seen = distance(seq, up.floor_seq) < 0
            kinds |= flow.receive_new(packet, offset + old, size - old, now)
            if kinds & KIND_SPLIT:  # a header that began in the old bytes may be complete now
                kinds = kinds & ~KIND_SPLIT | up.compare(seq, packet, offset, size)[1]
            reason = flow.get_reason() if kinds & KIND_APP_DATA else Reason.SPLIT_HEADER
            reply = flow.conversation.heartbeat_reply
            if up.pending:
                flow.drain(now)
            if never_seen:
                return state.judge.judge_app_data(size, now, flow.conversation.gap_reason)
            if (
                forgotten
                and not kinds & _APP_DATA_KINDS
                and not state.judge.accept_unverified(forgotten, now)
            ):
                kinds, reason = KIND_APP_DATA, Reason.BUDGET_EXHAUSTED
        ledger = state.flows.ledger
        if ledger.kept_bytes > self._kept_limit:
            state.flows.make_room()
        if up.unacked_bytes > self._unacked_limit or ledger.kept_bytes > self._kept_limit:
            up.forget_seen()
            return state.judge.judge_app_data(size, now, Reason.RETRANSMISSION_BUFFER)
        if kinds & _APP_DATA_KINDS:
            if reason is Reason.OPAQUE_PAYLOAD:
                return state.judge.judge_opaque(flow.key, size, now)
            return state.judge.judge_tls(flow, size, now, reason)
        if kinds & KIND_HANDSHAKE:
            return _HANDSHAKE
        return _HEARTBEAT_REPLY if reply else _HEARTBEAT

    def _judge_retransmission(
        self, state: _Device, flow: Flow, packet: bytes, offset: int, size: int, seq: int, now: float
    ) -> Decision:
        """Judge bytes that were all seen before: they get what they would get now."""
        up = flow.up
        if flow.held_seq is not None and distance((seq + size) & MASK, flow.held_seq) > 0:
            return _HELD  # it waits already
        keep_alive = (
            size == _KEEP_ALIVE_BYTES and distance(up.next_seq, seq) == size and up.unacked_seq == up.next_seq
        )
        if not keep_alive and distance(seq, up.floor_seq) < 0:
            return state.judge.judge_app_data(size, now, flow.conversation.gap_reason)
        same, kinds, forgotten = (True, 0, size) if keep_alive else up.compare(seq, packet, offset, size)
        if not same:
            return state.judge.judge_app_data(size, now, Reason.OVERLAP_MISMATCH)
        if kinds & _APP_DATA_KINDS:
            if flow.client.framing is Framing.OPAQUE and not flow.inbound:
                return state.judge.judge_opaque(flow.key, size, now, _RETRANSMIT)
            reason = None if kinds & KIND_APP_DATA else Reason.SPLIT_HEADER
            return state.judge.judge_app_data(size, now, reason, _RETRANSMIT)
        if forgotten and not state.judge.accept_unverified(forgotten, now, keep_alive=keep_alive):
            return state.judge.judge_app_data(size, now, Reason.BUDGET_EXHAUSTED, _RETRANSMIT)
        return _RETRANSMISSION

    def _open_flow(
        self, state: _Device, key: bytes, flow: Flow | None, size: int, seq: int, flags: int, now: float
    ) -> tuple[Flow | None, Decision | None]:
        """Begin a flow where this packet does; no decision when its payload is still to be judged."""
        flows = state.flows
        if not flags & SYN:
            flow = flows.open(key, seq, isn=None)
            self._begin_sweeps(now)
            return flow, None if flow else state.judge.judge_app_data(size, now, Reason.FLOW_TABLE_FULL)
        answer = _SETUP
        inbound = bool(flags & ACK)
        if inbound and flow is not None and flow.condemned and self._enforce:
            pass  # only the peer's answer to a SYN begins a new life of what was refused
        elif flow is not None and flow.isn == seq:
            answer = _SETUP_AGAIN if state.judge.acks.take(1, now) else self._over_rate(state, now)
        elif not state.judge.connections.take(1, now):
            return None, state.judge.judge_app_data(size, now, Reason.CONNECTION_RATE)
        else:
            known = flow is not None
            flow = flows.open(key, (seq + 1) & MASK, isn=seq)
            self._begin_sweeps(now)
            if flow is None:
                return None, state.judge.judge_app_data(size, now, Reason.FLOW_TABLE_FULL, _HANDSHAKE_CLASS)
            if inbound:
                flow.mark_inbound()
            else:
                flow.answered = not known
            flow.lineage = now < state.context.interaction_until
        flow.last_seen = now
        self.facts.flow = flow
        if size:
            answer = state.judge.judge_app_data(size, now, Reason.SYN_PAYLOAD)
        return flow, answer

    def _receive_tcp_down(
        self,
        state: _Device,
        key: bytes,
        packet: bytes,
        offset: int,
        size: int,
        seq: int,
        ack: int,
        flags: int,
        now: float,
    ) -> None:
        flow: Flow | None = state.flows.get(key)
        if flags & SYN:
            seq = (seq + 1) & MASK
            if flags & ACK:
                if flow is None:  # the device's SYN was not seen: its number is known all the same
                    flow = state.flows.open(reverse_key(key), ack, isn=(ack - 1) & MASK)
                    self._begin_sweeps(now)
                if flow is not None and flow.isn == (ack - 1) & MASK:
                    flow.answered = True
        if flow is None:
            return
        self.facts.flow = flow
        flow.last_seen = now
        if flags & (FIN | RST):
            flow.closed = True
        if flags & ACK and ack != flow.up.unacked_seq:
            flow.acknowledge(ack, now)
        if size:
            if flow.answers:
                state.context.hear_answer(now)
            flow.receive_downstream(packet, offset, size, seq, now, self._get_room(state))
        elif flow.down is None:
            flow.begin_downstream(seq)

    # -- what follows ------------------------------------------------------------------------------

    def _conclude(
        self,
        state: _Device,
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
        if flow.condemned and self._enforce:
            if flags & RST and answer is _TCP_CONTROL:
                return answer  # the device may say that it gives up
            if answer.reason is Reason.INTERACTION:
                state.context.interaction_bytes += self.facts.payload_bytes  # it did not pass
            return decision(answer.packet_class, answer.justification, _REFUSE, Scope.FLOW, Reason.CONDEMNED)
        if size and not flow.answered and answer.verdict is not _REFUSE:
            answer = state.judge.judge_app_data(
                size, now, Reason.NOT_CONNECTED, answer.packet_class or _APP_DATA
            )
        after = self._is_after_reset(state, flow, now)
        behind = flow.held_seq is not None and (size or flags & FIN) and answer.verdict is _ACCEPT
        if answer.verdict is _HOLD or behind:
            answer = self._let_wait(state, flow, answer, seq, size, octets, now, after=after)
        if answer.scope is Scope.FLOW:
            self._condemn(state, flow, now)
        return self._flag(answer) if after else answer

    def _let_wait(
        self,
        state: _Device,
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
        ready = answer if answer.verdict is _ACCEPT else None
        packet_class = answer.packet_class or _APP_DATA
        reason = None if answer.reason in _WAITING_REASONS else answer.reason
        held = Held(
            self.facts.packet_id, now, size, octets, packet_class, answer.justification, reason, ready, after
        )
        if not state.holds.add(flow, held, waiting):
            scope = Scope.PACKET if flow is None else Scope.FLOW
            return decision(packet_class, answer.justification, _REFUSE, scope, Reason.HOLD_FULL)
        if flow is None or flow.held_seq is None:
            self._set_timer()
        if flow is not None and flow.held_seq is None:
            flow.held_seq = seq
        if ready is None:
            return answer
        return decision(packet_class, answer.justification, _HOLD, None, Reason.AWAITING_WAKE_WORD)

    def _settle(self, state: _Device, hold: FlowHold, now: float) -> list[tuple[int, Decision]]:
        """Judge what waited, for good, and in order."""
        flow = hold.flow
        refused = flow is not None and flow.condemned
        settled: list[tuple[int, Decision]] = []
        for held in state.holds.take(hold):
            if refused and self._enforce:
                answer = decision(
                    held.packet_class, held.justification, _REFUSE, Scope.FLOW, Reason.CONDEMNED
                )
            elif held.ready is not None:
                answer = held.ready
            elif flow is None:
                answer = state.judge.judge_app_data(held.size, now, held.reason, may_wait=False)
            elif held.packet_class is _APP_DATA:
                answer = state.judge.judge_tls(flow, held.size, now, held.reason, may_wait=False)
            else:
                answer = state.judge.judge_app_data(
                    held.size, now, held.reason, held.packet_class, may_wait=False
                )
            refused = refused or answer.scope is Scope.FLOW
            if held.after_virtual_reset and flow is not None and self._is_after_reset(state, flow, now):
                answer = self._flag(answer)
            self._count(state.counts_up, answer, held.octets)
            settled.append((held.packet_id, answer))
        if flow is not None:
            flow.held_seq = None
            if refused:
                self._condemn(state, flow, now)
        return settled

    def _settle_due(self, state: _Device, due: float) -> list[tuple[int, Decision]]:
        settled: list[tuple[int, Decision]] = []
        for hold in state.holds:
            if hold.deadline > due:
                continue
            voice = hold.flow.conversation.voice if hold.flow is not None else None
            if hold.waiting is Waiting.PROBE and voice is not None and voice.is_voice(due):
                state.holds.wait_on(hold)
            else:
                settled += self._settle(state, hold, due)
        return settled

    def _is_after_reset(self, state: _Device, flow: Flow, now: float) -> bool:
        if flow.reset_at is None:
            return False
        over = flow.reset_at < state.wakes_at or now - flow.reset_at >= self._policy.reconnect_s
        if over or self._enforce:
            flow.reset_at = None
            return False
        return True

    def _flag(self, answer: Decision) -> Decision:
        """Return the decision that says the same of a packet after a virtual reset."""
        flagged = self._after.get(answer)
        if flagged is None:
            flagged = self._after[answer] = decision(
                answer.packet_class,
                answer.justification,
                answer.verdict,
                answer.scope,
                answer.reason,
                after_virtual_reset=True,
            )
        return flagged

    @staticmethod
    def _count(counts: dict[Decision, list[int]], answer: Decision, octets: int) -> None:
        count = counts.setdefault(answer, [0, 0])
        count[0] += 1
        count[1] += octets

    def _condemn(self, state: _Device, flow: Flow, now: float) -> None:
        """Refuse the flow from now on, or say that enforce would; what waits on it is refused as well."""
        if self._enforce:
            flow.condemned = True
        elif flow.reset_at is None:
            flow.reset_at = now
        hold = state.holds.get(flow)
        if hold is not None:
            hold.deadline = now
            self._set_timer()

    def _get_room(self, state: _Device) -> int:
        """Return how many bytes beyond a gap one stream may keep now.

        What is beyond gaps has half of the room: however much it is, retransmissions can be verified.
        """
        ledger = state.flows.ledger
        if ledger.kept_bytes > self._kept_limit // 2:
            state.flows.make_room()
            if ledger.kept_bytes > self._kept_limit // 2:
                return 0
        return self._pending_limit

    def _over_rate(self, state: _Device, now: float) -> Decision:
        return state.judge.judge_app_data(0, now, Reason.BUDGET_EXHAUSTED, PacketClass.ACK)

    def _fail(self, device: str, direction: Direction) -> Decision:
        self.engine_errors += 1
        state = self._devices.get(device)
        if direction:
            return _DOWNSTREAM
        if state is None:
            return decision(_APP_DATA, None, _REFUSE, Scope.PACKET, Reason.ENGINE_ERROR)
        answer = state.judge.judge_app_data(0, NEVER, Reason.ENGINE_ERROR)
        count = state.counts_up.setdefault(answer, [0, 0])
        count[0] += 1
        return answer

    def _begin_sweeps(self, now: float) -> None:
        if self._next_sweep == math.inf:
            self._next_sweep = now + self._policy.sweep_s
            self._set_timer()

    def _set_timer(self) -> None:
        timer = self._next_sweep
        for state in self._devices.values():
            timer = min(timer, state.context.alive_until)
            if state.holds.packets:
                timer = min(timer, state.holds.get_deadline())
        self.timer = timer
