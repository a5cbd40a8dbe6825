"""CPU of the whole process for each queued packet, beside the simplest programs there could be.

One alternation starts each contender once, in an order that turns, in namespaces made for it alone,
replays the same packets and divides: CPU nanoseconds of all its threads from the first packet sent to
the last verdict, by the packets that the kernel's counter says were queued. The sender runs on one
processor and the contender on the other. What the kernel does before the queue is on the sender's
account; what it does after the verdict (the rest of the rules, routing, the far veth) is on the
contender's, everybody's alike.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tests.bench import report
from tests.bench.contenders import (
    C_LOOP,
    CONTENDERS,
    GATE_ENFORCE,
    GATE_MONITOR,
    NAIVE,
    PYTHON_LOOP,
    SENDER_CPU,
    Contender,
    compile_program,
    running,
)
from tests.bench.network import Network, build_network, run
from tests.bench.process import Memory, read_cpu, read_memory
from tests.bench.traffic import Packet, generate_datagrams, generate_tls, write_frames

ALTERNATIONS = 5
BURST = (
    512  # packets waiting when the process is let go: well inside the queue's 1024 and its socket's buffer
)
PACED_RATE = 5_000
DRAIN_SECONDS = 10.0
SETTLE_SECONDS = 0.05
SECTION_SECONDS = 150.0  # then the turn in hand is the last: a busy machine gets fewer turns, not hours


@dataclass(frozen=True, slots=True)
class Load:
    """A traffic, how fast it comes (0: saturated) and who has to bear it."""

    name: str
    packets: int
    flows: int  # 0: datagrams
    rate: int
    contenders: tuple[str, ...]

    def generate(self) -> Iterable[Packet]:
        """Return the packets."""
        return (
            generate_tls(self.packets, flows=self.flows) if self.flows else generate_datagrams(self.packets)
        )


_ALL = (C_LOOP, PYTHON_LOOP, GATE_MONITOR, GATE_ENFORCE)
_MONITOR = (C_LOOP, PYTHON_LOOP, GATE_MONITOR)
SATURATED = (
    Load("UDP, 300 bytes", 100_000, 0, 0, _MONITOR),
    Load("TLS mix, 1 flow", 100_000, 1, 0, _MONITOR),
    Load("TLS mix, 100 flows", 100_000, 100, 0, _ALL),
)
NAIVELY = (Load("TLS mix, 100 flows, scapy", 10_000, 100, 0, (C_LOOP, NAIVE)),)
PACED = (Load(f"TLS mix, 100 flows, {PACED_RATE:,}/s", 10_000, 100, PACED_RATE, _MONITOR),)

_HOW = (
    "Median (lowest - highest) of {turns} alternations; ratios turn by turn. All behind the gate's own rules "
    "for monitor mode (the last gate, where there is one, behind those for enforce)."
)
SATURATED_TEXT = (
    "CPU per queued packet, saturated",
    (
        f"{_HOW} The queue is filled with {BURST} packets while the process is stopped, then drained, "
        "again and again: it never runs empty under whoever works on it. To the gate, the UDP datagrams are "
        "`opaque_datagram`, refused in name and forwarded, as monitor mode does."
    ),
)
NAIVE_TEXT = ("The naive way", f"scapy dissects every packet and nothing else is done. {_HOW}")
PACED_TEXT = (
    "CPU per queued packet, paced",
    (
        f"{_HOW} {PACED_RATE:,} packets a second, evenly: every packet wakes the process, so that the "
        "wake-up and the selector weigh more than the packet."
    ),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender under one load, once."""

    load: str
    contender: str
    sent: int
    seconds: float
    queued: int
    lost: int
    cpu_ns: int
    memory: Memory

    @property
    def microseconds(self) -> float:
        """CPU for each queued packet."""
        return self.cpu_ns / 1000 / self.queued


def measure(contender: Contender, load: Load, frames: Path) -> Measurement:
    """Start one contender in a network of its own and drive the load through it."""
    with build_network() as network, running(contender, network) as process:
        sleep(SETTLE_SECONDS)
        before, first = network.read_queue(), read_cpu(process.pid)
        sent, nanoseconds = _send(network, frames, load.rate, process.pid)
        last = _drain(network)
        sleep(SETTLE_SECONDS)
        cpu = read_cpu(process.pid) - first
        queued, lost = last.queued - before.queued, last.lost - before.lost
        memory = read_memory(process.pid)
    return Measurement(load.name, contender.name, sent, nanoseconds / 1e9, queued, lost, cpu, memory)


def _send(network: Network, frames: Path, rate: int, worker: int) -> tuple[int, int]:
    sender = str(compile_program("send.c"))
    ends = (network.echo, "up0", network.cloud, "down0", network.gate)
    text = run(
        "taskset", "-c", str(SENDER_CPU), sender, str(frames), *ends, str(rate), str(BURST), str(worker)
    )
    sent, nanoseconds = text.split()
    return int(sent), int(nanoseconds)


def _drain(network: Network) -> Any:
    deadline = monotonic() + DRAIN_SECONDS
    while (queue := network.read_queue()).waiting:
        if monotonic() > deadline:
            raise RuntimeError(f"{queue.waiting} packets still wait for a verdict")
        sleep(0.002)
    return queue


def alternate(
    loads: Sequence[Load], *, alternations: int = ALTERNATIONS, seconds: float = SECTION_SECONDS
) -> list[Measurement]:
    """Measure each load on its contenders in turn, again and again; no further turn after ``seconds``."""
    measurements = []
    deadline = monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="wgbench-") as folder:
        frames = {load.name: Path(folder, f"{number}.bin") for number, load in enumerate(loads)}
        for load in loads:
            write_frames(frames[load.name], load.generate())
        for turn in range(alternations):
            for load in loads:
                shift = turn % len(load.contenders)
                for name in load.contenders[shift:] + load.contenders[:shift]:
                    made = measure(CONTENDERS[name], load, frames[load.name])
                    measurements.append(made)
                    print(
                        f"  {load.name}: {name}: {made.microseconds:.2f} us "
                        f"({made.queued} queued, {made.lost} lost)",
                        file=sys.stderr,
                    )
            if monotonic() > deadline:
                break
    return measurements


def tabulate(measurements: Sequence[Measurement]) -> list[dict[str, str]]:
    """Return a row for each load and contender; ratios to the C loop, turn by turn."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for made in measurements:
        groups.setdefault((made.load, made.contender), []).append(made)
    rows = []
    for (load, contender), made_here in groups.items():
        base = groups[load, C_LOOP]
        ratios = [
            mine.microseconds / theirs.microseconds for mine, theirs in zip(made_here, base, strict=True)
        ]
        middle = statistics.median(made.microseconds for made in made_here)
        rows.append(
            {
                "traffic": load,
                "who": contender,
                "CPU per queued packet, us": report.spread(made.microseconds for made in made_here),
                "times C": report.spread(ratios),
                "packets a second of CPU": f"{1e6 / middle:,.0f}",
                "queued": f"{statistics.median(made.queued for made in made_here):,.0f}",
                "lost": f"{sum(made.lost for made in made_here):,}",
                "PSS, MB": f"{statistics.median(made.memory.proportional for made in made_here) / 1024:.1f}",
            }
        )
    return rows


def run_section(section: str, title: str, note: str, loads: Sequence[Load]) -> None:
    """Measure, print and save one table."""
    measurements = alternate(loads)
    raw: list[Mapping[str, Any]] = [asdict(made) for made in measurements]
    turns = len(measurements) // sum(len(load.contenders) for load in loads)
    report.save(section, title, note.format(turns=turns), tabulate(measurements), raw=raw)
