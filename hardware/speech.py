"""Voice activity through WebRTC's detector: 0.0001 CPU seconds a second of audio, its model bundled."""

from __future__ import annotations

import sys
from collections.abc import Callable

from hardware.audio import RATE
from hardware.errors import DetectorError

AGGRESSIVENESS = 2  # of 0..3: 3 misses quiet speech, 0 takes noise for it


def make_speech_test() -> Callable[[bytes], bool]:
    """Return a function that tells whether 20 ms of audio sound like speech."""
    try:
        import webrtcvad
    except ImportError:
        raise DetectorError(
            f"webrtcvad is not installed; {sys.executable} -m pip install 'wakeguard[sense]'"
        ) from None
    vad = webrtcvad.Vad(AGGRESSIVENESS)

    def is_speech(audio: bytes) -> bool:
        return bool(vad.is_speech(audio, RATE))

    return is_speech
