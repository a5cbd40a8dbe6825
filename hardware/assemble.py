"""From settings to parts: which sensor, which ears, which lamp.

Nothing is opened here but by the functions that the parts call when they want it, again and again.
"""

from __future__ import annotations

from collections.abc import Callable

from hardware import canary
from hardware.arecord import ArecordMicrophone
from hardware.audio import Microphone
from hardware.config import NO_PIN, SenseSettings
from hardware.detectors import DETECTORS, Detector, make_detector
from hardware.errors import DetectorError
from hardware.listener import ZEROS_S, Ears
from hardware.microphones import choose_plan
from hardware.mute_led import MuteLed, Times
from hardware.sensor import Sensor
from hardware.speech import make_speech_test
from hardware.voice import Voice, VoiceTimes
from hardware.wake_word import WakeWord
from hardware.wyoming import WyomingDetector

REMOTE_THRESHOLD = 0.5  # a server or satellite has decided already: its detections come with a score of 1


def make_sensor(settings: SenseSettings, *, scripted: bool, now: float) -> Sensor:
    """Return the sensor; ``scripted``: there is a lamp whatever the settings say."""
    led, wake, voice = settings.mute_led, settings.wake, settings.voice
    watched = scripted or led.pin != NO_PIN
    return Sensor(
        MuteLed(Times(led.debounce_s, led.hold_s, led.dead_s), now=now) if watched else None,
        WakeWord(get_threshold(settings), wake.refractory_s),
        Voice(VoiceTimes(voice.silence_s, voice.max_s)) if voice.enabled else None,
        now=now,
    )


def make_ears(
    settings: SenseSettings,
    open_microphone: Callable[[], Microphone],
    report: Callable[[str], object],
    *,
    from_file: bool,
) -> Ears:
    """Return how to listen. ``from_file``: the silence of a WAV file is no sign of a broken microphone."""
    wake = settings.wake
    remote = wake.source == "wyoming"
    is_speech = None
    if settings.voice.enabled:
        try:
            is_speech = make_speech_test()
        except DetectorError as error:
            report(f"voice after the wake word is not followed: {error}")

    def make() -> Detector:
        if remote:
            return WyomingDetector(wake.host, wake.port, wake.words)
        return make_detector(wake.detector, wake.words, window=wake.window)

    known = canary.WORD in wake.words
    if not known:
        report(f'the detector is not checked: there is no recorded clip but of "{canary.WORD}"')
    return Ears(
        open_microphone=open_microphone,
        make_detector=make,
        is_speech=is_speech,
        threshold=get_threshold(settings),
        voice_s=settings.voice.max_s,
        one_channel=remote,
        canary_s=wake.canary_s if known else None,
        waits=remote,
        zeros_s=float("inf") if from_file else ZEROS_S,
    )


def get_threshold(settings: SenseSettings) -> float:
    """Return the threshold that is in force: the owner's, or the detector's own."""
    wake = settings.wake
    if wake.threshold is not None:
        return wake.threshold
    return DETECTORS[wake.detector].threshold if wake.source == "detector" else REMOTE_THRESHOLD


def open_alsa(settings: SenseSettings) -> Microphone:
    """Return the configured microphone, recording."""
    return ArecordMicrophone(choose_plan(settings.microphone), stall_s=settings.microphone.stall_s)
