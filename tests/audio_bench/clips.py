"""The recordings of ``../shared/data/audio`` in memory, and which of them may be held out together.

Nobody wrote down who speaks in which recording of "Alexa". Neighbours in the numbering are by the same
person as far as their sound tells (the likest clip to a clip is mostly the one beside it, and there are
about four a person), so a fold is a run of neighbours, cut where two differ most. The other recordings
carry random names: their speakers are unknown, may be in several folds, and may say "Alexa" elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from hardware.audio import RATE

Audio = npt.NDArray[np.floating[Any]]  # -1..1
FOLDS = 5
QUICK = 4096  # samples: a transform of a multiple of it is many times quicker than one of a prime
NEAR_BOUNDARY = 6  # clips to either side in which the best cut is looked for


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording; ``start`` and ``end`` (samples) are the word's, both 0 where it holds none."""

    name: str
    audio: Audio
    fold: int
    start: int = 0
    end: int = 0


def read_audio(path: Path) -> Audio:
    """Return the samples of a 16 kHz mono file."""
    audio, rate = soundfile.read(path, dtype="float32")
    if rate != RATE or audio.ndim != 1:
        raise ValueError(f"{path} is not {RATE} Hz mono")
    return np.asarray(audio, dtype=np.float32)


def round_up(samples: int) -> int:
    """Return a length not below ``samples`` whose Fourier transform is quick."""
    return -(-samples // QUICK) * QUICK


def load_words(folder: Path) -> list[Clip]:
    """Return the recordings of people who say "Alexa"."""
    ends = json.loads((folder / "word_ends.json").read_text())
    paths = sorted((folder / "alexa_real").glob("*.flac"), key=lambda path: int(path.stem))
    recordings = [read_audio(path) for path in paths]
    folds = cut_folds([describe_sound(audio) for audio in recordings])
    made = []
    for path, audio, fold in zip(paths, recordings, folds, strict=True):
        word = ends[f"alexa_real/{path.name}"]
        made.append(Clip(path.name, audio, fold, word["start"], word["end"]))
    return made


def load_other(folder: Path) -> list[Clip]:
    """Return the recordings of people who say anything else."""
    paths = sorted(
        path
        for name in ("neg_real_keywords", "neg_real_commands", "neg_misc")
        for path in (folder / name).iterdir()
    )
    return [Clip(path.name, read_audio(path), number % FOLDS) for number, path in enumerate(paths)]


def load_synthetic(folder: Path) -> list[Clip]:
    """Return the synthesised clips with the word; where in them it ends is not known."""
    paths = sorted(path for name in ("tts_pos", "tts_nopause") for path in (folder / name).glob("*.wav"))
    return [Clip(path.name, read_audio(path), 0) for path in paths]


def describe_sound(audio: Audio) -> Audio:
    """Return what a voice and a room have in common over a clip: the shape of loud and of quiet spectra."""
    frames = np.lib.stride_tricks.sliding_window_view(audio, 512)[::160] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.unique(np.geomspace(2, 256, 25).astype(int))
    bands = 10 * np.log10(np.add.reduceat(power, edges, axis=1) + 1e-9)
    level = bands.mean(axis=1)
    loud, quiet = (
        bands[level >= np.percentile(level, 70)].mean(axis=0),
        bands[level <= np.percentile(level, 30)].mean(axis=0),
    )
    return np.concatenate([loud - loud.mean(), quiet - quiet.mean()]).astype(np.float32)


def cut_folds(sounds: list[Audio]) -> list[int]:
    """Return each clip's fold: runs of about equal length, cut where neighbours sound least alike."""
    table = np.array(sounds)
    table = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-6)
    steps = np.linalg.norm(np.diff(table, axis=0), axis=1)
    cuts = []
    for fold in range(1, FOLDS):
        middle = fold * len(sounds) // FOLDS
        low = max(0, middle - NEAR_BOUNDARY)
        cuts.append(low + int(np.argmax(steps[low : middle + NEAR_BOUNDARY])) + 1)
    return [int(np.searchsorted(cuts, number, side="right")) for number in range(len(sounds))]
