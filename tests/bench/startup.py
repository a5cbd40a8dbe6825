"""How long the gate takes to be ready, how much memory it then has, and what it has loaded.

Ready is when the process says so to its service manager (``READY=1`` on ``NOTIFY_SOCKET``): the queue
is bound and the rules stand. Memory: at that moment; what it grows to under load is in the table of
the saturated gate.
"""

from __future__ import annotations

import subprocess
import sys

from guard.core.verdict import Mode
from tests.bench import report
from tests.bench.contenders import running_gate
from tests.bench.network import build_network
from tests.bench.process import read_memory

ROUNDS = 5
UNWANTED = ("scapy", "sklearn", "numpy")


def count_modules() -> tuple[int, list[str]]:
    """Return how many modules the gate imports, and which of them it should not have."""
    program = "import sys, guard.daemon, guard.cli.live; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    return len(loaded), sorted({name.partition(".")[0] for name in loaded} & set(UNWANTED))


def run_section(*, rounds: int = ROUNDS) -> None:
    """Measure and save."""
    seconds, memories = [], []
    for _ in range(rounds):
        with build_network() as network, running_gate(network, Mode.MONITOR) as (process, took):
            memory = read_memory(process.pid)
        seconds.append(took)
        memories.append(memory)
        print(f"  start: {took:.3f} s, PSS {memory.proportional / 1024:.1f} MB", file=sys.stderr)
    modules, unwanted = count_modules()
    rows = [
        {"what": "start of the process to READY=1, s", "measured": report.spread(seconds, digits=3)},
        {
            "what": "resident set when ready, MB",
            "measured": report.spread((memory.resident / 1024 for memory in memories), digits=1),
        },
        {
            "what": "proportional set when ready, MB",
            "measured": report.spread((memory.proportional / 1024 for memory in memories), digits=1),
        },
        {"what": "modules loaded", "measured": f"{modules}"},
        {"what": f"of these {', '.join(UNWANTED)}", "measured": ", ".join(unwanted) or "none"},
    ]
    note = f"Median (lowest - highest) of {rounds} starts, each in namespaces of its own, files cached."
    report.save("startup", "Start and memory", note, rows, raw={"seconds": seconds})
