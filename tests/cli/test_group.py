"""The command line as a whole: light to start, each command there, each fault one line and a status."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from guard import __version__, cli
from guard.errors import ConfigError
from tests.conftest import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "household.pcapng"


def run_wakeguard(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guard", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **options}
    )


def stand_in(monkeypatch: pytest.MonkeyPatch, command: click.Command) -> None:
    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: command)


def test_help_lists_every_command_and_imports_none() -> None:
    before = set(sys.modules)
    result = CliRunner().invoke(cli.group, ["--help"])
    assert result.exit_code == 0
    for name, row in cli.COMMANDS.items():
        assert name in result.output
        assert row.summary in result.output
    assert not [name for name in set(sys.modules) - before if name.startswith("guard.cli.")]


def test_help_loads_no_heavy_package() -> None:
    code = "import sys, guard.cli; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast_list(result.stdout))
    assert "click" in loaded
    assert not loaded & {"rich", "msgspec", "prometheus_client", "tomlkit", "netfilterqueue"}


def ast_list(text: str) -> list[str]:
    return [word.strip(" '[]") for word in text.strip().split(",")]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_exists_and_has_help(name: str) -> None:
    module, _, attribute = cli.COMMANDS[name].target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    result = CliRunner().invoke(cli.group, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_version() -> None:
    result = run_wakeguard("--version")
    assert (result.returncode, result.stdout) == (0, f"wakeguard {__version__}\n")


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("reply", 'did you mean "replay"?'), ("xyz", "known here: setup, doctor"), ("--help-me", "--help")],
)
def test_unknown_command_is_a_usage_error_that_names_the_nearest(name: str, remedy: str) -> None:
    result = run_wakeguard(name)
    assert result.returncode == 2
    assert name in result.stderr
    assert remedy in result.stderr
    assert "Traceback" not in result.stderr


def test_a_fault_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def faulty() -> None:
        raise ConfigError("mode: 'off' is unknown; use monitor or enforce")

    stand_in(monkeypatch, faulty)
    assert cli.main(["run"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "wakeguard: mode: 'off' is unknown; use monitor or enforce\n"


def test_a_file_that_cannot_be_opened_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    @click.command()
    def opening() -> None:
        (tmp_path / "absent").read_bytes()

    stand_in(monkeypatch, opening)
    assert cli.main(["run"]) == 2
    fault = f"{tmp_path}/absent: No such file or directory; check the path and its permissions"
    assert capsys.readouterr().err == f"wakeguard: {fault}\n"


@pytest.mark.parametrize("arguments", [("--version",), ("devices", str(EXAMPLE))])
def test_an_output_that_is_full_is_one_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "guard", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "wakeguard: the output: No space left on device; make room and try again\n"
    assert done.returncode == 2


def test_an_error_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def broken() -> None:
        raise RuntimeError("a bug")

    stand_in(monkeypatch, broken)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["run"])


def test_an_interrupt_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    stand_in(monkeypatch, interrupted)
    assert cli.main(["run"]) == 130


@pytest.mark.parametrize("status", [0, 3])
def test_a_command_may_choose_its_status(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    @click.command()
    @click.pass_context
    def choosing(ctx: click.Context) -> None:
        ctx.exit(status)

    stand_in(monkeypatch, choosing)
    assert cli.main(["run"]) == status


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import sys, click; from guard import cli\n"
        "@click.command()\n"
        "def talking():\n"
        "    for _ in range(200_000): click.echo('a line of output')\n"
        "cli.LazyGroup.get_command = lambda self, ctx, name: talking\n"
        "sys.exit(cli.main(['run']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1
