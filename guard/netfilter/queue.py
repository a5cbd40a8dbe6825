"""The packet queue: netfilterqueue, bound, sized, and told what to do when it is full.

For each packet there is one call, ``receive(packet, mark, payload, ns)``, and its answer is the verdict: the
mark with which the packet passes, ``DROP``, or ``KEEP`` for one that is answered later by its own methods;
``ns`` is when it was read. This file does not know why a packet is refused, and its clock is an argument.

Where the compiled module ``batch`` was built, it reads the packets and sends the verdicts, many to a system
call, on the queue that netfilterqueue has bound; its packets have the same methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import kernel, netlink
from guard.netfilter.marks import make_condemned_mark

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


DROP: Final = -1
"""The answer for a packet that is dropped. Its sender is not told, and offers a TCP segment again."""

KEEP: Final = -2
"""The answer for a packet that waits: whoever keeps it answers it, by its own methods."""

Receive = Callable[["Packet", int, bytes, int], int]
"""What is called for each packet, with its mark, its payload and the nanoseconds at which it was read."""

Clock = Callable[[], int]
"""Monotonic nanoseconds."""


def condemn(mark: int, hook: int) -> int:
    """Return the answer that refuses a packet and its flow.

    The rules answer it with a reset and remember it in the connmark. It stays unjudged, so it cannot leave
    even where a user's rule goes around the reset. On INPUT no later hook would hold it back: there it is
    dropped, and ``reset`` tells both ends of a connection.
    """
    return DROP if hook == _NF_INET_LOCAL_IN else make_condemned_mark(mark)


def give(packet: Packet, answer: int) -> None:
    """Give a packet its answer by its own methods."""
    if answer >= 0:
        packet.set_mark(answer)
        packet.accept()
    elif answer == DROP:
        packet.drop()
    else:
        packet.retain()


def hand_over(receive: Receive, clock: Clock, packet: Packet) -> None:
    """Ask ``receive`` about a packet of netfilterqueue's, and do as it answers."""
    give(packet, receive(packet, packet.get_mark(), packet.get_payload(), clock()))


class Pause(Exception):  # noqa: N818  # leaves the queue's loop; no error
    """The batch is over."""


class PacketQueue:
    """One kernel queue. Bind, run and close it from the same thread.

    ``bind(receive, clock=..., mode=...)``, then wait for ``fileno()`` in a selector and call ``run()`` when
    it is readable. ``receive`` answers for each packet. Whatever it raises ends ``run`` and comes out of it,
    while the packets behind stay queued: a caller with other work to do ends a batch so, by ``Pause``. Who
    raises has given the packet its answer before; one left without waits until ``close``.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._queue: NetfilterQueue | None = None
        self._batch: Batch | None = None

    def bind(
        self, receive: Receive, *, clock: Clock, mode: Mode, maximum_length: int = MAXIMUM_LENGTH
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
                    partial(hand_over, receive, clock),
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
        self._batch = _make_batch(queue.get_fd(), self.number, receive, clock)
        self.set_mode(mode)

    def set_mode(self, mode: Mode) -> None:
        """Make a full queue pass what it cannot hold (monitor), or drop it (enforce)."""
        netlink.set_queue_flags(self.fileno(), self.number, _FLAGS[mode], mask=netlink.NFQA_CFG_F_FAIL_OPEN)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._bound().get_fd()

    def run(self) -> None:
        """Receive every packet that waits; return when none does."""
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


def _make_batch(descriptor: int, number: int, receive: Receive, clock: Clock) -> Batch | None:
    """Return the compiled loop, None where it was not built."""
    try:
        from guard.netfilter.batch import Batch
    except ImportError:
        return None
    return Batch(descriptor, number, receive, clock, Pause)
