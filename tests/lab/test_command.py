"""``wakeguard lab`` as the user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guard.cli import group
from guard.lab import requirements


def _run(*options: str) -> Result:
    return CliRunner().invoke(group, ["lab", *options])


def test_without_the_kernel_the_report_says_so_and_ends_with_three_commands() -> None:
    result = _run("--without-kernel", "--situation", "no_wake_word")
    assert result.exit_code == 0, result.output
    assert "All as promised." in result.output
    assert "This was not the kernel" in result.output
    commands = result.output.partition("Try next:")[2]
    assert commands.count("wakeguard ") == 3
    assert (
        "wakeguard replay docs/examples/household.pcapng --device 02:00:00:00:ec:01 "
        "--events docs/examples/household.jsonl"
    ) in commands


def test_a_real_detector_is_not_simulated_and_the_screen_says_so() -> None:
    options = ("--without-kernel", "--situation", "spoken_word")
    result = _run(*options, "--situation", "music_stream")
    assert result.exit_code == 0, result.output
    assert "spoken_word was left out" in result.output
    assert "2 of 2" not in result.output
    assert "spoken_word" not in _run(*options[:1], "--situation", "music_stream").output


def test_the_screen_says_that_periods_are_scaled_and_fits_80_columns() -> None:
    output = _run("--without-kernel", "--situation", "music_stream").output
    assert "lab.period_scale" in output
    assert "every 1.5 and 4.55 s" in " ".join(output.split())
    assert max(len(line) for line in output.partition("Try next:")[0].splitlines()) <= 80


def test_json_is_one_object_on_stdout() -> None:
    result = _run("--without-kernel", "--json", "--situation", "music_stream")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["kernel"] is False
    assert report["period_scale"] == 0.05
    assert report["success"]["lazy"] == {
        "monitor": {"answered": 1, "spoken": 1},
        "enforce": {"answered": 1, "spoken": 1},
    }


def test_a_machine_that_lacks_something_is_told_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_missing", lambda: "network namespaces")
    result = _run("--situation", "music_stream")
    assert result.exit_code == 0
    assert "This machine cannot give the lab network namespaces." in result.output
    assert "This was not the kernel" in result.output


def test_what_needs_the_kernel_is_not_simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(requirements, "find_missing", lambda: "root")
    for option in ("--keep-record", "--capture"):
        result = _run(option, str(tmp_path / "kept"))
        assert result.exit_code != 0
        assert "root" in str(result.exception)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--without-kernel", "--keep-record", "kept"),
        ("--capture", "kept", "--json"),
        ("--situation", "party"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: tuple[str, ...]) -> None:
    result = _run(*options)
    assert result.exit_code == 2
    assert "Usage:" in result.output


def test_without_root_the_requirement_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert requirements.find_missing() == "root"


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda program: None if program == "setpriv" else f"/bin/{program}")
    assert requirements.find_missing() == "setpriv (apt install util-linux)"
