"""The gate as its wheel has it, twice: with its compiled modules and without.

The wheel is built from the checkout as a normal install would, and unpacked under ``build/bench``. The pure
one is the same sources without shared objects: the checkout itself if there are none in it. Where the
build compiles nothing (no compiler), only the pure one is measured, and the tables say so.
"""

from __future__ import annotations

import compileall
import functools
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from guard import config
from tests.bench.report import FOLDER, ROOT

BUILD_SECONDS = 900
PLACES = {False: FOLDER / "pure", True: FOLDER / "compiled"}


def has_fast_path() -> bool:
    """Tell whether this gate's configuration knows a kernel fast path."""
    return "fast_path" in config.Config.__struct_fields__


def choose_build(*, compiled: bool) -> dict[str, str]:
    """Return the environment under which ``python -m guard`` is one of the builds."""
    if not compiled and not any((ROOT / "guard").rglob("*.so")):
        _write_bytecode(ROOT)
        return {}
    _prepare()
    _write_bytecode(PLACES[compiled])
    return {"PYTHONPATH": str(PLACES[compiled]), "PYTHONSAFEPATH": "1"}


def choose_engine() -> dict[str, str]:
    """Return the environment for who imports the engine beside the tests: compiled, where that was built."""
    if explain_missing() is not None:
        return {}
    return {"PYTHONPATH": f"{PLACES[True]}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}


@functools.cache
def _write_bytecode(place: Path) -> None:
    """Do what an install does with the sources: nobody's gate compiles them anew at each start."""
    compileall.compile_dir(place / "guard", quiet=1)


@functools.cache
def explain_missing() -> str | None:
    """Return why there are no compiled modules; None when there are."""
    try:
        _prepare()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (
        None if any(PLACES[True].rglob("*.so")) else "the wheel that was built here has no compiled modules"
    )


@functools.cache
def _prepare() -> None:
    sources = [ROOT / "pyproject.toml", ROOT / "hatch_build.py"]
    for name in ("guard", "rules", "models"):
        sources += (path for path in (ROOT / name).rglob("*") if path.suffix not in {".pyc", ".so"})
    newest = max(path.stat().st_mtime for path in sources if path.is_file())
    mark = FOLDER / "builds.mark"
    builder = f"{sys.executable} {sys.version}"  # a shared object belongs to one Python
    whole = mark.exists() and all(place.exists() for place in PLACES.values())
    if whole and mark.stat().st_mtime >= newest and mark.read_text() == builder:
        return
    print("  building the wheel ...", file=sys.stderr)
    wheels = FOLDER / "wheel"
    for folder in (wheels, *PLACES.values()):
        shutil.rmtree(folder, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(wheels),
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the wheel does not build: {done.stderr.strip()}")
    (wheel,) = wheels.glob("*.whl")
    for place in PLACES.values():
        _unpack(wheel, place)
    for shared_object in PLACES[False].rglob("*.so"):
        shared_object.unlink()
    mark.write_text(builder)


def _unpack(wheel: Path, place: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
