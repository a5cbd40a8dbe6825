"""Whatever an owner mistypes: one clear line, exit status 2, and nothing is changed. As a table."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.netns.gate import GateProcess, environment, get_rules
from tests.netns.household import QUEUE, Household

pytestmark = pytest.mark.kernel

PORT = 9918
OTHER = f"""
mode = "enforce"
[[device]]
name = "kitchen"
mac = "02:00:00:00:77:02"
[network]
lan = "lan0"
queue = {QUEUE + 1}
[metrics]
enabled = true
port = {PORT}
[control]
socket = "FOLDER/other/control.sock"
[state]
directory = "FOLDER/other/state"
"""


class Mistake(NamedTuple):
    """What is typed (FOLDER is the test's), and what the one line must say."""

    words: tuple[str, ...]
    complaint: str
    files: tuple[tuple[str, str], ...] = ()
    config: str = "gate.toml"
    nobody: bool = False


MISTAKES = {
    "broken TOML": Mistake(("run",), "not TOML", (("bad.toml", "mode = "),), "bad.toml"),
    "broken TOML, asked": Mistake(("pause", "5m"), "not TOML", (("bad.toml", "mode = "),), "bad.toml"),
    "unknown key": Mistake(
        ("run",),
        'did you mean "metrics"?',
        (("bad.toml", OTHER.replace("[metrics]", "[metrix]")),),
        "bad.toml",
    ),
    "unknown inner key": Mistake(
        ("run",),
        'journal.dayz is not a key of this file; did you mean "days"?',
        (("bad.toml", OTHER + "[journal]\ndayz = 3\n"),),
        "bad.toml",
    ),
    "a journal that is too small": Mistake(
        ("run",), "journal.megabytes", (("bad.toml", OTHER + "[journal]\nmegabytes = 0\n"),), "bad.toml"
    ),
    "no configuration": Mistake(("status",), "cannot read", config="nowhere.toml"),
    "second instance": Mistake(("run",), "a gate is running already"),
    "port in use": Mistake(("run",), f"metrics.port {PORT}", (("other.toml", OTHER),), "other.toml"),
    "no permission": Mistake(("pause", "5m"), "use sudo", nobody=True),
    "no permission for the mode": Mistake(("mode", "monitor"), "use sudo", nobody=True),
    "no permission for the journal": Mistake(("log",), "use sudo", nobody=True),
    "no unit": Mistake(("pause", "5"), "such as 90s, 5m or 1h30m"),
    "no number": Mistake(("pause", "soon"), "such as 90s, 5m or 1h30m"),
    "the wrong way round": Mistake(("pause", "5m1h"), "such as 90s, 5m or 1h30m"),
    "nothing": Mistake(("pause", "0s"), "use at least 1s"),
    "for ever": Mistake(("pause", "400d"), "use at most 1d"),
    "less than nothing": Mistake(("pause", "--", "-5m"), "no length of time"),
    "unknown device to pause": Mistake(
        ("pause", "5m", "kitchn"), 'no device "kitchn"; did you mean "kitchen"?'
    ),
    "unknown device to resume": Mistake(("resume", "garage"), 'no device "garage"; known here: kitchen'),
    "unknown device for a policy": Mistake(("policy", "kitchn", "balanced"), 'did you mean "kitchen"?'),
    "unknown device to list": Mistake(("log", "--device", "kitchn"), 'did you mean "kitchen"?'),
    "unknown device to follow": Mistake(("tail", "--device", "kitchn"), 'did you mean "kitchen"?'),
    "unknown device for an event": Mistake(
        ("event", "wake", "--device", "kitchn"), 'did you mean "kitchen"?'
    ),
    "unknown policy": Mistake(("policy", "kitchen", "balance"), 'did you mean "balanced"?'),
    "too many words": Mistake(("policy", "kitchen", "balanced", "now"), "too many words"),
    "unknown entry": Mistake(("why", "r99999"), 'no entry "r99999"'),
    "what is no entry": Mistake(("why", "yesterday"), "is no id"),
    "no moment": Mistake(("log", "--since", "yesterday"), "is no moment"),
    "the future": Mistake(("log", "--since", "2999-01-01"), "lies ahead"),
    "two kinds of refused": Mistake(("log", "--refused", "--kind", "mute"), "leave one of them out"),
}

AS_NOBODY = """
import os, sys
import guard.cli.live, guard.cli.owner, guard.cli.journal, guard.control, guard.durations, guard.pauses
import guard.telemetry.journal, guard.telemetry.journal_store, guard.chronicle, guard.policies
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(guard.cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def running() -> Iterator[GateProcess]:
    with (
        tempfile.TemporaryDirectory() as name,
        Household() as home,
        GateProcess(home, Path(name)) as gate,
        home.gate.socket(socket.AF_INET, socket.SOCK_STREAM) as squatter,
    ):
        Path(name).chmod(0o755)
        squatter.bind(("127.0.0.1", PORT))
        squatter.listen()
        gate.ask("journal")
        yield gate


def get_state(gate: GateProcess) -> tuple[Any, ...]:
    """Return all that a mistake may not change."""
    status = gate.ask("status")
    devices = [(row["name"], row["policy"], row["mute"], row["paused_left_s"]) for row in status["devices"]]
    state = {
        path.name: path.read_bytes() for path in (gate.folder / "state").iterdir() if path.suffix == ".json"
    }
    files = sorted(str(path) for path in gate.folder.glob("*/*"))
    return status["mode"], status["policy"], devices, state, files, get_rules(gate.home)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_clear_line_and_changes_nothing(running: GateProcess, name: str) -> None:
    mistake = MISTAKES[name]
    for file, text in mistake.files:
        (running.folder / file).write_text(text.replace("FOLDER", str(running.folder)))
    before = get_state(running)
    *enter, _dash, _guard, command = running.command(mistake.words[0])[:-2]
    program = ["-c", AS_NOBODY] if mistake.nobody else ["-m", "guard"]
    config = ["--config", str(running.folder / mistake.config)]
    refused = subprocess.run(
        [*enter, *program, command, *config, *mistake.words[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("wakeguard: ")
    assert refused.stderr.count("\n") == 1
    assert mistake.complaint in refused.stderr
    left = [path for path in (running.folder / "other").rglob("*") if path.name != "gate.lock"]
    assert [path for path in left if path.is_file() or path.is_socket()] == []
    for path in sorted((running.folder / "other").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    if (running.folder / "other").exists():
        (running.folder / "other").rmdir()
    assert get_state(running) == before
