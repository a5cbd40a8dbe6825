"""Small captures of an Echo for the tests of learning: a voice now and then, reports, heartbeats."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from tests.capture_files import ECHO_MAC, EPOCH_NS, ethernet, pcap, record, tcp

MAC = ECHO_MAC.hex(":")
MS = 1_000_000
VOICE_AT_S, VOICE_RECORDS, VOICE_LENGTH = 10.0, 60, 193  # Opus, two frames of 20 ms in a record
REPORT_AT_S = 40.0
LENGTH_S = 60


def connection(port: int, seed: int, *, voice: bool) -> Iterator[tuple[int, bytes]]:
    """Yield the frames of one connection that began before the capture: heartbeats, reports, a voice."""
    chance = random.Random(seed)
    seq = 1000

    def send(second: float, *lengths: int) -> tuple[int, bytes]:
        nonlocal seq
        payload = b"".join(record(23, length) for length in lengths)
        packet = tcp(payload, seq=seq, ports=(port, 443))
        seq += len(payload)
        return EPOCH_NS + round(second * 1000) * MS, ethernet(packet)

    yield send(0.5, 41)
    yield send(1.0, 300)
    if voice:
        for number in range(VOICE_RECORDS):
            yield send(VOICE_AT_S + 0.04 * number, VOICE_LENGTH)
    yield send(30.5, 41)
    for number in range(40):
        size = 1396 if number % 10 < 7 else chance.choice((365, 727))  # a full buffer, then what was left
        yield send(REPORT_AT_S + 0.002 * number, size)
    yield send(LENGTH_S - 1.0, 120)


def write_capture(path: Path, seed: int, *, voice: bool) -> Path:
    """Write a capture with one connection."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcap(connection(40000 + seed, seed, voice=voice)))
    return path


def write_home(folder: Path, captures: int = 3) -> Path:
    """Write captures with a voice each, and the list of these; return the list."""
    lines = ["file,start_s,end_s"]
    for number in range(captures):
        path = write_capture(folder / f"spoken-{number}.pcap", number, voice=True)
        first = VOICE_AT_S - 0.5
        lines.append(f"{path.name},{first},{first + 0.04 * VOICE_RECORDS}")
    listing = folder.with_name(f"{folder.name}.uploads")
    listing.write_text("\n".join(lines) + "\n")
    return listing


def write_idle(folder: Path, captures: int = 2) -> Path:
    """Write captures in which nobody speaks."""
    for number in range(captures):
        write_capture(folder / f"idle-{number}.pcap", 100 + number, voice=False)
    return folder
