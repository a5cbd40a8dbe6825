"""The lines of a replay: one for each packet of the device, in order, at the time that the capture has."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from guard.capture import Capture
from guard.core.engine import Engine
from guard.core.verdict import Decision
from guard.lines import format_time
from guard.replay import Replay
from guard.selector import DeviceSelector
from tests.capture_files import (
    CLOUD,
    ECHO,
    EPOCH_NS,
    NANOSECONDS,
    enhanced,
    ethernet,
    interface,
    option,
    pcap,
    section,
    tcp,
)
from tests.replay.session import MAC, NO_HOLD, SECOND, VOICE, lines, run, session, write

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
