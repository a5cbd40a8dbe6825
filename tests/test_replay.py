"""Replay: order, clock, lines, held packets, what the command prints and refuses."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from guard.capture import Capture
from guard.cli import main
from guard.cli.offline import devices, replay
from guard.core.engine import Engine
from guard.core.event import WakeEvent, format_line
from guard.core.verdict import Decision, Justification, Mode, PacketClass, Reason, Scope, Verdict, decision
from guard.errors import CaptureError, EventTraceError
from guard.limits import load_limits
from guard.lines import format_time
from guard.replay import Replay
from guard.selector import DeviceSelector
from guard.trace import read_trace
from tests.capture_files import (
    CLOUD,
    ECHO,
    ECHO_MAC,
    EPOCH_NS,
    GATEWAY_MAC,
    NANOSECONDS,
    enhanced,
    ethernet,
    interface,
    option,
    pcap,
    record,
    section,
    tcp,
    udp,
)

MAC = ECHO_MAC.hex(":")
MILLISECOND = 1_000_000
SECOND = 1_000_000_000
KEYS = [
    "frame",
    "time",
    "class",
    "justification",
    "verdict",
    "held_ms",
    "scope",
    "reason",
    "bytes",
    "flow",
    "records",
    "after_virtual_reset",
]

VOICE = record(23, 113)


NO_HOLD = load_limits({"hold": {"hold_s": 0.0}})


@pytest.fixture(autouse=True)
def no_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each packet its answer at once, unless a test says otherwise."""
    monkeypatch.setattr("guard.replay.load_limits", lambda: NO_HOLD)


