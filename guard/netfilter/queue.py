"""The packet queue: netfilterqueue, bound, sized and told what to do when it is full.

The daemon's callback receives netfilterqueue's own ``Packet``: one Python call per packet and none
in between. The three verdicts are the functions ``accept``, ``refuse`` and ``condemn``. This file does
not know why a packet is refused, and it reads no clock.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import kernel, netlink
from guard.netfilter.marks import ACCEPT_MASK, CONDEMNED, UNJUDGED

if TYPE_CHECKING:
    from netfilterqueue import Packet

MAXIMUM_LENGTH: Final = 8192
"""Packets that may wait: 0.8 s, the longest hold, at 10,000 packets a second."""

RECEIVE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Room on the queue's socket. A full packet costs about 2.3 kB there with the kernel's overhead, so
this holds some 7,000; the kernel reserves nothing until packets wait."""

COPY_RANGE: Final = 4096
"""netfilterqueue's buffer. A longer payload arrives cut to it and the engine calls it truncated."""

_NF_INET_LOCAL_IN: Final = 1
_NFQNL_MSG_CONFIG: Final = 2
_NFQA_CFG_MASK: Final = 4
_NFQA_CFG_FLAGS: Final = 5
_NFQA_CFG_F_FAIL_OPEN: Final = 1


def accept(packet: Packet) -> None:
    """Let the packet pass: unjudged and condemned cleared, foreign bits kept."""
    mark = packet.get_mark()
    if mark & (UNJUDGED | CONDEMNED):
        packet.set_mark(mark & ACCEPT_MASK)
    packet.accept()


def pass_downstream(packet: Packet) -> None:
    """Let a packet to the device pass with its mark as it is: a condemned connection is still reset."""
    packet.accept()


def refuse(packet: Packet) -> None:
    """Drop the packet; its sender is not told and offers a TCP segment again."""
    packet.drop()


def condemn(packet: Packet) -> None:
    """Refuse the packet and its flow: the rules answer with resets and remember it in the connmark.

    The packet stays unjudged, so it cannot leave even where a rule of the user bypasses the reset.
    On INPUT no later hook would hold it back: there it is dropped, and a TCP sender tries in vain.
    """
    if packet.hook == _NF_INET_LOCAL_IN:
        packet.drop()
        return
    packet.set_mark(packet.get_mark() | UNJUDGED | CONDEMNED)
    packet.accept()


class PacketQueue:
    """One kernel queue, bound in the thread that calls ``run`` and ``close``.

    Use: ``bind(callback, mode=...)``, then wait for ``fileno()`` in a selector and ``run()`` when it is
    readable. ``callback(packet)`` gives each packet its verdict or keeps it with ``packet.retain()``.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._queue: object | None = None

    def bind(self, callback: Callable[[Packet], None], *, mode: Mode) -> None:
        """Take the queue. NetfilterError when another process has it or the right is missing."""

    def set_mode(self, mode: Mode) -> None:
        """Fail open on a full queue in monitor, closed in enforce."""

    def fileno(self) -> int:
        """Return the file descriptor to select on."""
        return -1

    def run(self) -> None:
        """Call the callback for every packet that waits; does not block."""

    def close(self) -> None:
        """Give the queue back. What still waits in it is dropped by the kernel. Twice does no harm."""
