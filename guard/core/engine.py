"""The verdict engine: one packet, one event, one moment in; one decision out.

Knows: the way of a packet to the device it concerns, when timers are due, and the straight way that nearly
every packet takes. Refuses to know: the clock, the queue, files, the other end of anything. It always
answers, and the same input at the same times gets the same answers: live, replayed, simulated.

Whoever feeds it keeps two rules. Times never go backwards. Whenever ``get_timer()`` is due, ``handle_timer``
is called before the next packet or event, so that a late timer decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from guard.core.context import NEVER
from guard.core.device import Device
from guard.core.event import Event
from guard.core.facts import DeviceSettings, DeviceStatus, Facts
from guard.core.flow import RECENT_FLOWS, Flow
from guard.core.hold import Held
from guard.core.judge import AWAITING
from guard.core.notice import Notice, Notices
from guard.core.packet import ACK, PSH, TCP, format_key, parse_packet, reverse_key
from guard.core.policy import Policy
from guard.core.segment import TCP_CONTROL, judge_payload, receive_down, receive_payload, receive_up
from guard.core.tcp import CHUNK_BYTES, MASK, Chunk
from guard.core.tls import KIND_APP_DATA, Framing
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
    flag,
)

__all__ = ["DeviceSettings", "DeviceStatus", "Engine", "Facts"]

_ACCEPT: Final = Verdict.ACCEPT
_HOLD: Final = Verdict.HOLD
_REFUSE: Final = Verdict.REFUSE
_FLOW: Final = Scope.FLOW
_FRAMED: Final = Framing.FRAMED
_DOWNSTREAM: Final = decision(None, None, _ACCEPT, None, Reason.DOWNSTREAM)
_FROM_CLOUD: Final = Direction.DOWNSTREAM
_SHORTEST: Final = 40  # an IPv4 and a TCP header
_NOT_PUSH: Final = 0xFF & ~PSH


class Engine:
    """The verdict engine for any number of devices.

    ``list_records``: say in ``facts.records`` what TLS records each packet has; no decision asks for it.
    """

    def __init__(
        self,
        policy: Policy,
        devices: Mapping[str, DeviceSettings],
        *,
        mode: Mode,
        list_records: bool = True,
    ) -> None:
        self._policy = policy
        self._next_sweep = math.inf
        self.facts = Facts(list_records=list_records)
        self.timer = math.inf  # when handle_timer is due; the attribute behind get_timer, for hot loops
        self.engine_errors = 0
        self._notices = Notices()
        self._devices = {
            name: Device(
                name,
                policy,
                settings,
                self.facts,
                self._notices,
                on_due=self._settle_by,
                on_flow=self._begin_sweeps,
            )
            for name, settings in devices.items()
        }
        self._states = list(self._devices.values())
        self.set_mode(mode)

    # -- what it is told ---------------------------------------------------------------------------

    def set_mode(self, mode: Mode, *, device: str | None = None) -> None:
        """Carry out refusals from now on, or only report them; of one ``device`` or of all.

        Condemned flows stay known in both.
        """
        for state in self._devices.values() if device is None else (self._devices[device],):
            state.enforce = mode is Mode.ENFORCE

    def set_policy(self, policy: Policy, devices: Mapping[str, DeviceSettings], *, now: float) -> None:
        """Go on under other limits for the same ``devices``; connections and budgets stay as they are.

        ``DeviceSettings.sensor`` cannot change. A connection keeps the handshake and heartbeat limits with
        which it began.
        """
        self._policy = policy
        for name, state in self._devices.items():
            state.set_policy(policy, devices[name], now)

    def receive_packet(self, packet: bytes, *, device: str, direction: Direction, now: float) -> Decision:
        """Judge one packet (from the IP header on). Never raises for what the packet holds."""
        downstream = direction is _FROM_CLOUD
        facts = self.facts
        facts.packet_id += 1
        facts.direction = direction
        if facts.records:
            facts.records.clear()
        try:
            state = self._devices[device]
            octets = len(packet)
            offset = size = flags = 0
            flow: Flow | None = None
            if octets >= _SHORTEST and packet[0] == 0x45 and packet[9] == TCP:
                flags = packet[33]
                words = packet[32]  # of the TCP header, in the upper four bits
                total = packet[2] << 8 | packet[3]
                offset = 20 + (words >> 2 & 0x3C)
                size = total - offset
                if (
                    flags & _NOT_PUSH == ACK
                    and words >= 0x50
                    and size >= 0
                    and total <= octets
                    and not packet[7]
                    and not packet[6] & 0x3F  # of no fragment
                ):
                    key = packet[12:24]
                    near = 22 if downstream else 20  # the device's port
                    place = (packet[near] << 8 | packet[near + 1]) & (RECENT_FLOWS - 1)
                    flow = state.recent[place]
                    if flow is None or key != (flow.reverse if downstream else flow.key):
                        flow = state.by_key.get(key)
                        if flow is not None and key == (flow.reverse if downstream else flow.key):
                            state.recent[place] = flow
            if flow is None:
                answer = self._receive_any(state, packet, direction, now)
            else:
                # The straight way, of nearly every packet: IPv4 and TCP, nothing but ACK and PSH set, a flow
                # that is known. It comes to what _receive_any comes to, with fewer questions and calls; a
                # property test holds the two against each other.
                facts.flow = flow
                facts.payload_bytes = size
                flow.last_seen = now
                up = flow.up
                seq = packet[24] << 24 | packet[25] << 16 | packet[26] << 8 | packet[27]
                if downstream:
                    answer = _DOWNSTREAM
                    ack = packet[28] << 24 | packet[29] << 16 | packet[30] << 8 | packet[31]
                    if ack != up.unacked_seq and up.acknowledge(ack):
                        flow.skip_gaps(now)
                        if facts.records:
                            flow.keep_records(facts.records)
                    if size:
                        if flow.answers:
                            state.context.hear_answer(now)
                        down = flow.down
                        if down is not None and seq == down.next_seq and not down.gap_bytes:
                            server = flow.server
                            server.receive(packet, offset, offset + size, now)
                            down.next_seq = (seq + size) & MASK
                        else:
                            flow.receive_downstream(packet, offset, size, seq, now, state.get_room(flow))
                    elif flow.down is None:
                        flow.begin_downstream(seq)
                else:
                    if not size:
                        answer = TCP_CONTROL if state.acks.take(1, now) else state.over_rate(now)
                    else:
                        client = flow.client
                        if client.records is not facts.listed:
                            flow.show_records(facts.listed)
                        if seq == up.next_seq and not up.gap_bytes and not client.header:
                            kinds = client.receive(packet, offset, offset + size, now)
                            up.chunks.append(Chunk(seq, packet, offset, size, kinds))
                            kept = octets + CHUNK_BYTES
                            up.unacked_bytes = unacked = up.unacked_bytes + kept
                            up.next_seq = (seq + size) & MASK
                            ledger = state.ledger
                            ledger.kept_bytes = in_all = ledger.kept_bytes + kept
                            if (
                                kinds == KIND_APP_DATA
                                and client.reason is None
                                and client.framing is _FRAMED
                                and unacked <= state.unacked_limit
                                and in_all <= state.kept_limit
                            ):
                                answer = state.judge.judge_plain(flow, size, now)
                            else:
                                reason = flow.get_reason() if kinds & KIND_APP_DATA else Reason.SPLIT_HEADER
                                reply = flow.conversation.heartbeat_reply
                                answer = judge_payload(state, flow, size, kinds, reason, now, reply=reply)
                        else:
                            answer = receive_payload(state, flow, packet, offset, size, seq, now)
                    reset_at = flow.reset_at
                    along = None
                    if answer is AWAITING and flow.hold is not None:
                        along = state.wait_along(flow, answer, size, octets, now)
                    if along is not None:
                        answer = along
                    elif (
                        reset_at is not None
                        or flow.hold is not None
                        or flow.condemned
                        or not flow.answered
                        or answer.scope is _FLOW  # touches_flow, without the call
                        or answer.verdict is _HOLD
                    ):
                        after = None
                        if (
                            reset_at is not None
                            and flow.hold is None
                            and flow.answered
                            and not flow.condemned
                            and not state.enforce
                            and answer.verdict is not _HOLD
                            and reset_at >= state.wakes_at
                            and now - reset_at < state.reconnect_s
                        ):
                            after = flag(answer)  # it would have been cut: nothing else changes
                        answer = after or state.conclude(
                            flow, answer, flags, now, seq=seq, size=size, octets=octets
                        )
            (state.counts_down if downstream else state.counts_up).add(answer, octets)
        except Exception:  # noqa: BLE001  # the engine always answers: a fault in it is a verdict with a name
            return self._fail(device, direction)
        return answer

    def _receive_any(self, state: Device, packet: bytes, direction: Direction, now: float) -> Decision:
        """Judge a packet, whatever it is."""
        facts = self.facts
        facts.flow = None
        protocol, key, offset, size, seq, ack, flags, fault = parse_packet(packet)
        facts.protocol, facts.key, facts.payload_bytes = protocol, key, size
        if direction:
            if protocol == TCP and fault is None:
                receive_down(state, key, packet, offset, size, seq, ack, flags, now)
            return _DOWNSTREAM
        if fault is not None:
            return state.judge.judge_app_data(size, now, fault)
        if protocol == TCP:
            return receive_up(state, key, packet, offset, size, seq, flags, now)
        answer = state.judge.judge_other(protocol, key, packet, offset, size, now)
        if answer.verdict is _HOLD:
            answer = state.let_wait(None, answer, 0, size, len(packet), now, after=False)
        return answer

    def receive_event(self, event: Event, *, device: str, now: float) -> list[Held]:
        """Take a sensor event; return the packets it releases, each with its ``answer``."""
        state = self._devices[device]
        context = state.context
        before = context.interactions
        context.receive(event, now)
        if context.interactions != before:
            state.wakes_at = now
        released: list[Held] = []
        if context.justify(now) is not Justification.JUSTIFIED:
            for hold in state.holds:
                state.settle(hold, now, released)
        if context.closed is Reason.MUTED:
            for flow in state.flows:
                if flow.has_unacked_app_data():
                    state.condemn(flow, now)
        state.look_ahead()
        self._set_timer()
        return released

    def handle_timer(self, *, now: float) -> list[Held]:
        """Do what is due at ``now``, each thing as of its own time; return the packets released."""
        released: list[Held] = []
        while self.timer <= now:
            due = self.timer
            for state in self._states:
                if state.due <= due:
                    state.settle_due(due, released)
                    state.look_ahead()
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
        key = reverse_key(facts.key) if facts.direction else facts.key
        life = max((state.flows.get_life(key) for state in self._devices.values()), default=1)
        return f"{format_key(facts.protocol, key)} #{life}"

    def get_device(self, device: str) -> Device:
        """Return one device's state for whoever writes down what becomes of it; it may only be read."""
        return self._devices[device]

    def get_status(self, device: str, *, now: float) -> DeviceStatus:
        """Return one device's state (KeyError for a device that was not set up)."""
        return self._devices[device].get_status(now)

    def take_notices(self) -> list[Notice]:
        """Return what the owner should be told of since the last call; the same empty list when nothing."""
        return self._notices.take()

    def counters(self, device: str) -> Iterator[tuple[Direction, Decision, int, int]]:
        """Yield (direction, decision, packets, bytes) since the start; bytes are those of the IP packets."""
        return self._devices[device].get_counts()

    # -- inside ------------------------------------------------------------------------------------

    def _fail(self, device: str, direction: Direction) -> Decision:
        self.engine_errors += 1
        self.facts.flow = None
        state = self._devices.get(device)
        if direction:
            return _DOWNSTREAM
        if state is None:
            return decision(PacketClass.APP_DATA, None, _REFUSE, Scope.PACKET, Reason.ENGINE_ERROR)
        answer = state.judge.judge_app_data(0, NEVER, Reason.ENGINE_ERROR)
        state.count(answer, 0)
        return answer

    def _begin_sweeps(self, now: float) -> None:
        if self._next_sweep == math.inf:
            self._next_sweep = now + self._policy.sweep_s
            self._set_timer()

    def _settle_by(self, when: float) -> None:
        self.timer = min(self.timer, when)

    def _set_timer(self) -> None:
        timer = self._next_sweep
        for state in self._states:
            timer = min(timer, state.due)
        self.timer = timer
