"""The packet queue: netfilterqueue, bound, sized, and told what to do when it is full.

The daemon's callback receives netfilterqueue's own ``Packet``: one Python call per packet and none in
between. The verdicts are the functions ``accept``, ``refuse`` and ``condemn``; whoever counts every
microsecond may inline them. This file does not know why a packet is refused and reads no clock.

Where the compiled module ``batch`` was built, it reads the packets and sends the verdicts, many to a system
call, on the queue that netfilterqueue has bound; its packets have the same methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import kernel, netlink
from guard.netfilter.marks import ACCEPT_MASK, CONDEMNED, UNJUDGED

if TYPE_CHECKING:
    from netfilterqueue import NetfilterQueue, Packet

    from guard.netfilter.batch import Batch

MAXIMUM_LENGTH: Final = 8192
"""Packets that may wait: 0.8 s, the longest hold, at 10,000 packets a second."""

RECEIVE_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""Room on the queue's socket: a full packet takes about 2.3 kB there with the kernel's own share, so
some 7,000 of them. Nothing is reserved until packets wait."""

COPY_RANGE: Final = 3840
"""Bytes of a packet that the kernel hands over; a longer one arrives cut, and the engine calls it truncated.
netfilterqueue reads into 4096 bytes, attributes included: a message beyond them it discards without an
answer, and the packet would wait in the queue for ever."""

_NF_INET_LOCAL_IN: Final = 1
_FLAGS: Final = {Mode.MONITOR: netlink.NFQA_CFG_F_FAIL_OPEN, Mode.ENFORCE: 0}


def accept(packet: Packet) -> None:
    """Let an upstream packet pass: unjudged and condemned are cleared, foreign bits kept."""
    packet.set_mark(packet.get_mark() & ACCEPT_MASK)
    packet.accept()


def pass_downstream(packet: Packet) -> None:
    """Let a packet to the device pass with its mark as it is: a condemned connection is still reset."""
    packet.accept()


def refuse(packet: Packet) -> None:
    """Drop the packet. Its sender is not told, and offers a TCP segment again."""
    packet.drop()


def condemn(packet: Packet) -> None:
    """Refuse the packet and its flow: the rules answer with a reset and remember it in the connmark.

    It stays unjudged, so it cannot leave even where a user's rule goes around the reset. On INPUT no
    later hook would hold it back: there it is dropped, and ``reset`` tells both ends of a connection.
    """
    if packet.hook == _NF_INET_LOCAL_IN:
        packet.drop()
        return
    packet.set_mark(packet.get_mark() | UNJUDGED | CONDEMNED)
    packet.accept()


class Pause(Exception):  # noqa: N818  # leaves the queue's loop; no error
    """The batch is over."""


class PacketQueue:
    """One kernel queue. Bind, run and close it from the same thread.

    ``bind(callback, mode=...)``, then wait for ``fileno()`` in a selector and call ``run()`` when it is
    readable. ``callback(packet)`` gives each packet a verdict or keeps it with ``packet.retain()``.
    Whatever it raises ends ``run`` and comes out of it, while the packets behind stay queued: a caller
    with other work to do ends a batch so, by ``Pause``. A packet left without a verdict waits until
    ``close``.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._queue: NetfilterQueue | None = None
        self._batch: Batch | None = None

    def bind(
        self, callback: Callable[[Packet], None], *, mode: Mode, maximum_length: int = MAXIMUM_LENGTH
    ) -> None:
        """Take the queue. NetfilterError when somebody has it, or the right is missing."""
        from netfilterqueue import NetfilterQueue

        kernel.check_rights()
        kernel.check_queue_free(self.number)
        try:
            queue = NetfilterQueue()
        except OSError as error:
            raise NetfilterError(
                f"the kernel gives no packet queue ({error}): load the module nfnetlink_queue "
                "(CONFIG_NETFILTER_NETLINK_QUEUE)"
            ) from error
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a smaller buffer than asked for serves too
                queue.bind(
                    self.number,
                    callback,
                    max_len=maximum_length,
                    range=COPY_RANGE,
                    sock_len=RECEIVE_BUFFER_BYTES,
                )
        except OSError as error:
            kernel.check_queue_free(self.number)
            raise NetfilterError(
                f"queue {self.number} cannot be bound ({error}): give another number in network.queue"
            ) from error
        self._queue = queue
        self._batch = _make_batch(queue.get_fd(), self.number, callback)
        self.set_mode(mode)

    def set_mode(self, mode: Mode) -> None:
        """Make a full queue pass what it cannot hold (monitor), or drop it (enforce)."""
        netlink.set_queue_flags(self.fileno(), self.number, _FLAGS[mode], mask=netlink.NFQA_CFG_F_FAIL_OPEN)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._bound().get_fd()

    def run(self) -> None:
        """Call the callback for every packet that waits; return when none does."""
        if self._batch is not None:
            self._batch.run()
        else:
            self._bound().run(block=False)

    def flush(self) -> None:
        """Send the verdicts that a failed send has left. Nothing in plain Python, which keeps none."""
        if self._batch is not None:
            self._batch.flush()

    def read_statistics(self) -> kernel.QueueStatistics | None:
        """Return the kernel's own counters; None when the queue is gone."""
        return kernel.read_statistics(self.number)

    @property
    def failed(self) -> int | None:
        """How many verdicts the kernel refused; None in plain Python: netfilterqueue keeps it to itself."""
        return None if self._batch is None else self._batch.failed

    def close(self) -> None:
        """Give the queue back; the kernel drops what still waits in it. A second time does nothing."""
        if self._batch is not None:
            self._batch.close()
            self._batch = None
        if self._queue is not None:
            self._queue.unbind()
            self._queue = None

    def _bound(self) -> NetfilterQueue:
        if self._queue is None:
            raise NetfilterError(f"queue {self.number} is not bound")
        return self._queue


def _make_batch(descriptor: int, number: int, callback: Callable[[Packet], None]) -> Batch | None:
    """Return the compiled loop, None where it was not built."""
    try:
        from guard.netfilter.batch import Batch
    except ImportError:
        return None
    return Batch(descriptor, number, callback, Pause)
