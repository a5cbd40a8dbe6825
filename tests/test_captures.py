"""Several captures in one call: the same as one after the other, in the order given, however many at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guard.cli import main
from guard.cli.captures import find_captures
from guard.cli.offline import replay
from guard.errors import CaptureError
from tests.capture_files import CLOUD, ECHO, ECHO_MAC, EPOCH_NS, NANOSECONDS, ethernet, pcap, record, tcp

MAC = ECHO_MAC.hex(":")
VOICE = record(23, 113)


def write(path: Path, *, packets: int) -> Path:
    """Write a capture of a device that sends a record each quarter of a second."""
    frames = [
        (EPOCH_NS + number * NANOSECONDS // 4, ethernet(tcp(VOICE, seq=1000 + number * len(VOICE))))
        for number in range(packets)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pcap(frames))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with captures, the longest first, so that it is ready last."""
    for number, packets in enumerate((400, 3, 40)):
        write(tmp_path / "home" / f"{number}.pcap", packets=packets)
    write(tmp_path / "home" / "later" / "a.pcap", packets=5)
    (tmp_path / "home" / "notes.txt").write_text("not a capture")
    return tmp_path / "home"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(replay, [*map(str, arguments), "--device", MAC])


def test_a_folder_holds_its_captures_by_their_paths_and_nothing_else(folder: Path) -> None:
    assert [path.relative_to(folder).as_posix() for path in find_captures([folder])] == [
        "0.pcap",
        "1.pcap",
        "2.pcap",
        "later/a.pcap",
    ]


def test_files_come_in_the_order_in_which_they_are_named(folder: Path) -> None:
    named = [folder / "2.pcap", folder / "0.pcap"]
    assert find_captures(named) == named


@pytest.mark.parametrize("jobs", [1, 3])
def test_lines_are_those_of_each_capture_alone_in_the_order_given(folder: Path, jobs: int) -> None:
    expected = [
        {"capture": str(path), **json.loads(line)}
        for path in find_captures([folder])
        for line in run(path, "--format", "jsonl").stdout.splitlines()
    ]
    made = run(folder, "--format", "jsonl", "--jobs", jobs)
    assert made.exit_code == 0, made.exception
    found = [json.loads(line) for line in made.stdout.splitlines()]
    assert len(found) == 448
    assert found == expected
    assert all(next(iter(line)) == "capture" for line in found)


def test_table_has_each_capture_and_their_sum(folder: Path) -> None:
    made = run(folder, "--jobs", 2)
    assert made.exit_code == 0, made.exception
    assert made.stdout.index("0.pcap") < made.stdout.index("2.pcap") < made.stdout.index("a.pcap")
    assert "448 frames in the 4 captures; the device sent 448 IP packets" in made.stdout


def test_a_damaged_capture_is_named_at_the_end_and_keeps_no_other_from_being_judged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (folder / "0.pcap").read_bytes()
    (folder / "0.pcap").write_bytes(whole[:-10])
    (folder / "1.pcap").write_bytes(b"no capture at all, this one")
    assert main(["replay", str(folder), "--device", MAC, "--format", "jsonl", "--jobs", "2"]) == 2
    told = capsys.readouterr()
    assert [json.loads(line)["capture"][-6:] for line in told.out.splitlines()].count("0.pcap") == 399
    assert '2.pcap","frame":40' in told.out
    (complaint,) = told.err.splitlines()
    assert complaint.startswith("wakeguard: 2 of 4 captures could not be read to the end: ")
    assert "0.pcap" in complaint
    assert "1.pcap" in complaint


def test_the_device_need_not_be_in_every_capture_but_in_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = ethernet(tcp(VOICE, seq=1, source=CLOUD, destination=ECHO), source=b"\2\2\2\2\2\2")
    (folder / "1.pcap").write_bytes(pcap([(EPOCH_NS, stranger)]))
    assert run(folder).exit_code == 0
    assert main(["replay", str(folder), "--device", "02:00:00:00:00:99"]) == 2
    assert "device 02:00:00:00:00:99 is in none of the 4 captures" in capsys.readouterr().err


def test_nothing_is_judged_where_a_name_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = folder / "absent.pcap"
    assert main(["replay", str(folder), str(wrong), "--device", MAC, "--format", "jsonl"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"wakeguard: {wrong}: No such file or directory; check the path and its permissions\n"


def test_a_folder_without_captures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="holds no capture"):
        find_captures([tmp_path])


def test_events_go_with_one_capture_only(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = folder / "events.jsonl"
    events.write_text("")
    assert main(["replay", str(folder), "--device", MAC, "--events", str(events)]) == 2
    assert "--events tells of one capture" in capsys.readouterr().err