def session(*, frames: int = 8, spacing_ns: int = SECOND // 4) -> list[tuple[int, bytes]]:
    """Return a mid-stream flow: the device sends VOICE records, the cloud acknowledges each."""
    result = []
    seq = 1000
    for step in range(frames):
        time_ns = EPOCH_NS + step * spacing_ns
        result.append((time_ns, ethernet(tcp(VOICE, seq=seq))))
        seq += len(VOICE)
        answer = tcp(b"", seq=1, ack=seq, flags=0x10, ports=(443, 46619), source=CLOUD, destination=ECHO)
        answer_frame = ethernet(answer, source=GATEWAY_MAC, destination=ECHO_MAC)
        result.append((time_ns + MILLISECOND, answer_frame))
    return result


def write(folder: Path, data: bytes, name: str = "some.pcap") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(replay, [str(argument) for argument in arguments])


def lines(*arguments: object) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "jsonl")
    assert result.exit_code == 0, result.exception
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_one_line_for_each_packet_that_the_device_sent(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    found = lines(path, "--device", MAC)
    assert [line["frame"] for line in found] == [1, 3, 5, 7, 9, 11, 13, 15]
    for line in found:
        assert list(line) == KEYS
        assert line["bytes"] == len(VOICE)
        assert line["flow"] == f"tcp {ECHO}:46619 > {CLOUD}:443 #1"
        assert line["class"] == "app_data"
        assert line["justification"] == "justified"
        assert line["verdict"] == "refuse"
        assert line["held_ms"] is None
        assert line["scope"] == "flow"
    assert [line["after_virtual_reset"] for line in found] == [False] + [True] * 7
    assert [record for line in found for record in line["records"]] == [[23, 113]] * 8


def test_time_is_printed_as_the_capture_has_it(tmp_path: Path) -> None:
    time_ns = 1_543_256_532_000_000_120
    for magic, expected in ((0xA1B2C3D4, "1543256532.000000"), (NANOSECONDS, "1543256532.000000120")):
        path = write(tmp_path, pcap([(time_ns, ethernet(tcp()))], magic=magic))
        assert (
            f'{{"frame":1,"time":{expected},"class":'
            in run(path, "--device", MAC, "--format", "jsonl").stdout
        )
    whole = interface(options=option(9, b"\0") + option(0, b""))
    path = write(tmp_path, section() + whole + enhanced(ethernet(tcp()), 15))
    assert '"time":15,"class"' in run(path, "--device", MAC, "--format", "jsonl").stdout


@pytest.mark.parametrize(
    ("time_ns", "digits", "text"),
    [
        (0, 6, "0.000000"),
        (1, 9, "0.000000001"),
        (-1_500_000_000, 6, "-1.500000"),
        (999_999_999, 3, "0.999"),
        (12 * SECOND, 0, "12"),
    ],
)
def test_times_around_zero(time_ns: int, digits: int, text: str) -> None:
    assert format_time(time_ns, digits) == text


def test_device_by_mac_or_address_gives_the_same_lines(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    by_mac = run(path, "--device", MAC, "--format", "jsonl").stdout
    assert by_mac == run(path, "--device", ECHO, "--format", "jsonl").stdout
    assert by_mac == run(path, "--device", MAC.upper().replace(":", "-"), "--format", "jsonl").stdout
    packed = write(tmp_path, gzip.compress(pcap(session())), "some.pcap.gz")
    assert by_mac == run(packed, "--device", MAC, "--format", "jsonl").stdout


def test_cooked_captures_tell_what_goes_to_the_device_by_its_addresses(tmp_path: Path) -> None:
    def cook(frame: bytes) -> bytes:
        return b"\0\0\0\x01\0\x06" + frame[6:12] + b"\0\0" + frame[12:]

    frames = session()
    path = write(tmp_path, pcap([(time_ns, cook(frame)) for time_ns, frame in frames], link_type=113))
    plain = write(tmp_path, pcap(frames), "plain.pcap")
    cooked = Replay(Capture(path), DeviceSelector(MAC), NO_HOLD.make_policy())
    cooked.run()
    ethernet_ = Replay(Capture(plain), DeviceSelector(MAC), NO_HOLD.make_policy())
    ethernet_.run()
    assert cooked.totals == ethernet_.totals
    assert (cooked.totals.upstream, cooked.totals.downstream) == (8, 8)


def test_arp_is_counted_and_never_judged(tmp_path: Path) -> None:
    frames = [*session(), (EPOCH_NS + 9 * SECOND, ethernet(bytes(28), ethertype=0x0806))]
    path = write(tmp_path, pcap(frames))
    assert len(lines(path, "--device", MAC)) == 8
    table = run(path, "--device", MAC).stdout
    assert "sent 8 IP packets" in table
    assert "1 other frames of it" in table


def test_ethernet_padding_does_not_count(tmp_path: Path) -> None:
    path = write(tmp_path, pcap([(EPOCH_NS, ethernet(tcp(b"")) + bytes(6))]))
    (line,) = lines(path, "--device", MAC)
    assert (line["bytes"], line["class"]) == (0, "ack")


def test_enforce_condemns_and_monitor_marks(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    enforced = lines(path, "--device", MAC, "--mode", "enforce")
    assert {line["reason"] for line in enforced[1:]} == {"condemned"}
    assert not any(line["after_virtual_reset"] for line in enforced)
    monitored = lines(path, "--device", MAC, "--mode", "monitor")
    assert "condemned" not in {line["reason"] for line in monitored}
    assert monitored == lines(path, "--device", MAC)


# -- events ------------------------------------------------------------------------------------------


def trace(folder: Path, *texts: str) -> Path:
    return write(folder, "\n".join(texts).encode(), "events.jsonl")


WAKE = '{"t":0.5,"type":"wake","word":"alexa","score":0.97,"source":"microphone"}'


def test_a_wake_word_explains_what_follows(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE))
    # Frames 1 and 3 are at 0 and 0.25 s, frame 5 at 0.5 s: at equal times events precede packets.
    assert [line["justification"] for line in found] == ["justified"] * 2 + ["expected"] * 6
    assert [line["verdict"] for line in found] == ["refuse"] * 2 + ["accept"] * 6


def test_the_trace_line_gives_the_epoch(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    seconds, rest = divmod(EPOCH_NS - 100 * SECOND, SECOND)
    header = f'{{"type":"trace","epoch":{seconds}.{rest:09d}}}'
    wake = WAKE.replace("0.5", "100.5")
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, header, wake))
    assert [line["verdict"] for line in found] == ["refuse"] * 2 + ["accept"] * 6


def test_events_out_of_order_are_told_by_their_times(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    mute = '{"t":1.0,"type":"mute","state":"muted"}'
    one = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE, mute))
    assert one == lines(path, "--device", MAC, "--events", trace(tmp_path, mute, WAKE))
    assert [line["reason"] for line in one[4:]] == ["muted"] * 4


