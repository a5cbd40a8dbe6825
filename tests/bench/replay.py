"""Replay of a capture, with tshark on the same file beside it.

CPU seconds, user and kernel together, of the whole process from its start to its end, writing one JSON
line for each packet that the device sent; tshark writes frame, stream and the three TLS record fields of
each TCP frame. The programs take turns. Captures: all of a household in one file where the research data
are at hand, and the generated TLS mix.
"""

from __future__ import annotations

import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import builds, report
from tests.bench.capture import write_capture
from tests.bench.traffic import generate_tls
from tests.conftest import ROOT, data_folder

ROUNDS = 5
PURE, COMPILED, TSHARK = "pure Python", "compiled", "tshark"
GENERATED_PACKETS = 200_000
DEVICES = {"sean_kennedy": "4c:ef:c0:03:f2:38", "haipeng_li": "c4:95:00:e3:93:2f"}
PCAP_HEADER_BYTES = 24
TSHARK_FIELDS = (
    "frame.number",
    "tcp.stream",
    "tls.record.content_type",
    "tls.record.opaque_type",
    "tls.record.length",
)


# A small process starts what is measured: a child's peak memory begins with that of whoever forked it.
_LAUNCHER = """
import os, resource, sys
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ,
                        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(status)
"""


@dataclass(slots=True)
class Measured:
    """One program on one capture."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def measure(self) -> None:
        """Run once; CPU time and peak memory of that process alone."""
        done = subprocess.run(
            [sys.executable, "-S", "-c", _LAUNCHER, *self.command],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, **self.environment},
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(self.command)}: {done.stderr.strip()}")
        seconds, peak_kb = done.stdout.split()
        self.seconds.append(float(seconds))
        self.peak_mb = max(self.peak_mb, float(peak_kb) / 1024)


def run_section() -> None:
    """Measure, and save the table."""
    rows, ratios = run()
    note = (__doc__ or "").partition("\n\n")[2].strip()
    report.save("replay", "Replay of a capture", note, rows, raw=ratios)


def run(
    *, rounds: int = ROUNDS, packets: int = GENERATED_PACKETS
) -> tuple[list[dict[str, str]], dict[str, float]]:
    """Measure; return the rows of the table, and for each capture how many times faster than tshark."""
    rows = []
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path, device in _make_captures(Path(folder), packets):
            frames = _count_frames(path)
            command = _replay(path, device)
            programs = {PURE: Measured(command, builds.choose_build(compiled=False))}
            if builds.explain_missing() is None:
                programs[COMPILED] = Measured(command, builds.choose_build(compiled=True))
            if shutil.which("tshark"):
                programs[TSHARK] = Measured(_tshark(path))
            for turn in range(rounds):
                for program, measured in programs.items():
                    measured.measure()
                    print(f"  {name} {turn + 1}: {program} {measured.seconds[-1]:.2f} s", file=sys.stderr)
            for program in (PURE, COMPILED):
                if program in programs and TSHARK in programs:
                    pairs = zip(programs[TSHARK].seconds, programs[program].seconds, strict=True)
                    ratio = statistics.median(theirs / mine for theirs, mine in pairs)
                    ratios[f"{name}, {program}"] = ratio
            rows += [
                {
                    "capture": name,
                    "frames": f"{frames:,}",
                    "program": program,
                    "CPU, s": report.spread(measured.seconds),
                    "frames a second": report.spread(
                        (frames / seconds for seconds in measured.seconds), digits=0
                    ),
                    "peak memory, MB": f"{measured.peak_mb:.0f}",
                }
                for program, measured in programs.items()
            ]
    return rows, ratios


def _replay(path: Path, device: str) -> list[str]:
    arguments = ["replay", str(path), "--device", device, "--format", "jsonl"]
    return [sys.executable, "-m", "guard", *arguments]


def _tshark(path: Path) -> list[str]:
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp", "-T", "fields"]
    for name in TSHARK_FIELDS:
        command += ["-e", name]
    return command


def _make_captures(folder: Path, packets: int) -> Iterator[tuple[str, Path, str]]:
    """Yield (name, capture, device)."""
    for household, device in DEVICES.items():
        sources = sorted((data_folder() / "vcfp-pcap" / household).glob("*.pcap.gz"))
        if sources:
            path = folder / f"{household}.pcap"
            with path.open("wb") as file:
                for number, source in enumerate(sources):
                    file.write(gzip.decompress(source.read_bytes())[PCAP_HEADER_BYTES if number else 0 :])
            yield f"{household}, {len(sources)} captures", path, device
    path = folder / "generated.pcap"
    device = write_capture(path, generate_tls(packets, flows=100))
    yield "generated TLS mix", path, device


def _count_frames(path: Path) -> int:
    from guard.capture import Capture

    return sum(1 for _ in Capture(path))
