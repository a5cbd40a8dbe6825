"""What the live gate records, replayed: the same packets at the same times get the same lines."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from guard.capture import Capture
from guard.cli import main
from guard.core.engine import DeviceSettings, Engine
from guard.core.event import AliveEvent, Event, MuteEvent, MuteState, WakeEvent
from guard.core.verdict import Decision, Direction, Mode
from guard.errors import CaptureError, RecordingError
from guard.recorded import EVENTS_NAME, PACKETS_NAME, Recorder
from guard.rules import load_policy
from guard.trace import Gate, TimerServed, read_trace
from tests.capture_files import CLOUD, EPOCH_NS, record, tcp, udp

DEVICES = {"kitchen": True, "Küche 2": False}
ADDRESSES = {"kitchen": "192.168.1.10", "Küche 2": "2001:db8::10"}
CLOUDS = {"kitchen": CLOUD, "Küche 2": "2001:db8::443"}
SECOND = 1_000_000_000


class Gateway:
    """The live gate's loop with its clock in the test's hand."""

    def __init__(self, folder: Path, mode: Mode) -> None:
        devices = {name: DeviceSettings(sensor=sensor) for name, sensor in DEVICES.items()}
        self.engine = Engine(load_policy(), devices=devices, mode=mode)
        self.recorder = Recorder(folder, devices=DEVICES, epoch_ns=EPOCH_NS, mode=mode)
        self.answers: dict[str, list[tuple[Decision, list[tuple[int, int]], str]]] = {
            name: [] for name in DEVICES
        }

    def _serve_timer(self, now_ns: int) -> None:
        timer = self.engine.get_timer()
        if timer is not None and timer <= now_ns / 1e9:
            self.engine.handle_timer(now=now_ns / 1e9)
            self.recorder.record_timer(now_ns=now_ns)

    def send(self, device: str, packet: bytes, direction: Direction, now_ns: int) -> None:
        self._serve_timer(now_ns)
        answer = self.engine.receive_packet(packet, device=device, direction=direction, now=now_ns / 1e9)
        self.recorder.record_packet(packet, device=device, direction=direction, now_ns=now_ns)
        if direction is Direction.UPSTREAM:
            records = list(self.engine.facts.records)
            self.answers[device].append((answer, records, self.engine.get_flow_name()))

    def tell(self, device: str, event: Event, now_ns: int) -> None:
        self._serve_timer(now_ns)
        self.engine.receive_event(event, device=device, now=now_ns / 1e9)
        self.recorder.record_event(event, device=device, now_ns=now_ns)

    def switch(self, mode: Mode, now_ns: int) -> None:
        self._serve_timer(now_ns)
        self.engine.set_mode(mode)
        self.recorder.record_mode(mode, now_ns=now_ns)


def live(folder: Path, seed: int) -> Gateway:
    """Run an hour of two devices at random: voice, datagrams, wakes, mutes, silence, mode switches."""
    random = Random(seed)
    gate = Gateway(folder, random.choice(list(Mode)))
    now_ns = random.getrandbits(50)  # the machine has been up for days
    seqs = {name: random.getrandbits(32) for name in DEVICES}
    for _ in range(3000):
        now_ns += random.choice((1, 1000, 20_000_000, 20_000_000, 300_000_000, 5 * SECOND))
        device = random.choice(list(DEVICES))
        t = (now_ns - random.randrange(SECOND)) / 1e9  # sensors speak of a moment ago
        dice = random.random()
        if dice < 0.02:
            gate.tell(device, WakeEvent(t, "alexa", 0.9), now_ns)
        elif dice < 0.06:
            state = random.choice(list(MuteState))
            gate.tell(device, random.choice((MuteEvent(t, state), AliveEvent(t, state))), now_ns)
        elif dice < 0.064:
            gate.switch(random.choice(list(Mode)), now_ns)
        else:
            home, cloud = ADDRESSES[device], CLOUDS[device]
            port = 40000 + random.randrange(3)
            if dice < 0.2:
                packet = udp(random.randbytes(random.randrange(300)), source=home, destination=cloud)
                gate.send(device, packet, Direction.UPSTREAM, now_ns)
            elif dice < 0.5:
                packet = tcp(
                    b"", ack=seqs[device], flags=0x10, ports=(443, port), source=cloud, destination=home
                )
                gate.send(device, packet, Direction.DOWNSTREAM, now_ns)
            else:
                payload = record(23, random.choice((28, 41, 113, 113, 113, 1400)))
                seq = seqs[device]
                packet = tcp(payload, seq=seq, ports=(port, 443), source=home, destination=cloud)
                if random.random() < 0.9:
                    seqs[device] = (seq + len(payload)) & 0xFFFFFFFF
                gate.send(device, packet, Direction.UPSTREAM, now_ns)
    gate.recorder.close()
    return gate


def replayed(folder: Path, device: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    packets, events = folder / PACKETS_NAME, folder / EVENTS_NAME
    arguments = ["replay", str(packets), "--device", device, "--events", str(events), "--format", "jsonl"]
    assert main(arguments) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("seed", range(6))
def test_replay_of_a_recording_answers_as_the_gate_did(
    tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = live(tmp_path / "rec", seed)
    for device in DEVICES:
        lines = replayed(tmp_path / "rec", device, capsys)
        assert lines == replayed(tmp_path / "rec", ADDRESSES[device], capsys)
        assert len(lines) == len(gate.answers[device])
        for line, (answer, records, flow) in zip(lines, gate.answers[device], strict=True):
            assert line["class"] == answer.packet_class
            assert line["justification"] == answer.justification
            assert line["verdict"] == answer.verdict
            assert line["scope"] == answer.scope
            assert line["reason"] == answer.reason
            assert line["after_virtual_reset"] == answer.after_virtual_reset
            assert [tuple(pair) for pair in line["records"]] == records
            assert line["flow"] == flow


def test_recording_holds_packets_times_directions_and_names(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, devices=DEVICES, epoch_ns=EPOCH_NS, mode=Mode.ENFORCE)
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
    recorder = Recorder(tmp_path, devices=DEVICES, epoch_ns=EPOCH_NS, mode=Mode.ENFORCE)
    wake = WakeEvent(6.5, "alexa", 0.9)
    recorder.record_event(wake, device="Küche 2", now_ns=7_000_000_001)
    recorder.record_timer(now_ns=7_000_000_002)
    recorder.record_mode(Mode.MONITOR, now_ns=7_000_000_003)
    recorder.close()
    trace = read_trace(recorder.events_path)
    assert trace.epoch_ns == EPOCH_NS
    assert trace.gate == Gate(Mode.ENFORCE, DEVICES)
    assert [(entry.now, entry.item, entry.device) for entry in trace.entries] == [
        (7_000_000_001 / 1e9, wake, "Küche 2"),
        (7_000_000_002 / 1e9, TimerServed(), ""),
        (7_000_000_003 / 1e9, Mode.MONITOR, ""),
    ]


def test_only_the_owner_may_read_a_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "rec", devices=DEVICES, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)
    recorder.close()
    assert (tmp_path / "rec").stat().st_mode & 0o777 == 0o700
    for name in (PACKETS_NAME, EVENTS_NAME):
        assert (tmp_path / "rec" / name).stat().st_mode & 0o777 == 0o600


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    Recorder(tmp_path, devices=DEVICES, epoch_ns=EPOCH_NS, mode=Mode.MONITOR).close()
    before = (tmp_path / PACKETS_NAME).read_bytes()
    with pytest.raises(RecordingError, match="already holds a recording"):
        Recorder(tmp_path, devices=DEVICES, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)
    assert (tmp_path / PACKETS_NAME).read_bytes() == before


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="cannot record to"):
        Recorder(tmp_path / "file", devices=DEVICES, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)


def test_a_full_disk_is_reported_and_closing_stays_possible(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, devices=DEVICES, epoch_ns=EPOCH_NS, mode=Mode.MONITOR)
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
    assert len(whole) > sum(len(answers) for answers in gate.answers.values())
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
