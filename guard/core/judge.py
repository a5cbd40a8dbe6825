"""From what a packet is to what becomes of it.

Knows: the strict policy, the exception policies, the budgets of one device. Refuses to know: how packets
are read and where verdicts go. Every decision it gives is one of the interned ones.
"""

from __future__ import annotations

from typing import Final

from guard.core.budget import TokenBucket
from guard.core.context import Context
from guard.core.flow import Flow
from guard.core.packet import ICMP, ICMPV6, IGMP, UDP, get_ports
from guard.core.policy import EXCEPTIONS, REFUSALS, STRICT, Action, Policy, Refusal
from guard.core.verdict import Decision, Justification, PacketClass, Reason, Scope, Verdict, decision

_ACCEPT: Final = Verdict.ACCEPT
_REFUSE: Final = Verdict.REFUSE
_PACKET: Final = Scope.PACKET
_FLOW: Final = Scope.FLOW
_HOLD: Final = Verdict.HOLD
_EXPECTED: Final = Justification.EXPECTED
_NOT_JUSTIFIED: Final = Justification.NOT_JUSTIFIED
_JUSTIFIED: Final = Justification.JUSTIFIED
_IF_EXPECTED: Final = STRICT[_EXPECTED]
_IF_NOT_JUSTIFIED: Final = STRICT[_NOT_JUSTIFIED]
_IF_JUSTIFIED: Final = STRICT[_JUSTIFIED]
APP_DATA: Final = PacketClass.APP_DATA
NOT_RELEVANT: Final = PacketClass.NOT_RELEVANT

_UNEXPLAINED: Final = decision(APP_DATA, _JUSTIFIED, _REFUSE, _FLOW, Reason.NO_INTERACTION)
AWAITING: Final = decision(APP_DATA, _JUSTIFIED, _HOLD, None, Reason.AWAITING_WAKE_WORD)
_LINEAGE: Final = decision(APP_DATA, _EXPECTED, _ACCEPT, None, Reason.LINEAGE)
_CONTROL: Final = decision(APP_DATA, _JUSTIFIED, _ACCEPT, None, Reason.CONTROL_BUDGET)
_PROBING: Final = decision(APP_DATA, _JUSTIFIED, _HOLD, None, Reason.PROBING)
WITHIN_BUDGET: Final = decision(NOT_RELEVANT, None, _ACCEPT, None, Reason.WITHIN_BUDGET)
NEIGHBOUR_DISCOVERY: Final = decision(NOT_RELEVANT, None, _ACCEPT, None, Reason.NEIGHBOUR_DISCOVERY)

# UDP destination port -> budget; ``local`` ones only towards the home's own network
_SERVICES: Final = {53: "dns", 123: "ntp", 67: "dhcp", 547: "dhcp", 5353: "mdns", 1900: "ssdp"}
_LOCAL_SERVICES: Final = frozenset({"dhcp", "mdns", "ssdp"})
_ANSWERS: Final = frozenset({5353, 1900})  # multicast services answer from their port to any
_NEIGHBOUR_DISCOVERY_TYPES: Final = range(
    133, 138
)  # RFC 4861; hop limit 255 proves that no router forwarded it
_NEIGHBOUR_HOP_LIMIT: Final = 255

_SOFT: Final = Refusal(_FLOW)


def is_local(address: bytes) -> bool:
    """Say whether an address is private, link-local, multicast or broadcast: it does not leave the home."""
    first, second = address[0], address[1]
    if len(address) == 16:
        return first == 0xFF or first & 0xFE == 0xFC or (first == 0xFE and second & 0xC0 == 0x80)
    return (
        first == 10
        or first >= 224
        or (first == 172 and second & 0xF0 == 16)
        or (first == 192 and second == 168)
        or (first == 169 and second == 254)
    )


