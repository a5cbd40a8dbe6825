"""A TCP connection of the device, and the bounded table of them.

Knows: both directions' sequence numbers and TLS framing, the connection's life, whether it is condemned.
Refuses to know: context and verdicts. One Flow is one life of an address-and-port tuple: a SYN with another
initial sequence number begins the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from guard.core.budget import TokenBucket
from guard.core.classify import Conversation
from guard.core.packet import TCP, format_key, reverse_key
from guard.core.policy import Policy
from guard.core.tcp import MASK, Ledger, Reassembly, Stream, distance
from guard.core.tls import KIND_APP_DATA, KIND_SPLIT, Framing, Record
from guard.core.verdict import Reason

if TYPE_CHECKING:
    from guard.core.hold import FlowHold

_FRAMED: Final = Framing.FRAMED  # a name of the module costs a quarter of an attribute of an enum
RECENT_FLOWS: Final = 1024  # a power of two
MAX_LIVES = 65536  # tuples whose number of lives is remembered, the oldest forgotten first

VoiceHeard = Callable[["Flow", float], None]  # told when a flow's records become a voice


class Flow:
    """One TCP connection; ``key`` is as on the device's packets, ``reverse`` as on its peer's."""

    __slots__ = (
        "_on_voice",
        "answered",
        "answers",
        "client",
        "closed",
        "condemned",
        "conversation",
        "down",
        "hold",
        "inbound",
        "isn",
        "key",
        "last_seen",
        "life",
        "lineage",
        "name",
        "reset_at",
        "reverse",
        "server",
        "up",
    )

    def __init__(
        self,
        key: bytes,
        life: int,
        next_seq: int,
        policy: Policy,
        bucket: TokenBucket,
        handshakes: TokenBucket,
        ledger: Ledger,
        *,
        isn: int | None,
        on_voice: VoiceHeard,
        records: list[Record] | None,
    ) -> None:
        self.key = key
        self.reverse = reverse_key(key)
        self.life = life
        self.isn = isn  # of the device's SYN, None for a flow first seen in mid-stream
        self.name: str | None = None  # made when asked for
        self.up = Stream(next_seq, ledger)
        self.down: Reassembly | None = None  # from the peer's first packet on
        self._on_voice = on_voice
        self.conversation = Conversation(
            policy, bucket, handshakes, from_start=isn is not None, listener=self, records=records
        )
        self.client = self.conversation.client
        self.server = self.conversation.server
        # False after a SYN inside an older life, until the peer agrees to the new one: it may only challenge
        # the SYN (RFC 9293, 3.10.7.4) and go on reading the old life's sequence numbers.
        self.answered = True
        self.inbound = False  # opened by the peer: the device is the server
        self.closed = False  # FIN or RST seen
        self.condemned = False  # refused at flow scope: nothing passes any more
        self.lineage = False  # opened inside an interaction
        self.answers = False  # sent a voice inside an interaction: what comes back is the answer
        self.reset_at: float | None = None  # monitor mode: when enforce would have condemned it
        self.hold: FlowHold | None = None  # what of it waits for a wake word
        self.last_seen = 0.0

    def hear_voice(self, now: float) -> None:
        """Pass on that its records have become a voice."""
        self._on_voice(self, now)

    def mark_inbound(self) -> None:
        """Take it that the peer opened it: nothing is read as a client's handshake or heartbeat."""
        self.inbound = True
        self.client.framing = Framing.OPAQUE

    def get_name(self) -> str:
        """Return ``tcp 10.0.0.2:46619 > 52.4.1.9:443 #2``."""
        if self.name is None:
            self.name = f"{format_key(TCP, self.key)} #{self.life}"
        return self.name

    def receive_new(self, packet: bytes, start: int, length: int, now: float) -> int:
        """Frame the next ``length`` bytes that the device sent, return the union of their KINDs."""
        client = self.client
        kinds = client.receive(packet, start, start + length, now)
        if client.resolved:
            self.up.resolve(KIND_SPLIT, client.resolved)
            client.resolved = 0
        self.up.append(packet, start, length, kinds)
        return kinds

    def get_reason(self) -> Reason | None:
        """Say why the bytes framed last are application data; None where they simply are."""
        framing = self.client.framing
        if framing is _FRAMED:
            return self.client.reason
        if self.inbound:
            return Reason.INBOUND_FLOW
        if framing is Framing.OPAQUE:
            return Reason.OPAQUE_PAYLOAD
        if framing in (Framing.UNKNOWN, Framing.TENTATIVE):
            return self.conversation.gap_reason
        return self.client.reason

    def drain(self, now: float) -> None:
        """Frame bytes beyond a gap that has been filled."""
        while (chunk := self.up.take_pending()) is not None:
            self.receive_new(chunk.packet, chunk.start, chunk.length, now)

    def acknowledge(self, ack: int, now: float) -> None:
        """Take the peer's acknowledgement; one that covers bytes never seen gives up the gap (stream_gap)."""
        if self.up.acknowledge(ack):
            self.skip_gaps(now)

    def skip_gaps(self, now: float) -> None:
        """Go on behind the gaps that the peer has acknowledged (stream_gap)."""
        while self.up.skip_gap():
            self.conversation.gap_reason = Reason.STREAM_GAP
            self.client.lose()
            self.drain(now)

    def keep_records(self, records: list[Record]) -> None:
        """Keep ``records``, completed by the peer's packet in hand, for the next packet of the device."""
        self.client.records = [*records]
        records.clear()

    def show_records(self, records: list[Record] | None) -> None:
        """Put what was kept into ``records``, where those of the packet in hand are collected."""
        if records is not None:
            records += self.client.records or ()
        self.client.records = records

    def begin_downstream(self, seq: int) -> Reassembly:
        """Take ``seq`` as the peer's first sequence number."""
        self.down = Reassembly(seq, self.up.ledger)
        return self.down

    def receive_downstream(
        self, packet: bytes, start: int, length: int, seq: int, now: float, limit: int
    ) -> None:
        """Frame ``length`` bytes (at least one) of the peer; beyond a gap at most ``limit`` are kept."""
        down = self.down
        if down is None:
            down = self.begin_downstream(seq)
        server = self.server
        if seq == down.next_seq:
            server.receive(packet, start, start + length, now)
            down.next_seq = (seq + length) & MASK
        else:
            seen = distance(down.next_seq, seq)
            if seen < 0:
                if down.put_aside(seq, packet, start, length, limit):
                    return
                server.lose()  # the gap is too wide to wait for: go on with what lies behind it
                down.next_seq = down.pending[0].seq if down.pending else (seq + length) & MASK
            elif seen < length:
                server.receive(packet, start + seen, start + length, now)
                down.next_seq = (seq + length) & MASK
        while down.pending and (chunk := down.take_pending()) is not None:
            server.receive(chunk.packet, chunk.start, chunk.start + chunk.length, now)
            down.next_seq = (chunk.seq + chunk.length) & MASK

    def forget_bytes(self) -> None:
        """Drop everything that is kept in memory."""
        self.up.forget_all()
        if self.down is not None:
            self.down.forget_pending()

    def is_quiet(self) -> bool:
        """Say whether a bare acknowledgement of the device could change nothing and would be accepted.

        So it is while all that the device sent was accepted, seen in order and acknowledged: nothing waits,
        and no event can condemn the connection.
        """
        up = self.up
        return (
            up.unacked_seq == up.next_seq
            and self.down is not None
            and not self.condemned
            and self.hold is None
            and self.reset_at is None
            and self.answered
            and not up.pending
        )

    def has_unacked_app_data(self) -> bool:
        """Say whether application data passed that the peer has not acknowledged."""
        return self.up.has_unacked(KIND_APP_DATA | KIND_SPLIT)


