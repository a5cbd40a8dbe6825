"""Compile what every packet runs through, when a wheel is built: mypyc for the engine, gcc for the queue.

The compiled modules are made of the same sources and give the same answers; a test holds them against each
other. They are a matter of speed alone: without a compiler, with ``WAKEGUARD_PURE=1``, or in an editable
install, the wheel is plain Python, and one line says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = (
    *("engine", "segment", "device", "judge", "classify", "voice", "burst", "watch", "hold", "context"),
    *("flow", "tcp", "tls", "packet", "budget", "facts", "forest", "notice", "verdict", "hello", "suite"),
    *("counts", "lengths"),
)
"""Modules of ``guard.core`` that mypyc takes. The others run once an hour, or are plain data."""

OFFLINE = ("replay", "link", "selector", "lines")
"""Modules of ``guard`` that every frame of a replay runs through. Compiling the reader gains nothing."""

COMPILED = (
    *(f"guard/core/{name}.py" for name in SOURCES),
    *("guard/gate.py", "guard/tally.py", "guard/loop.py"),
    *(f"guard/{name}.py" for name in OFFLINE),
)
BATCH = "guard/netfilter/batch.c"
GROUP = "guard.compiled"
"""The library that all of mypyc's modules share is ``guard/compiled__mypyc``."""

NEAR = ["-fvisibility=hidden", "-fno-plt"]
"""Calls within a library go straight to their function, and calls to Python by one jump: what is not exported
can be bound, and put in line, when it is compiled."""

REQUIRED = ["mypy>=2.4,<2.5", "setuptools>=65"]
PURE = "WAKEGUARD_PURE"
LOG = "build/compile.log"


class CompileHook(BuildHookInterface):  # type: ignore[type-arg]
    """Hatchling's hook: adds the compiled modules to a wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs besides hatchling: nothing where nothing is compiled."""
        return REQUIRED if find_obstacle() is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, or say why not."""
        if self.target_name != "wheel" or version == "editable":
            return
        obstacle = find_obstacle()
        if obstacle is None:
            self._folder = tempfile.mkdtemp(prefix="wakeguard-")
            obstacle = self._compile(Path(self.root), Path(self._folder), build_data)
        if obstacle is not None:
            self.app.display_warning(
                f"wakeguard: built as plain Python, same answers at less speed ({obstacle})"
            )

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the working folder."""
        if hasattr(self, "_folder"):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _compile(self, root: Path, folder: Path, build_data: dict[str, Any]) -> str | None:
        shutil.copytree(
            root / "guard", folder / "guard", ignore=shutil.ignore_patterns("__pycache__", "*.so")
        )
        done = subprocess.run(
            [sys.executable, str(Path(__file__).resolve())],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            log = root / LOG
            log.parent.mkdir(exist_ok=True)
            log.write_bytes(done.stdout)
            return f"the compiler gave up: see {LOG}"
        for library in sorted(folder.rglob("*.so")):
            place = library.relative_to(folder).as_posix()
            if place.startswith("guard/"):
                build_data["force_include"][str(library)] = place
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        return None


def find_obstacle() -> str | None:
    """Say why nothing can be compiled here, None where it can."""
    if os.environ.get(PURE, "") not in ("", "0"):
        return f"{PURE} is set"
    if sys.implementation.name != "cpython":
        return f"mypyc is for CPython, this is {sys.implementation.name}"
    compiler = os.environ.get("CC", "gcc").split()[0]
    return None if shutil.which(compiler) else f"there is no {compiler}: apt install gcc python3-dev"


def compile_here() -> None:
    """Compile the copy of the sources in the present folder, in place."""
    from mypyc.build import mypycify
    from setuptools import Extension, setup

    options = ["--ignore-missing-imports", "--python-version", "{}.{}".format(*sys.version_info)]
    extensions = mypycify(
        [*options, *COMPILED], opt_level="2", debug_level="0", group_name=GROUP, strip_asserts=False
    )
    for extension in extensions:
        extension.extra_compile_args = [*extension.extra_compile_args, *NEAR]
    batch = Extension("guard.netfilter.batch", [BATCH], extra_compile_args=["-O2", "-g0", *NEAR])
    setup(
        name="wakeguard",
        packages=[],
        ext_modules=[*extensions, batch],
        script_args=["build_ext", "--inplace", f"--parallel={os.cpu_count() or 1}"],
    )


if __name__ == "__main__":
    compile_here()
