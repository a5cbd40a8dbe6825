"""Scenes: a word in its surroundings, with noise; everything from a seed.

The recordings are real. What is made here: their mixture, the noise (pink; babble from other recorded
speech; a kitchen of running water, a fan's hum and clattering dishes), the room, and the joins where a
word has speech close before or after it, which is another person's more often than not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hardware.audio import RATE
from tests.audio_bench.clips import Audio, Clip, round_up

Random = np.random.Generator
FADE = RATE // 100  # 10 ms at a join
LEAD_S = 0.8  # background before and after the word
VOICES = 5  # in a babble
SPEECH_SHARE = 0.1  # of the loudest 20 ms: louder pieces count as speech


@dataclass(frozen=True, slots=True)
class Scene:
    """Audio with a word from sample ``start`` to ``end``; both 0 where there is none."""

    name: str
    audio: Audio
    fold: int
    start: int = 0
    end: int = 0

    def to_bytes(self) -> bytes:
        """Return the audio as the detectors take it: 16-bit little-endian."""
        return np.clip(np.round(self.audio * 32767), -32768, 32767).astype("<i2").tobytes()


def get_level(audio: Audio) -> float:
    """Return the root mean square of the louder part of ``audio``: of the speech and not its pauses."""
    pieces = audio[: len(audio) // 320 * 320].reshape(-1, 320)
    power = (pieces**2).mean(axis=1)
    return float(np.sqrt(power[power >= SPEECH_SHARE * power.max()].mean())) if len(power) else 0.0


def trim(audio: Audio) -> Audio:
    """Return ``audio`` without the silence at its ends."""
    pieces = audio[: len(audio) // 320 * 320].reshape(-1, 320)
    loud = np.nonzero((pieces**2).mean(axis=1) >= 0.02 * (pieces**2).mean(axis=1).max())[0]
    return audio[loud[0] * 320 : (loud[-1] + 1) * 320] if len(loud) else audio


def cut_speech(others: Sequence[Clip], random: Random, need: int) -> Audio:
    """Return ``need`` samples of other people's speech without silence at its ends; a clip or several."""
    pieces: list[Audio] = []
    while sum(map(len, pieces)) < need:
        pieces.append(trim(others[int(random.integers(len(others)))].audio))
    whole = np.concatenate(pieces)
    first = int(random.integers(len(pieces[0]) // 2)) if len(whole) - need > len(pieces[0]) // 2 else 0
    return whole[first : first + need]


def join(*pieces: Audio) -> Audio:
    """Return the pieces after another, each faded over 10 ms into the next."""
    whole = pieces[0]
    rise = np.linspace(0, 1, FADE, dtype=np.float32)
    for piece in pieces[1:]:
        if min(len(whole), len(piece)) < FADE:
            whole = np.concatenate([whole, piece])
            continue
        crossing = whole[-FADE:] * (1 - rise) + piece[:FADE] * rise
        whole = np.concatenate([whole[:-FADE], crossing, piece[FADE:]])
    return whole


def make_coloured(random: Random, samples: int, exponent: float) -> Audio:
    """Return noise whose power falls with the frequency to ``exponent``: 1 is pink, 2 brown, 0 white."""
    size = round_up(samples)
    spectrum = np.fft.rfft(random.standard_normal(size))
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 20.0)
    noise = np.fft.irfft(spectrum * frequency ** (-exponent / 2), size)[:samples]
    return np.asarray(noise / (noise.std() + 1e-12), dtype=np.float32)


def make_pink(random: Random, samples: int, others: Sequence[Clip]) -> Audio:
    """Return pink noise."""
    return make_coloured(random, samples, 1.0)


def make_babble(random: Random, samples: int, others: Sequence[Clip]) -> Audio:
    """Return several people speaking at once."""
    voices = [cut_speech(others, random, samples) for _ in range(VOICES)]
    mixed = sum((voice / (get_level(voice) + 1e-9) for voice in voices), np.zeros(samples, dtype=np.float32))
    return np.asarray(mixed / (mixed.std() + 1e-12), dtype=np.float32)


def make_kitchen(random: Random, samples: int, others: Sequence[Clip]) -> Audio:
    """Return water, a fan and dishes."""
    water = make_coloured(random, samples, 0.6)
    time = np.arange(samples) / RATE
    hum = sum(np.sin(2 * np.pi * (50 * n * time + random.random())) / n for n in (1, 2, 3, 4))
    dishes = np.zeros(samples)
    for _ in range(random.poisson(3 * samples / RATE)):
        length = int(RATE * random.uniform(0.03, 0.25))
        begin = int(random.integers(max(1, samples - length)))
        decay = np.exp(-np.arange(length) / (length / 5))
        partials = random.uniform(1500, 7000, size=(4, 1))
        ring = np.sin(
            2 * np.pi * partials * np.arange(length) / RATE + random.uniform(0, 6, size=(4, 1))
        ).sum(axis=0)
        dishes[begin : begin + length] += (random.uniform(1, 5) * decay * ring)[: samples - begin]
    mixed = water + 0.5 * hum + dishes
    return np.asarray(mixed / (mixed.std() + 1e-12), dtype=np.float32)


NOISES: dict[str, Callable[[Random, int, Sequence[Clip]], Audio]] = {
    "pink": make_pink,
    "kitchen": make_kitchen,
    "babble": make_babble,
}


def add_noise(audio: Audio, level: float, noise: Audio, snr_db: float) -> Audio:
    """Return ``audio`` with ``noise`` (of level 1) ``snr_db`` below speech of ``level``."""
    mixed = audio + noise * (level * 10 ** (-snr_db / 20))
    loudest = float(np.abs(mixed).max())
    return np.asarray(mixed * min(1.0, 0.98 / loudest), dtype=np.float32) if loudest else mixed


def make_lead(word: Clip, random: Random, seconds: float) -> Audio:
    """Return background that goes before or after a word: faint noise as loud as the recording's own."""
    pieces = word.audio[: len(word.audio) // 320 * 320].reshape(-1, 320)
    quiet = float(np.sqrt(np.percentile((pieces**2).mean(axis=1), 10)))
    return make_coloured(random, int(seconds * RATE), 1.0) * np.float32(min(quiet, 0.01))


def frame_word(word: Clip, random: Random) -> Scene:
    """Return the whole recording of a word, with background before and after it."""
    before, after = make_lead(word, random, LEAD_S), make_lead(word, random, LEAD_S)
    offset = len(before) - FADE
    return Scene(
        word.name, join(before, word.audio, after), word.fold, word.start + offset, word.end + offset
    )


def surround_word(
    word: Clip, random: Random, others: Sequence[Clip], *, before_s: float, after_s: float, slack: int = 320
) -> Scene:
    """Return the word alone with other speech, as loud, right before and right after it (0: background).

    ``slack``: samples of the recording kept on either side of the word.
    """
    first, last = max(0, word.start - slack), min(len(word.audio), word.end + slack)
    alone = word.audio[first:last]
    level = get_level(alone)

    def get_speech(seconds: float) -> Audio:
        speech = cut_speech(others, random, int(seconds * RATE))
        return speech * np.float32(level / (get_level(speech) + 1e-9))

    lead = make_lead(word, random, LEAD_S)
    before = join(lead, get_speech(before_s)) if before_s else join(lead, word.audio[:first])
    after = join(get_speech(after_s), lead) if after_s else join(word.audio[last:], lead)
    offset = len(before) - FADE - first
    return Scene(word.name, join(before, alone, after), word.fold, word.start + offset, word.end + offset)
