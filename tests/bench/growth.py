"""How cost and memory grow: with connections, with devices, with the size of a capture.

Each measurement is a process of its own. The engine's are fed from a file with a household's packets: all
connections opened first, then the mix, of which at most a hundred are at work at once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from guard.build import COMPILED, PURE, get_build
from tests.bench import report
from tests.bench.capture import generate_household, name_device, write_capture, write_recording
from tests.bench.growing import write_household
from tests.bench.replay import Measured
from tests.bench.traffic import AT_WORK, generate_tls

FLOWS = (1, 10, 100, 1_000, 10_000)
DEVICES = (1, 3, 10, 30, 100)
DEVICES_FLOWS = 10_000
PACKETS = 60_000
ROUNDS = 3
IDLE_FLOWS = 4_000
CAPTURES = (20_000, 100_000, 500_000)
PARALLEL_CAPTURES, PARALLEL_PACKETS = 8, 60_000
# Published single-core results (Geekbench 6, browser.geekbench.com): about 300 for a Raspberry Pi 4 at
# 1.8 GHz and 1,000 to 1,200 for server processors like this one: 3.3 to 4.
# Small caches cost an interpreter more.
PI_SLOWER = 4.5
PI_SHARE = 0.5  # of one core: the rest is for bursts, the sensing process and the system
BUSY_ECHO, QUIET_ECHO = 180, 10  # packets a second: 99th percentile of busy seconds, median of the captures


def run_section() -> None:
    """Measure everything, and save the tables."""
    flows = [(count, 1, count) for count in FLOWS]
    devices = [(count, count, DEVICES_FLOWS) for count in DEVICES]
    _run_engine("growth-flows", "Connections of one device", "connections", flows)
    _run_engine("growth-devices", f"Devices, {DEVICES_FLOWS:,} connections together", "devices", devices)
    _run_idle()
    _run_captures()
    save_estimate()


def _run(*arguments: str, compiled: bool = True) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.growing", *arguments]
    environment = dict(os.environ) if compiled else {**os.environ, "PYTHONPATH": str(report.ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=900, cwd=report.ROOT, env=environment
    )
    made: dict[str, float] = json.loads(done.stdout)
    return made


def _run_engine(section: str, title: str, what: str, cases: list[tuple[int, int, int]]) -> None:
    raw: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="wgbench-") as folder:
        for count, devices, flows in cases:
            path = Path(folder, str(count))
            write_household(path, generate_household(devices, flows, PACKETS))
            raw.append({"count": count, "devices": devices, "flows": flows, "path": str(path), "made": []})
        for _ in range(ROUNDS):
            for case in raw:
                case["made"].append(_run("cost", str(case["devices"]), str(case["flows"]), case["path"]))
                print(f"  {what} {case['count']}: {case['made'][-1]}", file=sys.stderr)
    rows = []
    for case in raw:
        made = case.pop("made")
        case["ns"] = [one["ns"] for one in made]
        case["memory_mb"] = statistics.median(one["memory_mb"] for one in made)
        case["before_mb"] = statistics.median(one["before_mb"] for one in made)
        rows.append(
            {
                what: f"{case['count']:,}",
                "connections, all": f"{case['flows']:,}",
                "engine, ns a packet": report.spread(case["ns"], digits=0),
                "memory of the process, MB": f"{case['memory_mb']:.1f}",
                "of it before the first packet, MB": f"{case['before_mb']:.1f}",
            }
        )
    note = (
        f"`Engine.receive_packet`, {get_build()}, monitor mode, {PACKETS:,} packets of the mix "
        f"after every connection was opened; at most {AT_WORK} connections at work at once. "
        f"Median (lowest - highest) of {ROUNDS} processes."
    )
    report.save(section, title, note, rows, raw=raw)


def _run_idle() -> None:
    ways = {PURE: False, **({COMPILED: True} if get_build() == COMPILED else {})}
    made = {way: _run("idle", str(IDLE_FLOWS), compiled=compiled)["bytes"] for way, compiled in ways.items()}
    rows = [
        {"engine": way, "connections": f"{IDLE_FLOWS:,}", "bytes each": f"{octets:,.0f}"}
        for way, octets in made.items()
    ]
    note = "Handshake done, all acknowledged, silent for two minutes: what Python's allocator holds for each."
    report.save("growth-idle", "Memory of an idle connection", note, rows, raw=made)


def _run_captures() -> None:
    raw: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="wgbench-") as name:
        folder = Path(name)
        for packets in CAPTURES:
            path = folder / "capture.pcap"
            device = write_capture(path, generate_tls(packets, flows=100))
            raw.append(_replay(f"{packets:,} packets, 1 device", packets, path, "--device", device))
        for devices, flows in ((1, 100), (100, 10_000)):
            place = folder / f"recording-{devices}"
            packets = write_recording(place, devices, flows, PACKETS)
            what = f"recording of {devices} device{'s' * (devices > 1)}, {flows:,} connections"
            raw.append(
                _replay(
                    what,
                    packets,
                    place / "packets.pcapng",
                    "--device",
                    name_device(0),
                    "--events",
                    str(place / "events.jsonl"),
                )
            )
        rows = [
            {
                "capture": made["what"],
                "MB": f"{made['megabytes']:.0f}",
                "packets a second of CPU": report.spread(made["rates"], digits=0),
                "peak memory, MB": f"{made['peak_mb']:.0f}",
            }
            for made in raw
        ]
        rows.append(_replay_parallel(folder))
    note = (
        f"`wakeguard replay ... --format jsonl`, whole process from start to end, one core; {ROUNDS} rounds. "
        f"The last row: {PARALLEL_CAPTURES} captures in one call on all {os.cpu_count()} processors, by the "
        "clock."
    )
    report.save("growth-capture", "Size of a capture", note, rows, raw=raw[: len(CAPTURES)])


def _replay(what: str, packets: int, path: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "guard", "replay", str(path), *arguments, "--format", "jsonl"]
    measured = Measured(command)
    for _ in range(ROUNDS):
        measured.measure()
    print(f"  {what}: {measured.seconds}, {measured.peak_mb:.0f} MB", file=sys.stderr)
    return {
        "what": what,
        "megabytes": path.stat().st_size / 1e6,
        "rates": [packets / seconds for seconds in measured.seconds],
        "peak_mb": measured.peak_mb,
    }


def _replay_parallel(folder: Path) -> dict[str, str]:
    many = folder / "many"
    many.mkdir()
    device = ""
    for number in range(PARALLEL_CAPTURES):
        packets = generate_tls(PARALLEL_PACKETS, flows=50, seed=number)
        device = write_capture(many / f"{number}.pcap", packets)
    times = {}
    for jobs in (1, os.cpu_count() or 1):
        command = [sys.executable, "-m", "guard", "replay", str(many), "--device", device]
        began = time.perf_counter()
        subprocess.run(
            [*command, "--jobs", str(jobs), "--format", "jsonl"],
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=900,
            cwd=report.ROOT,
        )
        times[jobs] = time.perf_counter() - began
        print(f"  {PARALLEL_CAPTURES} captures, {jobs} at a time: {times[jobs]:.1f} s", file=sys.stderr)
    faster = times[1] / min(times.values())
    return {
        "capture": f"{PARALLEL_CAPTURES} captures of {PARALLEL_PACKETS:,} packets",
        "packets a second of CPU": f"{faster:.2f} times as fast as one at a time",
    }


def save_estimate() -> None:
    """Save what one Raspberry Pi 4 can be expected to carry: this machine's figures and a stated ratio."""
    live = report.load_section("saturated")
    if live is None:
        return
    rows = []
    for key, figures in live["raw"]["summary"].items():
        load, _, who = key.partition("|")
        if load != "TLS mix, 100 flows" or not who.startswith("gate, monitor"):
            continue
        whole = figures["machine_us"] * PI_SLOWER
        rate = 1e6 / whole * PI_SHARE
        rows.append(
            {
                "who": who,
                "CPU per packet here, us": f"{figures['machine_us']:.1f}",
                "on a Pi 4, us (estimate)": f"{whole:.0f}",
                "packets a second on half a core (estimate)": f"{rate:,.0f}",
                "Echos in their busiest seconds, all at once (estimate)": f"{rate / BUSY_ECHO:,.0f}",
                "Echos as on the average (estimate)": f"{rate / QUIET_ECHO:,.0f}",
            }
        )
    note = (
        "No Raspberry Pi was at hand: these are estimates, not measurements. Published single-core results "
        "(Geekbench 6: about 300 for a Raspberry Pi 4, 1,000 to 1,200 for server processors like this one) "
        f"say 3.3 to 4 times slower; small caches cost an interpreter more, so we reckon with {PI_SLOWER}. "
        f"Half of one of its four cores for the gate. An Echo: {QUIET_ECHO} packets a second on the "
        f"average of a capture and {BUSY_ECHO} in its busiest seconds (median and 99th percentile of the "
        "142 public captures, both directions)."
    )
    report.save("growth-pi", "One Raspberry Pi 4", note, rows)
