"""The set-up script, on a machine made of stand-ins: what it says, what it asks for, how it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from guard.lab.requirements import _PROGRAMS
from tests.conftest import ROOT

Machine = dict[str, str]  # program -> the shell lines it runs

TOOLS = (
    *("bash", "awk", "cat", "dirname", "env", "head", "id", "kill", "mkdir", "printf"),
    *("sed", "sha256sum", "sleep", "tail", "touch", "true"),
)
DEBIAN: Machine = {
    "dpkg-query": "case $* in *libnetfilter-queue-dev) exit 1;; *) printf installed;; esac",
    "apt-get": 'echo "$@" >>"$CALLS"; [ "${!#}" != update ] || exit "${UPDATE_STATUS:-0}"',
    "id": "echo 0",
}


def set_up(
    folder: Path, *arguments: str, machine: Machine, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run tools/setup.sh in a copied checkout whose PATH holds the stand-ins and little else."""
    checkout, programs = folder / "checkout", folder / "programs"
    shutil.copytree(ROOT / "tools", checkout / "tools", dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", checkout)
    programs.mkdir(exist_ok=True)
    for tool in TOOLS:
        if tool not in machine and not (programs / tool).exists():
            (programs / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    for program, lines in machine.items():
        (programs / program).write_text(f"#!{shutil.which('bash')}\n{lines}\n")
        (programs / program).chmod(0o755)
    return subprocess.run(
        ["bash", str(checkout / "tools/setup.sh"), *arguments],
        env={"PATH": str(programs), "CALLS": str(folder / "calls"), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize("profile", ["demo", "test"])
def test_the_plan_says_what_would_be_downloaded_and_does_nothing(tmp_path: Path, profile: str) -> None:
    result = set_up(tmp_path, profile, "plan", machine=DEBIAN)
    assert result.returncode == 0, result.stderr
    assert "MB of Debian packages" in result.stdout
    assert "minute" in result.stdout
    assert "Missing Debian packages here: libnetfilter-queue-dev" in result.stdout
    assert not (tmp_path / "calls").exists()
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_only_what_is_missing_is_installed_and_nothing_is_asked(tmp_path: Path) -> None:
    result = set_up(tmp_path, "demo", machine=DEBIAN, PYTHON="/nowhere/python3")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0] == "update"
    assert calls[-1].endswith("install --yes --no-install-recommends libnetfilter-queue-dev")
    assert result.returncode == 2
    assert last_line(result.stderr) == "setup: PYTHON=/nowhere/python3 is not a program"


def test_a_failed_update_says_so_and_stops(tmp_path: Path) -> None:
    result = set_up(tmp_path, "demo", machine=DEBIAN, UPDATE_STATUS="100")
    assert result.returncode == 2
    expected = "setup: apt-get update: failed (status 100); the whole output is in build/setup.log"
    assert last_line(result.stderr) == expected
    assert (tmp_path / "calls").read_text().splitlines() == ["update"]


def test_without_apt_the_packages_are_named(tmp_path: Path) -> None:
    result = set_up(tmp_path, "demo", machine={})
    assert result.returncode == 2
    assert last_line(result.stderr).startswith("setup: this is neither Debian nor Raspberry Pi OS")
    assert "libnetfilter-queue-dev" in last_line(result.stderr)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        pytest.param({"id": "echo 1000"}, "sudo is not installed", id="no sudo"),
        pytest.param({"id": "echo 1000", "sudo": "exit 1"}, "there is no terminal", id="no terminal"),
    ],
)
def test_without_root_the_remedy_is_named(tmp_path: Path, machine: Machine, message: str) -> None:
    result = set_up(tmp_path, "demo", machine=DEBIAN | machine)
    assert result.returncode == 2
    assert message in last_line(result.stderr)
    assert not (tmp_path / "calls").exists()


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    result = set_up(
        tmp_path,
        "demo",
        machine={"python3.9": "exit 1"},
        WAKEGUARD_SKIP_APT="1",
        PYTHON="python3.9",
    )
    assert (result.returncode, last_line(result.stderr)) == (2, "setup: PYTHON=python3.9 is older than 3.11")


@pytest.mark.parametrize("arguments", [(), ("everything",)])
def test_a_wrong_profile_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = set_up(tmp_path, *arguments, machine=DEBIAN)
    assert result.returncode == 2
    assert last_line(result.stderr) == "setup: use: tools/setup.sh demo|test [plan]"


def test_a_command_runs_as_oneself_where_root_cannot_be_had(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for tool in ("bash", "dirname", "echo"):
        (programs / tool).symlink_to(shutil.which(tool) or f"/bin/{tool}")
    (programs / "id").write_text(f"#!{shutil.which('bash')}\necho 1000\n")
    (programs / "id").chmod(0o755)
    result = subprocess.run(
        ["bash", str(ROOT / "tools/as-root.sh"), "--if-possible", "echo", "as oneself"],
        env={**os.environ, "PATH": str(programs)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "as oneself\n")


def test_everything_the_lab_asks_for_is_installed_for_it() -> None:
    script = (ROOT / "tools/setup.sh").read_text(encoding="utf-8")
    packages = script.partition("demo_packages=(")[2].partition(")")[0].split()
    assert set(_PROGRAMS.values()) <= set(packages)
