"""What the live gate records, replayed: the same packets at the same times get the same lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guard.capture import Capture
from guard.cli import main
from guard.core.engine import DeviceSettings
from guard.core.event import WakeEvent
from guard.core.verdict import Direction, Mode
from guard.errors import CaptureError, RecordingError
from guard.recorded import EVENTS_NAME, PACKETS_NAME, Recorder
from guard.trace import Gate, Settings, TimerServed, read_trace
from tests.capture_files import CLOUD, EPOCH_NS, record, tcp, udp
from tests.gateway import ADDRESSES, CLOUDS, DEVICES, LIMITS, SECOND, SETTINGS, Gateway, live


def replayed(folder: Path, device: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    packets, events = folder / PACKETS_NAME, folder / EVENTS_NAME
    arguments = ["replay", str(packets), "--device", device, "--events", str(events), "--format", "jsonl"]
    assert main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("seed", range(8))
def test_replay_of_a_recording_says_what_the_gate_said(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = live(tmp_path / "rec", seed)
    said = [json.loads(line) for line in gate.decisions.read_text().splitlines()]
    assert [line["frame"] for line in said] == sorted(line["frame"] for line in said)
    waited = [line for line in said if line["held_ms"] is not None]
    assert {line["verdict"] for line in said} == {"accept", "refuse"}
    assert "refuse" in {line["verdict"] for line in waited}
    assert all(line["held_ms"] >= 0 for line in waited)
    for device in DEVICES:
        lines = replayed(tmp_path / "rec", device, capsys)
        assert lines == replayed(tmp_path / "rec", ADDRESSES[device], capsys)
        assert lines == [line for line in said if ADDRESSES[device] in line["flow"].partition(">")[0]]
        assert lines


@pytest.mark.parametrize("mode", list(Mode))
def test_a_released_hold_is_replayed_with_its_time(
    tmp_path: Path, mode: Mode, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = Gateway(tmp_path / "rec", mode)
    name = "Küche 2"  # it has no sensor
    home, cloud, seq = ADDRESSES[name], CLOUDS[name], 1000

    def send(payload: bytes, now_ns: int, flags: int = 0x18) -> None:
        nonlocal seq
        packet = tcp(payload, seq=seq, ports=(40000, 443), source=home, destination=cloud, flags=flags)
        gate.send(name, packet, Direction.UPSTREAM, now_ns)
        seq += len(payload) + (flags & 2) // 2

    send(b"", SECOND, flags=0x02)
    gate.reload(LIMITS, set(), SECOND + 1)
    for step in range(3):
        send(record(23, 300), 2 * SECOND + step)
    answered = [packet.answers for packet in gate.packets[1:]]
    assert answered == ([1, 1, 1] if mode is Mode.MONITOR else [0, 0, 0])
    assert gate.gate.engine.get_status(name, now=2.0).held_packets == 3
    gate.tell(name, WakeEvent(2.1, "alexa"), 2 * SECOND + SECOND // 4)
    send(record(23, 300), 3 * SECOND)
    send(record(23, 300), 60 * SECOND)  # long after the interaction: it waits, and the gate is stopped
    gate.stop()
    said = [json.loads(line) for line in gate.decisions.read_text().splitlines()][1:]
    assert [line["held_ms"] for line in said] == [250.0, 250.0, 250.0, None, pytest.approx(800.0, abs=0.001)]
    assert [line["verdict"] for line in said] == ["accept"] * 4 + ["refuse"]
    assert (gate.gate.settled[name].released, gate.gate.settled[name].refused) == (3, 1)
    assert replayed(tmp_path / "rec", name, capsys)[1:] == said


def test_recording_holds_packets_times_directions_and_names(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, settings=SETTINGS, epoch_ns=EPOCH_NS, mode=Mode.ENFORCE)
    for size in range(5):
        name = list(DEVICES)[size % 2]
        direction = Direction(size % 2)
        recorder.record_packet(udp(bytes(size)), device=name, direction=direction, now_ns=size)
    recorder.flush()
    frames = list(Capture(recorder.packets_path))
    assert [frame[1] for frame in frames] == [EPOCH_NS + size for size in range(5)]
    assert [frame[3] for frame in frames] == [udp(bytes(size)) for size in range(5)]
    assert [frame[2].name for frame in frames] == ["kitchen", "Küche 2", "kitchen", "Küche 2", "kitchen"]
    assert [frame[5] for frame in frames] == [1, 2, 1, 2, 1]
    assert {frame[2].digits for frame in frames} == {9}
    recorder.close()


def test_the_trace_tells_how_the_gate_began_and_everything_in_order(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, settings=SETTINGS, epoch_ns=EPOCH_NS, mode=Mode.ENFORCE)
    wake = WakeEvent(6.5, "alexa", 0.9)
    recorder.record_event(wake, device="Küche 2", now_ns=7_000_000_001)
    recorder.record_timer(now_ns=7_000_000_002)
    recorder.record_mode(Mode.MONITOR, now_ns=7_000_000_003)
    recorder.close()
    trace = read_trace(recorder.events_path)
    assert trace.epoch_ns == EPOCH_NS
    assert trace.gate == Gate(Mode.ENFORCE, SETTINGS)
    assert [(entry.now, entry.item, entry.device) for entry in trace.entries] == [
        (7_000_000_001 / 1e9, wake, "Küche 2"),
        (7_000_000_002 / 1e9, TimerServed(), ""),
        (7_000_000_003 / 1e9, Mode.MONITOR, ""),
    ]


def test_only_the_owner_may_read_a_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "rec", settings=SETTINGS, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)
    recorder.close()
    assert (tmp_path / "rec").stat().st_mode & 0o777 == 0o700
    for name in (PACKETS_NAME, EVENTS_NAME):
        assert (tmp_path / "rec" / name).stat().st_mode & 0o777 == 0o600


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    Recorder(tmp_path, settings=SETTINGS, epoch_ns=EPOCH_NS, mode=Mode.MONITOR).close()
    before = (tmp_path / PACKETS_NAME).read_bytes()
    with pytest.raises(RecordingError, match="already holds a recording"):
        Recorder(tmp_path, settings=SETTINGS, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)
    assert (tmp_path / PACKETS_NAME).read_bytes() == before


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="cannot record to"):
        Recorder(tmp_path / "file", settings=SETTINGS, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)


def test_a_full_disk_is_reported_and_closing_stays_possible(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, settings=SETTINGS, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)
    with Path("/dev/full").open("wb", buffering=1024) as full:
        recorder._packets.close()
        recorder._packets = full
        recorder.record_packet(udp(b"x"), device="kitchen", direction=Direction.UPSTREAM, now_ns=1)
        large = udp(bytes(2000))  # beyond the buffer: it has to be written at once
        with pytest.raises(RecordingError, match="No space left"):
            recorder.record_packet(large, device="kitchen", direction=Direction.UPSTREAM, now_ns=2)
        with pytest.raises(RecordingError, match="No space left"):
            recorder.flush()
        with pytest.raises(RecordingError, match="No space left"):
            recorder.close()


def test_a_recording_cut_off_by_a_kill_is_read_up_to_there(tmp_path: Path) -> None:
    gate = live(tmp_path, 1)
    whole = list(Capture(tmp_path / PACKETS_NAME))
    assert len(whole) == len(gate.packets)
    path = tmp_path / PACKETS_NAME
    path.write_bytes(path.read_bytes()[:-7])
    numbers: list[int] = []
    with pytest.raises(CaptureError, match="cut short"):
        numbers.extend(frame[0] for frame in Capture(path))
    assert numbers == list(range(1, len(whole)))


def test_an_unknown_name_lists_the_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live(tmp_path, 2)
    assert main(["replay", str(tmp_path / PACKETS_NAME), "--device", "attic"]) == 2
    assert "kitchen" in capsys.readouterr().err
    assert main(["devices", str(tmp_path / PACKETS_NAME)]) == 0
    assert "Küche 2" in capsys.readouterr().out


def test_a_hundred_devices_share_one_engine_and_are_judged_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"echo-{number}" for number in range(100)]
    devices = {name: DeviceSettings() for name in names}
    recorder = Recorder(tmp_path, settings=Settings(devices, LIMITS), epoch_ns=EPOCH_NS, mode=Mode.ENFORCE)
    now_ns = SECOND
    for number, name in enumerate(names):
        home = f"10.1.{number}.2"
        flows = [(port, 1000) for port in range(40000, 40000 + 5)]
        recorder.record_event(WakeEvent(now_ns / 1e9, "alexa"), device=name, now_ns=now_ns)
        for port, seq in flows if number % 2 else ():
            syn = tcp(b"", seq=seq - 1, ports=(port, 443), source=home, destination=CLOUD, flags=0x02)
            recorder.record_packet(syn, device=name, direction=Direction.UPSTREAM, now_ns=now_ns)
            now_ns += 1
        for port, seq in flows:
            packet = tcp(b"x" * 50, seq=seq, ports=(port, 80), source=home, destination=CLOUD)
            recorder.record_packet(packet, device=name, direction=Direction.UPSTREAM, now_ns=now_ns)
            now_ns += SECOND // 1000
    recorder.close()
    for name, packets in (("echo-0", 5), ("echo-99", 10)):
        lines = replayed(tmp_path, name, capsys)
        assert len(lines) == packets
        assert {line["verdict"] for line in lines} == {"accept"}  # each by its own wake word
        home = f"10.1.{name.partition('-')[2]}.2"
        assert {line["flow"].split()[1].rpartition(":")[0] for line in lines} == {home}
