"""The lab on the real kernel: what the cloud received, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guard.errors import LabError
from guard.lab import frames, namespaces
from guard.lab.namespaces import Namespaces, list_namespaces, remove_leftovers

pytestmark = pytest.mark.kernel

COMMAND = frames.get_bytes(frames.utterance(0, 0, seconds=1.2))
LAST_COMMAND = frames.get_bytes(frames.utterance(0, 0, seconds=1.0))
LAB = (sys.executable, "-m", "guard", "lab")


@pytest.fixture(autouse=True)
def firewall() -> Iterator[None]:
    """Whatever a lab does: the machine's own rules stay as they are."""
    before = _read_rules()
    yield
    assert _read_rules() == before


def _read_rules() -> list[str]:
    rules = []
    for program in ("iptables-save", "ip6tables-save"):
        saved = subprocess.run((program,), capture_output=True, text=True, check=True).stdout
        rules += [line.split(" [")[0] for line in saved.splitlines() if not line.startswith("#")]
    return rules


def _own_namespaces(pid: int) -> list[str]:
    return [name for name in list_namespaces() if name.startswith(f"{namespaces.PREFIX}-{pid}-")]


def _own_directories(pid: int) -> list[Path]:
    return list(Path("/tmp").glob(f"{namespaces.PREFIX}-{pid}-*"))


