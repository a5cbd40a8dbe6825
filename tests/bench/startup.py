"""How long the gate takes to be ready, how much memory it then has, and what it has loaded.

Ready is when the process says so to its service manager (``READY=1`` on ``NOTIFY_SOCKET``): the queue
is bound and the rules stand. Memory: at that moment; what it grows to under load is in the table of
the saturated gate.
"""

from __future__ import annotations

import subprocess
import sys

from tests.bench import report
from tests.bench.contenders import (
    CONTENDERS,
    GATE_COMPILED,
    GATE_MONITOR,
    Gate,
    choose_available,
    running_gate,
)
from tests.bench.live import explain
from tests.bench.network import build_network
from tests.bench.process import Memory, read_memory

ROUNDS = 5
UNWANTED = ("scapy", "sklearn", "numpy")


def count_modules() -> tuple[int, list[str]]:
    """Return how many modules the gate imports, and which of them it should not have."""
    names = "guard.cli.live, guard.daemon, guard.telemetry.log, guard.telemetry.metrics, netfilterqueue"
    program = f"import sys, {names}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    return len(loaded), sorted({name.partition(".")[0] for name in loaded} & set(UNWANTED))


def run_section(*, rounds: int = ROUNDS) -> None:
    """Measure and save."""
    names, missing = choose_available((GATE_MONITOR, GATE_COMPILED))
    gates = {name: gate for name in names if isinstance(gate := CONTENDERS[name], Gate)}
    seconds: dict[str, list[float]] = {name: [] for name in gates}
    memories: dict[str, list[Memory]] = {name: [] for name in gates}
    for _ in range(rounds):
        for name, gate in gates.items():
            with build_network() as network, running_gate(network, gate) as gate_running:
                memories[name].append(read_memory(gate_running.pid))
            seconds[name].append(gate_running.start_seconds)
            print(f"  start: {name} {seconds[name][-1]:.3f} s", file=sys.stderr)
    modules, unwanted = count_modules()
    rows = [
        {
            "who": name,
            "start of the process to READY=1, s": report.spread(seconds[name], digits=3),
            "resident set when ready, MB": report.spread(
                (memory.resident / 1024 for memory in memories[name]), digits=1
            ),
            "proportional set when ready, MB": report.spread(
                (memory.proportional / 1024 for memory in memories[name]), digits=1
            ),
        }
        for name in gates
    ]
    note = (
        "Median (lowest - highest) of {turns} starts, each in namespaces of its own, files cached and, as an "
        "install leaves them, compiled to bytecode. "
        f"{modules} modules are loaded; of these {', '.join(UNWANTED)}: {', '.join(unwanted) or 'none'}."
    )
    sets = {name: [memory.proportional / 1024 for memory in made] for name, made in memories.items()}
    raw = {"seconds": seconds, "pss_mb": sets}
    report.save("startup", "Start and memory", explain(note, rounds, missing), rows, raw=raw)
