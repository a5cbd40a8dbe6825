"""The example that ships with Wakeguard: what README's line replays."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from guard.capture import Capture, Interface
from guard.core.event import Event, MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Mode
from guard.lab.capture import EVENTS_NAME, PACKETS_NAME, CapturedHousehold, format_pcapng, format_trace
from guard.lab.namespaces import DEVICES, Device
from guard.lab.runner import Runner, make_phases
from guard.lab.scenario import SITUATIONS
from guard.trace import read_trace
from tests.tshark_agreement import compare

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def test_the_capture_is_small_and_both_echos_are_in_it() -> None:
    path = EXAMPLES / PACKETS_NAME
    assert path.stat().st_size < 1_000_000
    senders = Counter(frame[3][6:12].hex(":") for frame in Capture(path))
    assert all(senders[device.mac] > 400 for device in DEVICES)


def test_the_capture_spans_the_slowest_heartbeat() -> None:
    times = [frame[1] for frame in Capture(EXAMPLES / PACKETS_NAME)]
    assert times == sorted(times)
    assert 91e9 < times[-1] - times[0] < 200e9


def test_the_events_fit_the_capture() -> None:
    trace = read_trace(EXAMPLES / EVENTS_NAME)
    assert trace.epoch_ns is not None
    times = [frame[1] for frame in Capture(EXAMPLES / PACKETS_NAME)]
    events = [trace.epoch_ns + round(entry.now * 1e9) for entry in trace.entries]
    assert times[0] - 5e9 < events[0] < times[0] + 1e9
    assert times[-1] - 3e9 < events[-1] < times[-1] + 30e9
    words = [entry.now for entry in trace.entries if isinstance(entry.item, WakeEvent)]
    assert len(words) == 5


@pytest.mark.parametrize("device", DEVICES, ids=[device.name for device in DEVICES])
def test_a_replay_refuses_what_nothing_explains_and_nothing_else(device: Device) -> None:
    mac = device.mac
    command = (sys.executable, "-m", "guard", "replay", str(EXAMPLES / PACKETS_NAME), "--device", mac)
    events = ("--events", str(EXAMPLES / EVENTS_NAME), "--format", "jsonl")
    done = subprocess.run((*command, *events), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    packets = [json.loads(line) for line in done.stdout.splitlines()]
    judged = Counter((packet["class"], packet["justification"], packet["verdict"]) for packet in packets)
    refused = {key for key in judged if key[2] == "refuse"}
    assert refused == {("app_data", "not_justified", "refuse"), ("app_data", "justified", "refuse")}
    assert judged["app_data", "expected", "accept"] > 200
    assert judged["handshake", None, "accept"] > 10
    assert judged["syn", None, "accept"] >= 3
    assert {key[0] for key in judged} >= {"handshake", "syn", "ack", "app_data", "not_relevant"}


@pytest.mark.tshark
@pytest.mark.parametrize("device", DEVICES, ids=[f"tls-{device.tls}" for device in DEVICES])
def test_tshark_lists_the_same_records(device: Device) -> None:
    check_records(EXAMPLES / PACKETS_NAME, device)


@pytest.mark.kernel
@pytest.mark.tshark
def test_tshark_lists_the_same_records_of_a_fresh_capture(tmp_path: Path) -> None:
    async def main() -> None:
        household = CapturedHousehold(tmp_path, period_scale=0.05, gate=False)
        try:
            await household.start()
            phases = make_phases([SITUATIONS["music_stream"]], [Mode.MONITOR])
            await Runner(household, phases, tell=lambda _line: None).run()
            await household.save()
        finally:
            await household.stop()

    asyncio.run(main())
    for device in DEVICES:
        check_records(tmp_path / PACKETS_NAME, device)


def check_records(capture: Path, device: Device) -> None:
    """Assert that replay and tshark see the same TLS records of ``device`` in each of its connections.

    Where bytes were sent again tshark skips some: there its records are among ours.
    """
    streams = [stream for stream in compare(capture, device.mac).values() if stream.upstream]
    assert len(streams) >= 3
    for stream in streams:
        if stream.clean:
            assert [record for _frame, record in stream.ours] == stream.reference
        else:  # something was sent again, on a busy machine
            assert stream.find_extras() is not None
    assert sum(stream.clean for stream in streams) >= 2
    records = [record for stream in streams for record in stream.reference]
    overhead = {"1.2": 24, "1.3": 17}[device.tls]
    assert records.count((23, 89 + overhead)) > 40  # voice
    assert (23, 17 + overhead) in records  # a heartbeat
    assert {kind for kind, _length in records} == {20, 22, 23}


def test_a_capture_comes_back_as_it_was_written(tmp_path: Path) -> None:
    interface = Interface(1, 9)
    frames = [(n, 1_700_000_000_000_000_000 + n, interface, bytes(n), n, 0) for n in range(1, 70)]
    path = tmp_path / "written.pcapng"
    path.write_bytes(b"".join(format_pcapng(frames)))
    back = list(Capture(path))
    assert [(f[0], f[1], f[3], f[4]) for f in back] == [(f[0], f[1], f[3], f[4]) for f in frames]
    assert {(f[2].link_type, f[2].digits) for f in back} == {(1, 9)}


def test_a_trace_comes_back_as_it_was_written(tmp_path: Path) -> None:
    events: list[Event] = [MuteEvent(5.0, MuteState.MUTED, "lab"), WakeEvent(6.5, "alexa", 1.0, "lab")]
    path = tmp_path / "written.jsonl"
    path.write_text("".join(format_trace(events)))
    trace = read_trace(path)
    assert trace.epoch_ns is not None
    assert [entry.item for entry in trace.entries] == events
