"""Nanoseconds of ``Engine.receive_packet``, in one process, without a kernel in between.

Two views of the same traffic. The mean: a tight loop over the whole mix. The kinds: each call timed
alone, the clock's own cost subtracted, grouped by what the engine said the packet was; its medians
show where the time goes, its mean is a little above the loop's because the caches are disturbed.
Time is an argument, so the packets come at the pace of a busy household whatever the machine does.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns, thread_time_ns

from guard.build import get_build
from guard.core.engine import DeviceSettings, Engine
from guard.core.event import WakeEvent
from guard.core.verdict import Decision, Direction, Mode
from tests.bench import report
from tests.bench.traffic import Packet, generate_datagrams, generate_tls
from tests.bench.wide import load_wide_policy

ROUNDS = 5
PACKETS = 60_000
CHUNK = 100
PACE = 0.005  # seconds between packets: 200 a second
WAKE_SECONDS = 4.0
DEVICE = "bench"

Step = tuple[bytes, Direction, float]


def prepare(packets: Iterable[Packet]) -> list[list[Step]]:
    """Return the packets with their times, in chunks between which timers and events have their turn."""
    steps = [(data, direction, number * PACE) for number, (direction, data) in enumerate(packets)]
    return [steps[start : start + CHUNK] for start in range(0, len(steps), CHUNK)]


def make_engine(mode: Mode = Mode.MONITOR) -> Engine:
    """Return a fresh engine for one device without a sensor."""
    return Engine(load_wide_policy(), devices={DEVICE: DeviceSettings()}, mode=mode)


class _Household:
    """Feeds what is not a packet between two chunks: due timers and, if asked, wake words."""

    def __init__(self, engine: Engine, *, talking: bool) -> None:
        self._engine = engine
        self._next_wake = 0.0 if talking else float("inf")

    def turn(self, now: float) -> None:
        deadline = self._engine.get_timer()
        if deadline is not None and deadline <= now:
            self._engine.handle_timer(now=now)
        if self._next_wake <= now:
            self._next_wake = now + WAKE_SECONDS
            self._engine.receive_event(WakeEvent(now, "alexa"), device=DEVICE, now=now)


def time_loop(chunks: Sequence[Sequence[Step]], *, talking: bool = False) -> float:
    """Return the mean nanoseconds a packet of one pass through a fresh engine."""
    engine = make_engine()
    receive = engine.receive_packet
    household = _Household(engine, talking=talking)
    total = 0
    for chunk in chunks:
        household.turn(chunk[0][2])
        began = thread_time_ns()  # other processes' turns do not count
        for data, direction, now in chunk:
            receive(data, device=DEVICE, direction=direction, now=now)
        total += thread_time_ns() - began
    return total / sum(map(len, chunks))


def time_kinds(chunks: Sequence[Sequence[Step]], *, talking: bool = False) -> dict[str, list[int]]:
    """Return the nanoseconds of every single call, by the packet's kind."""
    engine = make_engine()
    receive = engine.receive_packet
    household = _Household(engine, talking=talking)
    clock = _measure_clock()
    kinds: dict[str, list[int]] = {}
    for chunk in chunks:
        household.turn(chunk[0][2])
        for data, direction, now in chunk:
            began = perf_counter_ns()
            decision = receive(data, device=DEVICE, direction=direction, now=now)
            took = perf_counter_ns() - began - clock
            kinds.setdefault(_name_kind(engine, direction, decision), []).append(took)
    return kinds


def _name_kind(engine: Engine, direction: Direction, decision: Decision) -> str:
    facts = engine.facts
    if facts.payload_bytes == 0:
        what = "without payload"
    elif facts.flow is None:
        what = "datagram"
    elif direction is Direction.DOWNSTREAM:
        what = "data"
    else:
        what = ("in mid-record", "one record begins", "several records begin")[min(len(facts.records), 2)]
    name = f"{direction.name.lower()}, {what}"
    if direction is Direction.DOWNSTREAM:
        return name
    return f"{name}: {decision.packet_class} {decision.verdict} {decision.reason}"


def _measure_clock() -> int:
    samples = []
    for _ in range(2000):
        began = perf_counter_ns()
        samples.append(perf_counter_ns() - began)
    return int(statistics.median(samples))


_TRAFFIC: dict[str, tuple[Callable[[int], Iterable[Packet]], bool]] = {
    "TLS mix, 1 flow": (lambda count: generate_tls(count, flows=1), False),
    "TLS mix, 100 flows": (lambda count: generate_tls(count, flows=100), False),
    "TLS mix, 100 flows, wake words": (lambda count: generate_tls(count, flows=100), True),
    "TLS mix, 10,000 flows": (lambda count: generate_tls(count, flows=10_000), False),
    "UDP, 300 bytes": (generate_datagrams, False),
}
_KINDS_OF = ("TLS mix, 100 flows", "TLS mix, 100 flows, wake words")


def run_section(*, packets: int = PACKETS, rounds: int = ROUNDS) -> None:
    """Measure, and save both tables."""
    means: dict[str, list[float]] = {name: [] for name in _TRAFFIC}
    prepared = {name: prepare(make(packets)) for name, (make, _) in _TRAFFIC.items()}
    for number in range(rounds):
        for name, chunks in prepared.items():
            means[name].append(time_loop(chunks, talking=_TRAFFIC[name][1]))
            print(f"  engine, {name}: {means[name][-1]:.0f} ns (round {number + 1})", file=sys.stderr)
    report.save(
        "engine",
        "The engine alone",
        f"`Engine.receive_packet` in a tight loop, {get_build()}, monitor mode, {packets:,} packets, "
        f"median (lowest - highest) of {rounds} rounds.",
        [{"traffic": name, "ns a packet": report.spread(taken, digits=0)} for name, taken in means.items()],
        raw=means,
    )
    rows = []
    for name in _KINDS_OF:
        kinds = time_kinds(prepared[name], talking=_TRAFFIC[name][1])
        total = sum(map(sum, kinds.values()))
        rows += [
            {
                "traffic": name,
                "packet": kind,
                "packets": f"{len(taken):,}",
                "median ns": f"{statistics.median(taken):,.0f}",
                "mean ns": f"{statistics.mean(taken):,.0f}",
                "share of the time": f"{sum(taken) / total:.1%}",
            }
            for kind, taken in sorted(kinds.items(), key=lambda item: -sum(item[1]))
            if len(taken) >= packets // 1000
        ]
    report.save("kinds", "The engine, by kind of packet", "Each call timed alone, one pass.", rows)
