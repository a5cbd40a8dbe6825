"""One capture as the records of its connections, the names asked for and the connections opened.

Lengths and times only. Where bytes are missing, framing begins anew at the next header, as in the gate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from guard.capture import Capture, Interface
from guard.core import tls
from guard.core.packet import SYN, TCP, UDP, get_ports, parse_packet, reverse_key
from guard.core.tcp import MASK, distance
from guard.core.tls import Framing, RecordJudge, RecordStream
from guard.core.verdict import Direction
from guard.selector import DeviceSelector, Matcher

NANOSECONDS = 1e9
APPLICATION_DATA = 23
HANDSHAKE = 22
DNS_PORT = 53


class Record(NamedTuple):
    """One TLS record by its header: seconds from the first frame."""

    at: float
    up: bool
    kind: int
    length: int


class Segment(NamedTuple):
    """One TCP segment with payload."""

    at: float
    up: bool
    size: int


@dataclass(slots=True)
class Flow:
    """One connection; ``opened`` is when its SYN was sent, None for one that was there before."""

    server: str
    port: int  # of the device
    server_port: int
    opened: float | None
    name: str = ""  # from the ClientHello's server_name, else from a DNS answer
    records: list[Record] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    closed: float | None = None


@dataclass(slots=True)
class Session:
    """One capture."""

    path: Path
    began: float  # Unix time of its first frame
    ended: float = 0.0
    flows: list[Flow] = field(default_factory=list)
    queries: list[tuple[float, str]] = field(default_factory=list)


class _Side(RecordJudge):
    """One direction of a connection: puts segments in order and frames them."""

    def __init__(self, flow: Flow, *, up: bool, next_seq: int, from_start: bool) -> None:
        self._flow, self._up = flow, up
        self._next = next_seq
        self._later: dict[int, tuple[bytes, int, int]] = {}
        self._records: list[tls.Record] = []
        framing = Framing.START if from_start else Framing.UNKNOWN
        self.stream = RecordStream(self, framing, self._records)
        if from_start and up:
            self.stream.sink = bytearray()

    def receive(self, packet: bytes, offset: int, size: int, seq: int, now: float) -> None:
        ahead = distance(self._next, seq)
        if ahead < 0:
            self._later[seq] = (packet, offset, size)
            if len(self._later) > 64:  # never filled: the capture has lost it
                self.stream.lose()
                self._next = min(self._later, key=lambda start: distance(start, self._next))
        elif ahead < size:
            self._frame(packet, offset + ahead, offset + size, now)
            self._next = (seq + size) & MASK
        while (chunk := self._later.pop(self._next, None)) is not None:
            self._frame(chunk[0], chunk[1], chunk[1] + chunk[2], now)
            self._next = (self._next + chunk[2]) & MASK

    def _frame(self, packet: bytes, start: int, end: int, now: float) -> None:
        self.stream.receive(packet, start, end, now)
        self._flow.records += [Record(now, self._up, kind, length) for kind, length in self._records]
        self._records.clear()

    def judge_record(self, _stream: RecordStream, _kind: int, _length: int, _now: float) -> int:
        """Take no notice."""
        return 0


def read(path: Path, device: str) -> Session:
    """Return what a capture holds of ``device`` (its MAC)."""
    selector = DeviceSelector(device)
    session: Session | None = None
    matchers: dict[Interface, Matcher] = {}
    open_flows: dict[bytes, tuple[Flow, _Side | None, _Side | None]] = {}
    names: dict[str, str] = {}
    first_ns = 0
    for _number, time_ns, interface, frame, _wire, flags in Capture(path):
        if session is None:
            first_ns = time_ns
            session = Session(path, time_ns / NANOSECONDS)
        now = (time_ns - first_ns) / NANOSECONDS
        session.ended = now
        matcher = matchers.setdefault(interface, selector.make_matcher(interface))
        matched = matcher(frame, flags)
        if matched is None:
            continue
        direction, packet = matched
        if packet is None:
            continue
        up = direction is Direction.UPSTREAM
        protocol, key, offset, size, seq, _ack, tcp_flags, fault = parse_packet(packet)
        if fault is not None:
            continue
        ports = get_ports(key)
        if protocol == UDP and ports is not None and DNS_PORT in ports and len(key) == 12:
            _read_dns(session, names, packet[offset : offset + size], now, up=up)
        if protocol != TCP or ports is None or len(key) != 12:
            continue
        ours = key if up else reverse_key(key)
        mine, theirs = get_ports(ours) or (0, 0)
        state = open_flows.get(ours)
        if (up and tcp_flags & SYN and (state is None or state[1] is not None)) or (state is None and size):
            server = ".".join(map(str, ours[4:8]))
            opened = now if tcp_flags & SYN else None
            flow = Flow(server, mine, theirs, opened, names.get(server, ""))
            session.flows.append(flow)
            state = open_flows[ours] = (flow, None, None)
        if state is None:
            continue
        flow, client, cloud = state
        if size:
            flow.segments.append(Segment(now, up, size))
            start = flow.opened is not None
            if up and client is None:
                client = _Side(flow, up=True, next_seq=seq, from_start=start)
            elif not up and cloud is None:
                cloud = _Side(flow, up=False, next_seq=seq, from_start=start)
            side = client if up else cloud
            if side is not None:
                side.receive(packet, offset, size, seq, now)
            if client is not None and client.stream.sink:
                name = find_server_name(bytes(client.stream.sink))
                if name:
                    flow.name, client.stream.sink = name, None
            open_flows[ours] = (flow, client, cloud)
        if tcp_flags & 0x05 and flow.closed is None:  # FIN, RST
            flow.closed = now
    assert session is not None, f"{path} is empty"
    return session


def _read_dns(session: Session, names: dict[str, str], message: bytes, now: float, *, up: bool) -> None:
    """Note which name is asked for, and the addresses that answers give for it (RFC 1035)."""
    if len(message) < 12 or message[4:6] != b"\0\1":
        return
    name, at = _read_name(message, 12)
    if up:
        session.queries.append((now, name))
        return
    at += 4
    for _ in range(int.from_bytes(message[6:8], "big")):
        _alias, at = _read_name(message, at)
        if at + 10 > len(message):
            return
        kind = message[at : at + 2]
        length = int.from_bytes(message[at + 8 : at + 10], "big")
        if kind == b"\0\1" and length == 4:
            names[".".join(map(str, message[at + 10 : at + 14]))] = name
        at += 10 + length


def _read_name(message: bytes, at: int) -> tuple[str, int]:
    labels: list[str] = []
    end: int | None = None
    for _ in range(64):
        size = message[at] if at < len(message) else 0
        if size >= 0xC0:
            end = end or at + 2
            at = (size & 0x3F) << 8 | message[at + 1]
        elif size == 0:
            break
        else:
            labels.append(message[at + 1 : at + 1 + size].decode("ascii", "replace"))
            at += 1 + size
    return ".".join(labels).lower(), end or at + 1


def find_server_name(hello: bytes) -> str:
    """Return the server_name of a ClientHello (RFC 6066, 3), "" while it is incomplete or has none."""
    at = 4 + 2 + 32
    if len(hello) <= at:
        return ""
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 1 + (hello[at] if at < len(hello) else 0)
    end = at + 2 + int.from_bytes(hello[at : at + 2], "big")
    at += 2
    while at + 4 <= min(end, len(hello)):
        kind, length = (
            int.from_bytes(hello[at : at + 2], "big"),
            int.from_bytes(hello[at + 2 : at + 4], "big"),
        )
        if kind == 0:
            size = int.from_bytes(hello[at + 7 : at + 9], "big")
            return hello[at + 9 : at + 9 + size].decode("ascii", "replace").lower()
        at += 4 + length
    return ""
