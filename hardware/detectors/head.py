"""Wakeguard's own head on Google's speech embedding: Apache-2.0 all the way down.

Made for a word with speech right before or after it, which packaged models miss. A score every 80 ms
from the last embeddings, by a network of two small layers in ``models/wake-WORD-v1/head.npz``.
"""

from __future__ import annotations

import zipfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hardware.detectors import Score
from hardware.detectors.embedding import EMBEDDING, Array, Embedding, find_models
from hardware.errors import DetectorError

ARRAYS = ("mean", "scale", "weights_1", "bias_1", "weights_2", "bias_2", "weights_3", "bias_3")


class Head:
    """The weights for one word."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays
        self.steps = len(arrays["mean"]) // EMBEDDING  # embeddings that it looks at

    def get_scores(self, inputs: Array) -> Array:
        """Return the scores (0..1) of ``inputs``: a row of ``steps`` embeddings, oldest first, each."""
        of = self.arrays
        hidden = np.maximum(0, ((inputs - of["mean"]) * of["scale"]) @ of["weights_1"] + of["bias_1"])
        hidden = np.maximum(0, hidden @ of["weights_2"] + of["bias_2"])
        scores: Array = 1 / (1 + np.exp(-np.clip(hidden @ of["weights_3"] + of["bias_3"], -30, 30)))
        return scores[:, 0]


def load_head(path: Path) -> Head:
    """Return the head in ``path``. DetectorError when it is none."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name], dtype=np.float32) for name in ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DetectorError(
            f"{path} is no head for the speech embedding ({error}); give the path of a head.npz"
        ) from None
    return Head(arrays)


class HeadDetector:
    """One embedding, one head a word."""

    def __init__(self, heads: dict[str, Head], *, window: int) -> None:
        self._embedding = Embedding()
        self._heads = heads
        self._window = window
        self._embeddings: deque[Array] = deque(maxlen=max(head.steps for head in heads.values()))
        self._recent: dict[str, deque[float]] = {word: deque(maxlen=window) for word in heads}

    def receive_audio(self, audio: bytes) -> Sequence[Score]:
        """Return the scores that became known with ``audio``."""
        scores = []
        for embedding in self._embedding.receive_audio(audio):
            self._embeddings.append(embedding)
            for word, head in self._heads.items():
                if len(self._embeddings) < head.steps:
                    continue
                inputs = np.concatenate(list(self._embeddings)[-head.steps :])[None, :]
                recent = self._recent[word]
                recent.append(float(head.get_scores(inputs)[0]))
                if len(recent) == self._window:
                    scores.append(Score(word, sum(recent) / self._window))
        return scores

    def reset(self) -> None:
        """Forget the audio heard so far."""
        self._embedding.reset()
        self._embeddings.clear()
        for recent in self._recent.values():
            recent.clear()

    def close(self) -> None:
        """Nothing is held but memory."""


def make(words: Sequence[str], *, window: int) -> HeadDetector:
    """Return a detector; ``words`` are built-in names or paths of head.npz files."""
    heads = {}
    for word in words:
        if "/" in word:
            path = Path(word)
            heads[path.parent.name if path.stem == "head" else path.stem] = load_head(path)
        else:
            heads[word] = load_head(find_models() / f"wake-{word}-v1" / "head.npz")
    return HeadDetector(heads, window=window)
