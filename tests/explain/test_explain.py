"""``wakeguard explain`` tells what the replay says, of every packet, and nothing of its payload."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from guard.cli import main
from guard.cli.explain import explain
from guard.cli.offline import replay
from guard.core.verdict import Reason
from tests.capture_files import ECHO_MAC, EPOCH_NS, ethernet, pcap, tcp, udp
from tests.cases.scene import ECHO_MAC as CASE_MAC
from tests.conftest import ROOT

HOUSEHOLD = ROOT / "docs" / "examples" / "household.pcapng"
EVENTS = ROOT / "docs" / "examples" / "household.jsonl"
ECHO = "02:00:00:00:ec:01"
CASES = sorted(path.parent for path in (ROOT / "tests" / "cases").glob("*/capture.pcap"))
COMMON = [str(HOUSEHOLD), "--device", ECHO, "--events", str(EVENTS)]


def run(*options: str) -> Result:
    return CliRunner().invoke(explain, [*COMMON, *options], catch_exceptions=False)


def run_json(*options: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(run("--json", *options).stdout)
    return content


def read_lines(*options: str) -> list[dict[str, Any]]:
    told = CliRunner().invoke(replay, [*COMMON, "--format", "jsonl", *options], catch_exceptions=False)
    return [json.loads(line) for line in told.stdout.splitlines()]


def count_steps(content: dict[str, Any]) -> Counter[tuple[str, str, str]]:
    """Return final answers -> packets, as all steps of all connections have them."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for flow in content["flows"]:
        for step in flow["steps"]:
            if step.get("direction") != "upstream":
                continue
            settled = [(outcome, outcome["packets"]) for outcome in step["outcomes"]]
            for answer, packets in settled or [(step, step["packets"])]:
                counts[answer["class"], answer["verdict"], answer["reason"]] += packets
    return counts


@pytest.mark.parametrize("policy", ["strict", "balanced"])
@pytest.mark.parametrize("mode", ["monitor", "enforce"])
def test_the_steps_hold_what_the_replay_counts(mode: str, policy: str) -> None:
    lines = read_lines("--mode", mode, "--policy", policy)
    said = Counter(
        (line["class"], line["verdict"], line["reason"])
        for line in lines
        if (line["class"], line["verdict"], line["held_ms"]) != ("ack", "accept", None)  # only counted
    )
    content = run_json("--mode", mode, "--policy", policy)
    assert count_steps(content) == said
    assert sum(said.values()) > 100


def test_a_frame_has_the_replays_answer() -> None:
    lines = read_lines()
    for line in (*lines[:12], *lines[100:500:40]):
        look = run_json("--frame", str(line["frame"]))["frame"]
        final = look["final"] or look
        for key in ("class", "justification", "verdict", "scope", "reason", "after_virtual_reset"):
            assert final[key] == line[key], line
        assert (look["held_ms"], look["bytes"], look["flow"]) == (
            line["held_ms"],
            line["bytes"],
            line["flow"],
        )


def test_a_held_packet_is_told_from_its_class_to_what_became_of_it() -> None:
    told = run("--frame", "401").stdout
    questions = ["What is it?", "Which class?", "room?", "justification?", "Verdict?", "And then?"]
    assert [told.index(question) for question in questions] == sorted(
        told.index(question) for question in questions
    )
    assert "waits for a wake word" in told
    assert "After 800 ms" in told
    assert "nobody said the wake word" in told


def test_a_muted_packet_is_told_by_the_lamp() -> None:
    told = " ".join(run("--frame", "99").stdout.split())
    assert "Application data could not pass: the microphone is muted." in told
    assert "enforce would cut the connection here" in told


def test_what_the_cloud_sends_is_never_judged() -> None:
    look = run_json("--frame", "105")["frame"]
    assert (look["direction"], look["class"], look["reason"]) == ("downstream", None, Reason.DOWNSTREAM)


def test_a_connection_tells_its_handshake_its_voice_and_the_room() -> None:
    told = " ".join(run("--flow", "56048").stdout.split())
    for words in ("the Echo opens the connection", "both ends agree on TLS 1.2", "this is a voice"):
        assert words in told
    assert 'wake word "alexa", score 1.00' in told
    assert "a heartbeat, as long and as rare" in told


def test_without_a_choice_each_connection_has_its_decisive_packet() -> None:
    content = run_json()
    told = run().stdout
    assert len(content["flows"]) == 7
    for flow in content["flows"]:
        assert f"#{flow['decisive']['frame']}" in told
    refused = [flow for flow in content["flows"] if flow["decisive"]["reason"] == "muted"]
    assert refused
    assert all(occasion["at"] >= 0.0 for occasion in content["room"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--frame", "98"], "frame 98 of 1841 is not an IP packet of 02:00:00:00:ec:01; the nearest"),
        (["--frame", "9999"], "frame 9999 of 1841 is not there; the nearest of its packets: 1839"),
        (["--flow", "198.51.100.12"], "fits 3 connections: 'tcp 192.0.2.11:60156"),
        (["--flow", "55681"], "is no connection of this device; nearest: 'tcp"),
        (["--frame", "99", "--flow", "56048"], "--frame and --flow exclude each other"),
        (["--picture", "no-such-folder/picture.png"], "cannot write no-such-folder/picture.png"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *COMMON, *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_a_device_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(HOUSEHOLD), "--device", "02:00:00:00:00:99"]) == 2
    assert f"; {ECHO} (randomised" in capsys.readouterr().err


def test_a_damaged_capture_is_told_up_to_the_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.pcapng"
    path.write_bytes(HOUSEHOLD.read_bytes()[:-3000])
    assert main(["explain", str(path), "--device", ECHO, "--events", str(EVENTS)]) == 2
    output = capsys.readouterr()
    assert "Connections of" in output.out
    assert str(path) in output.err


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_hostile_captures_are_told_of(folder: Path) -> None:
    options = [str(folder / "capture.pcap"), "--device", CASE_MAC]
    events = folder / "events.jsonl"
    if events.exists():
        options += ["--events", str(events)]
    assert CliRunner().invoke(explain, options, catch_exceptions=False).exit_code == 0
    told = CliRunner().invoke(explain, [*options, "--json"], catch_exceptions=False).stdout
    assert count_steps(json.loads(told)) or "ack" in told


def test_nothing_tells_of_payload(tmp_path: Path) -> None:
    secret = b"what somebody said in the kitchen"
    frames = [
        ethernet(tcp(bytes([23, 3, 3, 0, len(secret)]) + secret)),
        ethernet(udp(secret)),
        ethernet(tcp(secret, ports=(40000, 80))),
    ]
    path = tmp_path / "said.pcap"
    path.write_bytes(pcap([(EPOCH_NS + number, frame) for number, frame in enumerate(frames)]))
    for options in ([], ["--json"], ["--frame", "1"], ["--frame", "2"], ["--flow", "46619"]):
        result = CliRunner().invoke(explain, [str(path), "--device", ECHO_MAC.hex(":"), *options])
        assert result.exit_code == 0
        assert "kitchen" not in result.stdout
        assert secret[:8].hex() not in result.stdout


def test_a_picture_is_a_png(tmp_path: Path) -> None:
    path = tmp_path / "timeline.png"
    assert run("--picture", str(path)).exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_picture_is_refused_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr("guard.explain.picture.find_spec", lambda _name: None)
    assert main(["explain", *COMMON, "--picture", str(tmp_path / "timeline.png")]) == 2
    assert "pip install 'wakeguard[train]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
