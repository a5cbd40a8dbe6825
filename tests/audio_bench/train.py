"""Train the head for "Alexa" in ``models/wake-alexa-v1``: ``python -m tests.audio_bench.train``.

One seed decides everything. Every scene is made of recordings of one fold only, so that a head trained
without a fold has heard neither the people nor the background of it. Five such heads give the figures
of the card; the head that ships is trained on all folds. NumPy only: no training framework.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hardware.audio import RATE
from hardware.canary import CLIP
from hardware.detectors.embedding import EMBEDDING, FRAMES, HOP, Array, Embedding, find_models
from hardware.detectors.head import ARRAYS, Head, load_head
from hardware.wav import read_wav
from tests.audio_bench import prompts, scenes, synthesis
from tests.audio_bench.clips import FOLDS, Audio, Clip, load_other, load_words, round_up
from tests.audio_bench.scenes import Random, Scene
from tests.conftest import data_folder

SEED = 4
STEPS = 5  # embeddings: 1.08 s of audio
WORD_SCENES = 20  # of each recording of the word
OTHER_SCENES = 10  # of each other recording
TALK_SCENES, TALK_S = (
    100,
    12,
)  # of each fold: other recordings strung together, every third with a second voice
PROMPT_PASSES = 3  # through the prompts that a fold's reader speaks: once as they are, then altered
NEAR_SCENES, SENTENCE_SCENES, SYNTHETIC_WORDS = 720, 240, 120
STEP = FRAMES * HOP  # samples between scores
# Relative to the end of the word (s): a score in here must be high; one between the outer bounds may be.
SURE = (0.0, 0.16)
EITHER = (-0.2, 0.44)
HIDDEN = (64, 32)
EPOCHS = 8
MEMBERS = 2  # networks, trained from other beginnings, whose scores are averaged
POSITIVE_WEIGHT = 0.3  # of all rows with the word, against 1 of all without
BATCH = 1024
LEARNING_RATE, DECAY = 1.5e-3, 2e-3
DROPOUT = 0.2
SYNTHETIC_FOLD = -1  # in every training set
UNSURE = 2  # a label that is left out


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows for the head: inputs, labels (1 the word, 0 not), and each row's fold."""

    inputs: Array
    labels: Array
    folds: Array


def alter(audio: Audio, random: Random) -> Audio:
    """Return ``audio`` in a room, with another microphone's colour, at another loudness."""
    if random.random() < 0.5:
        length = int(RATE * random.uniform(0.05, 0.4))
        echo = random.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
        echo *= random.uniform(0.1, 0.7) / (np.sqrt((echo**2).sum()) + 1e-9)
        echo[0] = 1.0
        size = round_up(len(audio) + length)
        audio = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(echo, size), size)[: len(audio)]
    if random.random() < 0.5:
        size = round_up(len(audio))
        spectrum = np.fft.rfft(audio, size)
        place = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / RATE), 60.0) / 1000)
        gain = random.uniform(-4, 4) * place + random.uniform(-3, 3) * np.cos(place * random.uniform(1, 3))
        audio = np.fft.irfft(spectrum * 10 ** (np.clip(gain, -20, 12) / 20), size)[: len(audio)]
    peak = 10 ** (random.uniform(-32, -0.5) / 20)
    return np.asarray(audio * (peak / (np.abs(audio).max() + 1e-9)), dtype=np.float32)


def make_noisy(audio: Audio, random: Random, others: Sequence[Clip]) -> Audio:
    """Return ``audio`` clean (a quarter) or with noise of some kind and loudness."""
    if random.random() < 0.25:
        return audio
    kind = ("pink", "kitchen", "babble", "babble", "coloured")[int(random.integers(5))]
    if kind == "coloured":
        noise = scenes.make_coloured(random, len(audio), random.uniform(0, 2))
    else:
        noise = scenes.NOISES[kind](random, len(audio), others)
    return scenes.add_noise(audio, scenes.get_level(audio), noise, random.uniform(0, 25))