class Judge:
    """The verdicts of one device: its context, its budgets."""

    __slots__ = (
        "_actions",
        "_balanced",
        "_endpoints",
        "_holds",
        "_no_model",
        "_refusals",
        "_retransmits",
        "_upkeep",
        "acks",
        "buckets",
        "connections",
        "context",
    )

    def __init__(self, policy: Policy, context: Context, *, balanced: bool) -> None:
        self.context = context
        self._balanced = balanced
        self._holds = policy.hold_s > 0
        self._no_model = policy.voice is None  # then only what is certain is known: no budget for anybody
        self.buckets = {name: TokenBucket(budget) for name, budget in policy.budgets.items()}
        self.acks = self.buckets["ack"]
        self.connections = self.buckets["connection"]
        self._retransmits = self.buckets["retransmit"]
        # what control traffic may use: lineage or not -> budget, decision
        self._upkeep = {
            True: (self.buckets["lineage"], _LINEAGE),
            False: (self.buckets["control"], _CONTROL),
        }
        self._actions = policy.exceptions
        self._refusals = dict(REFUSALS)
        for reason, always in EXCEPTIONS.items():
            action = policy.exceptions[reason]
            if action is not Action.ACCEPT:
                scope = _FLOW if action is Action.DROP_FLOW else _PACKET
                self._refusals[reason] = Refusal(scope, always)
        self._endpoints = [(row, TokenBucket(row.budget)) for row in policy.endpoints]

    def accept_unverified(self, size: int, now: float, *, keep_alive: bool = False) -> bool:
        """Say whether ``size`` bytes acknowledged long ago, that nothing is left to compare with, may pass.

        Never while muted: whoever acknowledges bytes that he has not got would open the gate with them.
        """
        return (self.context.closed is None or keep_alive) and self._retransmits.take(size, now)

    def set_policy(self, policy: Policy, now: float, *, balanced: bool) -> None:
        """Go on under another policy; budgets keep what they have left, so that nothing is filled up."""
        fresh = Judge(policy, self.context, balanced=balanced)
        for name, bucket in self.buckets.items():
            bucket.change(policy.budgets[name], now)
        left = {(row.port, row.network): bucket for row, bucket in self._endpoints}
        self._endpoints = []
        for row, new in fresh._endpoints:
            bucket = left.get((row.port, row.network), new)
            bucket.change(row.budget, now)
            self._endpoints.append((row, bucket))
        self._balanced, self._holds, self._no_model = fresh._balanced, fresh._holds, fresh._no_model
        self._actions, self._refusals = fresh._actions, fresh._refusals

    def judge_app_data(
        self,
        size: int,
        now: float,
        reason: Reason | None,
        packet_class: PacketClass = APP_DATA,
        *,
        may_wait: bool = True,
    ) -> Decision:
        """Judge ``size`` bytes of application data; ``reason`` says what they are where that matters.

        ``may_wait``: the packet may still be held for a wake word.
        """
        context = self.context
        if context.closed is not None:
            justification, verdict = _NOT_JUSTIFIED, _IF_NOT_JUSTIFIED
        elif now < context.interaction_until:
            justification, verdict = _EXPECTED, _IF_EXPECTED
        else:
            justification, verdict = _JUSTIFIED, _IF_JUSTIFIED
        shown = justification if packet_class is APP_DATA else None
        refusal = _SOFT
        if reason is not None:
            if self._actions.get(reason) is Action.ACCEPT and justification is not _NOT_JUSTIFIED:
                return decision(packet_class, shown, _ACCEPT, None, Reason.EXCEPTION_ACCEPTED)
            refusal = self._refusals.get(reason, _SOFT)
            if refusal.always:
                return decision(packet_class, shown, _REFUSE, refusal.scope, reason)
        if verdict is _ACCEPT:
            context.interaction_bytes -= size
            if context.interaction_bytes >= 0:
                return decision(packet_class, shown, _ACCEPT, None, Reason.INTERACTION)
            return decision(packet_class, shown, _REFUSE, _FLOW, Reason.INTERACTION_CAP)
        if verdict is _HOLD and may_wait and refusal.waits and self._holds:
            return decision(packet_class, shown, _HOLD, None, reason or Reason.AWAITING_WAKE_WORD)
        if reason is None:
            reason = context.closed or Reason.NO_INTERACTION
            refusal = self._refusals.get(reason, _SOFT)
        return decision(packet_class, shown, _REFUSE, refusal.scope, reason)

    def judge_tls(
        self,
        flow: Flow,
        size: int,
        now: float,
        reason: Reason | None,
        packet_class: PacketClass = APP_DATA,
        *,
        may_wait: bool = True,
    ) -> Decision:
        """Judge application data on a TLS connection; what it looks like may widen or narrow its chances.

        Control traffic may pass within a budget where one is there for the connection: one that was opened
        inside an interaction, or any under the balanced policy. A voice never does.
        """
        context = self.context
        if context.closed is None:
            conversation = flow.conversation
            if now < context.interaction_until:
                voice = conversation.voice  # what only the model takes for one widens nothing
                if voice is not None and voice.is_voice(now):
                    context.hear_voice(now)
                    flow.answers = True
            elif reason is None and (flow.lineage or self._balanced):
                if conversation.is_voice_like(now):
                    reason = Reason.VOICE_LIKE
                elif conversation.probe_at == now and may_wait:
                    return _PROBING
                elif self._no_model and not flow.lineage:
                    reason = Reason.MODEL_MISSING
                else:
                    bucket, passed = self._upkeep[flow.lineage]
                    if bucket.take(size, now):
                        if packet_class is not APP_DATA:
                            return decision(packet_class, None, _ACCEPT, None, passed.reason)
                        if flow.hold is None or not may_wait:  # else it waits behind others first
                            conversation.let_pass(size, now)
                        return passed
        return self.judge_app_data(size, now, reason, packet_class, may_wait=may_wait)

    def judge_plain(self, flow: Flow, size: int, now: float) -> Decision:
        """Do what ``judge_tls`` does without a reason, faster where nothing speaks for the packet."""
        context = self.context
        if context.closed is not None or now < context.interaction_until or flow.lineage or self._balanced:
            return self.judge_tls(flow, size, now, None)
        return AWAITING if self._holds else _UNEXPLAINED

    def judge_opaque(
        self, key: bytes, size: int, now: float, packet_class: PacketClass = NOT_RELEVANT
    ) -> Decision:
        """Judge TCP payload that is not TLS: refused as application data unless an endpoint has a row."""
        if self.context.closed is None and self._endpoints:
            ports = get_ports(key)
            for row, bucket in self._endpoints:
                if ports is not None and row.matches(key, ports[1]) and bucket.take(size, now):
                    return decision(packet_class, None, _ACCEPT, None, Reason.ALLOWED_ENDPOINT)
        return self.judge_app_data(size, now, Reason.OPAQUE_PAYLOAD, packet_class)

    def judge_other(
        self, protocol: int, key: bytes, packet: bytes, offset: int, size: int, now: float
    ) -> Decision:
        """Judge what is not TCP: services within their budgets, anything else as application data."""
        service = None
        if protocol == UDP:
            source, destination = get_ports(key) or (0, 0)
            if not size:
                service = "ack"
            else:
                service = _SERVICES.get(destination) or (_SERVICES[source] if source in _ANSWERS else None)
                half = 16 if len(key) >= 32 else 4
                if service in _LOCAL_SERVICES and not is_local(key[half : 2 * half]):
                    service = None
            reason = Reason.OPAQUE_DATAGRAM
        else:
            reason = Reason.OPAQUE_PROTOCOL
            if protocol == ICMPV6:
                if (
                    size
                    and packet[offset] in _NEIGHBOUR_DISCOVERY_TYPES
                    and packet[7] == _NEIGHBOUR_HOP_LIMIT
                    and is_local(key[16:])  # it never leaves the link, so nothing else is a neighbour's
                ):
                    return NEIGHBOUR_DISCOVERY
                service = "icmp"
            elif protocol == ICMP:
                service = "icmp"
            elif protocol == IGMP:
                service = "igmp"
        if service is None:
            return self.judge_app_data(size, now, reason)
        if self.buckets[service].take(size or 1, now):
            return WITHIN_BUDGET
        return self.judge_app_data(size, now, Reason.BUDGET_EXHAUSTED)
