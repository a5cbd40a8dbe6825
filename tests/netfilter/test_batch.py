"""The queue's compiled loop, fed over a socket pair: what comes out of a chunk, what a failed send leaves."""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from guard.netfilter.queue import DROP, KEEP, Pause, Receive
from tests.built import build_batch

if TYPE_CHECKING:
    from guard.netfilter.batch import Packet

_NETLINK_NETFILTER = 12
_NFNL_MSG_PACKET = 3 << 8
_NFQA_PACKET_HDR = 1
_NFQA_MARK = 3
_NFQA_PAYLOAD = 10


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return build_batch(tmp_path_factory.mktemp("batch"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The kernel's end and the queue's; a verdict cannot be sent over such a socket."""
    kernel, queue = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, queue:
        yield kernel, queue


def make_message(number: int, *, mark: int = 0, payload: bytes = b"") -> bytes:
    """Return what the kernel says of a packet."""
    attributes = struct.pack("=HHIHBx", 11, _NFQA_PACKET_HDR, socket.htonl(number), 0x0008, 2)
    attributes += struct.pack("=HHI", 8, _NFQA_MARK, socket.htonl(mark))
    if payload:
        padding = bytes(-len(payload) % 4)
        attributes += struct.pack("=HH", 4 + len(payload), _NFQA_PAYLOAD) + payload + padding
    return struct.pack("=IHHIIBBH", 20 + len(attributes), _NFNL_MSG_PACKET, 0, 0, 0, 0, 0, 0) + attributes


def raise_in_turn(*faults: BaseException | None) -> Receive:
    """Return what raises these, one a packet."""
    left = iter(faults)

    def receive(_packet: object, _mark: int, _payload: bytes, _ns: int) -> int:
        fault = next(left)
        if fault is not None:
            raise fault
        return KEEP

    return receive


@pytest.mark.parametrize(
    ("faults", "out", "told"),
    [
        ((Pause(), Pause(), None), Pause, []),
        ((Pause(), ValueError("audit"), Pause()), ValueError, []),
        ((ValueError("audit"), Pause(), None), ValueError, []),
        ((Pause(), ValueError("audit"), KeyError("tally")), ValueError, [KeyError]),
    ],
)
def test_a_fault_comes_out_of_the_chunk_that_a_pause_ended(
    batch: ModuleType,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    faults: tuple[BaseException | None, ...],
    out: type[Exception],
    told: list[type[Exception]],
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: unraisable.append(report.exc_type))
    kernel, queue = pair
    for number in range(3):
        kernel.send(make_message(number))
    loop = batch.Batch(queue.fileno(), 7, raise_in_turn(*faults), time.monotonic_ns, Pause)
    with pytest.raises(out):
        loop.run()
    assert unraisable == told
    loop.run()  # every packet of the chunk was handed over, none is left


def test_the_queue_cannot_be_closed_while_it_is_read(
    batch: ModuleType, pair: tuple[socket.socket, socket.socket]
) -> None:
    kernel, queue = pair
    seen: list[int] = []

    def receive(_packet: object, mark: int, _payload: bytes, _ns: int) -> int:
        seen.append(mark)
        loop.close()
        return KEEP

    loop = batch.Batch(queue.fileno(), 7, receive, time.monotonic_ns, Pause)
    kernel.send(make_message(1))
    with pytest.raises(RuntimeError, match="called from receive"):
        loop.run()
    assert len(seen) == 1
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run()


def test_what_a_failed_send_left_goes_with_the_next_flush(
    batch: ModuleType, pair: tuple[socket.socket, socket.socket]
) -> None:
    kernel, queue = pair
    kernel.send(make_message(1))
    loop = batch.Batch(queue.fileno(), 7, lambda *_: DROP, time.monotonic_ns, Pause)
    with pytest.raises(OSError, match="Errno"):
        loop.run()
    with pytest.raises(OSError, match="Errno"):
        loop.flush()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as netlink:
        os.dup2(netlink.fileno(), queue.fileno())
    loop.flush()
    assert loop.failed == 0
    loop.run()  # the verdict has arrived: the kernel knows no such queue, and says so
    assert loop.failed == 1
    loop.flush()
    loop.run()
    assert loop.failed == 1, "it was sent once"
    loop.close()
    loop.flush()


@pytest.mark.parametrize(
    ("answer", "fault"), [(None, TypeError), ("pass", TypeError), (-3, ValueError), (1 << 32, ValueError)]
)
def test_what_is_no_answer_drops_the_packet_and_says_so(
    batch: ModuleType,
    pair: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    fault: type[Exception],
) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: unraisable.append(report.exc_type))
    kernel, queue = pair
    kernel.send(make_message(1))
    loop = batch.Batch(queue.fileno(), 7, lambda *_: answer, time.monotonic_ns, Pause)
    with pytest.raises(fault):
        loop.run()
    assert unraisable == [OSError], "there was a verdict to send"


def test_each_packet_comes_with_its_mark_and_its_payload_and_keeps_both(
    batch: ModuleType, pair: tuple[socket.socket, socket.socket]
) -> None:
    kernel, queue = pair
    seen: list[tuple[Packet, int, bytes]] = []

    def receive(packet: Packet, mark: int, payload: bytes, _ns: int) -> int:
        seen.append((packet, mark, payload))
        return KEEP

    for number in range(3):
        kernel.send(make_message(number, mark=0x81000000 + number, payload=b"packet %d" % number))
    loop = batch.Batch(queue.fileno(), 7, receive, time.monotonic_ns, Pause)
    loop.run()
    for number, (packet, mark, payload) in enumerate(seen):
        assert (mark, payload) == (0x81000000 + number, b"packet %d" % number)
        assert (packet.get_mark(), packet.get_payload(), packet.hook) == (mark, payload, 2)
    assert len(seen) == 3


def test_the_clock_is_asked_once_for_the_packets_of_one_call_and_before_they_are_read(
    batch: ModuleType, pair: tuple[socket.socket, socket.socket]
) -> None:
    kernel, queue = pair
    ticks = iter(range(100))
    read: list[int] = []

    def clock() -> int:
        tick = next(ticks)
        if tick == 1:
            raise OSError("no clock")
        return tick

    def receive(_packet: Packet, _mark: int, _payload: bytes, ns: int) -> int:
        read.append(ns)
        return KEEP

    loop = batch.Batch(queue.fileno(), 7, receive, clock, Pause)
    for number in range(3):
        kernel.send(make_message(number))
    loop.run()
    assert read == [0, 0, 0]
    kernel.send(make_message(3))
    with pytest.raises(OSError, match="no clock"):
        loop.run()
    loop.run()
    assert read == [0, 0, 0, 2], "nothing was lost with the clock"
