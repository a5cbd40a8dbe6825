"""microWakeWord: small streaming models, their features and TensorFlow Lite inside one wheel.

Code and models are Apache-2.0. A score every 30 ms, averaged over ``window`` of them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.detectors import Score
from hardware.errors import DetectorError

if TYPE_CHECKING:
    from pymicro_wakeword import MicroWakeWord


class MicroWakeWordDetector:
    """One feature front end, one model a word."""

    def __init__(self, models: dict[str, MicroWakeWord], *, window: int) -> None:
        from pymicro_wakeword import MicroWakeWordFeatures

        self._features = MicroWakeWordFeatures()
        self._models = models
        self._window = window
        self._recent: dict[str, deque[float]] = {word: deque(maxlen=window) for word in models}

    def receive_audio(self, audio: bytes) -> Sequence[Score]:
        """Return the scores that became known with ``audio``."""
        scores = []
        for features in self._features.process_streaming(audio):
            for word, model in self._models.items():
                score = model.process_streaming_prob(features)
                if score is None:
                    raise DetectorError(f"microwakeword lost its model of {word}; it is made anew")
                recent = self._recent[word]
                recent.append(score)
                if len(recent) == self._window:
                    scores.append(Score(word, sum(recent) / self._window))
        return scores

    def reset(self) -> None:
        """Forget the audio heard so far."""
        self._features.reset()
        for word, model in self._models.items():
            model.reset()
            self._recent[word].clear()

    def close(self) -> None:
        """Free the models."""
        for model in self._models.values():
            model.close()


def make(words: Sequence[str], *, window: int) -> MicroWakeWordDetector:
    """Return a detector; ``words`` are built-in names or paths of microWakeWord's JSON files."""
    from pymicro_wakeword import MicroWakeWord, Model

    models = {}
    for word in words:
        if "/" not in word:
            name, model = word, MicroWakeWord.from_builtin(Model(word))
        else:
            try:
                name, model = Path(word).stem, MicroWakeWord.from_config(word)
            except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
                raise DetectorError(
                    f"{word} is no microWakeWord model ({error}); give the path of its .json file, "
                    "with the .tflite beside it"
                ) from None
        # The package's own window gives a score of 0 until it is full and is fixed by the model's file.
        model.sliding_window_size = 1
        model._probabilities = deque(maxlen=1)  # noqa: SLF001 - its length is set once, in the constructor
        models[name] = model
    return MicroWakeWordDetector(models, window=window)
