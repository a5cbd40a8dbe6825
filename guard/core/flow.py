"""A TCP connection of the device, and the bounded table of them.

Knows: both directions' sequence numbers and TLS framing, the connection's life, whether it is condemned.
Refuses to know: context and verdicts. One Flow is one life of an address-and-port tuple: a SYN with another
initial sequence number begins the next.
"""

from __future__ import annotations

from collections.abc import Iterator

from guard.core.budget import TokenBucket
from guard.core.classify import Conversation
from guard.core.packet import TCP, format_key, reverse_key
from guard.core.policy import Policy
from guard.core.tcp import MASK, Stream, distance
from guard.core.tls import KIND_APP_DATA, KIND_SPLIT, Framing
from guard.core.verdict import Reason

MAX_LIVES = 65536  # tuples whose number of lives is remembered, the oldest forgotten first


class Flow:
    """One TCP connection; ``key`` is as on the device's packets."""

    __slots__ = (
        "client",
        "closed",
        "condemned",
        "conversation",
        "down",
        "inbound",
        "isn",
        "key",
        "last_seen",
        "life",
        "name",
        "reset_at",
        "up",
    )

    def __init__(
        self, key: bytes, life: int, next_seq: int, policy: Policy, bucket: TokenBucket, *, isn: int | None
    ) -> None:
        self.key = key
        self.life = life
        self.isn = isn  # of the device's SYN, None for a flow first seen in mid-stream
        self.name: str | None = None  # made when asked for
        self.up = Stream(next_seq)
        self.down: Stream | None = None  # from the peer's first packet on
        self.conversation = Conversation(policy, bucket, from_start=isn is not None)
        self.client = self.conversation.client
        self.inbound = False  # opened by the peer: the device is the server
        self.closed = False  # FIN or RST seen
        self.condemned = False  # refused at flow scope: nothing passes any more
        self.reset_at: float | None = None  # monitor mode: when enforce would have condemned it
        self.last_seen = 0.0

    def mark_inbound(self) -> None:
        """The peer opened it: nothing in it is read as a client's handshake or heartbeat."""
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
        if self.inbound:
            return Reason.INBOUND_FLOW
        if framing is Framing.OPAQUE:
            return Reason.OPAQUE_PAYLOAD
        if framing in (Framing.UNKNOWN, Framing.TENTATIVE):
            return self.conversation.gap_reason
        return self.conversation.reason

    def drain(self, now: float) -> None:
        """Frame bytes beyond a gap that has been filled."""
        while (chunk := self.up.take_pending()) is not None:
            self.receive_new(chunk.packet, chunk.start, chunk.length, now)

    def receive_downstream(
        self, packet: bytes, start: int, length: int, seq: int, ack: int | None, now: float, limit: int
    ) -> None:
        """Take a packet of the peer: its acknowledgement and its bytes (``seq`` is that of the first byte)."""
        if ack is not None and self.up.acknowledge(ack):
            self.conversation.gap_reason = Reason.STREAM_GAP
            self.client.lose()
            self.drain(now)
        down = self.down
        if down is None:
            down = self.down = Stream(seq)
        if not length:
            return
        server = self.conversation.server
        if seq != down.next_seq:
            seen = distance(down.next_seq, seq)
            if seen < 0:
                # Nothing will be compared downstream: keep it only while the gap may be filled.
                down.put_aside(seq, packet, start, length, limit)
                if down.gap_bytes + length > limit:
                    self._skip_gap(now)
                return
            start += seen
            length -= seen
            if length <= 0:
                return
        self._frame_downstream(packet, start, length, now)
        while down.pending and (chunk := down.take_pending()) is not None:
            self._frame_downstream(chunk.packet, chunk.start, chunk.length, now)
        if server.records:
            server.records.clear()

    def _frame_downstream(self, packet: bytes, start: int, length: int, now: float) -> None:
        self.conversation.server.receive(packet, start, start + length, now)
        assert self.down is not None
        self.down.next_seq = (self.down.next_seq + length) & MASK

    def _skip_gap(self, now: float) -> None:
        """Give up a gap in the peer's stream: go on with what lies behind it."""
        assert self.down is not None
        self.conversation.server.lose()
        self.down.next_seq = self.down.pending[0].seq
        while (chunk := self.down.take_pending()) is not None:
            self._frame_downstream(chunk.packet, chunk.start, chunk.length, now)

    def has_unacked_app_data(self) -> bool:
        """Say whether application data passed that the peer has not acknowledged."""
        return self.up.has_unacked(KIND_APP_DATA | KIND_SPLIT)


class FlowTable:
    """The flows of one device by the keys of both directions; at most ``max_flows`` of them."""

    __slots__ = ("_flows", "_lives", "_policy", "get", "heartbeats", "unacked_bytes")

    def __init__(self, policy: Policy, heartbeats: TokenBucket) -> None:
        self._policy = policy
        self._flows: dict[bytes, Flow] = {}
        self._lives: dict[bytes, int] = {}
        self.heartbeats = heartbeats
        self.unacked_bytes = 0  # kept by all flows
        self.get = self._flows.get  # flow = table.get(key), either direction; bound once, it is the hot path

    def __len__(self) -> int:
        return len(self._flows) // 2

    def __iter__(self) -> Iterator[Flow]:
        return (flow for key, flow in self._flows.items() if key is flow.key)

    def get_life(self, key: bytes) -> int:
        """Return which life a tuple is in, or would be in as a flow in mid-stream."""
        return self._lives.get(key, 1)

    def open(self, key: bytes, next_seq: int, *, isn: int | None) -> Flow | None:
        """Begin the next life of a tuple; None when the table is full."""
        old = self._flows.get(key)
        if old is not None:
            self.remove(old)
        elif len(self) >= self._policy.max_flows:
            return None
        life = self._lives.pop(key, 0) + 1
        self._lives[key] = life
        if len(self._lives) > MAX_LIVES:
            del self._lives[next(iter(self._lives))]
        flow = Flow(key, life, next_seq, self._policy, self.heartbeats, isn=isn)
        self._flows[key] = flow
        self._flows[reverse_key(key)] = flow
        return flow

    def remove(self, flow: Flow) -> None:
        """Forget a flow (its number of lives is kept)."""
        self._flows.pop(flow.key, None)
        self._flows.pop(reverse_key(flow.key), None)  # the same key where an address talks to itself
        self.unacked_bytes -= flow.up.unacked_bytes

    def expire(self, now: float) -> None:
        """Forget the flows that have been idle for too long, and what idle flows keep in memory."""
        tcp_idle, closed_idle, sweep = self._policy.tcp_idle_s, self._policy.closed_idle_s, self._policy.sweep_s
        for flow in list(self):
            idle = now - flow.last_seen
            if idle >= (closed_idle if flow.closed else tcp_idle):
                self.remove(flow)
            elif idle >= sweep:
                self.unacked_bytes -= flow.up.forget_acknowledged()
