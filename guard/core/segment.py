"""One TCP segment: which flow it belongs to, which of its bytes are new, what they are.

Knows: the order of questions that RFC 9293 puts to a segment, as far as a gate in between can ask them.
Refuses to know: what becomes of the flow afterwards (``device``), and anything that is not TCP.
"""

from __future__ import annotations

from typing import Final

from guard.core.device import Device
from guard.core.flow import Flow
from guard.core.packet import ACK, FIN, RST, SYN, URG, reverse_key
from guard.core.tcp import MASK, distance
from guard.core.tls import KIND_APP_DATA, KIND_HANDSHAKE, KIND_SPLIT, Framing
from guard.core.verdict import Decision, PacketClass, Reason, Scope, Verdict, decision

_ACCEPT: Final = Verdict.ACCEPT
_REFUSE: Final = Verdict.REFUSE
_HANDSHAKE_CLASS: Final = PacketClass.HANDSHAKE
_RETRANSMIT: Final = PacketClass.RETRANSMIT

TCP_CONTROL: Final = decision(PacketClass.ACK, None, _ACCEPT, None, Reason.TCP_CONTROL)
_SETUP: Final = decision(_HANDSHAKE_CLASS, None, _ACCEPT, None, Reason.CONNECTION_SETUP)
_SETUP_AGAIN: Final = decision(_RETRANSMIT, None, _ACCEPT, None, Reason.CONNECTION_SETUP)
_RETRANSMISSION: Final = decision(_RETRANSMIT, None, _ACCEPT, None, Reason.RETRANSMISSION)
_HELD: Final = decision(_RETRANSMIT, None, _REFUSE, Scope.PACKET, Reason.HELD)
_HANDSHAKE: Final = decision(_HANDSHAKE_CLASS, None, _ACCEPT, None, Reason.HANDSHAKE)
_HEARTBEAT: Final = decision(PacketClass.SYN, None, _ACCEPT, None, Reason.HEARTBEAT)
_HEARTBEAT_REPLY: Final = decision(PacketClass.SYN, None, _ACCEPT, None, Reason.HEARTBEAT_REPLY)

_APP_DATA_KINDS: Final = KIND_APP_DATA | KIND_SPLIT
_SPECIAL_FLAGS: Final = SYN | RST | URG
_KEEP_ALIVE_BYTES: Final = 1  # RFC 9293, 3.8.4: one garbage byte before the next one due


def receive_up(
    device: Device, key: bytes, packet: bytes, offset: int, size: int, seq: int, flags: int, now: float
) -> Decision:
    """Judge a TCP segment of the device, whatever it is."""
    flow: Flow | None = device.flows.by_key.get(key)
    if flags & SYN or (flow is None and size):
        flow, answer = _open_flow(device, key, flow, size, seq, flags, now)
        if answer is not None or flow is None:
            return device.conclude(flow, answer or TCP_CONTROL, flags, now)
    if flow is None:
        return TCP_CONTROL if device.judge.acks.take(1, now) else device.over_rate(now)
    device.facts.flow = flow
    flow.last_seen = now
    if not size:
        if flags & (FIN | RST):
            flow.closed = True
            if flags & FIN:
                flow.up.finish(seq)
        answer = TCP_CONTROL if device.judge.acks.take(1, now) else device.over_rate(now)
    elif flags & _SPECIAL_FLAGS:
        answer = device.judge.judge_app_data(
            size, now, Reason.RST_PAYLOAD if flags & RST else Reason.URGENT_DATA
        )
    else:
        if flags & FIN:
            flow.closed = True
        if flow.client.records is not device.facts.listed:
            flow.show_records(device.facts.listed)
        answer = receive_payload(device, flow, packet, offset, size, seq, now)
        if flags & FIN:
            flow.up.finish((seq + size) & MASK)
    if (
        flow.condemned
        or flow.reset_at is not None
        or flow.hold is not None
        or not flow.answered
        or answer.touches_flow
    ):
        return device.conclude(flow, answer, flags, now, seq=seq, size=size, octets=len(packet))
    return answer


def receive_payload(
    device: Device, flow: Flow, packet: bytes, offset: int, size: int, seq: int, now: float
) -> Decision:
    """Find out which of the bytes are new, frame those, and judge the segment."""
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
            up.put_aside(seq, packet, offset, size, device.get_room(flow))
            return device.judge.judge_app_data(size, now, Reason.OUT_OF_ORDER)
        if old >= size:
            return _judge_retransmission(device, flow, packet, offset, size, seq, now)
        same, kinds, forgotten = up.compare(seq, packet, offset, old)
        if not same:
            return device.judge.judge_app_data(size, now, Reason.OVERLAP_MISMATCH)
        never_seen = distance(seq, up.floor_seq) < 0
        kinds |= flow.receive_new(packet, offset + old, size - old, now)
        if kinds & KIND_SPLIT:  # a header that began in the old bytes may be complete now
            kinds = kinds & ~KIND_SPLIT | up.compare(seq, packet, offset, size)[1]
        reason = flow.get_reason() if kinds & KIND_APP_DATA else Reason.SPLIT_HEADER
        reply = flow.conversation.heartbeat_reply
        if up.pending:
            flow.drain(now)
        if never_seen:
            return device.judge.judge_app_data(size, now, flow.conversation.gap_reason)
        if forgotten and not kinds & _APP_DATA_KINDS and not device.judge.accept_unverified(forgotten, now):
            kinds, reason = KIND_APP_DATA, Reason.BUDGET_EXHAUSTED
    return judge_payload(device, flow, size, kinds, reason, now, reply=reply)


