"""One engine in a process of its own, fed with a household: prints what it cost and holds, as JSON.

Usage: python -m tests.bench.growing cost DEVICES FLOWS FILE | idle FLOWS
"""

from __future__ import annotations

import gc
import json
import os
import struct
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from time import thread_time_ns

from guard.cli.offline import GC_THRESHOLD
from guard.core.engine import DeviceSettings, Engine
from guard.core.verdict import Direction, Mode
from tests.bench.capture import Addressed, name_device
from tests.bench.process import read_memory
from tests.bench.traffic import Connection
from tests.bench.wide import load_wide_policy

PACE = 0.001
CHUNK = 500
IDLE_PACE = 0.01
SILENT_S = 120.0  # what an idle connection keeps at first, it gives up at the next look at all of them
_HEAD = struct.Struct("<HHI")


def make_engine(devices: int) -> Engine:
    """Return a fresh engine in monitor mode."""
    names = {name_device(number): DeviceSettings() for number in range(devices)}
    return Engine(load_wide_policy(), devices=names, mode=Mode.MONITOR)


def measure_cost(devices: int, flows: int, path: str) -> dict[str, float]:
    """Return nanoseconds a packet once all connections are open, and the process's memory then."""
    engine = make_engine(devices)
    before = read_memory_mb()
    household = _read_household(Path(path))
    now = spent = 0.0
    counted = 0
    opening = flows * len(list(Connection(0).open()))
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    for chunk in iter(lambda: list(islice(household, CHUNK)), []):
        took, now = _feed(engine, chunk, now)
        opening -= len(chunk)
        if opening < 0:
            spent += took
            counted += len(chunk)
    return {"ns": spent / counted, "memory_mb": read_memory_mb(), "before_mb": before}


def _read_household(path: Path) -> Iterator[Addressed]:
    # From a file, so that whoever generates the packets is not in the memory of whoever judges them.
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            device, direction, length = _HEAD.unpack(head)
            yield name_device(device), Direction(direction), file.read(length)


def write_household(path: Path, household: Iterable[Addressed]) -> None:
    """Write what ``cost`` reads."""
    with path.open("wb") as file:
        for device, direction, data in household:
            number = int(device.partition("-")[2])
            file.write(_HEAD.pack(number, direction, len(data)) + data)


def read_memory_mb() -> float:
    """Return the resident memory of this process."""
    return read_memory(os.getpid()).resident / 1024


def _feed(engine: Engine, chunk: list[Addressed], now: float) -> tuple[int, float]:
    deadline = engine.get_timer()
    if deadline is not None and deadline <= now:
        engine.handle_timer(now=now)
    receive = engine.receive_packet
    began = thread_time_ns()
    for device, direction, data in chunk:
        receive(data, device=device, direction=direction, now=now)
        now += PACE
    return thread_time_ns() - began, now


def measure_idle(flows: int) -> dict[str, float]:
    """Return the bytes that an open connection holds after its handshake, once nothing was said for long."""
    engine = make_engine(1)
    device = name_device(0)
    warm, now = flows // 10, 0.0
    tracemalloc.start()
    held = 0
    for number in range(flows + warm):
        if number == warm:
            gc.collect()
            held = tracemalloc.get_traced_memory()[0]
        connection = Connection(number)
        for direction, data in [*connection.open(), connection.acknowledge(Direction.DOWNSTREAM)]:
            engine.receive_packet(data, device=device, direction=direction, now=now)
            now += IDLE_PACE
            deadline = engine.get_timer()
            if deadline is not None and deadline <= now:
                engine.handle_timer(now=now)
    while (deadline := engine.get_timer()) is not None and deadline <= now + SILENT_S:
        engine.handle_timer(now=deadline)
    gc.collect()
    return {"bytes": (tracemalloc.get_traced_memory()[0] - held) / flows}


def main(arguments: list[str]) -> None:
    """Measure what is asked for."""
    if arguments[0] == "cost":
        made = measure_cost(int(arguments[1]), int(arguments[2]), arguments[3])
    else:
        made = measure_idle(int(arguments[1]))
    print(json.dumps(made))


if __name__ == "__main__":
    main(sys.argv[1:])
