"""Work beside the loop: where each half of it is done, and that nothing of it is done twice."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import pytest

from guard.background import Background


class Loop:
    """Takes its turns when it is told to."""

    def __init__(self) -> None:
        self.mail: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def take_turn(self) -> None:
        self.mail.get(timeout=10)()


def test_work_is_done_in_a_thread_and_finished_in_the_loop() -> None:
    loop = Loop()
    steps: list[tuple[str, str]] = []
    background = Background("work", call=loop.mail.put)

    def work() -> str:
        steps.append(("work", threading.current_thread().name))
        return "result"

    def finish(result: str) -> None:
        steps.append((result, threading.current_thread().name))
        assert not background.is_busy()  # so that it may go on from here

    background.start(work, finish)
    assert background.is_busy()
    loop.take_turn()
    assert steps == [("work", "work"), ("result", threading.current_thread().name)]
    assert not background.is_busy()
    background.wait()
    assert len(steps) == 2


def test_what_was_waited_for_is_not_finished_again_by_the_loop() -> None:
    loop = Loop()
    results: list[int] = []
    background = Background("work", call=loop.mail.put)
    background.start(lambda: 1, results.append)
    background.wait()
    assert results == [1]
    may_end = threading.Event()
    background.start(may_end.wait, results.append)
    loop.take_turn()  # the first work's, late: it may neither finish nor await the second
    assert results == [1]
    assert background.is_busy()
    may_end.set()
    loop.take_turn()
    assert results == [1, True]


def test_a_wait_is_for_what_the_end_has_begun_too() -> None:
    results: list[int] = []
    background = Background("work", call=lambda _: None)
    background.start(lambda: 1, lambda one: background.start(lambda: one + 1, results.append))
    background.wait()
    assert results == [2]
    assert not background.is_busy()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_raises_is_not_finished_and_is_not_in_the_way() -> None:
    loop = Loop()
    results: list[int] = []
    background = Background("work", call=loop.mail.put)
    background.start(lambda: 1 // 0, results.append)
    loop.take_turn()
    assert results == []
    assert not background.is_busy()
    background.start(lambda: 1, results.append)
    background.wait()
    assert results == [1]