def test_a_sensor_that_falls_silent_counts_as_muted(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=40)))
    alive = '{"t":0.0,"type":"alive","mute":"unmuted"}'
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, alive))
    reasons = [line["reason"] for line in found]
    assert "sensor_lost" in reasons or "mute_unknown" in reasons
    assert reasons[0] not in ("sensor_lost", "mute_unknown")
    # a state set by hand needs no heartbeat
    by_hand = trace(tmp_path, '{"t":0.0,"type":"mute","state":"unmuted"}')
    found = lines(path, "--device", MAC, "--events", by_hand)
    assert not {"sensor_lost", "mute_unknown"} & {line["reason"] for line in found}


def test_time_that_goes_backwards_never_moves_the_clock_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = session()
    frames[6], frames[8] = (frames[8][0], frames[6][1]), (frames[6][0], frames[8][1])
    path = write(tmp_path, pcap(frames))
    told: list[float] = []
    receive = Engine.receive_packet

    def spy(self: Engine, packet: bytes, **arguments: Any) -> Decision:
        told.append(arguments["now"])
        return receive(self, packet, **arguments)

    monkeypatch.setattr(Engine, "receive_packet", spy)
    found = lines(path, "--device", MAC)
    assert told == sorted(told)
    assert [line["time"] for line in found] != sorted(line["time"] for line in found)


# -- held packets: the engine's side of the bargain is played here -----------------------------------

HOLD = decision(PacketClass.APP_DATA, Justification.JUSTIFIED, Verdict.HOLD, None, Reason.NO_INTERACTION)
RELEASED = decision(PacketClass.APP_DATA, Justification.EXPECTED, Verdict.ACCEPT, None, Reason.INTERACTION)
REFUSED = decision(
    PacketClass.APP_DATA, Justification.JUSTIFIED, Verdict.REFUSE, Scope.FLOW, Reason.NO_INTERACTION
)
HOLD_S = 0.8


