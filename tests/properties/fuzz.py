"""Look for a script that breaks a promise: ``python -m tests.properties.fuzz --seconds 60``.

Plays ever new scripts, and mutated real captures where there are any. Prints the seed of the first one that
breaks something and exits with 1; ``--seed`` plays that one again.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from guard.capture import Capture
from guard.core.verdict import Decision, Direction, Mode
from guard.link import NOT_IP, get_locator
from tests.conftest import data_folder
from tests.properties.hostile import TIGHT, Step, Watch, generate_steps, make_event, mutate

STEPS = 2000
# The two Echos of the research captures.
ECHOS = {bytes.fromhex("c49500e3932f"), bytes.fromhex("4cefc003f238")}


def find_captures() -> list[Path]:
    """Return the real captures, none where they are absent."""
    return sorted(data_folder().glob("vcfp-pcap/**/*.pcap*"))


def replay_steps(path: Path, seed: int) -> Iterator[Step]:
    """Yield a stretch of a real capture: reordered, doubled, dropped, mutated; events in between."""
    chance = Random(seed)
    skip = chance.choice([0, 0, chance.randrange(3000)])
    start: int | None = None
    now = 0.0
    kept: list[tuple[Direction, bytes]] = []
    for number, nanoseconds, interface, frame, _, _ in Capture(path):
        if number <= skip:
            continue
        if number > skip + STEPS:
            return
        start = nanoseconds if start is None else start
        now = max(now, (nanoseconds - start) / 1e9)
        source, _, offset = get_locator(interface.link_type)(frame)
        if offset == NOT_IP:
            continue
        direction = Direction.UPSTREAM if source in ECHOS else Direction.DOWNSTREAM
        kept.append((direction, frame[offset:]))
        roll = chance.random()
        if roll < 0.05:
            continue  # later, in another order
        if roll < 0.1:
            chance.shuffle(kept)
        for its_direction, packet in kept:
            if chance.random() < 0.02:
                continue
            for _ in range(2 if chance.random() < 0.02 else 1):
                yield now, its_direction, mutate(chance, packet) if chance.random() < 0.03 else packet
        kept.clear()
        if chance.random() < 0.02:
            yield now, make_event(chance, now)


def play(seed: int, captures: list[Path]) -> dict[Decision, int]:
    """Play the script of one seed; AssertionError or any other error when a promise is broken."""
    chance = Random(seed)
    policy = TIGHT if chance.random() < 0.7 else dataclasses.replace(TIGHT, hold_s=0.0)
    mode = chance.choice(list(Mode))
    watch = Watch(policy, sensor=chance.random() < 0.3, mode=mode)
    if captures and chance.random() < 0.4:
        watch.play(replay_steps(chance.choice(captures), seed))
    else:
        watch.play(generate_steps(seed, STEPS))
    return watch.seen


def main() -> int:
    """Run for a while, or one seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="play this one alone")
    options = parser.parse_args()
    captures = find_captures()
    print(f"{len(captures)} real captures")
    if options.seed is not None:
        play(options.seed, captures)
        return 0
    ends = time.monotonic() + options.seconds
    first = seed = time.time_ns()
    seen: Counter[Decision] = Counter()
    while time.monotonic() < ends:
        try:
            seen.update(play(seed, captures))
        except Exception:  # noqa: BLE001  # any error is what this looks for
            traceback.print_exc()
            print(f"broken by --seed {seed}")
            return 1
        seed += 1
    reasons = sorted({answer.reason for answer in seen})
    print(f"{seed - first} scripts, {seen.total()} answers, {len(seen)} decisions, {len(reasons)} reasons")
    print("  " + ", ".join(reasons))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
