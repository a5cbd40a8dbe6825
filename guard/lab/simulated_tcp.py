"""A connection between two protocols whose every segment is shown to a judge before it arrives.

This stands in for the kernel where there is none: no window, no congestion, no loss, no delay. What it
keeps of TCP is what decides a gate's worth: a dropped segment is offered again, in order, and a reset
ends both sides.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from guard.core.verdict import Direction
from guard.lab.segments import MSS, Endpoint, Flags, build_packet
from guard.lab.session import Session

_FIRST_RETRY_S = 0.2  # Linux' shortest retransmission timeout (TCP_RTO_MIN)
_RETRIES = 6
_SEQUENCE_MASK = 0xFFFFFFFF
_DOWN_SEQUENCE = 0x10000000


class Outcome(Enum):
    """What the judge does to a packet."""

    PASS = "pass"  # noqa: S105  # no secret
    DROP = "drop"
    HOLD = "hold"
    RESET = "reset"


Settle = Callable[[Outcome], None]
Judge = Callable[[bytes, Direction, Settle], Outcome]
"""Says what becomes of a packet; after HOLD it calls the Settle once, later, with the final outcome."""


class _Half:
    """One direction: what is not delivered yet and the sequence number of its first byte."""

    def __init__(self, direction: Direction, source: Endpoint, target: Endpoint, sequence: int) -> None:
        self.direction = direction
        self.source = source
        self.target = target
        self.sequence = sequence
        self.waiting: deque[bytes] = deque()
        self.retry: asyncio.TimerHandle | None = None
        self.retries = 0
        self.held = False


class _Transport(asyncio.Transport):
    def __init__(self, connection: Connection, half: _Half) -> None:
        super().__init__({"sockname": _name(half.source), "peername": _name(half.target)})
        self._connection = connection
        self._half = half

    def write(self, data: Any) -> None:
        self._connection.send(self._half, bytes(data))

    def is_closing(self) -> bool:
        return self._connection.closed

    def close(self) -> None:
        self._connection.finish(self._half)

    def abort(self) -> None:
        self._connection.reset(self._half)


class Connection:
    """One simulated TCP connection; ``open`` performs the three-way handshake."""

    def __init__(self, judge: Judge, device: Endpoint, cloud: Endpoint, *, sequence: int) -> None:
        self.closed = False
        self._judge = judge
        self._up = _Half(Direction.UPSTREAM, device, cloud, sequence)
        self._down = _Half(Direction.DOWNSTREAM, cloud, device, sequence + _DOWN_SEQUENCE & _SEQUENCE_MASK)
        self._sessions: dict[Direction, Session] = {}

    def open(self, device: Session, cloud: Session) -> None:
        """Connect both ends. ConnectionRefusedError when the judge lets the handshake not pass."""
        # keyed by the direction whose bytes an end receives
        self._sessions = {Direction.DOWNSTREAM: device, Direction.UPSTREAM: cloud}
        for half, flags in (
            (self._up, Flags.SYN),
            (self._down, Flags.SYN | Flags.ACK),
            (self._up, Flags.ACK),
        ):
            if self._show(half, flags) is not Outcome.PASS:
                raise ConnectionRefusedError("the handshake did not pass")
            if Flags.SYN in flags:
                half.sequence += 1
        cloud.connection_made(_Transport(self, self._down))
        device.connection_made(_Transport(self, self._up))

    def send(self, half: _Half, data: bytes) -> None:
        """Take what one end writes."""
        if self.closed:
            return
        half.waiting.extend(data[start : start + MSS] for start in range(0, len(data), MSS))
        if half.retry is None:
            self._offer(half)

    def finish(self, half: _Half) -> None:
        """Close with FIN from one end; the other end closes as well."""
        if not self.closed:
            self._show(half, Flags.FIN | Flags.ACK)
            self._show(self._other(half), Flags.FIN | Flags.ACK)
            self._end(None)

    def reset(self, half: _Half) -> None:
        """Close with RST from one end."""
        if not self.closed:
            self._show(half, Flags.RST | Flags.ACK)
            self._end(None)

    def _offer(self, half: _Half) -> None:
        half.retry = None
        while self._may_offer(half):
            self._carry_out(half, self._show(half, Flags.PSH | Flags.ACK, half.waiting[0]))

    def _may_offer(self, half: _Half) -> bool:
        return bool(half.waiting) and half.retry is None and not half.held and not self.closed

    def _settle(self, half: _Half, outcome: Outcome) -> None:
        if half.held and not self.closed:
            half.held = False
            self._carry_out(half, outcome)
            if half.retry is None:
                self._offer(half)

    def _carry_out(self, half: _Half, outcome: Outcome) -> None:
        """Do to the first segment that waits what the judge said."""
        loop = asyncio.get_running_loop()
        if outcome is Outcome.HOLD:
            half.held = True
        elif outcome is Outcome.RESET:
            self._end(ConnectionResetError("the gate refused the flow"))
        elif outcome is Outcome.PASS:
            segment = half.waiting.popleft()
            half.sequence = half.sequence + len(segment) & _SEQUENCE_MASK
            half.retries = 0
            loop.call_soon(self._deliver, half.direction, segment)
            self._show(self._other(half), Flags.ACK)
        elif half.retries == _RETRIES:
            self._end(TimeoutError("no acknowledgement"))
        else:
            half.retry = loop.call_later(_FIRST_RETRY_S * 2**half.retries, self._offer, half)
            half.retries += 1

    def _deliver(self, direction: Direction, segment: bytes) -> None:
        session = self._sessions[direction]
        if not session.lost.done():
            session.data_received(segment)

    def _end(self, error: Exception | None) -> None:
        self.closed = True
        loop = asyncio.get_running_loop()
        for half in (self._up, self._down):
            if half.retry is not None:
                half.retry.cancel()
        for session in self._sessions.values():
            loop.call_soon(session.connection_lost, error)

    def _other(self, half: _Half) -> _Half:
        return self._down if half is self._up else self._up

    def _show(self, half: _Half, flags: Flags, payload: bytes = b"") -> Outcome:
        ack = self._other(half).sequence if Flags.ACK in flags else 0
        packet = build_packet(half.source, half.target, flags, seq=half.sequence, ack=ack, payload=payload)
        return self._judge(packet, half.direction, lambda outcome: self._settle(half, outcome))


def _name(endpoint: Endpoint) -> tuple[str, int]:
    return endpoint.address, endpoint.port
