"""Published traces of one command each: a check that owes nothing to anybody's labels.

Knows: the archive (CSV files of time, IP length and direction, one command spoken in each), and how its rows
become packets. Refuses to know: verdicts.

A row has no payload, so each packet of the Echo with room for one is one TLS record of its own, all on one
connection first seen in its middle. What is shorter than SHORTEST is an acknowledgement with TCP options.
"""

from __future__ import annotations

import csv
import io
import struct
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from guard.core.engine import DeviceSettings, Engine
from guard.core.packet import ACK, PSH, TCP
from guard.core.verdict import Direction, Mode
from guard.errors import DatasetError
from guard.rules import load_policy

_ECHO, _CLOUD = bytes((192, 0, 2, 10)), bytes((198, 51, 100, 1))  # RFC 5737
_PORTS = (40000, 443)
_HEADERS, _RECORD_HEADER, _APPLICATION_DATA, _TLS_1_2 = 40, 5, 23, 0x0303
SHORTEST = 66  # bytes of an IP packet: 40 of headers, at most 20 of options, a record header
_DEVICE = "echo"

Row = tuple[float, int]  # seconds, bytes of an IP packet that the Echo sent


def read_traces(archive: Path) -> Iterator[tuple[str, list[Row]]]:
    """Yield each trace's name and what the Echo sent in it. DatasetError for what is no such archive."""
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.name.endswith(".csv") else None
                if file is None:
                    continue
                table = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))
                rows = [
                    (float(row["time"]), int(float(row["size"])))
                    for row in table
                    if float(row["direction"]) > 0
                ]
                yield Path(member.name).stem, rows
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise DatasetError(f"{archive} is no archive of traces (time, size, direction): {error}") from error


def has_voice(rows: list[Row]) -> bool:
    """Say whether the gate's certain rule finds a voice in a trace."""
    policy = replace(load_policy(), hold_s=0.0)
    engine = Engine(policy, {_DEVICE: DeviceSettings()}, mode=Mode.MONITOR)
    seq, latest = 1000, 0.0
    for at, size in rows:
        if size < SHORTEST:
            continue
        latest = max(latest, at)
        timer = engine.get_timer()
        if timer is not None and timer <= latest:
            engine.handle_timer(now=latest)
        packet = _make_packet(size, seq)
        seq += size - _HEADERS
        engine.receive_packet(packet, device=_DEVICE, direction=Direction.UPSTREAM, now=latest)
        flow = engine.facts.flow
        if flow is not None and flow.conversation.voice is not None and flow.conversation.voice.voice:
            return True
    return False


def count_voices(archive: Path) -> tuple[int, int]:
    """Return in how many traces a voice is found, and how many there are."""
    found = total = 0
    for _name, rows in read_traces(archive):
        total += 1
        found += has_voice(rows)
    return found, total


def _make_packet(size: int, seq: int) -> bytes:
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, TCP, 0, _ECHO, _CLOUD)
    segment = struct.pack("!HHIIBBHHH", *_PORTS, seq, 1, 0x50, ACK | PSH, 65535, 0, 0)
    record = struct.pack("!BHH", _APPLICATION_DATA, _TLS_1_2, size - _HEADERS - _RECORD_HEADER)
    return (head + segment + record).ljust(size, b"\0")
