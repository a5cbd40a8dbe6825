"""Measure everything and write docs/conversations.md; needs root, namespaces and NFQUEUE; ten minutes."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from guard.core.verdict import Mode
from guard.lab import requirements
from tests.conversations.director import Director, direct
from tests.conversations.lateness import LATENESS_S, measure
from tests.conversations.page import POLICIES, Figures, Row, write_page
from tests.conversations.success import Lives, live_everyday, live_muted, live_pressing

PAGE = Path(__file__).parents[2] / "docs" / "conversations.md"
REPEATS = 5
TALKS = 100
KERNEL_TALKS = 10
MUTES = 40
SEED = 3

_PLACES = ("simulation", "kernel")


def main() -> None:
    """Run."""
    missing = requirements.find_missing()
    if missing is not None:
        sys.exit(f"this needs the kernel, and {missing} is missing here")
    figures = Figures(repeats=REPEATS, mutes=MUTES)
    figures.uploads = direct(partial(measure, lateness=LATENESS_S, repeats=REPEATS), kernel=True)
    idle = partial(measure, lateness=(0.0,), repeats=4 * REPEATS)
    figures.unheld = direct(idle, kernel=True, mode=Mode.MONITOR)
    for balanced in POLICIES:
        plays: list[tuple[str, bool, Callable[[Director], Awaitable[Lives]]]] = [
            ("everyday", False, partial(live_everyday, talks=TALKS, seed=SEED)),
            ("pressing", False, partial(live_pressing, talks=TALKS, seed=SEED)),
            ("pressing", True, partial(live_pressing, talks=KERNEL_TALKS, seed=SEED)),
        ]
        for name, kernel, play in plays:
            lives = direct(play, kernel=kernel, balanced=balanced)
            figures.success.append(Row(name, _PLACES[kernel], balanced, lives))
            print(name, _PLACES[kernel], POLICIES[balanced], lives, flush=True)
        for name, pressing in (("everyday", False), ("pressing", True)):
            mute = partial(live_muted, times=MUTES, seconds=600.0, seed=SEED, pressing=pressing)
            lives = direct(mute, kernel=False, balanced=balanced)
            figures.muted.append(Row(name, _PLACES[0], balanced, lives))
            print(name, "muted", POLICIES[balanced], flush=True)
    machine = (
        f"Linux {platform.release().split('-')[0]} {platform.machine()}, {os.cpu_count()} processors "
        f"shared with other work (load {os.getloadavg()[1]:.0f}), Python {platform.python_version()}"
    )
    PAGE.write_text(write_page(figures, date=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine))
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
