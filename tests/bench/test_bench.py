"""The benches run: a few packets through each, and no number is looked at."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from guard.capture import Capture
from guard.core.verdict import Direction, Reason
from guard.replay import Replay
from guard.selector import DeviceSelector
from guard.trace import read_trace
from tests.bench import paced, ramp, report
from tests.bench.capture import generate_household, write_capture, write_recording
from tests.bench.contenders import (
    C_LOOP,
    CONTENDERS,
    GATE_MONITOR,
    NO_QUEUE,
    PYTHON_LOOP,
    Program,
    choose_available,
)
from tests.bench.growing import measure_cost, measure_idle, write_household
from tests.bench.live import measure, tabulate
from tests.bench.load import Load
from tests.bench.paced import measure_paced, pick
from tests.bench.ramp import measure_ramp
from tests.bench.summary import Goal
from tests.bench.traffic import (
    Connection,
    generate_acts,
    generate_datagrams,
    generate_openings,
    generate_tls,
)
from tests.bench.wide import load_wide_policy

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


def test_connections_at_work_keep_their_records_whole(tmp_path: Path) -> None:
    connections = [Connection(number) for number in range(5)]
    packets = [*generate_openings(connections), *(packet for _, packet in generate_acts(connections, 3000))]
    device = write_capture(tmp_path / "mix.pcap", packets)
    run = Replay(Capture(tmp_path / "mix.pcap"), DeviceSelector(device), load_wide_policy())
    run.run()
    reasons = {decision.reason for _, decision, packets, _ in run.engine.counters(device) if packets}
    assert run.totals.upstream + run.totals.downstream == len(packets)
    assert reasons & {Reason.HEARTBEAT, Reason.HEARTBEAT_TOO_SOON, Reason.HEARTBEAT_BUDGET}
    assert not reasons & {
        Reason.OPAQUE_PAYLOAD,
        Reason.STREAM_GAP,
        Reason.CONNECTION_RATE,
        Reason.ENGINE_ERROR,
    }


def test_growth_bench_runs(tmp_path: Path) -> None:
    path = tmp_path / "household"
    write_household(path, generate_household(2, 4, 200))
    assert measure_cost(2, 4, str(path))["ns"] > 0
    assert measure_idle(20)["bytes"] > 0


def test_recording_of_a_household_is_replayed_with_all_its_devices(tmp_path: Path) -> None:
    count = write_recording(tmp_path / "made", 3, 6, 300)
    trace = read_trace(tmp_path / "made" / "events.jsonl")
    run = Replay(Capture(tmp_path / "made" / "packets.pcapng"), DeviceSelector("echo-1"), trace=trace)
    run.run()
    assert run.totals.frames == count
    names = [f"echo-{number}" for number in range(3)]
    fed = {name: sum(packets for _, _, packets, _ in run.engine.counters(name)) for name in names}
    assert all(fed.values())
    assert sum(fed.values()) == count


def test_percentiles_are_values_that_occurred() -> None:
    assert [pick([1, 2, 3, 4], share) for share in (0.5, 0.99)] == [3, 4]


def test_a_goal_is_reached_at_its_bound_and_missed_beyond() -> None:
    assert [Goal("x", 1.6, value).verdict for value in (1.6, 1.61)] == ["reached", "**missed**"]
    assert Goal("x", 400, 399.0, at_most=False).verdict == "**missed**"


def test_a_contender_that_cannot_run_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Program("absent", lambda _: [], lambda: "nobody has it")
    monkeypatch.setitem(CONTENDERS, "absent", absent)
    assert choose_available((C_LOOP, "absent")) == ((C_LOOP,), {"absent": "nobody has it"})


@pytest.mark.kernel
def test_live_bench_runs_and_loses_no_packet(tmp_path: Path) -> None:
    load = Load("smoke", 600, 2, (NO_QUEUE, C_LOOP, PYTHON_LOOP, GATE_MONITOR))
    frames = load.write(tmp_path)
    measurements = [measure(name, load, frames) for name in load.contenders]
    counts = [(made.sent, made.queued, made.lost) for made in measurements]
    assert counts == [(600, 0, 0), *[(600, 600, 0)] * 3]
    assert all(made.forwarded >= 600 for made in measurements)
    assert report.format_table(tabulate(measurements)).count("| smoke |") == 4


@pytest.mark.kernel
def test_live_bench_runs_on_datagrams_which_open_no_connection(tmp_path: Path) -> None:
    load = Load("smoke", 300, 0, (C_LOOP,))
    made = measure(C_LOOP, load, load.write(tmp_path))
    assert (made.sent, made.queued, made.lost) == (300, 300, 0)


@pytest.mark.kernel
def test_paced_bench_follows_every_packet_to_the_other_end(tmp_path: Path) -> None:
    load = Load("smoke", 600, 2, (NO_QUEUE, C_LOOP))
    frames = load.write(tmp_path)
    measurements = [measure_paced(name, load, frames) for name in load.contenders]
    assert [(made.sent, made.arrived, made.lost) for made in measurements] == [(600, 600, 0)] * 2
    assert all(made.on_the_way["p50"] > 0 for made in measurements)
    assert len(paced.tabulate(measurements)) == 2


@pytest.mark.kernel
def test_ramp_bench_ends(tmp_path: Path) -> None:
    load = Load("smoke", 2_000, 2, (C_LOOP,))
    made = measure_ramp(C_LOOP, load, load.write(tmp_path))
    assert made.why in {"loss", "late", "frames", "sender"}
    assert len(ramp.tabulate([made])) == 1
