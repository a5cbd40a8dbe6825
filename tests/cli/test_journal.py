"""The commands that read the journal, where no gate runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guard.cli import main
from guard.telemetry import journal_schema as schema
from guard.telemetry.journal_store import FILE_NAME, Store

T = 1_700_000_000_000
FILE = """
[[device]]
name = "kitchen"
mac = "68:37:e9:00:00:01"
[control]
socket = "{folder}/control.sock"
[state]
directory = "{folder}"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "wakeguard.toml"
    path.write_text(FILE.format(folder=tmp_path))
    return path


@pytest.fixture
def written(config: Path) -> Path:
    store = Store(config.parent / FILE_NAME, days=30, max_bytes=10_000_000)
    store.write(
        [
            schema.Run(T, None, "enforce", "1.0"),
            schema.Mute(T, "kitchen", T + 1, "muted", "led"),
            schema.Flow(T, "kitchen", T + 2, None, "tcp a > b #1", 1, 2, False, False, "open"),
            schema.Mode(T, "garage", T + 3, "policy", "strict", "balanced"),
        ]
    )
    store.close()
    return config


def test_without_a_gate_the_journal_is_read_all_the_same(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "--config", str(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["g1", "m1", "s1"]  # connections only when asked for
    assert main(["log", "--config", str(written), "--kind", "all", "--json"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["g1", "m1", "f1", "s1"]
    assert main(["log", "--config", str(written), "--limit", "1", "--device", "kitchen"]) == 0
    assert capsys.readouterr().out.split()[0] == "m1"
    assert main(["log", "--config", str(written), "--since", "1h"]) == 0
    assert capsys.readouterr().out == "nothing, as far as the journal goes back\n"


def test_a_device_that_is_gone_from_the_configuration_is_still_known(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["log", "--config", str(written), "--device", "garage"]) == 0
    assert "strict became balanced" in capsys.readouterr().out


def test_why_tells_any_kind(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "m1", "--config", str(written)]) == 0
    assert "microphone muted (by led)" in capsys.readouterr().out
    assert main(["why", "m1", "--json", "--config", str(written)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "muted"
    assert [row["about"] for row in told["story"]] == ["who", "when", "what"]


@pytest.mark.parametrize("words", [["log"], ["tail"], ["why", "r1"]])
def test_where_there_is_no_journal_one_line_says_so(
    config: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(config.parent.iterdir())
    assert main([*words, "--config", str(config)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "wakeguard run" in said.err
    assert sorted(config.parent.iterdir()) == before
