"""A simulated microphone array: does it pay to listen on every channel, or through beams?

Four microphones at the corners of a square of 5.7 cm, the word a metre away, babble from four other
directions and a little noise of each microphone's own. No walls, no housing, no mismatch: simulated.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hardware.audio import RATE
from tests.audio_bench import scenes
from tests.audio_bench.clips import Audio, round_up
from tests.audio_bench.conditions import SEED, Material
from tests.audio_bench.scenes import Scene

SIDE_M = 0.057
SOUND_M_S = 343.0
DISTANCE_M = 1.0
BEAMS = 8
SNR_DB = 10
MICROPHONES = np.array([(x, y) for x in (-1, 1) for y in (-1, 1)]) * SIDE_M / 2
WAYS = ("one channel", "any of four channels", f"{BEAMS} fixed beams")


def delay(audio: Audio, seconds: float) -> Audio:
    """Return ``audio`` later by a fraction of a sample or more."""
    size = round_up(len(audio) + 1)
    turns = np.exp(-2j * np.pi * np.fft.rfftfreq(size, 1 / RATE) * seconds)
    delayed = np.fft.irfft(np.fft.rfft(audio, size) * turns, size)
    return np.asarray(delayed[: len(audio)], dtype=np.float32)


def get_lateness(angle: float) -> Audio:
    """Return how much later (s) than the centre each microphone hears a source at ``angle``."""
    place = DISTANCE_M * np.array([np.cos(angle), np.sin(angle)])
    return np.asarray(
        (np.linalg.norm(place - MICROPHONES, axis=1) - DISTANCE_M) / SOUND_M_S, dtype=np.float32
    )


def record(sources: list[tuple[Audio, float]], own_noise: Audio) -> list[Audio]:
    """Return each microphone's recording of sources at their angles."""
    made = []
    for microphone in range(len(MICROPHONES)):
        heard = [delay(audio, float(get_lateness(angle)[microphone])) for audio, angle in sources]
        made.append(np.asarray(np.sum([*heard, own_noise[microphone]], axis=0), dtype=np.float32))
    return made


def form_beam(channels: list[Audio], angle: float) -> Audio:
    """Return delay-and-sum towards ``angle``."""
    late = get_lateness(angle)
    aligned = [delay(audio, -float(seconds)) for audio, seconds in zip(channels, late, strict=True)]
    return np.asarray(np.mean(aligned, axis=0), dtype=np.float32)


def make_array_scenes(material: Material, every: int = 3) -> Iterator[tuple[Scene, list[Scene], list[Scene]]]:
    """Yield the first channel, all channels and all beams of one recording in ``every``."""
    for number, word in enumerate(material.words[::every]):
        random = np.random.default_rng([SEED, 60, number])
        plain = scenes.frame_word(word, random)
        others = material.others_of(word.fold)
        level = scenes.get_level(word.audio[word.start : word.end])
        sources = [(plain.audio, random.uniform(0, 2 * np.pi))]
        for _ in range(4):
            voice = scenes.make_babble(random, len(plain.audio), others)
            sources.append(
                (voice * np.float32(level * 10 ** (-SNR_DB / 20) / 2), random.uniform(0, 2 * np.pi))
            )
        own = random.standard_normal((4, len(plain.audio))).astype(np.float32) * np.float32(level * 0.01)
        channels = record(sources, own)
        beams = [form_beam(channels, 2 * np.pi * beam / BEAMS) for beam in range(BEAMS)]
        first, *rest = [_scene(plain, audio) for audio in (*channels, *beams)]
        yield first, [first, *rest[:3]], rest[3:]


def _scene(plain: Scene, audio: Audio) -> Scene:
    loudest = max(1.0, float(np.abs(audio).max()))
    return Scene(plain.name, audio / np.float32(loudest), plain.fold, plain.start, plain.end)