def stretch(clip: Clip, random: Random) -> Clip:
    """Return the clip spoken up to an eighth faster (and higher) or slower."""
    factor = random.uniform(0.88, 1.12)
    audio = synthesis.resample(clip.audio, RATE * factor)
    return Clip(clip.name, audio, clip.fold, round(clip.start / factor), round(clip.end / factor))


def place_word(word: Clip, random: Random, others: Sequence[Clip]) -> Scene:
    """Return the word alone (a third), or with other speech close before it, after it or both."""
    chance = random.random()
    if chance < 0.35:
        return scenes.frame_word(word, random)
    before = random.uniform(0.6, 1.6) if chance < 0.5 or chance > 0.75 else 0.0
    after = random.uniform(0.6, 1.6) if chance >= 0.5 else 0.0
    slack = int(random.integers(-320, 1600))
    return scenes.surround_word(word, random, others, before_s=before, after_s=after, slack=slack)


def make_scenes(words: Sequence[Clip], others: Sequence[Clip], fold: int) -> Iterator[Scene]:
    """Yield the training scenes of one fold."""
    random = np.random.default_rng([SEED, fold + 1])
    own = [clip for clip in others if clip.fold == fold]
    for word in (clip for clip in words if clip.fold == fold):
        for _ in range(WORD_SCENES):
            yield _finish(place_word(stretch(word, random), random, own), random, own)
    for clip in own:
        for _ in range(OTHER_SCENES):
            changed = stretch(clip, random)
            yield _finish(Scene(clip.name, changed.audio, fold), random, own)
    for number in range(TALK_SCENES):
        audio = scenes.cut_speech(own, random, TALK_S * RATE)
        if number % 3 == 2:
            audio = audio + scenes.cut_speech(own, random, len(audio)) * np.float32(random.uniform(0.2, 1.0))
        yield _finish(Scene("talk", stretch(Clip("talk", audio, fold), random).audio, fold), random, own)


def make_prompt_scenes(read: Sequence[Clip], others: Sequence[Clip], fold: int) -> Iterator[Scene]:
    """Yield the training scenes of one fold's reader."""
    random = np.random.default_rng([SEED, 200 + fold])
    own = [clip for clip in read if clip.fold == fold]
    behind = [clip for clip in others if clip.fold == fold]
    for number in range(PROMPT_PASSES):
        order = [own[int(place)] for place in random.permutation(len(own))]
        if number == 0:
            for audio in prompts.string_together(order):
                yield Scene("prompts", audio, fold)
            continue
        changed = [stretch(clip, random) for clip in order]
        for audio in prompts.string_together(changed):
            yield _finish(Scene("prompts", audio, fold), random, behind)


def make_synthetic_scenes() -> Iterator[Scene]:
    """Yield scenes by synthesised voices; the speech around and behind them is synthesised too."""
    random = np.random.default_rng([SEED, 99])
    hiss = [
        Clip("synthetic", _say(text, random), SYNTHETIC_FOLD) for text in synthesis.list_sentences(random, 20)
    ]
    texts = synthesis.list_near(random, NEAR_SCENES) + synthesis.list_sentences(random, SENTENCE_SCENES)
    for text in texts:
        yield _finish(Scene(text, _say(text, random), SYNTHETIC_FOLD), random, hiss)
    for _ in range(SYNTHETIC_WORDS):
        audio = np.pad(scenes.trim(_say("Alexa", random)), 1600)
        word = Clip("Alexa", audio, SYNTHETIC_FOLD, 1600, len(audio) - 1600)
        yield _finish(place_word(word, random, hiss), random, hiss)


def _say(text: str, random: Random) -> Audio:
    voice = synthesis.TRAIN_VOICES[int(random.integers(len(synthesis.TRAIN_VOICES)))]
    return synthesis.say(text, voice, speed=random.uniform(0.8, 1.25), pitch=int(random.integers(20, 80)))


