"""Packets a second before the first is lost: faster step by step until the queue overflows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import sleep

from tests.bench import report
from tests.bench.contenders import C_LOOP, SENDER_CPU, SURICATA, compile_program, running
from tests.bench.live import HOW, SETTLE_SECONDS, alternate, compare, drain, explain, group, send_all
from tests.bench.load import RAMPED, Frames, Load
from tests.bench.network import build_network, run

ALTERNATIONS = 5
SECTION_SECONDS = 480.0
STEP_MS, PERCENT = 100, 7
FIRST_RATE = 8_000.0  # the slowest gate on a slow machine bears it; 7 % faster each step, 200,000 after 48
NOTE = (
    f"{HOW} Each step of {STEP_MS} ms is {PERCENT} % faster than the one before; the figure is the rate of "
    "the fastest step after which the queue had lost nothing and was not long. "
    "Where the sender's processor could not send faster before anything was lost, the figure is "
    "the sender's and says 'at least'."
)


@dataclass(frozen=True, slots=True)
class Ramp:
    """One contender, once: the last rate without loss, and what ended it."""

    contender: str
    rate: float
    why: str


def measure_ramp(name: str, load: Load, frames: Frames) -> Ramp:
    """Start one contender and send to it faster and faster."""
    with build_network() as network, running(name, network) as worker:
        send_all(network, frames.openings, worker.pid)
        drain(network)
        sleep(SETTLE_SECONDS)
        ends = (network.echo, "up0", network.cloud, "down0", network.gate)
        first = str(FIRST_RATE)
        command = (
            str(compile_program("ramp.c")),
            str(frames.packets),
            *ends,
            first,
            str(STEP_MS),
            str(PERCENT),
        )
        rate, why = run("taskset", "-c", str(SENDER_CPU), *command, seconds=600).split()
        return Ramp(name, float(rate), why)


def tabulate(measurements: Sequence[Ramp]) -> list[dict[str, str]]:
    """Return a row for each contender."""
    groups = {
        name: here for (_, name), here in group(measurements, lambda made: ("", made.contender)).items()
    }
    c_loop, suricata = groups.get(C_LOOP, []), groups.get(SURICATA, [])
    rows = []
    for name, here in groups.items():
        rates = [made.rate for made in here]
        unbeaten = statistics.mode(made.why for made in here) in {"frames", "sender"}
        at_least = "at least " if unbeaten else ""
        rows.append(
            {
                "who": name,
                "packets a second before loss": at_least + report.spread(rates, digits=0),
                "of C's": compare(rates, [made.rate for made in c_loop]),
                "of Suricata's": compare(rates, [made.rate for made in suricata]),
            }
        )
    return rows


def run_section(loads: Sequence[Load] = RAMPED, *, alternations: int = ALTERNATIONS) -> None:
    """Measure, and save the table."""
    measurements, missing = alternate(loads, measure_ramp, alternations=alternations, seconds=SECTION_SECONDS)
    turns = len([made for made in measurements if made.contender == C_LOOP])
    rows = tabulate(measurements)
    title = "Packets a second before loss"
    report.save(
        "ramp", title, explain(NOTE, turns, missing), rows, raw=[asdict(made) for made in measurements]
    )
