"""The benches run: a few packets through each, and no number is looked at."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from guard.core.verdict import Direction
from tests.bench import report
from tests.bench.contenders import C_LOOP, CONTENDERS, GATE_MONITOR, PYTHON_LOOP
from tests.bench.live import Load, measure, tabulate
from tests.bench.traffic import generate_datagrams, generate_tls, write_frames

pytestmark = pytest.mark.bench


def ones_complement_sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_packets_have_right_checksums_and_lengths() -> None:
    for _, data in [*generate_tls(2000, flows=10), *generate_datagrams(1, size=301)]:
        assert ones_complement_sum(data[:20]) == 0xFFFF
        assert int.from_bytes(data[2:4], "big") == len(data)
        pseudo = data[12:20] + struct.pack(">HH", data[9], len(data) - 20)
        assert ones_complement_sum(pseudo + data[20:]) == 0xFFFF


def test_each_direction_of_a_connection_counts_on_without_gap() -> None:
    expected: dict[tuple[Direction, bytes], int] = {}
    for direction, data in generate_tls(5000, flows=7):
        flags, number = data[33], int.from_bytes(data[24:28], "big")
        key = (direction, data[20:24] + data[12:20])
        assert expected.setdefault(key, number) == number
        payload = len(data) - 20 - (data[32] >> 4 << 2)
        expected[key] = (number + payload + (flags >> 1 & 1)) % (1 << 32)
    assert len(expected) == 14


def test_same_arguments_make_the_same_packets() -> None:
    assert list(generate_tls(500, flows=3)) == list(generate_tls(500, flows=3))
    assert list(generate_tls(500, flows=3)) != list(generate_tls(500, flows=3, seed=2))


def test_engine_bench_runs() -> None:
    from tests.bench.engine import prepare, time_kinds, time_loop

    chunks = prepare(generate_tls(600, flows=2))
    assert time_loop(chunks) > 0
    kinds = time_kinds(chunks, talking=True)
    assert sum(map(len, kinds.values())) == 600
    assert any(name.startswith("downstream") for name in kinds)


@pytest.mark.kernel
def test_live_bench_runs_and_loses_no_packet(tmp_path: Path) -> None:
    load = Load("smoke", 600, 2, 0, (C_LOOP, PYTHON_LOOP, GATE_MONITOR))
    frames = tmp_path / "frames"
    assert write_frames(frames, load.generate()) == 600
    measurements = [measure(CONTENDERS[name], load, frames) for name in load.contenders]
    assert [(made.sent, made.queued, made.lost) for made in measurements] == [(600, 600, 0)] * 3
    assert report.format_table(tabulate(measurements)).count("| smoke |") == 3
