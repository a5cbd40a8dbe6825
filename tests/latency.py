"""How fast the sensors act, end to end: ``python -m tests.latency`` measures it and writes docs/latency.md.

The real gate in enforce mode, in a household of namespaces, with the real ``wakeguard sense`` whose lamp
is scripted. Times are taken where they count: at the lamp's edge or the event on one side, at the cloud's
socket on the other.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guard.core.event import WakeEvent, format_line
from tests.bench.report import describe_machine
from tests.netns.gate import GateProcess, environment
from tests.netns.household import Household, wait_until

PAGE = Path(__file__).resolve().parents[1] / "docs" / "latency.md"
TRIALS = 40
DEBOUNCE_S = 0.05
MUTE_GOAL_S = 0.050  # from the edge to the closed gate, beyond the debounce
WAKE_GOAL_S = 0.010  # from the wake event to the first released packet
PORT = 4433  # of datagrams that nobody can read: application data
STREAM_S = 0.001  # between two of them
WATCHED_S = 0.4  # after the edge
VOICE = b"v" * 24

# Trials follow each other closely: interactions are short, and a packet waits long enough for the test.
SETTINGS = f"""
[limits.interaction]
listen_s = 2.0
follow_up_s = 0.0
[limits.hold]
hold_s = 3.0
[sense.mute_led]
debounce_s = {DEBOUNCE_S}
hold_s = 0.2
[sense.wake]
source = "none"
"""


class Measured(NamedTuple):
    """One thing measured: seconds of each trial, and the goal."""

    what: str
    goal_s: float
    values: Sequence[float]

    @property
    def median_s(self) -> float:
        """Return the median."""
        return statistics.median(self.values)

    @property
    def p95_s(self) -> float:
        """Return what 95 % of the trials did not exceed."""
        return sorted(self.values)[max(0, -(-len(self.values) * 95 // 100) - 1)]


class Bench:
    """The household with gate and sensing process, and a stream of datagrams through it."""

    def __init__(self, home: Household, folder: Path) -> None:
        self.gate = GateProcess(home, folder, sensor=True)
        self.gate.config.write_text(self.gate.config.read_text() + SETTINGS)
        self._cloud = home.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._cloud.bind((home.cloud_address[socket.AF_INET], PORT))
        self._echo = home.echo.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._echo.connect((home.cloud_address[socket.AF_INET], PORT))
        self._echo.send(b"v")  # resolves the neighbours, so that no trial waits for ARP
        self._events = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Have both processes at work."""
        with self.gate, (self.gate.folder / "sense.log").open("wb") as log:
            command = self.gate.command("sense", "--pin", "scripted", "--script", "-")
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=log, env=environment()
            ) as self._sense:
                try:
                    self.set_lamp("unlit")
                    self.wait_for("unmuted")
                    yield
                finally:
                    self._sense.kill()

    def close(self) -> None:
        """Close the sockets."""
        for end in (self._cloud, self._echo, self._events):
            end.close()

    def set_lamp(self, action: str) -> float:
        """Let the lamp be ``lit`` or ``unlit``; return when."""
        pipe = self._sense.stdin
        assert pipe is not None
        now = time.monotonic()
        pipe.write(f"{action}\n".encode())
        pipe.flush()
        return now

    def wait_for(self, mute: str) -> None:
        """Wait until the gate takes the Echo for ``mute``, and no interaction is left."""
        wait_until(lambda: self._ask("mute") == mute and self._ask("interaction_left_s") is None, seconds=20)

    def hear(self) -> float:
        """Tell the gate of a wake word as ``sense`` does; return when."""
        now = time.monotonic()
        self._events.sendto(format_line(WakeEvent(now, "alexa")).encode(), str(self.gate.sensors))
        return now

    def measure_mute(self) -> float:
        """Return how long after the lamp's edge and the debounce the last datagram got through."""
        self.hear()
        self._stream(until=bool)
        edge = self.set_lamp("lit")
        arrivals = self._stream(until=lambda _: time.monotonic() > edge + DEBOUNCE_S + WATCHED_S)
        assert self._ask("mute") == "muted"
        self.set_lamp("unlit")
        self.wait_for("unmuted")
        return max([edge + DEBOUNCE_S, *arrivals]) - edge - DEBOUNCE_S

    def measure_wake(self) -> float:
        """Return how long after the wake event a datagram that waited for it got through."""
        self.wait_for("unmuted")
        self._drain()
        self._echo.send(VOICE)
        wait_until(lambda: self._ask("holds")["packets"] == 1)
        assert not self._drain()
        heard = self.hear()
        assert self._cloud.recv(2048) == VOICE
        return time.monotonic() - heard

    def _ask(self, key: str) -> Any:
        return self.gate.ask("status")["devices"][0][key]

    def _stream(self, *, until: Callable[[list[float]], bool]) -> list[float]:
        """Send a datagram each millisecond until told to end; return when each arrived."""
        arrivals: list[float] = []
        while not until(arrivals):
            self._echo.send(VOICE)
            if select.select([self._cloud], [], [], STREAM_S)[0]:
                self._cloud.recv(2048)
                arrivals.append(time.monotonic())
        return arrivals + self._drain()

    def _drain(self) -> list[float]:
        arrivals = []
        while select.select([self._cloud], [], [], 0.02)[0]:
            self._cloud.recv(2048)
            arrivals.append(time.monotonic())
        return arrivals


