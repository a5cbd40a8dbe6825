"""What the documents tell a reader to type works when pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from guard import cli
from tests.conftest import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"^\s*(?:sudo )?(?:\.venv/bin/)?wakeguard (?P<arguments>[a-z][^#\n]*)", re.MULTILINE)


def lines_of(path: Path) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [match["arguments"].strip() for block in blocks for match in COMMAND.finditer(block)]


LINES = sorted({line for path in DOCUMENTS for line in lines_of(path)})
# These read only what the repository ships, so they can be run as they stand.
RUNNABLE = [line for line in LINES if line.startswith(("replay docs/", "devices docs/"))]


def test_the_documents_show_commands() -> None:
    assert len(LINES) >= 8
    assert any("--events docs/examples/" in line for line in RUNNABLE)


@pytest.mark.parametrize("line", LINES)
def test_every_command_in_a_document_exists(line: str) -> None:
    assert shlex.split(line)[0] in cli.COMMANDS


@pytest.mark.parametrize("line", RUNNABLE)
def test_a_line_on_shipped_files_works_when_pasted(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(shlex.split(line)) == 0
    output = capsys.readouterr()
    assert output.err == ""
    if line.startswith("replay"):
        for word in ("expected", "justified", "not_justified", "refuse", "heartbeat"):
            assert word in output.out


@pytest.mark.parametrize(
    "target", re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
)
def test_every_make_target_in_the_readme_exists(target: str) -> None:
    assert f"\n{target}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_in_some_document(name: str) -> None:
    assert any(f"wakeguard {name}" in path.read_text(encoding="utf-8") for path in DOCUMENTS)


def test_the_code_map_names_every_module_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`guard/[^|]+) \|", page, re.MULTILINE)
    named = {name.removeprefix("guard/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    there = {path.relative_to(ROOT / "guard").as_posix() for path in (ROOT / "guard").glob("[!_]*.py")}
    there |= {f"{path.parent.name}/" for path in (ROOT / "guard").glob("*/__init__.py")}
    assert named - {"telemetry/journal*.py"} == there
