"""CPU for each packet, beside the simplest programs there could be and beside Suricata.

One alternation starts each contender once, in an order that turns, in namespaces made for it alone, and
replays the same packets. The sender runs on one processor and the contender on the other. What the kernel
does before the queue is on the sender's account; what it does after the verdict (the rest of the rules,
routing, the far veth) is on the contender's, everybody's alike.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from time import monotonic, sleep
from typing import Any, TypeVar

from tests.bench import report
from tests.bench.contenders import C_LOOP, SENDER_CPU, SURICATA, choose_available, compile_program, running
from tests.bench.load import SATURATED, Frames, Load, written
from tests.bench.network import Network, Queue, build_network, run
from tests.bench.process import Memory, read_cpu, read_memory, read_softirq_cpu

ALTERNATIONS = 5
BURST = (
    512  # packets waiting when the process is let go: well inside the queue's 1024 and its socket's buffer
)
DRAIN_SECONDS = 30.0
SETTLE_SECONDS = 0.05
SECTION_SECONDS = 780.0  # then the turn in hand is the last: a busy machine gets fewer turns, not hours

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One contender under one load, once."""

    load: str
    contender: str
    sent: int
    forwarded: int
    queued: int
    lost: int
    process_ns: int
    sender_ns: int
    softirq_ns: int
    start_seconds: float
    memory: Memory

    @property
    def microseconds(self) -> float:
        """CPU of the process for each queued packet."""
        return self.process_ns / 1000 / self.queued if self.queued else 0.0

    @property
    def machine_microseconds(self) -> float:
        """CPU of the process, of the sending calls and of the kernel's softirq threads for each packet."""
        return (self.process_ns + self.sender_ns + self.softirq_ns) / 1000 / self.sent


def measure(name: str, load: Load, frames: Frames) -> Measurement:
    """Start one contender in a network of its own and drive the load through it, saturated."""
    with build_network() as network, running(name, network) as worker:
        send_all(network, frames.openings, worker.pid)
        drain(network)
        sleep(SETTLE_SECONDS)
        first = _Account.read(network, worker.pid)
        sent, sender_ns = send_all(network, frames.packets, worker.pid)
        drain(network)
        sleep(SETTLE_SECONDS)
        last = _Account.read(network, worker.pid)
        memory = read_memory(worker.pid) if worker.pid else Memory(0, 0)
    return Measurement(
        load.name,
        name,
        sent,
        last.forwarded - first.forwarded,
        last.queue.queued - first.queue.queued,
        last.queue.lost - first.queue.lost,
        last.process_ns - first.process_ns,
        sender_ns,
        last.softirq_ns - first.softirq_ns,
        worker.start_seconds,
        memory,
    )


@dataclass(frozen=True, slots=True)
class _Account:
    """All counters at one moment."""

    queue: Queue
    forwarded: int
    process_ns: int
    softirq_ns: int

    @classmethod
    def read(cls, network: Network, pid: int) -> _Account:
        process_ns = read_cpu(pid) if pid else 0
        return cls(network.read_queue(), network.read_forwarded(), process_ns, read_softirq_cpu())


def send_all(network: Network, frames: Any, worker: int) -> tuple[int, int]:
    """Send all frames with the worker stopped and let go in turn; packets and the sender's own CPU."""
    sender = str(compile_program("send.c"))
    ends = (network.echo, "up0", network.cloud, "down0", network.gate)
    text = run(
        "taskset", "-c", str(SENDER_CPU), sender, str(frames), *ends, str(BURST), str(worker), seconds=600
    )
    sent, _, cpu = text.split()
    return int(sent), int(cpu)


def drain(network: Network) -> None:
    """Wait until no packet waits for its verdict."""
    deadline = monotonic() + DRAIN_SECONDS
    while waiting := network.read_queue().waiting:
        if monotonic() > deadline:
            raise RuntimeError(f"{waiting} packets still wait for a verdict")
        sleep(0.002)


def alternate(
    loads: Sequence[Load],
    measured: Callable[[str, Load, Frames], Made],
    *,
    alternations: int = ALTERNATIONS,
    seconds: float = SECTION_SECONDS,
) -> tuple[list[Made], dict[str, str]]:
    """Measure each load on its contenders in turn, again and again; no further turn after ``seconds``.

    Returns the measurements and why somebody could not be measured.
    """
    made: list[Made] = []
    missing: dict[str, str] = {}
    deadline = monotonic() + seconds
    with written(loads) as frames:
        for turn in range(alternations):
            for load in loads:
                names, reasons = choose_available(load.contenders)
                missing.update(reasons)
                shift = turn % len(names)
                for name in names[shift:] + names[:shift]:
                    made.append(measured(name, load, frames[load.name]))
                    print(f"  {made[-1]}", file=sys.stderr)
            if monotonic() > deadline:
                break
    return made, missing


