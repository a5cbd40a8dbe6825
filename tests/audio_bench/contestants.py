"""Who is compared: traces of single detectors, and ways to decide by one or two of them."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hardware.detectors import DETECTORS, Detector, make_detector
from tests.audio_bench.conditions import (
    ALL,
    OTHER_CONDITIONS,
    WORD_CONDITIONS,
    Material,
    make_synthetic_scenes,
    make_word_scenes,
)
from tests.audio_bench.measure import Heard, listen, listen_at_once
from tests.audio_bench.scenes import Scene
from tests.audio_bench.train import STEPS, held_out_path
from tests.bench.report import ROOT

FOLDER = ROOT / "build" / "bench-audio"
SYNTHETIC = "synthesised words"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way to decide: any of ``parts`` (trace, threshold) fires; ``costs`` names detectors to load."""

    name: str
    parts: tuple[tuple[str, float], ...]
    costs: str


HEAD, MICRO = DETECTORS["head"].threshold, DETECTORS["microwakeword"].threshold
OPEN = DETECTORS["openwakeword"].threshold
CONTESTANTS = (
    Contestant("microwakeword, as packaged (window 5, 0.9)", (("microwakeword-5", 0.9),), "microwakeword"),
    Contestant("microwakeword", (("microwakeword", MICRO),), "microwakeword"),
    Contestant("openwakeword", (("openwakeword", OPEN),), "openwakeword"),
    Contestant(
        "microwakeword or openwakeword",
        (("microwakeword", MICRO), ("openwakeword", OPEN)),
        "microwakeword+openwakeword",
    ),
    Contestant("head, held out", (("head", HEAD),), "head"),
    Contestant(
        "head, held out, or microwakeword", (("head", HEAD), ("microwakeword", MICRO)), "microwakeword+head"
    ),
)


def _make_shared(name: str, window: int | None = None) -> Callable[[int], Detector]:
    detector = make_detector(name, ["alexa"], window=window)
    return lambda fold: detector


def _make_held_out() -> Callable[[int], Detector]:
    shipped = make_detector("head", ["alexa"])
    made = {ALL: shipped}

    def detector_of(fold: int) -> Detector:
        if fold not in made:
            made[fold] = make_detector("head", [str(held_out_path(fold))])
        return made[fold]

    return detector_of


# The costly one hears one scene in four, which takes it half an hour; all of them would take two.
EVERY = {"openwakeword": 4}

# trace -> how its detector for a fold is made
TRACES: Mapping[str, Callable[[], Callable[[int], Detector]]] = {
    "microwakeword-5": lambda: _make_shared("microwakeword", 5),
    "microwakeword": lambda: _make_shared("microwakeword"),
    "head": _make_held_out,
    "openwakeword": lambda: _make_shared("openwakeword"),
}


def make_traces(material: Material, name: str) -> None:
    """Play everything to one detector and keep its answers under ``build/bench-audio``."""
    detector_of, every = TRACES[name](), EVERY.get(name, 1)
    made: dict[str, Iterator[Scene]] = {
        **{condition: make_word_scenes(material, condition) for condition in WORD_CONDITIONS},
        SYNTHETIC: make_synthetic_scenes(material),
        **{condition: make(material) for condition, make in OTHER_CONDITIONS.items()},
    }
    play = (
        functools.partial(listen_at_once, first=STEPS + DETECTORS["head"].window - 1)
        if name == "head"
        else listen
    )
    heard = {
        condition: play(itertools.islice(scenes, 0, None, every), detector_of)
        for condition, scenes in made.items()
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps({condition: asdict(one) for condition, one in heard.items()})
    get_path(name).write_text(text)


def get_path(trace: str) -> Path:
    """Return where a detector's answers are kept."""
    return FOLDER / f"{trace}.json"


@functools.cache
def read_traces(name: str) -> dict[str, Heard]:
    """Return what ``make_traces`` kept."""
    kept = json.loads(get_path(name).read_text())
    return {condition: Heard(one["traces"], one["scenes"]) for condition, one in kept.items()}


def read_thinned(name: str, condition: str, every: int) -> Heard:
    """Return what ``name`` heard in one scene of ``every`` (a multiple of its own)."""
    whole = read_traces(name)[condition]
    step = every // EVERY.get(name, 1)
    return Heard(whole.traces[::step], whole.scenes[::step])