class FlowTable:
    """The flows of one device by the keys of both directions; at most ``max_flows`` of them."""

    __slots__ = (
        "_condemned",
        "_lives",
        "_observed",
        "_on_voice",
        "_policy",
        "_records",
        "by_key",
        "handshakes",
        "heartbeats",
        "ledger",
        "recent",
    )

    def __init__(
        self,
        policy: Policy,
        heartbeats: TokenBucket,
        handshakes: TokenBucket,
        on_voice: VoiceHeard,
        records: list[Record] | None,
        *,
        observed: bool,
    ) -> None:
        """``observed``: all application data may use a budget, so all of it is looked at.

        ``records`` collects the headers of all records of the device, where somebody asked for them.
        """
        self._records = records
        self._policy = policy
        self._on_voice = on_voice
        self._observed = observed
        self.by_key: dict[bytes, Flow] = {}  # either direction's
        # the flow that was found last, by the last bits of the device's port: asked before ``by_key``
        self.recent: list[Flow | None] = [None] * RECENT_FLOWS
        self._lives: dict[bytes, int] = {}  # of flows that are gone
        # condemned flows that may keep bytes, so that nobody has to look for them; a dict, for its order
        self._condemned: dict[Flow, None] = {}
        self.heartbeats = heartbeats
        self.handshakes = handshakes
        self.ledger = Ledger()

    def __len__(self) -> int:
        return len(self.by_key) // 2

    def __iter__(self) -> Iterator[Flow]:
        return (flow for key, flow in self.by_key.items() if key is flow.key)

    def set_policy(self, policy: Policy, *, observed: bool) -> None:
        """Go on under other limits; flows that are there keep those with which they began."""
        self._policy = policy
        if observed and not self._observed:
            for flow in self:
                flow.conversation.observe()
        self._observed = observed

    def get_life(self, key: bytes) -> int:
        """Return which life a tuple is in, or would be in as a flow in mid-stream."""
        flow = self.by_key.get(key)
        return self._lives.get(key, 1) if flow is None else flow.life

    def open(self, key: bytes, next_seq: int, *, isn: int | None) -> Flow | None:
        """Begin the next life of a tuple; None when the table is full."""
        old = self.by_key.get(key)
        if old is not None:
            self.remove(old)
        elif len(self) >= self._policy.max_flows:
            return None
        flow = Flow(
            key,
            self._lives.pop(key, 0) + 1,
            next_seq,
            self._policy,
            self.heartbeats,
            self.handshakes,
            self.ledger,
            isn=isn,
            on_voice=self._on_voice,
            records=self._records,
        )
        if self._observed:
            flow.conversation.observe()
        self.by_key[key] = flow
        self.by_key[flow.reverse] = flow
        return flow

    def remove(self, flow: Flow) -> None:
        """Forget a flow (its number of lives is kept)."""
        self.by_key.pop(flow.key, None)
        self.by_key.pop(flow.reverse, None)  # the same key where an address talks to itself
        place = (flow.key[-4] << 8 | flow.key[-3]) & (RECENT_FLOWS - 1)
        if self.recent[place] is flow:
            self.recent[place] = None
        self._lives[flow.key] = flow.life
        if len(self._lives) > MAX_LIVES:
            del self._lives[next(iter(self._lives))]
        flow.forget_bytes()
        self._condemned.pop(flow, None)

    def note_condemned(self, flow: Flow) -> None:
        """Take it that a condemned flow may have come to keep bytes."""
        self._condemned[flow] = None

    def make_room(self, flow: Flow) -> None:
        """Forget what condemned flows keep: their bytes are never acknowledged, and none will pass.

        ``flow`` is the one whose packet needs the room. A flow is visited once for each time it was noted, so
        the cost does not grow with the table.
        """
        if flow.condemned:
            self._condemned[flow] = None
        for condemned in self._condemned:
            condemned.forget_bytes()
        self._condemned.clear()

    def expire(self, now: float) -> None:
        """Forget the flows that have been idle for too long, and what idle flows keep in memory."""
        tcp_idle, closed_idle, sweep = (
            self._policy.tcp_idle_s,
            self._policy.closed_idle_s,
            self._policy.sweep_s,
        )
        for flow in list(self):
            idle = now - flow.last_seen
            if idle >= (closed_idle if flow.closed and not flow.condemned else tcp_idle):
                self.remove(flow)
            elif idle >= sweep and flow.condemned:
                flow.forget_bytes()
            elif idle >= sweep:
                flow.up.forget_acknowledged()
                flow.up.forget_pending()
                if flow.down is not None:
                    flow.down.forget_pending()
            flow.up.raise_floor()
