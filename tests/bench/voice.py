"""Nanoseconds that the voice detector takes for a record, in one process.

Under strict a record that cannot matter takes nothing: the framing does not ask about its length. On observed
connections (balanced, and those of an interaction) a record whose length does not repeat is noted; one of a
steady run is put to the model, which is its vector and a walk through the trees.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from time import thread_time_ns

from guard.build import get_build
from guard.core.burst import MIN_RUN, MODEL_FEATURES, Burst
from guard.core.forest import Forest
from guard.core.voice import VoiceRun, get_voice_lengths
from guard.rules import find_voice_model
from tests.bench import report

ROUNDS, RECORDS = 7, 20_000
GAP_S = 0.2  # rarer than frames of speech: no pace
CHANGING = (1203, 1310, 1417)
STEADY = (1211,)  # too long for a frame: the model is asked each time, and says that it is none
FRAME = 113  # Opus, 20 ms, under AES-GCM


def time_burst(lengths: Sequence[int], model: Forest, records: int) -> float:
    """Return nanoseconds a record that an observed connection takes for its burst."""
    burst = Burst(model)
    rows = [(lengths[number % len(lengths)], GAP_S * number) for number in range(records)]
    began = thread_time_ns()
    for length, now in rows:
        burst.receive(length, now, lattice=False)
    return (thread_time_ns() - began) / records


def time_run(records: int) -> float:
    """Return nanoseconds a record of a voice's length takes for the certain rule."""
    run, speech = VoiceRun(), get_voice_lengths(None)[FRAME]
    rows = [0.9 * number for number in range(records)]  # one run, too slow to be a voice: asked each time
    began = thread_time_ns()
    for now in rows:
        run.receive(FRAME, speech, now)
    return (thread_time_ns() - began) / records


def time_model(model: Forest, records: int) -> float:
    """Return nanoseconds of the walk through the model's trees."""
    vector = [float(number) for number in range(len(MODEL_FEATURES))]
    began = thread_time_ns()
    for _ in range(records):
        model.get_score(vector)
    return (thread_time_ns() - began) / records


def run_section(*, records: int = RECORDS, rounds: int = ROUNDS) -> None:
    """Measure, and save the table."""
    model, fault = find_voice_model()
    if model is None:
        raise RuntimeError(fault)
    ways: dict[str, Callable[[], float]] = {
        "observed, lengths change": lambda: time_burst(CHANGING, model, records),
        f"observed, {MIN_RUN} or more equally long: the model is asked": lambda: time_burst(
            STEADY, model, records
        ),
        "of that the model's trees": lambda: time_model(model, records),
        "of a voice's length: the certain rule": lambda: time_run(records),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, run in ways.items():
            taken[name].append(run())
            print(f"  voice, {name}: {taken[name][-1]:.0f} ns (round {number + 1})", file=sys.stderr)
    report.save(
        "voice",
        "The voice detector",
        f"Nanoseconds that it adds to a record, {get_build()}, {records:,} records, median (lowest - "
        f"highest) of {rounds} rounds. A record that is none of these, under strict, adds nothing.",
        [{"record": name, "ns a record": report.spread(values, digits=0)} for name, values in taken.items()],
        raw=taken,
    )
