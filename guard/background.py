"""Work beside the loop: done in a thread of its own, finished in the loop, one piece at a time.

For what may take its time (a slow card, iptables) and must not stop verdicts. This file knows a thread and
how to get the loop's attention; what is done, and what comes of it, is its user's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


class Background:
    """One piece of work under way, or none; for the thread of the loop alone."""

    def __init__(self, name: str, *, call: Callable[[Callable[[], None]], None]) -> None:
        """``name`` is the thread's; ``call`` has something done in the loop, from any thread."""
        self._name = name
        self._call = call
        self._thread: threading.Thread | None = None
        self._finish: Callable[[], None] | None = None

    def is_busy(self) -> bool:
        """Return whether work is under way: then ``start`` has to wait for another time."""
        return self._thread is not None

    def start(self, work: Callable[[], _Result], finish: Callable[[_Result], None]) -> None:
        """Do ``work`` in a thread, then ``finish`` with its result in the loop.

        Work tells of its faults by its result. What it raises all the same ends it without ``finish``.
        """

        def run() -> None:
            try:
                result = work()
                self._finish = lambda: finish(result)
            finally:
                self._call(lambda: self._conclude(thread))

        self._thread = thread = threading.Thread(target=run, name=self._name)
        thread.start()

    def wait(self) -> None:
        """Let what is under way come to its end; for when the loop has ended."""
        while self._thread is not None:
            self._conclude(self._thread)

    def _conclude(self, thread: threading.Thread) -> None:
        if thread is not self._thread:
            return  # it was waited for; the loop's own turn comes late
        thread.join()
        self._thread = None
        finish, self._finish = self._finish, None
        if finish is not None:
            finish()