def _finish(scene: Scene, random: Random, others: Sequence[Clip]) -> Scene:
    shift = int(random.integers(STEP))  # where in the word a step falls
    before = scenes.make_coloured(random, shift + RATE // 2, 1.0) * np.float32(1e-4)
    audio = np.concatenate([before, make_noisy(scene.audio, random, others)])
    moved = len(before) if scene.end else 0
    return Scene(scene.name, alter(audio, random), scene.fold, scene.start + moved, scene.end + moved)


def label(scene: Scene, count: int) -> Array:
    """Return the label of each of the first ``count`` steps of a scene."""
    labels = np.zeros(count, dtype=np.float32)
    if scene.end:
        after = (np.arange(1, count + 1) * STEP - scene.end) / RATE
        labels[(after > EITHER[0]) & (after < EITHER[1])] = UNSURE
        labels[(after >= SURE[0]) & (after < SURE[1])] = 1
    return labels


def get_examples(made: Iterator[Scene]) -> Examples:
    """Return the rows of all scenes."""
    embedding = Embedding()
    inputs, labels, folds = [], [], []
    for scene in made:
        embedding.reset()
        table = embedding.receive_audio(scene.to_bytes())
        rows = window_rows(table)
        found = label(scene, len(table))[STEPS - 1 :]
        kept = found != UNSURE
        inputs.append(rows[kept].astype(np.float16))
        labels.append(found[kept])
        folds.append(np.full(int(kept.sum()), scene.fold, dtype=np.float32))
    return Examples(np.concatenate(inputs), np.concatenate(labels), np.concatenate(folds))


def window_rows(table: Array) -> Array:
    """Return a row of the last ``STEPS`` embeddings for each step that has them."""
    windows = np.lib.stride_tricks.sliding_window_view(table, STEPS, axis=0)
    return np.asarray(windows.transpose(0, 2, 1).reshape(len(windows), STEPS * EMBEDDING), dtype=np.float32)


def fit(examples: Examples, *, seed: int = SEED, epochs: int = EPOCHS) -> Head:
    """Return a head trained on ``examples``: networks side by side in one, their raw scores averaged."""
    mean = examples.inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = (1 / (examples.inputs.std(axis=0, dtype=np.float64) + 1e-3)).astype(np.float32)
    members = [
        _fit_member(examples, mean, scale, np.random.default_rng([seed, number]), epochs)
        for number in range(MEMBERS)
    ]
    wide, narrow = HIDDEN
    middle = np.zeros((MEMBERS * wide, MEMBERS * narrow), dtype=np.float32)
    for number, member in enumerate(members):
        middle[number * wide : (number + 1) * wide, number * narrow : (number + 1) * narrow] = member[2]
    joined: list[Array] = [
        np.concatenate([member[0] for member in members], axis=1),
        np.concatenate([member[1] for member in members]),
        middle,
        np.concatenate([member[3] for member in members]),
        np.concatenate([member[4] for member in members]) / np.float32(MEMBERS),
        np.asarray(np.mean([member[5] for member in members], axis=0), dtype=np.float32),
    ]
    return Head(dict(zip(ARRAYS, (mean, scale, *joined), strict=True)))


def _fit_member(examples: Examples, mean: Array, scale: Array, random: Random, epochs: int) -> list[Array]:
    """Return one network's weights: Adam on the log loss, its rate falling along a cosine."""
    inputs, labels = examples.inputs, examples.labels
    sizes = (inputs.shape[1], *HIDDEN, 1)
    parameters: list[Array] = []
    for wide, narrow in itertools.pairwise(sizes):
        parameters.append((random.standard_normal((wide, narrow)) * np.sqrt(2 / wide)).astype(np.float32))
        parameters.append(np.zeros(narrow, dtype=np.float32))
    first, second = [np.zeros_like(one) for one in parameters], [np.zeros_like(one) for one in parameters]
    positive = float(labels.mean())
    total = epochs * (len(labels) // BATCH)
    count = 0
    for _ in range(epochs):
        order = random.permutation(len(labels))
        for begin in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[begin : begin + BATCH]
            rows = (inputs[chosen].astype(np.float32) - mean) * scale
            wanted = labels[chosen][:, None]
            weight = np.where(wanted == 1, POSITIVE_WEIGHT / positive, 1.0).astype(np.float32)
            gradients = _get_gradients(parameters, rows, wanted, weight, random)
            count += 1
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * count / total))
            for number, gradient in enumerate(gradients):
                first[number] = 0.9 * first[number] + 0.1 * gradient
                second[number] = 0.999 * second[number] + 0.001 * gradient**2
                move = (
                    first[number] / (1 - 0.9**count) / (np.sqrt(second[number] / (1 - 0.999**count)) + 1e-8)
                )
                decay = DECAY * parameters[number] if number % 2 == 0 else 0.0
                parameters[number] = (parameters[number] - rate * (move + decay)).astype(np.float32)
    return parameters


