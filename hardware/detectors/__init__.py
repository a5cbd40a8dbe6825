"""Wake-word detectors behind one small Protocol, and the table of those there are.

A detector gets 16 kHz mono 16-bit audio in blocks of any length and says how sure it is of each word.
It keeps no time and decides nothing: threshold and refractory time are ``hardware.wake_word``'s. One
detector serves one channel. To offer another one, write a module with a ``make`` function of
``make_detector``'s signature and give it a row here; nothing else changes.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from hardware.errors import DetectorError


class Score(NamedTuple):
    """How sure a detector is (0..1) that ``word`` has just been said."""

    word: str
    score: float


class Detector(Protocol):
    """What hears words in one channel."""

    def receive_audio(self, audio: bytes) -> Sequence[Score]:
        """Return the scores that became known with ``audio``, in order; DetectorError when it has died."""

    def reset(self) -> None:
        """Forget the audio heard so far, as after a gap."""

    def close(self) -> None:
        """Free what it holds."""


class DetectorRow(NamedTuple):
    """A detector on offer: where it lives, what installs it, its words, and when it is sure."""

    module: str
    extra: str  # of pip: wakeguard[EXTRA]
    words: tuple[str, ...]  # with a model in the package; a path to a model file does as well
    threshold: float
    window: int  # scores averaged; 1 where the detector does not average
    licence: str  # of the models, which may differ from the code's


DETECTORS: Mapping[str, DetectorRow] = {
    "microwakeword": DetectorRow(
        "hardware.detectors.micro_wake_word",
        "sense",
        ("alexa", "hey_jarvis", "hey_mycroft", "okay_nabu"),
        threshold=0.7,
        window=2,
        licence="Apache-2.0",
    ),
    "openwakeword": DetectorRow(
        "hardware.detectors.open_wake_word",
        "openwakeword",
        ("alexa", "hey_jarvis", "hey_mycroft", "hey_rhasspy", "okay_nabu"),
        threshold=0.5,
        window=1,
        licence="CC BY-NC-SA 4.0",
    ),
    "head": DetectorRow(
        "hardware.detectors.head",
        "sense",
        ("alexa",),
        threshold=0.7,
        window=2,
        licence="Apache-2.0",
    ),
}
DEFAULT_DETECTOR = "head"
EVERYWHERE = "microwakeword"  # has wheels for 32 bits, too


def list_unknown(name: str, words: Sequence[str]) -> list[str]:
    """Return those of ``words`` that detector ``name`` has no model for; a path is taken as one."""
    return [word for word in words if word not in DETECTORS[name].words and "/" not in word]


def make_detector(name: str, words: Sequence[str], *, window: int | None = None) -> Detector:
    """Return a detector of ``words`` (names of the table, or paths of model files) for one channel.

    ``window``: scores to average, the table's when None. DetectorError says what to install or write.
    """
    row = DETECTORS.get(name)
    if row is None:
        raise DetectorError(f'no detector "{name}"; use {" or ".join(DETECTORS)}')
    try:
        make: Callable[..., Detector] = importlib.import_module(row.module).make
        return make(words, window=window or row.window)
    except ImportError as error:
        other = "" if name == EVERYWHERE else f', or use sense.wake.detector = "{EVERYWHERE}"'
        raise DetectorError(
            f"the detector {name} is not installed ({error}); "
            f"{sys.executable} -m pip install 'wakeguard[{row.extra}]'{other}"
        ) from None
