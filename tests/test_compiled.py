"""The compiled modules: built by a normal install, with the same answers, and done without where need be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hatch_build import COMPILED
from tests.built import build_wheel, unpack_wheel
from tests.conftest import ROOT

pytestmark = [pytest.mark.wheel, pytest.mark.slow]

SEEDS = 12
SUITES = ("tests/core", "tests/properties", "tests/model", "tests/test_cases.py", "tests/test_recorded.py")
"""What the engine promises, said in tests. Not ``tests/test_gate.py`` and ``tests/test_gate_holds.py``: their
double for the engine is nothing that the compiled gate takes."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the tests beside the compiled package."""
    folder = tmp_path_factory.mktemp("compiled")
    for name in ("guard", "hardware"):
        shutil.copytree(unpack_wheel() / name, folder / name)
    for name in ("tests", "rules", "models", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py"):
        shutil.copy(ROOT / name, folder)
    return folder


def ask(folder: Path) -> dict[str, Any]:
    """Return what the engine of the package in ``folder`` answers."""
    command = [sys.executable, "-m", "tests.answers", str(SEEDS)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


def test_a_normal_install_compiles_what_every_packet_runs_through() -> None:
    built = build_wheel()
    assert "-py3-none-any" not in built.wheel.name
    assert "plain Python" not in built.output
    folder = unpack_wheel()
    for module in [*COMPILED, "guard/netfilter/batch.c"]:
        stem = Path(module).with_suffix("").as_posix()
        assert len(list(folder.glob(f"{stem}.*.so"))) == 1, module


def test_the_compiled_engine_answers_as_plain_python_does(checkout: Path) -> None:
    compiled, pure = ask(checkout), ask(ROOT)
    assert (compiled.pop("build"), pure.pop("build")) == ("compiled", "pure")
    assert compiled["characters"] > 1_000_000
    assert compiled == pure


def test_the_engine_keeps_its_promises_when_compiled(checkout: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SUITES]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"WAKEGUARD_PURE": "1"}, "WAKEGUARD_PURE is set"),
        ({"CC": "no-such-compiler"}, "there is no no-such-compiler: apt install gcc python3-dev"),
    ],
)
def test_without_a_compiler_it_is_plain_python_and_says_so(environment: dict[str, str], why: str) -> None:
    built = build_wheel(**environment)
    assert built.wheel.name.endswith("-py3-none-any.whl")
    said = [line for line in built.output.splitlines() if "plain Python" in line]
    assert said == [f"wakeguard: built as plain Python, same answers at less speed ({why})"]
    assert not list(unpack_wheel(**environment).rglob("*.so"))