def _get_gradients(
    parameters: list[Array], rows: Array, wanted: Array, weight: Array, random: Random
) -> list[Array]:
    values, masks = [rows], []
    for layer in range(0, len(parameters) - 2, 2):
        summed = values[-1] @ parameters[layer] + parameters[layer + 1]
        mask = ((summed > 0) * (random.random(summed.shape, dtype=np.float32) >= DROPOUT)).astype(np.float32)
        masks.append(mask / np.float32(1 - DROPOUT))
        values.append(summed * masks[-1])
    raw = values[-1] @ parameters[-2] + parameters[-1]
    error = weight * (1 / (1 + np.exp(-np.clip(raw, -30, 30))) - wanted) / len(rows)
    gradients: list[Array] = []
    for layer in range(len(parameters) - 2, -1, -2):
        gradients[:0] = [values[layer // 2].T @ error, error.sum(axis=0)]
        if layer:
            error = (error @ parameters[layer].T) * masks[layer // 2 - 1]
    return gradients


def save_head(head: Head, path: Path) -> str:
    """Write the weights and return their digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **head.arrays)  # type: ignore[arg-type]  # numpy types the keywords as its own option
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_parity(path: Path) -> None:
    """Write what the head in the same folder answers to the clip that detectors are checked with."""
    embeddings = Embedding().receive_audio(read_wav(CLIP)[0] + bytes(RATE))
    head = load_head(path.with_name("head.npz"))
    inputs = [embeddings[at : at + head.steps].ravel() for at in range(len(embeddings) - head.steps + 1)]
    scores = [round(float(score), 4) for score in head.get_scores(np.array(inputs))]
    path.write_text(json.dumps({"clip": "hardware/sounds/alexa.wav", "scores": scores}) + "\n")


def make_all_examples(folder: Path) -> Examples:
    """Return the rows of every fold and of the synthesised voices."""
    words, others, read = load_words(folder), load_other(folder), prompts.load_prompts()
    if not synthesis.is_possible():
        sys.exit("training needs flite and espeak-ng: apt-get install flite espeak-ng")
    parts = [get_examples(make_synthetic_scenes())]
    for fold in range(FOLDS):
        made = itertools.chain(make_scenes(words, others, fold), make_prompt_scenes(read, others, fold))
        parts.append(get_examples(made))
        print(f"fold {fold}: {len(parts[-1].labels):,} rows", flush=True)
    return Examples(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.folds for part in parts]),
    )


def leave_out(examples: Examples, fold: int) -> Examples:
    """Return the rows that hold nothing of ``fold``."""
    kept = examples.folds != fold
    return Examples(examples.inputs[kept], examples.labels[kept], examples.folds[kept])


def main() -> None:
    """Train the five heads for the figures, then the one that ships."""
    began = time.perf_counter()
    examples = make_all_examples(data_folder() / "audio")
    print(
        f"{len(examples.labels):,} rows, {int(examples.labels.sum()):,} of the word,",
        f"{time.perf_counter() - began:.0f} s",
        flush=True,
    )
    for fold in range(FOLDS):
        save_head(fit(leave_out(examples, fold)), held_out_path(fold))
        print(f"without fold {fold}: {time.perf_counter() - began:.0f} s", flush=True)
    path = find_models() / "wake-alexa-v1" / "head.npz"
    digest = save_head(fit(examples), path)
    save_parity(path.with_name("parity.json"))
    print(f"head.npz sha256 {digest}, {time.perf_counter() - began:.0f} s")


def held_out_path(fold: int) -> Path:
    """Return where the head that never heard ``fold`` is kept, for the bench."""
    return Path(__file__).resolve().parents[2] / "build" / "wake-alexa" / f"without-{fold}" / "head.npz"


if __name__ == "__main__":
    main()
