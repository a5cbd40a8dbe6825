"""``wakeguard train``, and the walls around the learning stack."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from guard.cli import main
from guard.voice_model import load_model
from tests.learning.households import MAC, write_home, write_idle


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two homes with voices and reports, and one list of when the voices left."""
    folder = tmp_path_factory.mktemp("homes")
    lines = ["household,file,start_s,end_s"]
    for home in ("attic", "cellar"):
        _, *times = write_home(folder / home, captures=6).read_text().splitlines()
        lines += [f"{home},{line}" for line in times]
    (folder / "uploads.csv").write_text("\n".join(lines) + "\n")
    return folder


def train(homes: Path, *arguments: object) -> int:
    captures = [str(homes / "attic"), str(homes / "cellar")]
    uploads = ["--uploads", str(homes / "uploads.csv"), "--jobs", "1"]
    return main(["train", *captures, "--device", MAC, *uploads, *map(str, arguments)])


def test_a_model_is_trained_tried_on_the_other_home_and_loads(
    homes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(homes, "-o", tmp_path / "model") == 0
    output = capsys.readouterr()
    assert output.err == ""
    for word in ("attic", "cellar", "certain rule", "bytes a second", "model and card:"):
        assert word in output.out
    forest = load_model(tmp_path / "model")
    assert 0.0 < forest.threshold <= 1.0
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"CARD.md", "figures.json", "model.json"}
    assert train(homes, "-o", tmp_path / "again") == 0
    for name in ("model.json", "figures.json", "CARD.md"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert not json.loads((tmp_path / "model" / "model.json").read_text()).keys() & {"pickle", "code"}


def check(capsys: pytest.CaptureFixture[str], out: Path, *arguments: object) -> str:
    assert main(["train", *map(str, arguments), "-o", str(out), "--jobs", "1"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("wakeguard: ")
    assert output.err.count("\n") == 1
    assert not out.exists()
    return output.err


def test_captures_that_nothing_can_be_learnt_from_are_refused(
    homes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    attic = homes / "attic"
    assert "attic/spoken-0.pcap" in check(capsys, out, attic, "--device", MAC)
    listing = tmp_path / "list.csv"
    times = (homes / "uploads.csv").read_text().splitlines()
    listing.write_text("\n".join(times[:4]) + "\n")
    half = check(capsys, out, attic, "--device", MAC, "--uploads", listing)
    assert "(3 of 6)" in half
    quiet = write_idle(tmp_path / "idle")
    assert "no voice" in check(capsys, out, quiet, "--device", MAC, "--condition", "no_wake_word")
    single = check(capsys, out, attic, "--device", MAC, "--uploads", homes / "uploads.csv")
    assert "household" in single
    (tmp_path / "there").mkdir()
    assert train(homes, "-o", tmp_path / "there") == 2
    assert "exists already" in capsys.readouterr().err
    assert list((tmp_path / "there").iterdir()) == []


def test_captures_that_are_not_there_are_told_of_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    assert "none.pcap does not exist" in check(capsys, out, tmp_path / "none.pcap", "--device", MAC)
    assert main(["train", "-o", str(out)]) == 2
    assert "name captures, or --research FOLDER" in capsys.readouterr().err
    assert not out.exists()


def test_a_missing_extra_is_named(
    homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("guard.cli.learning.NEEDED", ("polars", "no_such_package"))
    assert train(homes, "-o", tmp_path / "model") == 2
    remedy = f"{sys.executable} -m pip install 'wakeguard[train]'"
    assert f"this needs no_such_package: {remedy}" in capsys.readouterr().err


def test_neither_the_gate_nor_the_command_line_loads_the_learning_stack() -> None:
    code = "import sys, guard.daemon, guard.cli, guard.cli.learning; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    stack = {"numpy", "polars", "sklearn", "matplotlib", "joblib", "dask", "distributed", "scapy"}
    modules = set(loaded.stdout.split())
    assert not modules & stack
    assert not {name for name in modules if name.startswith("guard.learning")}
    assert "guard.core.engine" in modules