class HoldingEngine(Engine):
    """Holds every payload for HOLD_S, or until a wake event."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.held: list[tuple[int, float]] = []

    def receive_packet(self, packet: bytes, **arguments: Any) -> Decision:
        super().receive_packet(packet, **arguments)
        if arguments["direction"] or not self.facts.payload_bytes:
            return RELEASED
        self.held.append((self.facts.packet_id, arguments["now"] + HOLD_S))
        self.timer = self.held[0][1]
        return HOLD

    def receive_event(self, event: Any, **arguments: Any) -> list[tuple[int, Decision]]:
        released = [(packet_id, RELEASED) for packet_id, _until in self.held]
        self.held.clear()
        self.timer = float("inf")
        return released

    def handle_timer(self, *, now: float) -> list[tuple[int, Decision]]:
        due = [(packet_id, REFUSED) for packet_id, until in self.held if until <= now]
        del self.held[: len(due)]
        self.timer = self.held[0][1] if self.held else float("inf")
        return due


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.replay.Engine", HoldingEngine)


@pytest.mark.usefixtures("holding")
def test_held_packets_keep_their_place_and_tell_how_long(tmp_path: Path) -> None:
    frames = session(frames=4)
    frames.insert(3, (frames[2][0], ethernet(udp(b""))))  # not held, after one that is
    path = write(tmp_path, pcap(frames))
    found = lines(path, "--device", MAC)
    assert [line["frame"] for line in found] == [1, 3, 4, 6, 8]
    assert [line["held_ms"] for line in found] == [800, 800, None, 800, 800]  # the last past the end
    assert [line["verdict"] for line in found] == ["refuse", "refuse", "accept", "refuse", "refuse"]


@pytest.mark.usefixtures("holding")
def test_an_event_releases_held_packets(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=4)))
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE.replace("0.5", "0.6")))
    assert [line["held_ms"] for line in found] == [600, 350, 100, 800]
    assert [line["verdict"] for line in found] == ["accept", "accept", "accept", "refuse"]


@pytest.mark.usefixtures("holding")
def test_an_event_after_the_last_packet_still_releases(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=1)))
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE))
    assert [(line["held_ms"], line["verdict"]) for line in found] == [(500, "accept")]


@pytest.mark.usefixtures("holding")
def test_lines_are_written_while_packets_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.replay.BATCH_LINES", 4)
    path = write(tmp_path, pcap(session(frames=200, spacing_ns=SECOND // 10)))
    written: list[str] = []
    longest = 0
    run_ = Replay(Capture(path), DeviceSelector(MAC), NO_HOLD.make_policy(), write=written.append)
    lines_ = run_._lines
    assert lines_ is not None
    flush = lines_.flush

    def spy() -> None:
        nonlocal longest
        longest = max(longest, len(lines_.lines))
        flush()

    monkeypatch.setattr(lines_, "flush", spy)
    run_.run()
    assert longest < 20  # what 0.8 s hold, not the capture
    frames = [json.loads(line)["frame"] for line in "".join(written).splitlines()]
    assert frames == list(range(1, 400, 2))


# -- what the command says -----------------------------------------------------------------------------


def test_the_table_sums_what_the_lines_say(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    table = run(path, "--device", MAC).stdout
    assert "app_data" in table
    assert "no_interaction" in table or "midstream" in table
    assert "syn = heartbeat" in table


def test_corrupt_capture_prints_what_precedes_then_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pcap(session())
    path = write(tmp_path, data[:-10])
    for form in ("jsonl", "table"):
        assert main(["replay", str(path), "--device", MAC, "--format", form]) == 2
        out, err = capsys.readouterr()
        assert err == f"wakeguard: {path} is damaged after frame 15: the next frame is cut short\n"
        if form == "jsonl":
            assert [json.loads(line)["frame"] for line in out.splitlines()] == [1, 3, 5, 7, 9, 11, 13, 15]
        else:
            assert "app_data" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--device", "02:00:00:00:00:01"],
            "it holds 4c:ef:c0:03:f2:38 (Amazon, 192.168.86.40); 70:3a:cb:6c",
        ),
        (["--device", "10.0.0.1"], "device 10.0.0.1 is not in"),
        (["--device", "kitchen"], "device kitchen is not in"),
        (["--device", MAC, "--policy", "lax"], "lax"),
        (["--device", MAC, "--events", "nowhere.jsonl"], "events file nowhere.jsonl cannot be read"),
        ([], "--device"),
        (["--device", MAC, "--mode", "loud"], "loud"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, pcap(session()))
    assert main(["replay", str(path), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_a_capture_without_frames(tmp_path: Path) -> None:
    result = run(write(tmp_path, pcap([])), "--device", MAC)
    assert isinstance(result.exception, CaptureError)
    assert "it holds no frame" in str(result.exception)


def test_a_link_type_that_cannot_be_read(tmp_path: Path) -> None:
    result = run(write(tmp_path, pcap(session(), link_type=127)), "--device", MAC)
    assert isinstance(result.exception, CaptureError)
    assert "radiotap" in str(result.exception)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ('{"t":1,"type":"dance"}', "line 2: unknown type 'dance'"),
        ('{"t":1,"type":"mute","state":"red"}', "line 2: mute state 'red'"),
        ('{"t":NaN,"type":"mute","state":"muted"}', "line 2"),
        ('{"type":"trace","epoch":1}', "line 2: a trace line can only be the first line"),
        ('{"type":"mode","mode":"loud","now_ns":1}', "line 2: mode 'loud'"),
        ('{"type":"timer","now_ns":1.5}', "line 2: now_ns"),
        ('{"type":"gate","mode":"monitor","devices":{"a":1}}', "line 2: device 'a'"),
        ('{"type":"gate","mode":"monitor"}', "line 2: a gate line"),
        ('{"type":"gate","mode":"loud","devices":{}}', "line 2: mode 'loud'"),
        ('{"type":"gate","mode":"monitor","devices":{},"limits":3}', "line 2: the limits"),
        (
            '{"type":"gate","mode":"monitor","devices":{},"limits":{"table":{"hold":{"hold":1}}}}',
            "line 2: limits.hold.hold is not a limit",
        ),
        (
            '{"type":"gate","mode":"monitor","devices":{},"limits":{"period_scale":7}}',
            "line 2: limits.period_scale",
        ),
        ('{"type":"settings","now_ns":1}', "line 2: a settings line"),
        ('{"type":"settings","now_ns":1,"devices":{"a":{"sensor":true,"x":1}}}', "line 2: device 'a'"),
        ('{"t":1,"type":"mute","state":"muted","now_ns":1,"device":7}', "line 2: device"),
    ],
)
def test_a_wrong_line_of_a_trace_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(EventTraceError) as caught:
        read_trace(trace(tmp_path, WAKE, line))
    assert message in str(caught.value)


def control_session() -> list[tuple[int, bytes]]:
    """Return a flow in mid-stream whose records no voice would send."""
    payload = record(23, 500)
    return [
        (EPOCH_NS + step * SECOND, ethernet(tcp(payload, seq=1000 + step * len(payload))))
        for step in range(8)
    ]


def test_the_balanced_policy_lets_control_traffic_pass(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(control_session()))
    reasons = [line["reason"] for line in lines(path, "--device", MAC, "--policy", "balanced")]
    assert "control_budget" in reasons
    assert "control_budget" not in [line["reason"] for line in lines(path, "--device", MAC)]
    assert "policy balanced" in run(path, "--device", MAC, "--policy", "balanced").stdout


def gate_line(**limits: object) -> str:
    settings = {MAC: {"sensor": False, "balanced": True}}
    return json.dumps({"type": "gate", "mode": "monitor", "devices": settings, "limits": {"table": limits}})


def test_a_trace_brings_its_policy_and_its_limits(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(control_session()))
    events = trace(tmp_path, gate_line(budgets={"control": {"per_hour": 0, "burst": 0}}))
    assert "control_budget" not in [
        line["reason"] for line in lines(path, "--device", MAC, "--events", events)
    ]
    events = trace(tmp_path, gate_line())
    assert "control_budget" in [line["reason"] for line in lines(path, "--device", MAC, "--events", events)]
    strict = lines(path, "--device", MAC, "--events", events, "--policy", "strict")
    assert "control_budget" not in [line["reason"] for line in strict]


HOLDING_GATE = gate_line(hold={"hold_s": 0.8})


def test_the_table_counts_what_waited_as_it_was_settled(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=4)))
    table = run(
        path, "--device", MAC, "--events", trace(tmp_path, HOLDING_GATE, WAKE), "--policy", "strict"
    ).stdout
    assert "hold" not in table
    rows = [line.split("│")[1:-1] for line in table.splitlines() if "app_data" in line]
    assert [[cell.strip() for cell in row][:4] for row in rows] == [["app_data", "expected", "accept", "4"]]


def test_what_waits_at_the_end_is_settled(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=2)))
    events = trace(tmp_path, HOLDING_GATE)
    found = lines(path, "--device", MAC, "--events", events, "--policy", "strict")
    assert [(line["verdict"], line["held_ms"]) for line in found] == [("refuse", 800.0), ("refuse", 550.0)]
    table = run(path, "--device", MAC, "--events", events, "--policy", "strict").stdout
    rows = [line.split("│")[1:-1] for line in table.splitlines() if "app_data" in line]
    assert [[cell.strip() for cell in row][:4] for row in rows] == [["app_data", "justified", "refuse", "2"]]


def test_devices_lists_who_is_there(tmp_path: Path) -> None:
    frames = [*session(), (EPOCH_NS, ethernet(udp(b"x"), destination=b"\xff" * 6))]
    result = CliRunner().invoke(devices, [str(write(tmp_path, pcap(frames)))])
    assert result.exit_code == 0
    rows = [line for line in result.stdout.splitlines() if ":" in line]
    assert len(rows) == 2  # the broadcast address is nobody
    assert MAC in rows[0]
    assert "Amazon" in rows[0]
    assert ECHO in rows[0]


def test_devices_prints_what_precedes_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, pcap(session())[:-3])
    assert main(["devices", str(path)]) == 2
    out, err = capsys.readouterr()
    assert MAC in out
    assert err.count("\n") == 1


def test_events_written_by_the_codec_are_read(tmp_path: Path) -> None:
    event = WakeEvent(0.5, "alexa", 0.97)
    (entry,) = read_trace(trace(tmp_path, format_line(event))).entries
    assert (entry.now, entry.item, entry.device) == (0.5, event, "")


def test_mode_given_by_hand_beats_the_recorded_one(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    gate = '{"type":"gate","mode":"enforce","devices":{}}'
    recorded = read_trace(trace(tmp_path, gate))
    assert Replay(Capture(path), DeviceSelector(MAC), trace=recorded).mode is Mode.ENFORCE
    explicit = Replay(Capture(path), DeviceSelector(MAC), trace=recorded, mode=Mode.MONITOR)
    assert explicit.mode is Mode.MONITOR
