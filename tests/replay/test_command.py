"""What the replay and the list of devices print, and what they refuse in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from guard.cli import main
from guard.cli.offline import devices
from guard.errors import CaptureError
from tests.capture_files import ECHO, EPOCH_NS, ethernet, pcap, udp
from tests.replay.session import MAC, run, session, write


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


def test_devices_lists_who_is_there(tmp_path: Path) -> None:
    frames = [*session(), (EPOCH_NS, ethernet(udp(b"x"), destination=b"\xff" * 6))]
    result = CliRunner().invoke(devices, [str(write(tmp_path, pcap(frames)))])
    assert result.exit_code == 0
    rows = [line for line in result.stdout.splitlines() if ":" in line]
    assert len(rows) == 2  # the broadcast address is nobody
    assert MAC in rows[0]
    assert "Amazon" in rows[0]
    assert ECHO in rows[0]


def test_devices_prints_no_table_of_what_is_no_capture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "noise.pcap"
    path.write_bytes(b"this is no capture at all")
    assert main(["devices", str(path)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert "is not a pcap or pcapng capture" in output.err


def test_devices_prints_what_precedes_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, pcap(session())[:-3])
    assert main(["devices", str(path)]) == 2
    out, err = capsys.readouterr()
    assert MAC in out
    assert err.count("\n") == 1
