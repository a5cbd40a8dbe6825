"""What every detector is asked: the same scenes for each, from one seed.

A scene's speech, before, after or behind the word, is of the word's own fold, so that a head trained
without that fold has heard nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.audio import RATE
from tests.audio_bench import prompts, scenes, synthesis
from tests.audio_bench.clips import FOLDS, Clip, load_other, load_synthetic, load_words
from tests.audio_bench.scenes import Random, Scene

SEED = 40
CLOSE_S = 1.5  # of speech right before or after the word
SNRS_DB = (20, 10, 5)
TAIL_S = 1.0  # of silence after a clip: an answer comes late
SENTENCES = 240
NEAR_ROUNDS = 8  # times through the list of near words
ALTERED = 24  # stretches of 20 s a fold
ALL = -1  # the fold of synthesised scenes: no head was trained on their voices


@dataclass(frozen=True, slots=True)
class Material:
    """All recordings."""

    words: Sequence[Clip]
    others: Sequence[Clip]
    synthetic: Sequence[Clip]

    def others_of(self, fold: int) -> list[Clip]:
        """Return the other recordings that go with words of ``fold``."""
        return [clip for clip in self.others if clip.fold == fold]


def load_material(folder: Path) -> Material:
    """Return what is in ``../shared/data/audio``."""
    return Material(load_words(folder), load_other(folder), load_synthetic(folder))


def _clean(word: Clip, random: Random, others: Sequence[Clip]) -> Scene:
    return scenes.frame_word(word, random)


def _close(before_s: float, after_s: float) -> Callable[[Clip, Random, Sequence[Clip]], Scene]:
    def make(word: Clip, random: Random, others: Sequence[Clip]) -> Scene:
        return scenes.surround_word(word, random, others, before_s=before_s, after_s=after_s)

    return make


def _noisy(kind: str, snr_db: float) -> Callable[[Clip, Random, Sequence[Clip]], Scene]:
    def make(word: Clip, random: Random, others: Sequence[Clip]) -> Scene:
        scene = scenes.frame_word(word, random)
        noise = scenes.NOISES[kind](random, len(scene.audio), others)
        level = scenes.get_level(word.audio[word.start : word.end])
        mixed = scenes.add_noise(scene.audio, level, noise, snr_db)
        return Scene(scene.name, mixed, scene.fold, scene.start, scene.end)

    return make


WORD_CONDITIONS: Mapping[str, Callable[[Clip, Random, Sequence[Clip]], Scene]] = {
    "clean": _clean,
    **{f"{kind} {snr_db} dB": _noisy(kind, snr_db) for kind in scenes.NOISES for snr_db in SNRS_DB},
    "no pause after": _close(0.0, CLOSE_S),
    "speech before": _close(CLOSE_S, 0.0),
    "speech before, no pause after": _close(CLOSE_S, CLOSE_S),
}


def make_word_scenes(material: Material, condition: str) -> Iterator[Scene]:
    """Yield one scene for each recording of the word."""
    for number, word in enumerate(material.words):
        random = np.random.default_rng([SEED, list(WORD_CONDITIONS).index(condition), number])
        yield WORD_CONDITIONS[condition](word, random, material.others_of(word.fold))


def make_synthetic_scenes(material: Material) -> Iterator[Scene]:
    """Yield the synthesised clips; the word is somewhere in each."""
    for clip in material.synthetic:
        yield Scene(clip.name, np.pad(clip.audio, (RATE // 2, RATE)), ALL, 1, len(clip.audio) + RATE // 2)


def make_other(material: Material) -> Iterator[Scene]:
    """Yield the recordings of other speech as they are."""
    for clip in material.others:
        yield Scene(clip.name, np.pad(clip.audio, (0, int(TAIL_S * RATE))), clip.fold)


def make_prompts(material: Material) -> Iterator[Scene]:
    """Yield the prompts of a telephone exchange, each reader with the head that never heard that voice."""
    read = prompts.load_prompts()
    for fold in range(FOLDS):
        for audio in prompts.string_together([clip for clip in read if clip.fold == fold]):
            yield Scene(prompts.LANGUAGES[fold], audio, fold)


def make_altered(material: Material) -> Iterator[Scene]:
    """Yield other speech again and again: strung together anew, faster, slower, two voices at once."""
    for fold in range(FOLDS):
        random = np.random.default_rng([SEED, 50, fold])
        own = material.others_of(fold)
        for number in range(ALTERED):
            audio = scenes.cut_speech(own, random, 20 * RATE)
            audio = synthesis.resample(audio, RATE * random.uniform(0.85, 1.18))
            if number % 3 == 2:
                second = scenes.cut_speech(own, random, len(audio))
                audio = audio + second * np.float32(random.uniform(0.3, 1.0))
            loudest = float(np.abs(audio).max())
            yield Scene(f"altered {number}", audio * np.float32(random.uniform(0.1, 0.9) / loudest), fold)


def make_sentences(material: Material) -> Iterator[Scene]:
    """Yield synthesised household talk."""
    random = np.random.default_rng([SEED, 51])
    return _speak(synthesis.list_sentences(random, SENTENCES), random)


def make_near(material: Material) -> Iterator[Scene]:
    """Yield synthesised near words."""
    random = np.random.default_rng([SEED, 52])
    return _speak(synthesis.list_near(random, NEAR_ROUNDS * len(synthesis.NEAR_WORDS)), random)


def _speak(texts: Sequence[str], random: Random) -> Iterator[Scene]:
    for number, text in enumerate(texts):
        voice = synthesis.TEST_VOICES[number % len(synthesis.TEST_VOICES)]
        audio = synthesis.say(
            text, voice, speed=random.uniform(0.85, 1.15), pitch=int(random.integers(30, 70))
        )
        yield Scene(text, np.pad(audio, (RATE // 2, int(TAIL_S * RATE))), ALL)


OTHER_CONDITIONS: Mapping[str, Callable[[Material], Iterator[Scene]]] = {
    "other speech": make_other,
    "other speech, prompts in five languages": make_prompts,
    "other speech, altered": make_altered,
    "synthesised talk": make_sentences,
    "synthesised near words": make_near,
}