def _start(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen((*LAB, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _read_until(lab: subprocess.Popen[str], text: str) -> None:
    assert lab.stdout is not None
    for line in lab.stdout:
        if text in line:
            return
    assert lab.stderr is not None
    pytest.fail(f"the lab ended before {text!r}: {lab.stderr.read()}")


@pytest.mark.slow
def test_a_conversation_through_the_real_gate() -> None:
    lab = _start("--situation", "normal_conversation", "--json")
    output, errors = lab.communicate(timeout=120)
    assert lab.returncode == 0, errors
    report = json.loads(output)
    assert report["kernel"] is True
    assert report["faults"] == []
    for result in report["results"]:
        received = [item["received_bytes"] for item in result["items"]]
        assert result["cut_bytes"] == 0
        if result["mode"] == "monitor":
            assert received == [item["sent_bytes"] for item in result["items"]]
            assert result["resets"] == 0
            assert _count(result, "refuse") > 0
        else:
            assert received == [0, 0, COMMAND, COMMAND, LAST_COMMAND]
            # telemetry and state, which the eager one offers again at once
            assert result["resets"] >= (4 if result["device"] == "eager" else 2)
    assert report["success"]["eager"]["enforce"] == {"answered": 3, "spoken": 3}
    assert report["success"]["lazy"]["enforce"] == {"answered": 3, "spoken": 3}
    assert _own_namespaces(lab.pid) == []
    assert _own_directories(lab.pid) == []


def _count(result: dict[str, Any], verdict: str) -> int:
    return sum(
        said["packets"]
        for said in result["said"]
        if said["packet_class"] == "app_data" and said["verdict"] == verdict
    )


@pytest.mark.slow
def test_muted_and_recorded(tmp_path: Path) -> None:
    record = tmp_path / "record"
    lab = _start("--situation", "microphone_mute", "--json", "--keep-record", str(record))
    output, errors = lab.communicate(timeout=120)
    assert lab.returncode == 0, errors
    enforced = [result for result in json.loads(output)["results"] if result["mode"] == "enforce"]
    assert len(enforced) == 2
    for result in enforced:
        assert all(item["sent_bytes"] for item in result["items"])
        assert [item["received_bytes"] for item in result["items"]] == [0, 0, 0]
        assert result["heartbeat_bytes"]["received"] > 0
        assert _count(result, "accept") == 0
    assert (record / "packets.pcapng").stat().st_size > 10_000
    assert '"state":"muted"' in (record / "events.jsonl").read_text()


@pytest.mark.slow
def test_a_word_that_the_real_detector_heard_opens_the_gate(tmp_path: Path) -> None:
    lab = _start("--situation", "spoken_word", "--json", "--keep-record", str(tmp_path))
    output, errors = lab.communicate(timeout=120)
    assert lab.returncode == 0, errors
    results = json.loads(output)["results"]
    assert [(result["mode"], result["device"]) for result in results] == [
        ("enforce", "eager"),
        ("enforce", "lazy"),
    ]
    for result in results:
        assert [item["received_bytes"] for item in result["items"]] == [LAST_COMMAND]
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    words = [event for event in events if event.get("type") == "wake"]
    assert len(words) == 2  # one for each Echo
    assert all(word["source"].startswith("microphone") and word["score"] < 1.0 for word in words)
    assert _own_namespaces(lab.pid) == []
    assert not _is_running(f"{namespaces.PREFIX}-{lab.pid}-")


def test_without_the_detector_its_situation_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "pymicro_wakeword.py").write_text("raise ImportError('no such package')\n")
    lab = subprocess.Popen(
        (*LAB, "--situation", "spoken_word"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"},
    )
    output, errors = lab.communicate(timeout=120)
    assert lab.returncode == 0, errors
    told = " ".join(output.split())
    assert "spoken_word is left out: the detector microwakeword is not installed" in told
    assert "pip install 'wakeguard[sense]'" in told
    assert not _is_running(f"{namespaces.PREFIX}-{lab.pid}-")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lab_leaves_nothing_behind(number: signal.Signals) -> None:
    lab = _start()
    _read_until(lab, "each Echo sends")
    assert len(_own_namespaces(lab.pid)) == len(namespaces.ROLES)
    lab.send_signal(number)
    _output, errors = lab.communicate(timeout=30)
    assert lab.returncode == 130, errors
    assert "Traceback" not in errors
    assert _own_namespaces(lab.pid) == []
    assert _own_directories(lab.pid) == []


def test_what_a_killed_lab_left_is_removed_by_the_next() -> None:
    lab = _start()
    _read_until(lab, "each Echo sends")
    lab.kill()
    lab.communicate(timeout=30)
    left = _own_namespaces(lab.pid)
    assert len(left) == len(namespaces.ROLES)
    assert set(left) <= set(remove_leftovers())
    assert _own_namespaces(lab.pid) == []
    assert _own_directories(lab.pid) == []
    assert not _is_running(f"{namespaces.PREFIX}-{lab.pid}-")


def _is_running(text: str) -> bool:
    """Tell whether a process has ``text`` on its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in line and f"/{os.getpid()}/" not in str(path):
            return True
    return False


def test_a_dead_gate_ends_the_lab_with_one_line_and_leaves_nothing() -> None:
    lab = _start("--situation", "no_wake_word")
    _read_until(lab, "each Echo sends")
    (gate,) = [name for name in _own_namespaces(lab.pid) if name.endswith("-gate")]
    listed = subprocess.run(("ip", "netns", "pids", gate), capture_output=True, text=True, check=True)
    for pid in listed.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    _output, errors = lab.communicate(timeout=60)
    assert lab.returncode == 2
    assert errors.startswith("wakeguard: the gate ")
    assert len(errors.splitlines()) == 1
    assert _own_namespaces(lab.pid) == []
    assert _own_directories(lab.pid) == []


def test_the_namespaces_of_a_running_lab_are_left_alone() -> None:
    household = Namespaces()
    try:
        household.create()
        mine = _own_namespaces(os.getpid())
        assert len(mine) == len(namespaces.ROLES)
        assert not set(remove_leftovers()) & set(mine)
        assert _own_namespaces(os.getpid()) == mine
    finally:
        household.destroy()
    assert _own_namespaces(os.getpid()) == []
    household.destroy()


def test_a_failed_step_names_the_command_and_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**namespaces._SET_UP, "gate": ("address add 192.0.2.300/24 dev lan",)}
    monkeypatch.setattr(namespaces, "_SET_UP", broken)
    household = Namespaces()
    with pytest.raises(LabError, match=r"address add 192\.0\.2\.300/24 dev lan` failed"):
        household.create()
    household.destroy()
    assert _own_namespaces(os.getpid()) == []
    assert _own_directories(os.getpid()) == []
