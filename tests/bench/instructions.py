"""Instructions of the engine for each packet: a figure that a busy machine cannot disturb.

valgrind counts every instruction of the process in user space. The same program takes fewer packets once
and more once; the difference, divided by the packets more, is what one packet takes once start-up is paid
for. Counting says nothing of caches, so it goes beside the time and not in its place. It repeats to about
one in a hundred.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.bench import builds, report
from tests.bench.live import explain
from tests.bench.traffic import Packet, generate_datagrams, generate_tls, write_frames

CALLGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
COUNTS = (2_000, 6_000)
ROUNDS = 2
SECONDS = 300
TRAFFIC: dict[str, Callable[[int], Iterable[Packet]]] = {
    "TLS mix, 100 flows": lambda count: generate_tls(count, flows=100),
    "UDP, 300 bytes": generate_datagrams,
}
_COLLECTED = re.compile(r"Collected : (\d+)")
NOTE = (
    f"`valgrind --tool=callgrind`, user space only, each packet of {COUNTS[1]:,} after the first "
    f"{COUNTS[0]:,}; median (lowest - highest) of {{turns}} runs. Reading a packet from the file is in it, "
    "for all alike."
)


def count(frames: Path, packets: int, *, compiled: bool) -> int:
    """Return the instructions of one run in a process of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": "0", **builds.choose_build(compiled=compiled)}
    environment.setdefault("PYTHONPATH", str(report.ROOT))
    feed = Path(__file__).with_name("feed.py")
    done = subprocess.run(
        [*CALLGRIND, sys.executable, str(feed), str(frames), str(packets)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = _COLLECTED.search(done.stderr)
    if done.returncode != 0 or said is None:
        raise RuntimeError(f"valgrind: {done.stderr.strip()}")
    return int(said[1])


def count_a_packet(frames: Path, *, compiled: bool) -> float:
    """Return the engine's instructions for one packet."""
    few, many = (count(frames, packets, compiled=compiled) for packets in COUNTS)
    return (many - few) / (COUNTS[1] - COUNTS[0])


def run_section(*, rounds: int = ROUNDS) -> None:
    """Count, and save the table."""
    ways = {"pure Python": False}
    missing = {}
    if (reason := builds.explain_missing()) is None:
        ways["compiled"] = True
    else:
        missing["the compiled engine"] = reason
    rows = []
    with tempfile.TemporaryDirectory(prefix="wgbench-") as folder:
        for traffic, generate in TRAFFIC.items():
            frames = Path(folder, "frames")
            write_frames(frames, generate(COUNTS[1]))
            for way, compiled in ways.items():
                counts = [count_a_packet(frames, compiled=compiled) for _ in range(rounds)]
                row = {
                    "traffic": traffic,
                    "engine": way,
                    "instructions a packet": report.spread(counts, digits=0),
                }
                print(f"  {row}", file=sys.stderr)
                rows.append(row)
    title = "Instructions for each packet, the engine alone"
    report.save("instructions", title, explain(NOTE, rounds, missing), rows)
