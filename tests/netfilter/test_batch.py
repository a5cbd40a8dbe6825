"""The queue's compiled loop, fed over a socket pair: what comes out of a chunk, what a failed send leaves."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from guard.netfilter.queue import Pause
from tests.built import build_batch

if TYPE_CHECKING:
    from guard.netfilter.batch import Packet

_NETLINK_NETFILTER = 12
_NFNL_MSG_PACKET = 3 << 8
_NFQA_PACKET_HDR = 1


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return build_batch(tmp_path_factory.mktemp("batch"))


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The kernel's end and the queue's; a verdict cannot be sent over such a socket."""
    kernel, queue = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with kernel, queue:
        yield kernel, queue


def make_message(number: int) -> bytes:
    """Return what the kernel says of a packet without a byte."""
    attribute = struct.pack("=HHIHBx", 11, _NFQA_PACKET_HDR, socket.htonl(number), 0x0008, 2)
    return struct.pack("=IHHIIBBH", 20 + len(attribute), _NFNL_MSG_PACKET, 0, 0, 0, 0, 0, 0) + attribute


def raise_in_turn(*faults: BaseException | None) -> Callable[[Packet], None]:
    """Return a callback that raises these, one a packet."""
    left = iter(faults)

    def receive(_packet: Packet) -> None:
        fault = next(left)
        if fault is not None:
            raise fault

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
    loop = batch.Batch(queue.fileno(), 7, raise_in_turn(*faults), Pause)
    with pytest.raises(out):
        loop.run()
    assert unraisable == told
    loop.run()  # every packet of the chunk was handed over, none is left


def test_the_queue_cannot_be_closed_from_its_callback(
    batch: ModuleType, pair: tuple[socket.socket, socket.socket]
) -> None:
    kernel, queue = pair
    seen: list[Packet] = []

    def receive(packet: Packet) -> None:
        seen.append(packet)
        loop.close()

    loop = batch.Batch(queue.fileno(), 7, receive, Pause)
    kernel.send(make_message(1))
    with pytest.raises(RuntimeError, match="from the callback"):
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
    loop = batch.Batch(queue.fileno(), 7, lambda packet: packet.drop(), Pause)
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
