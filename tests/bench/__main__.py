"""Run the benches: ``python -m tests.bench [SECTION ...]``; all without a name; ``pages`` only writes.

Each section runs in a process of its own and saves its JSON under ``build/bench`` as it ends; pages and
pictures are made from what is there.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys

from tests.bench import builds, report

PAGE_ORDER = (
    "saturated",
    "paced",
    "ramp",
    "naive",
    "startup",
    "engine",
    "instructions",
    "kinds",
    "voice",
    "replay",
)
GROWTH_ORDER = ("growth-flows", "growth-devices", "growth-capture", "growth-idle", "growth-pi")
_ENGINE_ALONE = ("engine", "voice", "growth")  # measured in the bench's own process
_LIVE = ("root", "ip", "iptables", "gcc", "taskset")

# name -> (what it needs besides Python, the module and its function)
SECTIONS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "startup": (("root", "ip", "iptables"), "startup", "run_section"),
    "saturated": (_LIVE, "live", "run_saturated"),
    "paced": (_LIVE, "paced", "run_section"),
    "ramp": (_LIVE, "ramp", "run_section"),
    "naive": (_LIVE, "naively", "run_section"),
    "engine": ((), "engine", "run_section"),
    "instructions": (("valgrind",), "instructions", "run_section"),
    "voice": ((), "voice", "run_section"),
    "replay": ((), "replay", "run_section"),
    "growth": ((), "growth", "run_section"),
}


def missing_for(section: str) -> list[str]:
    """Return what a section needs and does not find here."""
    needs = SECTIONS[section][0]
    return [need for need in needs if (os.geteuid() if need == "root" else shutil.which(need) is None)]


def write_pages() -> None:
    """Draw the pictures and write both pages from what was measured so far."""
    from tests.bench import plots, summary

    plots.draw_all()
    report.write_page(report.BENCHMARKS, summary.format_summary(), PAGE_ORDER)
    report.write_page(report.GROWTH, summary.format_pictures(summary.GROWTH_PICTURES), GROWTH_ORDER)


def _run_apart(name: str) -> bool:
    """Run one section in a process of its own, as nothing measured may inherit another's memory."""
    command = [sys.executable, "-m", "tests.bench", "--only", name]
    environment = {**os.environ, **(builds.choose_engine() if name in _ENGINE_ALONE else {})}
    with subprocess.Popen(command, cwd=report.ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait() == 0
        except BaseException:
            process.terminate()
            raise


def main(names: list[str]) -> int:
    """Run the named sections, write the page, print the tables."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that namespaces go, too
    only = names[:1] == ["--only"]  # a section of a longer run: the pages are written at its end
    names = names[only:]
    unknown = [name for name in names if name not in SECTIONS and names != ["pages"]]
    if unknown:
        print(f"no section {', '.join(unknown)}: use {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    if names == ["pages"]:
        write_pages()
        return 0
    if only:
        if missing := missing_for(names[0]):
            print(f"{names[0]}: skipped, needs {', '.join(missing)}", file=sys.stderr)
            return 0
        print(f"{names[0]} ...", file=sys.stderr)
        _, module, function = SECTIONS[names[0]]
        getattr(importlib.import_module(f"tests.bench.{module}"), function)()
        return 0
    failed = [name for name in names or SECTIONS if not _run_apart(name)]
    write_pages()
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    print(report.format_sections(PAGE_ORDER + GROWTH_ORDER))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
