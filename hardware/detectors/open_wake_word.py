"""openWakeWord: a shared speech embedding and a small head a word. Opt-in.

The code is Apache-2.0; the models in the wheel are CC BY-NC-SA 4.0, so this is an extra of its own and
never a default. A score every 80 ms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.audio import RATE, SAMPLE_BYTES
from hardware.detectors import Score
from hardware.errors import DetectorError

if TYPE_CHECKING:
    from pyopen_wakeword import OpenWakeWord

CHUNK_BYTES = RATE * 80 // 1000 * SAMPLE_BYTES  # 80 ms: what the embedding is made of


class OpenWakeWordDetector:
    """One embedding, one head a word."""

    def __init__(self, models: dict[str, OpenWakeWord], *, window: int) -> None:
        from pyopen_wakeword import OpenWakeWordFeatures

        self._features = OpenWakeWordFeatures.from_builtin()
        self._models = models
        self._window = window
        self._recent: dict[str, deque[float]] = {word: deque(maxlen=window) for word in models}
        self._audio = b""

    def receive_audio(self, audio: bytes) -> Sequence[Score]:
        """Return the scores that became known with ``audio``."""
        scores = []
        self._audio += audio
        while len(self._audio) >= CHUNK_BYTES:
            chunk, self._audio = self._audio[:CHUNK_BYTES], self._audio[CHUNK_BYTES:]
            for embeddings in self._features.process_streaming(chunk):
                for word, model in self._models.items():
                    for score in model.process_streaming(embeddings):
                        recent = self._recent[word]
                        recent.append(score)
                        if len(recent) == self._window:
                            scores.append(Score(word, sum(recent) / self._window))
        return scores

    def reset(self) -> None:
        """Forget the audio heard so far."""
        self._audio = b""
        self._features.reset()
        for word, model in self._models.items():
            model.reset()
            self._recent[word].clear()

    def close(self) -> None:
        """Free the models."""
        self._features.close()
        for model in self._models.values():
            model.close()


def make(words: Sequence[str], *, window: int) -> OpenWakeWordDetector:
    """Return a detector; ``words`` are built-in names or paths of openWakeWord's .tflite heads."""
    from pyopen_wakeword import Model, OpenWakeWord

    models = {}
    for word in words:
        if "/" not in word:
            models[word] = OpenWakeWord.from_builtin(Model(word))
        elif Path(word).is_file():
            models[Path(word).stem] = OpenWakeWord.from_model(word)
        else:
            raise DetectorError(f"{word} is no file; give the path of an openWakeWord .tflite head")
    return OpenWakeWordDetector(models, window=window)
