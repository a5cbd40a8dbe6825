"""Run the benches: ``python -m tests.bench [SECTION ...]``; all of them without a name.

Each section runs in a process of its own and saves its JSON under ``build/bench`` as it ends; the page is
written from what is there.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.bench import report

PAGE_ORDER = ("saturated", "naive", "paced", "engine", "kinds", "replay", "startup")


def _saturated() -> None:
    from tests.bench import live

    live.run_section("saturated", *live.SATURATED_TEXT, live.SATURATED)


def _naive() -> None:
    from tests.bench import live

    live.run_section("naive", *live.NAIVE_TEXT, live.NAIVELY)


def _paced() -> None:
    from tests.bench import live

    live.run_section("paced", *live.PACED_TEXT, live.PACED)


def _engine() -> None:
    from tests.bench import engine

    engine.run_section()


def _replay() -> None:
    replay = importlib.import_module("tests.bench.replay")
    title = "Replay of a capture"
    report.save("replay", title, (replay.__doc__ or "").partition("\n\n")[2].strip(), replay.run())


def _startup() -> None:
    from tests.bench import startup

    startup.run_section()


# name -> (what it needs besides Python, how to run it)
SECTIONS: dict[str, tuple[tuple[str, ...], Callable[[], None]]] = {
    "engine": ((), _engine),
    "replay": ((), _replay),
    "startup": (("root", "ip", "iptables"), _startup),
    "saturated": (("root", "ip", "iptables", "gcc", "taskset"), _saturated),
    "naive": (("root", "ip", "iptables", "gcc", "taskset"), _naive),
    "paced": (("root", "ip", "iptables", "gcc", "taskset"), _paced),
}


def missing_for(section: str) -> list[str]:
    """Return what a section needs and does not find here."""
    needs = SECTIONS[section][0]
    return [need for need in needs if (os.geteuid() if need == "root" else shutil.which(need) is None)]


def _run_apart(name: str) -> bool:
    """Run one section in a process of its own, as nothing measured may inherit another's memory."""
    command = [sys.executable, "-m", "tests.bench", name]
    with subprocess.Popen(command, cwd=report.ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            return process.wait() == 0
        except BaseException:
            process.terminate()
            raise


def main(names: list[str]) -> int:
    """Run the named sections, write the page, print the tables."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that namespaces go, too
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        print(f"no section {', '.join(unknown)}: use {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    if len(names) == 1:
        if missing := missing_for(names[0]):
            print(f"{names[0]}: skipped, needs {', '.join(missing)}", file=sys.stderr)
            return 0
        print(f"{names[0]} ...", file=sys.stderr)
        SECTIONS[names[0]][1]()
    else:
        failed = [name for name in names or SECTIONS if not _run_apart(name)]
        if failed:
            print(f"failed: {', '.join(failed)}", file=sys.stderr)
            return 1
    report.write_page(PAGE_ORDER)
    print(report.format_sections(PAGE_ORDER))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
