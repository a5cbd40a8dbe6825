"""The one loop of the gate: wait, then let everybody have their turn.

This file knows a selector, a wake-up pipe and the order of turns: the engine's timer, what other threads
and signals ask for, sensors and clients, and the packets last, in batches. A handler that fails is
counted and logged, and the loop goes on: a gate that dies of a clumsy client would be no gate.
"""

from __future__ import annotations

import os
import select
import selectors
import signal
import sys
from collections import deque
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Final

HOUSEKEEPING: Final = 1.0  # seconds between two looks at everything that only needs a look
SWITCH: Final = 0.0001  # seconds after which another thread (a scrape) gives way; Python's own 5 ms are long
STALL: Final = 10  # seconds without a turn after which the kernel ends the process

Handler = Callable[[], None]


class Loop:
    """A selector, and how to get its attention from a signal or another thread."""

    def __init__(self, *, clock: Callable[[], float], on_error: Callable[[Exception], None]) -> None:
        """``clock`` gives seconds; ``on_error`` hears of each handler that failed."""
        self.selector = selectors.EpollSelector()
        self.errors = 0
        self._clock = clock
        self._on_error = on_error
        self._mail: deque[Handler] = deque()
        self._stopping = False
        self.on_hang_up: Handler | None = None  # what SIGHUP asks for
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.selector.register(self._reader, selectors.EVENT_READ, self._read_mail)
        self._next_housekeeping = 0.0

    def __enter__(self) -> Loop:
        """Let SIGTERM and SIGINT stop the loop, and SIGHUP call ``on_hang_up`` in it."""
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._stop_by_signal) for number in _SIGNALS}
        self._old[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up_by_signal)
        self._old_switch = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.setswitchinterval(self._old_switch)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        self.selector.close()
        os.close(self._reader)
        os.close(self._writer)

    def listen(self, descriptor: int, handler: Handler) -> None:
        """Have ``handler`` called whenever ``descriptor`` is readable."""
        self.selector.register(descriptor, selectors.EVENT_READ, handler)

    def call(self, handler: Handler) -> None:
        """Have ``handler`` called in the loop; from any thread, any time."""
        self._mail.append(handler)
        self._wake()

    def stop(self) -> None:
        """End the loop after this turn."""
        self._stopping = True
        self._wake()

    def run(
        self,
        *,
        packets: int,
        on_packets: Handler,
        on_timer: Handler,
        get_due: Callable[[], float],
        housekeeping: Handler,
    ) -> None:
        """Take turns until ``stop``. ``packets`` is the queue's descriptor, ``on_packets`` one batch.

        ``get_due`` says when ``on_timer`` is due, on the loop's clock. A packet that comes alone wakes the
        loop, so what is done at every wake-up counts: the clock is read once where nothing else is due, one
        system call tells packets from all else, and only all else goes through the selector.
        """
        clock, others = self._clock, self.selector.fileno()
        only_packets, only_others = [(packets, select.EPOLLIN)], [(others, select.EPOLLIN)]
        with select.epoll() as waiting:
            waiting.register(packets, select.EPOLLIN)
            waiting.register(others, select.EPOLLIN)
            while not self._stopping:
                now = clock()
                due = get_due()
                if now >= due:
                    self._give_turn(on_timer)
                    now, due = clock(), get_due()
                if now >= self._next_housekeeping:
                    self._next_housekeeping = now + HOUSEKEEPING
                    # SIGALRM's default action needs nothing of a process that has come to a stand-still.
                    signal.setitimer(signal.ITIMER_REAL, STALL)
                    self._give_turn(housekeeping)
                    now, due = clock(), get_due()
                if due > self._next_housekeeping:
                    due = self._next_housekeeping
                ready = waiting.poll(due - now if due > now else 0, _BOTH)
                if not ready:
                    continue
                if ready != only_packets:
                    for key, _ in self.selector.select(0):
                        self._give_turn(key.data)
                if ready != only_others:
                    self._give_turn(on_packets)

    def _give_turn(self, handler: Handler) -> None:
        try:
            handler()
        except Exception as error:  # noqa: BLE001  # the gate outlives its handlers; counted and logged
            self.errors += 1
            self._on_error(error)

    def _read_mail(self) -> None:
        try:
            while os.read(self._reader, 4096):
                pass
        except BlockingIOError:
            pass
        while self._mail:
            self._give_turn(self._mail.popleft())

    def _wake(self) -> None:
        try:
            os.write(self._writer, b"\0")
        except BlockingIOError:
            return  # full: it will wake anyway

    def _stop_by_signal(self, number: int, frame: FrameType | None) -> None:
        self.stop()

    def _hang_up_by_signal(self, number: int, frame: FrameType | None) -> None:
        if self.on_hang_up is not None:
            self.call(self.on_hang_up)


_BOTH: Final = 2  # descriptors that the loop waits for
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