def group(
    measurements: Iterable[Made], key: Callable[[Made], tuple[str, str]]
) -> dict[tuple[str, str], list[Made]]:
    """Return the measurements of each load and contender, contenders in the loads' order."""
    groups: dict[tuple[str, str], list[Made]] = {}
    for made in measurements:
        groups.setdefault(key(made), []).append(made)
    return groups


def compare(mine: Sequence[float], theirs: Sequence[float]) -> str:
    """Return the spread of the ratios, turn by turn; nothing where there is nobody to compare with."""
    if not theirs or not all(theirs):
        return ""
    return report.spread(own / other for own, other in zip(mine, theirs, strict=True))


def tabulate(measurements: Sequence[Measurement]) -> list[dict[str, str]]:
    """Return a row for each load and contender; ratios to the C loop and to Suricata, turn by turn."""
    groups = group(measurements, lambda made: (made.load, made.contender))
    rows = []
    for (load, name), here in groups.items():
        cost = [made.microseconds for made in here]
        machine = [made.machine_microseconds for made in here]
        c_loop = groups.get((load, C_LOOP), [])
        suricata = groups.get((load, SURICATA), [])
        queued = any(cost)
        rows.append(
            {
                "traffic": load,
                "who": name,
                "CPU per queued packet, us": report.spread(cost) if queued else "",
                "times C": compare(cost, [made.microseconds for made in c_loop]) if queued else "",
                "times Suricata": compare(cost, [made.microseconds for made in suricata]) if queued else "",
                "machine's CPU per packet, us": report.spread(machine),
                "of Suricata's": compare(machine, [made.machine_microseconds for made in suricata]),
                "queued": _share(made.queued / made.sent for made in here),
                "sent on": _share(made.forwarded / made.sent for made in here),
                "lost": f"{sum(made.lost for made in here):,}",
                "ready after, s": f"{statistics.median(made.start_seconds for made in here):.3f}",
                "PSS, MB": f"{statistics.median(made.memory.proportional for made in here) / 1024:.1f}",
            }
        )
    return rows


def _share(values: Iterable[float]) -> str:
    return f"{statistics.median(values):.0%}"


def summarize(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return the medians that plots and the page's summary want, by load and contender."""
    groups = group(measurements, lambda made: (made.load, made.contender))
    return {
        f"{load}|{name}": {
            "process_us": statistics.median(made.microseconds for made in here),
            "machine_us": statistics.median(made.machine_microseconds for made in here),
            "start_seconds": statistics.median(made.start_seconds for made in here),
            "pss_mb": statistics.median(made.memory.proportional for made in here) / 1024,
        }
        for (load, name), here in groups.items()
    }


HOW = "Median (lowest - highest) of {turns} alternations; ratios turn by turn."
NOTE = (
    f"{HOW} The queue is filled with {BURST} packets while the process is stopped, then drained, again and "
    "again: it never runs empty under whoever works on it. The first figure is the process alone, for each "
    "packet that was queued; the second counts, for every packet that was sent in, the process, the sending "
    "calls (in which the kernel receives, tracks and queues the packet) and the kernel's softirq threads. In "
    "monitor mode every packet is forwarded, so that this is also the cost of a forwarded one; in enforce "
    "mode much of this traffic is refused, which is work, too, and what is sent on are resets besides. "
    "To the gate, the UDP datagrams are `opaque_datagram`, refused in name."
)


def explain(note: str, turns: int, missing: dict[str, str]) -> str:
    """Return a section's note with the number of turns and who is missing."""
    absent = "".join(f" Without {name}: {reason}." for name, reason in missing.items())
    return note.format(turns=turns) + absent


def run_saturated(loads: Sequence[Load] = SATURATED, *, alternations: int = ALTERNATIONS) -> None:
    """Measure, and save the table."""
    measurements, missing = alternate(loads, measure, alternations=alternations)
    save_saturated("saturated", "CPU per packet, saturated", NOTE, measurements, missing)


def save_saturated(
    section: str, title: str, note: str, measurements: Sequence[Measurement], missing: dict[str, str]
) -> None:
    """Save a table of measurements, with each single one and the medians."""
    turns = min(map(len, group(measurements, lambda made: (made.load, made.contender)).values()))
    raw = {"summary": summarize(measurements), "single": [asdict(made) for made in measurements]}
    report.save(section, title, explain(note, turns, missing), tabulate(measurements), raw=raw)
