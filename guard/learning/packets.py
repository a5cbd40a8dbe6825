"""The per-packet table: what the engine said of each packet that the Echo sent, beside the paper's columns.

A witness of ``guard.replay``: it judges nothing, it writes down. Knows which of a packet's facts stand in
which column. Refuses to know: files (``tables``), what a row is good for. Packets that wait hold up the rows
behind them, so rows come out in the capture's order; what is kept is bounded by what may wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from guard.capture import Capture, Frame
from guard.core.event import AliveEvent, MuteEvent, MuteState
from guard.core.packet import ACK, PROTOCOL_NAMES, TCP, get_ports, parse_packet
from guard.core.verdict import Decision, Direction, PacketClass, Verdict
from guard.learning.paper_frames import PaperFrames
from guard.learning.paper_table import CONDITIONS, LAYER_DATA, LAYER_HTTP, LAYER_TCP, LAYER_TLS
from guard.learning.source import Source, replay
from guard.link import get_locator
from guard.replay import Replay, Totals
from guard.trace import Item, Trace

Row = tuple[Any, ...]  # the values of ``columns.PACKET_COLUMNS``, None where there is none
WriteRow = Callable[[Row], object]

MAX_STREAMS = 8192  # remembered at once; the engine knows 4096 connections of a device at most
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"HTTP")


def judge_packets(source: Source, write: WriteRow, *, trace: Trace | None = None) -> Totals:
    """Judge a source and write a row for each packet that its device sent; return what it went through.

    ``trace`` is told to the engine instead of the source's own.
    """
    tap = _Tap(source.open_frames())
    run = replay(source, tap, lambda run: _PacketWitness(source, tap, run, write), trace=trace)
    return run.totals


class _Tap:
    """The frames of a capture, and the one that was taken last."""

    def __init__(self, frames: Capture | PaperFrames) -> None:
        self.frames = frames
        self.frame: Frame | None = None

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.frames:
            self.frame = frame
            yield frame


class _Waiting:
    """A row whose verdict may still be out."""

    __slots__ = ("decision", "held_ms", "row", "since")

    def __init__(self, row: list[Any], since: float) -> None:
        self.row = row
        self.since = since
        self.decision: Decision | None = None
        self.held_ms: float | None = None


class _PacketWitness:
    """Writes a row for each packet of the device."""

    def __init__(self, source: Source, tap: _Tap, run: Replay, write: WriteRow) -> None:
        self._source = source
        self._tap = tap
        self._engine = run.engine
        self._write = write
        self._label = CONDITIONS[source.condition][0] if source.condition else None
        self._microphone = int(CONDITIONS[source.condition][1] if source.condition else 1)
        self._streams: OrderedDict[str, tuple[int, int]] = OrderedDict()  # name -> number, last time (ns)
        self._named = 0
        self._queue: deque[_Waiting] = deque()
        self._held: dict[int, _Waiting] = {}

    def see_packet(
        self, frame: int, time_ns: int, direction: Direction, decision: Decision, now: float
    ) -> None:
        """Begin the row of an upstream packet."""
        if direction is Direction.DOWNSTREAM:
            return
        waiting = _Waiting(self._describe(frame, time_ns), now)
        self._queue.append(waiting)
        if decision.verdict is Verdict.HOLD:
            self._held[self._engine.facts.packet_id] = waiting
        else:
            waiting.decision = decision
            if len(self._queue) == len(self._held) + 1:
                self._flush()

    def see_release(self, packet_id: int, decision: Decision, now: float) -> None:
        """Give a packet that waited its final verdict."""
        waiting = self._held.pop(packet_id, None)
        if waiting is not None:
            waiting.decision = decision
            waiting.held_ms = round((now - waiting.since) * 1000, 3)
            self._flush()

    def see_item(self, item: Item, now: float) -> None:
        """Follow the mute state."""
        if isinstance(item, MuteEvent):
            self._microphone = int(item.state is MuteState.UNMUTED)
        elif isinstance(item, AliveEvent):
            self._microphone = int(item.mute is MuteState.UNMUTED)

    def _flush(self) -> None:
        queue = self._queue
        while queue and queue[0].decision is not None:
            waiting = queue.popleft()
            self._write(self._finish(waiting.row, waiting.decision, waiting.held_ms))

    def _describe(self, number: int, time_ns: int) -> list[Any]:
        """Return the columns that are known before the verdict, the paper's first."""
        facts = self._engine.facts
        seen = self._tap.frame
        assert seen is not None
        _number, _time, interface, frame, wire_bytes, _flags = seen
        packet = frame[get_locator(interface.link_type)(frame)[2] :]
        protocol, key, offset, size, _seq, _ack, flags, _fault = parse_packet(packet)
        name = self._engine.get_flow_name()
        stream, last_ns = self._streams.pop(name, (self._named, time_ns))
        self._named += stream == self._named
        self._streams[name] = stream, time_ns
        if len(self._streams) > MAX_STREAMS:
            self._streams.popitem(last=False)
        records = facts.records
        ports = get_ports(key)
        paper: tuple[Any, ...]
        label: str | None
        if isinstance(self._tap.frames, PaperFrames):
            row = self._tap.frames.row
            assert row is not None
            label = row.label
            paper = (
                row.date,
                row.length,
                row.dstip,
                row.dstport,
                row.highest_layer,
                row.delta,
                row.ack_flag,
                row.microphone,
                row.content_type,
                row.synchronized,
            )
        else:
            label = None
            paper = (
                (_EPOCH + timedelta(microseconds=time_ns // 1000)).isoformat(
                    sep=" ", timespec="microseconds"
                )[:26],
                wire_bytes,
                _name_destination(key),
                ports[1] if ports else None,
                _name_layer(protocol, packet, offset, size, tls=facts.flow is not None and bool(records)),
                max(0, time_ns - last_ns) // 1_000_000,
                int(protocol == TCP and bool(flags & ACK)),
                self._microphone,
                records[0][0] if records else None,
                1,
            )
        ours = (
            self._source.name,
            number,
            time_ns / 1e9,
            self._source.condition,
            PROTOCOL_NAMES.get(protocol, str(protocol)),
            stream,
            facts.payload_bytes,
            " ".join(f"{kind}:{length}" for kind, length in records) or None,
        )
        return [*paper, label, *ours]

    def _finish(self, row: list[Any], decision: Decision | None, held_ms: float | None) -> Row:
        assert decision is not None
        justification = decision.justification
        label = len(_PAPER_FIELDS)
        if row[label] is None:
            app_data = decision.packet_class is PacketClass.APP_DATA
            row[label] = (self._label or justification) if app_data else decision.packet_class
        return (
            *row,
            decision.packet_class,
            justification,
            decision.verdict,
            decision.scope,
            decision.reason,
            held_ms,
            int(decision.after_virtual_reset),
        )


_PAPER_FIELDS = range(10)  # the paper's columns before its class


@lru_cache(maxsize=4096)
def _name_destination(key: bytes) -> str | None:
    half = 16 if len(key) >= 32 else 4
    return str(ip_address(key[half : 2 * half])) if key else None


def _name_layer(protocol: int, packet: bytes, offset: int, size: int, *, tls: bool) -> int:
    if tls:
        return LAYER_TLS
    if not size:
        return LAYER_TCP if protocol == TCP else LAYER_DATA
    if protocol == TCP and packet[offset : offset + 4] in _METHODS:
        return LAYER_HTTP
    # Bytes inside a record look like any others; Wireshark calls a segment TCP as long as its record is not
    # over.
    return LAYER_TCP if protocol == TCP else LAYER_DATA
