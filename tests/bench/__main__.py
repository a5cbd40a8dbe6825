"""Run the benches: ``python -m tests.bench [SECTION ...]``; all of them without a name.

Each section saves its JSON under ``build/bench`` as it ends; the page is written from what is there.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
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


def main(names: list[str]) -> int:
    """Run the named sections, write the page, print the tables."""
    unknown = [name for name in names if name not in SECTIONS]
    if unknown:
        print(f"no section {', '.join(unknown)}: use {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    for name in names or SECTIONS:
        if missing := missing_for(name):
            print(f"{name}: skipped, needs {', '.join(missing)}", file=sys.stderr)
            continue
        print(f"{name} ...", file=sys.stderr)
        SECTIONS[name][1]()
    report.write_page(PAGE_ORDER)
    print(report.format_sections(PAGE_ORDER))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
