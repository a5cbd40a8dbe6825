"""What a process costs, as the kernel accounts it.

CPU: the nanoseconds on a processor of all its threads (first field of ``schedstat``), user and kernel
together; a process that sleeps has all of it booked. Memory: resident and proportional set size.
"""

from __future__ import annotations

import functools
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Memory:
    """Kilobytes."""

    resident: int
    proportional: int


def read_cpu(pid: int) -> int:
    """Return the nanoseconds of CPU that all threads of a process have used."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def read_softirq_cpu() -> int:
    """Return the nanoseconds of CPU that the kernel's softirq threads have used, all of them."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in _list_softirq_threads())


@functools.cache
def _list_softirq_threads() -> list[Path]:
    tasks = [path for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [task for task in tasks if _read_name(task).startswith("ksoftirqd/")]


def _read_name(task: Path) -> str:
    try:
        return (task / "comm").read_text()
    except OSError:  # it ended meanwhile
        return ""


def read_memory(pid: int) -> Memory:
    """Return the memory of a process."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        key, _, value = line.partition(":")
        fields[key] = int(value.split()[0])
    return Memory(fields["Rss"], fields["Pss"])


@contextmanager
def started(
    command: Sequence[str], *, log: Path, cpu: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process on one processor, its output in ``log``; end it, and only it, afterwards."""
    pinned = ["taskset", "-c", str(cpu)] if cpu is not None else []
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*pinned, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
