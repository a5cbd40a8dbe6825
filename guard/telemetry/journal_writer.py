"""The thread that writes the journal, so that no verdict ever waits for a disk.

One batch is being written and at most one more waits; who has another is told to come again. A batch that
cannot be written is kept and tried again: a disk that was full costs time, not entries. This file knows a
queue and a store; how entries come about is the journalist's business.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from guard.telemetry.journal_schema import Entry
from guard.telemetry.journal_store import Fault, Store, StoreError

PRUNE_S: Final = 3600.0
CLOSING_S: Final = 2.0  # a gate that stops waits no longer than this for a slow disk
MAX_WAIT_S: Final = 300.0  # between two attempts at a disk that has long been faulty

Batch = Sequence[Entry]
Done = Callable[[], None]


class Writer:
    """Writes batches one by one until ``close``."""

    def __init__(
        self,
        store: Store,
        *,
        retry_s: float,
        clock: Callable[[], float],
        read_ms: Callable[[], int],
        on_fault: Callable[[StoreError], None],
        on_recovery: Callable[[], None],
    ) -> None:
        """``on_fault`` hears the first fault of a row of them, ``on_recovery`` its end; both in the thread.

        ``clock`` gives seconds, ``read_ms`` milliseconds since 1970.
        """
        self.failures = dict.fromkeys(Fault, 0)
        self.fault: Fault | None = None
        self.lost = 0  # entries that a faulty disk did not take before the gate ended
        self._store = store
        self._retry_s = retry_s
        self._clock = clock
        self._read_ms = read_ms
        self._on_fault = on_fault
        self._on_recovery = on_recovery
        self._inbox: queue.Queue[tuple[Batch, Done] | None] = queue.Queue(maxsize=1)
        self._closing = threading.Event()
        self._next_prune = 0.0
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def offer(self, batch: Batch, done: Done) -> bool:
        """Take ``batch`` if there is room for it, never waiting; ``done`` is called when it was tried."""
        try:
            self._inbox.put_nowait((batch, done))
        except queue.Full:
            return False
        return True

    @property
    def full(self) -> bool:
        """Tell whether ``offer`` would say no."""
        return self._inbox.full()

    def close(self) -> None:
        """Write what was taken, if the disk lets us in time, and close the file."""
        self._closing.set()
        try:
            self._inbox.put(None, timeout=CLOSING_S)
        except queue.Full:
            return
        self._thread.join(timeout=CLOSING_S)

    def _work(self) -> None:
        while (item := self._inbox.get()) is not None:
            batch, done = item
            self._write(batch, done)
            if self._clock() >= self._next_prune:
                self._next_prune = self._clock() + PRUNE_S
                self._try(partial(self._store.prune, now_ms=self._read_ms()))
        self._store.close()

    def _write(self, batch: Batch, done: Done) -> None:
        """Write ``batch``, however often it takes; ``done`` is called after the first attempt."""
        wait = self._retry_s
        written = self._try(partial(self._store.write, batch))
        if self.fault is Fault.DAMAGED:
            written = self._try(partial(self._store.write, batch))  # it was set aside: there is a new one
        done()
        while not written:
            if self._closing.wait(wait):
                self.lost += len(batch)
                return
            wait = min(2 * wait, MAX_WAIT_S)
            written = self._try(partial(self._store.write, batch))

    def _try(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except StoreError as error:
            self.failures[error.fault] += 1
            if self.fault is not error.fault:
                self.fault = error.fault
                self._on_fault(error)
            return False
        if self.fault is not None:
            self.fault = None
            self._on_recovery()
        return True
