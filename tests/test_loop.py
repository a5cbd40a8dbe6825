"""The loop: turns, attention from threads and signals, handlers that fail."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from math import inf

import pytest

from guard.loop import SWITCH, Loop

EPOLL = select.epoll


@pytest.fixture
def errors() -> list[Exception]:
    return []


@pytest.fixture
def loop(errors: list[Exception]) -> Iterator[Loop]:
    with Loop(clock=time.monotonic, on_error=errors.append) as made:
        yield made


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def run(
    loop: Loop,
    packets: int,
    on_packets: Callable[[], object] = lambda: None,
    *,
    on_timer: Callable[[], object] = lambda: None,
    get_due: Callable[[], float] = lambda: inf,
    housekeeping: Callable[[], object] = lambda: None,
) -> None:
    loop.run(
        packets=packets,
        on_packets=on_packets,  # type: ignore[arg-type]  # what a handler returns is nobody's business
        on_timer=on_timer,  # type: ignore[arg-type]  # likewise
        get_due=get_due,
        housekeeping=housekeeping,  # type: ignore[arg-type]  # likewise
    )


def test_packets_come_after_everybody_else(loop: Loop, pipe: tuple[int, int]) -> None:
    turns: list[str] = []
    sensor, sender = os.pipe()
    os.write(pipe[1], b"x")
    os.write(sender, b"x")
    loop.listen(sensor, lambda: turns.append("sensor"))
    dues = iter([0.0, inf])

    def on_packets() -> None:
        turns.append("packets")
        loop.stop()

    run(
        loop,
        pipe[0],
        on_packets,
        on_timer=lambda: turns.append("timer"),
        get_due=lambda: next(dues, inf),
        housekeeping=lambda: turns.append("housekeeping"),
    )
    os.close(sensor)
    os.close(sender)
    assert turns == ["timer", "housekeeping", "sensor", "packets"]


def test_a_handler_that_fails_is_counted_and_the_loop_goes_on(
    loop: Loop, errors: list[Exception], pipe: tuple[int, int]
) -> None:
    os.write(pipe[1], b"x")
    turns = iter(range(3))

    def fail() -> None:
        if next(turns) == 2:
            loop.stop()
        raise RuntimeError("bug")

    run(loop, pipe[0], fail)
    assert loop.errors == 3
    assert [str(error) for error in errors] == ["bug"] * 3


def test_a_thread_has_its_call_made_in_the_loop(loop: Loop, pipe: tuple[int, int]) -> None:
    called_in: list[int] = []

    def call() -> None:
        called_in.append(threading.get_ident())
        loop.stop()

    thread = threading.Thread(target=lambda: loop.call(call))
    thread.start()
    run(loop, pipe[0])
    thread.join()
    assert called_in == [threading.get_ident()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(loop: Loop, pipe: tuple[int, int], number: signal.Signals) -> None:
    run(loop, pipe[0], housekeeping=lambda: os.kill(os.getpid(), number))


def test_signals_and_the_stall_timer_are_given_back(pipe: tuple[int, int]) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Loop(clock=time.monotonic, on_error=lambda _: None) as loop:
        loop.stop()
        run(loop, pipe[0])
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_more_calls_than_the_pipe_holds_are_all_made(loop: Loop, pipe: tuple[int, int]) -> None:
    count = 100_000
    made: list[int] = []
    for number in range(count):
        loop.call(lambda number=number: made.append(number))  # type: ignore[misc]  # bound now
    loop.call(loop.stop)
    run(loop, pipe[0])
    assert made == list(range(count))


def test_other_threads_give_way_soon_while_the_loop_is_at_work() -> None:
    before = sys.getswitchinterval()
    with Loop(clock=time.monotonic, on_error=lambda _: None):
        assert sys.getswitchinterval() == pytest.approx(SWITCH)
    assert sys.getswitchinterval() == pytest.approx(before)
    assert before > SWITCH


def test_a_timer_is_not_late_for_a_long_turn_of_others(
    pipe: tuple[int, int], errors: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10.0
    waits: list[float] = []

    class Epoll:
        """Waits for nothing and remembers for how long it was to."""

        def __init__(self) -> None:
            self.real = EPOLL()

        def __enter__(self) -> Epoll:
            return self

        def __exit__(self, *_: object) -> None:
            self.real.close()

        def register(self, descriptor: int, events: int) -> None:
            self.real.register(descriptor, events)

        def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
            nonlocal now
            waits.append(timeout)
            now += timeout
            return self.real.poll(0, most)

    def keep_house() -> None:
        nonlocal now
        now += 0.25

    with Loop(clock=lambda: now, on_error=errors.append) as loop:
        monkeypatch.setattr(select, "epoll", Epoll)
        run(loop, pipe[0], on_timer=loop.stop, get_due=lambda: 10.375, housekeeping=keep_house)
    assert waits[0] == 0.125
    assert not errors
