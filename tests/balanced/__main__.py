"""Measure everything and write docs/balanced.md; needs root, NFQUEUE and the captures; a quarter of an hour.

``--senders`` measures what does not need the kernel or a day in the lab, and keeps the rest of the page.
"""

from __future__ import annotations

import sys
from functools import partial

from guard.core.verdict import Mode
from guard.lab import requirements
from guard.rules import load_policy
from tests.balanced.life import converse, speak_unexplained
from tests.balanced.page import SECONDS, Figures, draw, read_rows, write_page
from tests.balanced.play import play
from tests.balanced.senders import MEASURED, ODD, Temper
from tests.balanced.stream import EVERY_S, HASTY_S, stream
from tests.balanced.uploads import play_uploads
from tests.conftest import ROOT, data_folder
from tests.conversations.director import direct
from tests.conversations.success import TALK_EVERY_S
from tests.traffic_page.uploads import read_all

PAGE = ROOT / "docs" / "balanced.md"
PICTURE = ROOT / "docs" / "pictures" / "balanced-leaks.png"
TALKS, KERNEL_TALKS = 100, 6
KERNEL_EVERY_S = 12.0
KERNEL_SONG_S = 20.0
UTTERANCES, KERNEL_UTTERANCES = 30, 5  # so few that the budget lasts for the reports before them
SONG_S = 3 * 3600.0
SEED = 5
_GATES = (("none", Mode.MONITOR, False), ("strict", Mode.ENFORCE, False), ("balanced", Mode.ENFORCE, True))
_PLACES = ("simulation", "kernel")


def main() -> None:
    """Run."""
    policy = load_policy()
    figures = Figures()
    measure_senders(figures)
    _, uploads = read_all(data_folder() / "vcfp-pcap")
    figures.leaks = play_uploads(uploads, policy)
    for name, balanced in (("strict", False), ("balanced", True)):
        for every in (EVERY_S, HASTY_S):
            figures.streams[name, every] = stream(policy, balanced=balanced, seconds=SONG_S, every=every)
    if "--senders" in sys.argv[1:]:
        figures.kept = read_rows(PAGE.read_text(encoding="utf-8"))
    else:
        missing = requirements.find_missing()
        if missing is not None:
            sys.exit(f"this needs the kernel, and {missing} is missing here")
        for kernel in (False, True):
            _measure_lives(figures, kernel=kernel)
    PAGE.write_text(write_page(figures, policy, every=TALK_EVERY_S), encoding="utf-8")
    draw(figures, policy, PICTURE)


def _measure_lives(figures: Figures, *, kernel: bool) -> None:
    where = _PLACES[kernel]
    live = partial(converse, talks=TALKS, seed=SEED)
    if kernel:
        live = partial(converse, talks=KERNEL_TALKS, seed=SEED, every=KERNEL_EVERY_S, song_s=KERNEL_SONG_S)
    for gate, mode, balanced in _GATES:
        day = direct(live, kernel=kernel, mode=mode, balanced=balanced)
        figures.days.append((gate, where, day))
        print(gate, where, day, flush=True)
    times = KERNEL_UTTERANCES if kernel else UTTERANCES
    for situation, muted in (("no wake word", False), ("muted", True)):
        for gate, balanced in (("strict", False), ("balanced", True)):
            speak = partial(speak_unexplained, times=times, seed=SEED, muted=muted)
            silence = direct(speak, kernel=kernel, balanced=balanced)
            figures.silences.append((situation, gate, where, silence))
            print(situation, gate, where, silence, flush=True)


def measure_senders(figures: Figures) -> None:
    """Play every sender in every temper, unmuted and muted."""
    policy = load_policy()
    for sender in MEASURED:
        for temper in Temper:
            figures.measured[sender.name, temper] = play(sender, policy, seconds=SECONDS, temper=temper)
        figures.measured[sender.name, "muted"] = play(
            sender, policy, seconds=SECONDS, temper=Temper.GOES_ON, muted=True
        )
    for sender in ODD:
        for muted in (False, True):
            figures.odd[sender.name, muted] = play(
                sender, policy, seconds=SECONDS, temper=Temper.GOES_ON, muted=muted
            )


if __name__ == "__main__":
    main()
