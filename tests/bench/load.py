"""The traffics, and who has to bear each.

A load is two files of frames: what opens its connections, which is sent beforehand and not measured, and
what is measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import (
    C_LOOP,
    GATE_BALANCED,
    GATE_COMPILED,
    GATE_COMPILED_FAST,
    GATE_FAST,
    GATE_MONITOR,
    GATE_STRICT,
    NAIVE,
    NO_QUEUE,
    PYTHON_LOOP,
    SCAPY,
    SURICATA,
)
from tests.bench.traffic import (
    Connection,
    Mix,
    generate_acts,
    generate_datagrams,
    generate_openings,
    write_frames,
)


@dataclass(frozen=True, slots=True)
class Load:
    """A traffic and who has to bear it; ``flows`` 0: datagrams."""

    name: str
    packets: int
    flows: int
    contenders: tuple[str, ...]
    mix: Mix = "mix"
    rate: int = 5_000  # packets a second, where it is paced

    def write(self, folder: Path) -> Frames:
        """Write both files."""
        frames = Frames(folder / "openings", folder / "packets")
        if not self.flows:
            write_frames(frames.openings, ())
            write_frames(frames.packets, generate_datagrams(self.packets))
            return frames
        connections = [Connection(number) for number in range(self.flows)]
        write_frames(frames.openings, generate_openings(connections))
        acts = generate_acts(connections, self.packets, self.mix)
        write_frames(frames.packets, (packet for _, packet in acts))
        return frames


@dataclass(frozen=True, slots=True)
class Frames:
    """A load's two files."""

    openings: Path
    packets: Path


MIX_100 = "TLS mix, 100 flows"
EVERYBODY = (
    NO_QUEUE,
    C_LOOP,
    PYTHON_LOOP,
    SURICATA,
    GATE_MONITOR,
    GATE_STRICT,
    GATE_BALANCED,
    GATE_FAST,
    GATE_COMPILED,
    GATE_COMPILED_FAST,
)
_SOME = (C_LOOP, PYTHON_LOOP, SURICATA, GATE_MONITOR, GATE_COMPILED)
SATURATED = (
    Load(MIX_100, 100_000, 100, EVERYBODY),
    Load("TLS mix, 1 flow", 60_000, 1, _SOME),
    Load("TLS mix, 10,000 flows", 100_000, 10_000, _SOME),
    Load("small segments, 100 flows", 60_000, 100, _SOME, "small"),
    Load("full-size segments, 100 flows", 60_000, 100, _SOME, "full-size"),
    Load("UDP, 300 bytes", 60_000, 0, _SOME),
)
MUSIC = "music, 1 flow, 1,500 packets a second"
_ON_THE_WAY = (NO_QUEUE, C_LOOP, SURICATA, GATE_MONITOR, GATE_FAST, GATE_COMPILED, GATE_COMPILED_FAST)
PACED = (
    Load(MIX_100, 20_000, 100, EVERYBODY),
    # An acknowledgement for two packets of music: what the fast path is for, within what it may pass.
    Load(MUSIC, 6_000, 1, _ON_THE_WAY, "music", rate=1_500),
)
# Fast enough for the fastest: a step of the ramp is a tenth of a second.
RAMPED = (Load(MIX_100, 300_000, 100, tuple(name for name in EVERYBODY if name != NO_QUEUE)),)
NAIVELY = (Load("TLS mix, 10 flows", 2_000, 10, (C_LOOP, SCAPY, NAIVE, GATE_MONITOR, GATE_COMPILED)),)


@contextmanager
def written(loads: Sequence[Load]) -> Iterator[dict[str, Frames]]:
    """Write the files of all loads, and remove them afterwards."""
    with tempfile.TemporaryDirectory(prefix="wgbench-") as top:
        frames = {}
        for number, load in enumerate(loads):
            folder = Path(top, str(number))
            folder.mkdir()
            frames[load.name] = load.write(folder)
        yield frames
