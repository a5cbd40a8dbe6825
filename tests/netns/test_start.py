"""What stands in the way of a start, or of a word to the gate: one line, status 2, nothing left behind."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.netns.gate import GateProcess, TlsCloud, environment, get_rules
from tests.netns.household import QUEUE, Household

pytestmark = pytest.mark.kernel


def assert_refused(gate: GateProcess, complaint: str, *words: str) -> None:
    rules = get_rules(gate.home)
    files = sorted(str(path) for path in gate.folder.rglob("*") if path.name != "gate.log")
    refused = gate.call(*(words or ("run",)))
    assert refused.returncode == 2
    assert refused.stderr.startswith("wakeguard: ")
    assert refused.stderr.count("\n") == 1
    assert complaint in refused.stderr
    assert get_rules(gate.home) == rules
    left = sorted(str(path) for path in gate.folder.rglob("*") if path.name != "gate.log")
    state = str(gate.folder / "state")
    assert [path for path in left if not path.startswith(state)] == [
        path for path in files if not path.startswith(state)
    ]


def test_a_second_gate_is_refused(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate:
        assert_refused(gate, "a gate is running already")
        assert gate.ask("mode") == {"mode": "enforce"}


def test_a_busy_queue_is_refused(routed: Household, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with GateProcess(routed, tmp_path, mode="monitor") as gate, TlsCloud(routed) as cloud:
        assert_refused(GateProcess(routed, other, mode="monitor"), f"queue {QUEUE} is in use by process")
        assert cloud.can_connect(seconds=5.0)
        assert gate.ask("mode") == {"mode": "monitor"}


def test_a_busy_metrics_port_is_refused(routed: Household, tmp_path: Path) -> None:
    with routed.gate.socket(socket.AF_INET, socket.SOCK_STREAM) as squatter:
        squatter.bind(("127.0.0.1", 9917))
        squatter.listen()
        assert_refused(GateProcess(routed, tmp_path, metrics=True), "metrics.port 9917")


def test_a_missing_interface_is_refused(routed: Household, tmp_path: Path) -> None:
    assert_refused(GateProcess(routed, tmp_path, lan="wlan7"), "network.lan")


def test_a_damaged_state_is_refused(routed: Household, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "mode.json").write_text("{")
    assert_refused(GateProcess(routed, tmp_path), "mode.json is damaged")


def test_a_socket_path_that_is_taken_is_refused(routed: Household, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "control.sock").write_text("precious")
    assert_refused(GateProcess(routed, tmp_path), "is no socket")
    assert (tmp_path / "run" / "control.sock").read_text() == "precious"


def test_a_recording_is_not_overwritten(routed: Household, tmp_path: Path) -> None:
    record = tmp_path / "recording"
    record.mkdir()
    (record / "packets.pcapng").write_text("precious")
    assert_refused(GateProcess(routed, tmp_path), "already holds a recording", "run", "--record", str(record))


def test_nobody_listens_means_one_clear_line(routed: Household, tmp_path: Path) -> None:
    gate = GateProcess(routed, tmp_path)
    for words in (["status"], ["mode"], ["mode", "enforce"], ["mute-led"], ["event", "mute"]):
        assert_refused(gate, "wakeguard run", *words)
    assert [path.name for path in tmp_path.iterdir()] == ["gate.toml"]


# Everything is imported before the rights go: nobody may not even be able to read the interpreter's files.
AS_NOBODY = """
import os, sys
import guard.cli.live, guard.cli.screen, guard.control, guard.daemon
import guard.telemetry.log, guard.telemetry.metrics
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(guard.cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("words", [["run"], ["off"], ["status"], ["event", "wake"]])
def test_without_rights_each_command_says_so(routed: Household, words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with GateProcess(routed, folder) as gate:
            rules = get_rules(routed)
            *enter, _dash, _guard, command, option, path = gate.command(words[0])
            refused = subprocess.run(
                [*enter, "-c", AS_NOBODY, command, *words[1:], option, path],
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
                env=environment(),
            )
            assert refused.returncode == 2
            assert refused.stderr.startswith("wakeguard: ")
            assert refused.stderr.count("\n") == 1
            assert "sudo" in refused.stderr
            assert get_rules(routed) == rules
            assert gate.ask("mode") == {"mode": "enforce"}
