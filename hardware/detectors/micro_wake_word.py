"""microWakeWord: small streaming models, their features and TensorFlow Lite inside one wheel.

Code and models are Apache-2.0. A score every 30 ms, averaged over ``window`` of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.detectors import Score
from hardware.errors import DetectorError

if TYPE_CHECKING:
    from pymicro_wakeword import MicroWakeWord


class MicroWakeWordDetector:
    """One feature front end, one model a word."""

    def __init__(self, models: dict[str, MicroWakeWord]) -> None:
        from pymicro_wakeword import MicroWakeWordFeatures

        self._features = MicroWakeWordFeatures()
        self._models = models

    def receive_audio(self, audio: bytes) -> Sequence[Score]:
        """Return the scores that became known with ``audio``."""
        scores = []
        for features in self._features.process_streaming(audio):
            for word, model in self._models.items():
                score = model.process_streaming_prob(features)
                if score is None:
                    raise DetectorError(f"microwakeword lost its model of {word}; it is made anew")
                if score > 0.0:  # the package says 0 for "not yet" as well
                    scores.append(Score(word, score))
        return scores

    def reset(self) -> None:
        """Forget the audio heard so far."""
        self._features.reset()
        for model in self._models.values():
            model.reset()

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
        # The window comes from the model's file and can be set by the constructor only.
        models[name] = MicroWakeWord(
            model.id,
            wake_word=model.wake_word,
            tflite_model=model.tflite_model,
            probability_cutoff=model.probability_cutoff,
            sliding_window_size=window,
            trained_languages=model.trained_languages,
            libtensorflowlite_c_path=model.libtensorflowlite_c_path,
        )
        model.close()
    return MicroWakeWordDetector(models)
