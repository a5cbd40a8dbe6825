"""The wheel as a normal install builds it, and the same without a compiler; each is built once a session."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.conftest import ROOT

BUILD_SECONDS = 900
BATCH = "guard.netfilter.batch"


@dataclass(frozen=True)
class Built:
    """A wheel and what building it said."""

    wheel: Path
    output: str


@functools.cache
def build_wheel(**environment: str) -> Built:
    """Build the wheel of this checkout with ``environment`` set besides."""
    folder = Path(tempfile.mkdtemp(prefix="wakeguard-wheel-"))
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(
        command,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    return Built(wheel, done.stdout + done.stderr)


@functools.cache
def unpack_wheel(**environment: str) -> Path:
    """Return a folder with the wheel's files."""
    folder = Path(tempfile.mkdtemp(prefix="wakeguard-unpacked-"))
    with zipfile.ZipFile(build_wheel(**environment).wheel) as archive:
        archive.extractall(folder)
    return folder


def build_batch(folder: Path) -> ModuleType:
    """Build the queue's compiled loop alone and return it as a module."""
    library = folder / "batch.so"
    command = [
        *shlex.split(sysconfig.get_config_var("CC") or "gcc"),
        *("-shared", "-fPIC", "-Wall", "-Werror", f"-I{sysconfig.get_path('include')}"),
        *(str(ROOT / "guard/netfilter/batch.c"), "-o", str(library)),
    ]
    subprocess.run(command, check=True, timeout=120)
    spec = importlib.util.spec_from_file_location(BATCH, library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
