"""A steady rate of packets: CPU for each packet, and how long it is under way.

Every packet wakes the process, so that the wake-up and the waiting for the next weigh more than the packet.
"""

from __future__ import annotations

import array
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import sleep

from tests.bench import report
from tests.bench.contenders import C_LOOP, NO_QUEUE, SENDER_CPU, SURICATA, compile_program, running
from tests.bench.live import HOW, SETTLE_SECONDS, alternate, compare, drain, explain, group, send_all
from tests.bench.load import PACED, Frames, Load
from tests.bench.network import build_network, run
from tests.bench.process import read_cpu, read_softirq_cpu

ALTERNATIONS = 5
SECTION_SECONDS = 600.0
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
NOTE = (
    f"{HOW} Packets come evenly, the mix 5,000 a second. On the way: from the sending call to the kernel's "
    "time stamp at the other end, of the packets that were forwarded at once (one that is held waits for a "
    "wake word, and its waiting is not counted here). Added: less the same percentile of the same turn "
    "without a queue."
)


@dataclass(frozen=True, slots=True)
class Paced:
    """One contender, once; times on the way in microseconds."""

    load: str
    contender: str
    sent: int
    queued: int
    lost: int
    arrived: int
    process_ns: int
    sender_ns: int
    softirq_ns: int
    on_the_way: dict[str, float]

    @property
    def microseconds(self) -> float:
        """CPU of the process for each queued packet."""
        return self.process_ns / 1000 / self.queued if self.queued else 0.0

    @property
    def machine_microseconds(self) -> float:
        """CPU of the process, of the sending calls and of the softirq threads for each packet."""
        return (self.process_ns + self.sender_ns + self.softirq_ns) / 1000 / self.sent


def measure_paced(name: str, load: Load, frames: Frames) -> Paced:
    """Start one contender and send it the load at the rate."""
    with build_network() as network, running(name, network) as worker:
        send_all(network, frames.openings, worker.pid)
        drain(network)
        sleep(SETTLE_SECONDS)
        output = network.folder / "times"
        queue, softirq = network.read_queue(), read_softirq_cpu()
        process = read_cpu(worker.pid) if worker.pid else 0
        ends = (network.echo, "up0", network.cloud, "down0")
        pace = str(compile_program("pace.c"))
        command = (pace, str(frames.packets), *ends, str(load.rate), str(output))
        sent, _, sender = run("taskset", "-c", str(SENDER_CPU), *command, seconds=600).split()
        drain(network)
        last = network.read_queue()
        process = (read_cpu(worker.pid) if worker.pid else 0) - process
        softirq = read_softirq_cpu() - softirq
        times = read_times(output)
    on_the_way = {name: pick(times, share) / 1000 for name, share in PERCENTILES.items()}
    queued, lost = last.queued - queue.queued, last.lost - queue.lost
    return Paced(
        load.name, name, int(sent), queued, lost, len(times), process, int(sender), softirq, on_the_way
    )


def read_times(path: Path) -> list[int]:
    """Return the nanoseconds that ``pace.c`` wrote, sorted."""
    times = array.array("I")
    times.frombytes(path.read_bytes())
    return sorted(times)


def pick(ordered: Sequence[int], share: float) -> int:
    """Return the value that ``share`` of the sorted values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def tabulate(measurements: Sequence[Paced]) -> list[dict[str, str]]:
    """Return a row for each contender."""
    groups = group(measurements, lambda made: (made.load, made.contender))
    rows = []
    for (load, name), here in groups.items():
        c_loop, suricata, free = (groups.get((load, other), []) for other in (C_LOOP, SURICATA, NO_QUEUE))
        cost = [made.microseconds for made in here]
        row = {
            "traffic": load,
            "who": name,
            "CPU per queued packet, us": report.spread(cost) if any(cost) else "",
        }
        row["times C"] = compare(cost, [made.microseconds for made in c_loop]) if any(cost) else ""
        machine = [made.machine_microseconds for made in here]
        row["machine's CPU per packet, us"] = report.spread(machine)
        row["of Suricata's"] = compare(machine, [made.machine_microseconds for made in suricata])
        for percentile in PERCENTILES:
            row[f"on the way {percentile}, us"] = report.spread(
                (made.on_the_way[percentile] for made in here), digits=0
            )
            if name != NO_QUEUE and free:
                added = get_added(here, free, percentile)
                row[f"added {percentile}, us"] = f"{statistics.median(added):,.0f}"
                row[f"added {percentile}, times C"] = compare(added, get_added(c_loop, free, percentile))
        row["queued"] = f"{statistics.median(made.queued / made.sent for made in here):.0%}"
        row["forwarded at once"] = f"{statistics.median(made.arrived / made.sent for made in here):.0%}"
        row["lost"] = f"{sum(made.lost for made in here):,}"
        rows.append(row)
    return rows


def get_added(mine: Sequence[Paced], free: Sequence[Paced], percentile: str) -> list[float]:
    """Return what each turn's percentile is above the one without a queue."""
    pairs = zip(mine, free, strict=True)
    return [own.on_the_way[percentile] - base.on_the_way[percentile] for own, base in pairs]


def run_section(loads: Sequence[Load] = PACED, *, alternations: int = ALTERNATIONS) -> None:
    """Measure, and save the table."""
    measurements, missing = alternate(
        loads, measure_paced, alternations=alternations, seconds=SECTION_SECONDS
    )
    rows = tabulate(measurements)
    turns = min(map(len, group(measurements, lambda made: (made.load, made.contender)).values()))
    title = "At a steady pace: CPU and time on the way"
    report.save(
        "paced", title, explain(NOTE, turns, missing), rows, raw=[asdict(made) for made in measurements]
    )