def measure(trials: int) -> list[Measured]:
    """Return what was measured in ``trials`` trials each."""
    with tempfile.TemporaryDirectory() as folder, Household() as home:
        bench = Bench(home, Path(folder))
        try:
            with bench.run():
                muting = [bench.measure_mute() for _ in range(trials)]
                waking = [bench.measure_wake() for _ in range(trials)]
        finally:
            bench.close()
    return [
        Measured("the lamp's edge to the closed gate, beyond the debounce", MUTE_GOAL_S, muting),
        Measured("wake event to the first released packet", WAKE_GOAL_S, waking),
    ]


def format_page(measured: Sequence[Measured], *, machine: str, date: str) -> str:
    """Return docs/latency.md."""
    rows = "\n".join(
        f"| {one.what} | {len(one.values)} | {1000 * one.median_s:.1f} | {1000 * one.p95_s:.1f} "
        f"| {1000 * max(one.values):.1f} | {1000 * one.goal_s:.0f} |"
        for one in measured
    )
    return f"""# How fast the sensors act

Written by `sudo .venv/bin/python -m tests.latency`, {date}; {machine}.

| from, to | trials | median, ms | p95, ms | most, ms | goal, ms |
| --- | --- | --- | --- | --- | --- |
{rows}

How it is measured:

- The real gate in enforce mode with the real `wakeguard sense`, in network namespaces; packets go through
  the kernel's queue. The lamp is scripted, so the edge is a line on the sensing process's standard input,
  not a level on a pin. What a pin adds is not in the table: the test suite drives a GPIO chip that a
  virtual machine's kernel simulates and asserts that the gate follows it, but an emulated processor says
  nothing about milliseconds.
- Closed: inside an interaction the Echo sends a datagram each millisecond. Counted is the time until the
  last of them arrives at the cloud, less the debounce (`sense.mute_led.debounce_s`, {1000 * DEBOUNCE_S:.0f}
  ms); zero at the least.
- Released: one datagram waits in the queue. A wake event is sent to the gate's socket as `sense` does, and
  the time runs until the datagram is read at the cloud. How long the detector takes to hear the word is not
  in it.
- Machine load counts into these numbers. `tests/test_latency.py` holds the medians of a few trials to the
  goals.
"""


def main() -> None:
    """Measure and write the page."""
    measured = measure(TRIALS)
    date = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = format_page(measured, machine=describe_machine(), date=date)
    PAGE.write_text(page, encoding="utf-8")
    sys.stdout.write(page)


if __name__ == "__main__":
    main()