def judge_payload(
    device: Device, flow: Flow, size: int, kinds: int, reason: Reason | None, now: float, *, reply: bool
) -> Decision:
    """Judge new bytes by what they were framed as; ``reason`` and ``reply`` as the flow said then."""
    up = flow.up
    ledger = device.ledger
    if ledger.kept_bytes > device.kept_limit:
        device.flows.make_room(flow)
    if up.unacked_bytes > device.unacked_limit or ledger.kept_bytes > device.kept_limit:
        up.forget_seen()
        return device.judge.judge_app_data(size, now, Reason.RETRANSMISSION_BUFFER)
    if kinds & _APP_DATA_KINDS:
        if reason is Reason.OPAQUE_PAYLOAD:
            return device.judge.judge_opaque(flow.key, size, now)
        return device.judge.judge_tls(flow, size, now, reason)
    if kinds & KIND_HANDSHAKE:
        return _HANDSHAKE
    return _HEARTBEAT_REPLY if reply else _HEARTBEAT


def _judge_retransmission(
    device: Device, flow: Flow, packet: bytes, offset: int, size: int, seq: int, now: float
) -> Decision:
    """Judge bytes that were all seen before: they get what they would get now."""
    up = flow.up
    if flow.hold is not None and distance((seq + size) & MASK, flow.hold.seq) > 0:
        return _HELD  # it waits already
    keep_alive = (
        size == _KEEP_ALIVE_BYTES and distance(up.next_seq, seq) == size and up.unacked_seq == up.next_seq
    )
    if not keep_alive and distance(seq, up.floor_seq) < 0:
        return device.judge.judge_app_data(size, now, flow.conversation.gap_reason)
    same, kinds, forgotten = (True, 0, size) if keep_alive else up.compare(seq, packet, offset, size)
    if not same:
        return device.judge.judge_app_data(size, now, Reason.OVERLAP_MISMATCH)
    if kinds & _APP_DATA_KINDS:
        if flow.client.framing is Framing.OPAQUE and not flow.inbound:
            return device.judge.judge_opaque(flow.key, size, now, _RETRANSMIT)
        reason = None if kinds & KIND_APP_DATA else Reason.SPLIT_HEADER
        return device.judge.judge_tls(flow, size, now, reason, _RETRANSMIT)
    if forgotten and not device.judge.accept_unverified(forgotten, now, keep_alive=keep_alive):
        return device.judge.judge_app_data(size, now, Reason.BUDGET_EXHAUSTED, _RETRANSMIT)
    return _RETRANSMISSION if device.acks.take(1, now) else device.over_rate(now)


def _open_flow(
    device: Device, key: bytes, flow: Flow | None, size: int, seq: int, flags: int, now: float
) -> tuple[Flow | None, Decision | None]:
    """Begin a flow where this packet does; no decision when its payload is still to be judged."""
    flows = device.flows
    if not flags & SYN:
        flow = flows.open(key, seq, isn=None)
        device.on_flow(now)
        return flow, None if flow else device.judge.judge_app_data(size, now, Reason.FLOW_TABLE_FULL)
    answer = _SETUP
    inbound = bool(flags & ACK)
    if flow is not None and flow.isn == seq:
        answer = _SETUP_AGAIN if device.judge.acks.take(1, now) else device.over_rate(now)
    elif not device.judge.connections.take(1, now):
        return None, device.judge.judge_app_data(size, now, Reason.CONNECTION_RATE)
    else:
        known = flow is not None
        if flow is not None and flow.hold is not None:
            device.condemn(flow, now)  # what waits was sent in the older life, and ends with it
        flow = flows.open(key, (seq + 1) & MASK, isn=seq)
        device.on_flow(now)
        if flow is None:
            return None, device.judge.judge_app_data(size, now, Reason.FLOW_TABLE_FULL, _HANDSHAKE_CLASS)
        if inbound:
            flow.mark_inbound()
        flow.answered = not known
        flow.lineage = now < device.context.interaction_until
        if flow.lineage:
            flow.conversation.observe()  # it may use a budget afterwards
    flow.last_seen = now
    device.facts.flow = flow
    if size:
        answer = device.judge.judge_app_data(size, now, Reason.SYN_PAYLOAD)
    return flow, answer


def receive_down(
    device: Device,
    key: bytes,
    packet: bytes,
    offset: int,
    size: int,
    seq: int,
    ack: int,
    flags: int,
    now: float,
) -> None:
    """Take a TCP segment of the peer."""
    flow: Flow | None = device.flows.by_key.get(key)
    if flags & SYN:
        seq = (seq + 1) & MASK
        if flags & ACK:
            if flow is None:  # the device's SYN was not seen: its number is known all the same
                flow = device.flows.open(reverse_key(key), ack, isn=(ack - 1) & MASK)
                device.on_flow(now)
            if flow is not None and flow.isn == (ack - 1) & MASK:
                flow.answered = True
    if flow is None:
        return
    device.facts.flow = flow
    flow.last_seen = now
    if flags & (FIN | RST):
        flow.closed = True
    if flags & ACK and ack != flow.up.unacked_seq:
        flow.acknowledge(ack, now)
        if device.facts.records:
            flow.keep_records(device.facts.records)
    if size:
        if flow.answers:
            device.context.hear_answer(now)
        flow.receive_downstream(packet, offset, size, seq, now, device.get_room(flow))
    elif flow.down is None:
        flow.begin_downstream(seq)
