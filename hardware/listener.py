"""A microphone, one detector a channel, and what becomes of them when something breaks.

Runs on a thread of its own, so that no detector delays the mute LED. It hands over what it heard, never
audio. Whatever breaks (device gone, stalled, all zeros, detector dead) is said once, counted, and tried
again with growing pauses, without a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hardware import canary
from hardware.audio import Block, Microphone
from hardware.detectors import Detector
from hardware.errors import DetectorError, HardwareError
from hardware.inbox import Frame, Hearing, Inbox, Scored, Trouble
from hardware.wav import BLOCK_BYTES

FIRST_PAUSE_S = 0.5
LAST_PAUSE_S = 10.0
HEALTHY_S = 30.0  # after so long without a fault the pauses are short again
ZEROS_S = 10.0  # no microphone is as silent as a row of zeros for so long


@dataclass(frozen=True, slots=True)
class Ears:
    """How one Echo is listened to."""

    open_microphone: Callable[[], Microphone]
    make_detector: Callable[[], Detector]  # one for each channel
    is_speech: Callable[[bytes], bool] | None  # of 20 ms, on the first channel; None: voice is not followed
    threshold: float
    voice_s: float = 20.0  # after a wake word voice is followed so long
    one_channel: bool = False  # the detector is asked about the first channel only
    canary_s: float | None = None  # between two checks of the detector; 0: at the start only, None: never
    waits: bool = False  # the detector answers from elsewhere, later
    zeros_s: float = ZEROS_S


class Listener:
    """Listens until ``stop``; ``run`` is the thread's whole life."""

    def __init__(self, ears: Ears, inbox: Inbox) -> None:
        self._ears = ears
        self._inbox = inbox
        self._stop = threading.Event()
        self._microphone: Microphone | None = None
        self._detectors: list[Detector] = []
        self._spare: Detector | None = None  # the canary's, so that a check never makes the others deaf
        self._opened = 0.0
        self._checked = 0.0
        self._heard_sound = 0.0
        self._voice_until = 0.0
        self._hears = False
        self._overruns = 0
        self._pause_s = FIRST_PAUSE_S
        self.audio_s = 0.0
        self.lost = 0  # how often the microphone or the detector broke
        self.overruns = 0

    @property
    def microphone(self) -> Microphone | None:
        """Return the microphone while it is open."""
        return self._microphone

    def run(self) -> None:
        """Open, listen, recover; until stopped."""
        while not self._stop.is_set():
            try:
                self._listen()
            except HardwareError as error:
                self.lost += 1
                self._say_hearing(hears=False)
                self._inbox.put(Trouble("microphone", str(error)))
                self._stop.wait(self._pause_s)
                self._pause_s = min(2 * self._pause_s, LAST_PAUSE_S)
            finally:
                self.close()

    def stop(self) -> None:
        """End ``run`` soon; from another thread."""
        self._stop.set()
        microphone = self._microphone
        if microphone is not None:
            microphone.interrupt()

    def open(self, channels: int, *, now: float) -> None:
        """Make and check a detector for each channel."""
        ears = self._ears
        used = 1 if ears.one_channel else channels
        while len(self._detectors) < used:
            self._detectors.append(ears.make_detector())
        if ears.canary_s is not None:
            self._spare = ears.make_detector()
            for detector in (*self._detectors, self._spare):
                self._check(detector)
        self._opened = self._checked = self._heard_sound = now

    def close(self) -> None:
        """Let go of everything."""
        microphone, self._microphone = self._microphone, None
        if microphone is not None:
            self.overruns += microphone.overruns - self._overruns
            self._overruns = 0
            microphone.close()
        spare = [] if self._spare is None else [self._spare]
        for detector in (*self._detectors, *spare):
            detector.close()
        self._detectors, self._spare = [], None

    def hear(self, block: Block) -> Sequence[Scored | Frame]:
        """Return what is heard in ``block``: scores that reach the threshold, and frames of voice."""
        found: list[Scored | Frame] = []
        self.audio_s += block.seconds
        for channel, (detector, audio) in enumerate(
            zip(self._detectors, block.channels, strict=False), start=1
        ):
            found += [
                Scored(word, score, block.end, f"microphone {channel}")
                for word, score in detector.receive_audio(audio)
                if score >= self._ears.threshold
            ]
        if found:
            self._voice_until = block.end + self._ears.voice_s
        if self._ears.is_speech is not None and block.end < self._voice_until:
            first = block.channels[0]
            count = len(first) // BLOCK_BYTES
            for number in range(count):
                piece = first[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]
                end = block.end - (count - 1 - number) * block.seconds / count
                found.append(Frame(self._ears.is_speech(piece), end))
        return found

    def _listen(self) -> None:
        microphone = self._microphone = self._ears.open_microphone()
        block = microphone.read()
        if block is None:
            return
        self.open(len(block.channels), now=block.end)
        self._inbox.put(
            Trouble("microphone", f"listens to {microphone.name}, {len(block.channels)} channels")
        )
        while block is not None and not self._stop.is_set():
            self._inbox.put(*self.hear(block))
            self._watch(microphone, block)
            block = microphone.read()

    def _watch(self, microphone: Microphone, block: Block) -> None:
        ears = self._ears
        if microphone.overruns != self._overruns:
            lost, self._overruns = microphone.overruns - self._overruns, microphone.overruns
            self.overruns += lost
            self._inbox.put(Trouble("microphone", f"{microphone.name}: {lost} overruns, samples were lost"))
        if any(samples.strip(b"\0") for samples in block.channels):
            self._heard_sound = block.end
        elif block.end - self._heard_sound > ears.zeros_s:
            self._heard_sound = block.end
            raise HardwareError(
                f"the microphone {microphone.name} gives nothing but zeros; unmute it in `alsamixer`, F4"
            )
        self._say_hearing(hears=True)
        if block.end - self._opened > HEALTHY_S:
            self._pause_s = FIRST_PAUSE_S
        if ears.canary_s and self._spare is not None and block.end - self._checked >= ears.canary_s:
            self._checked = block.end
            self._check(self._spare)

    def _check(self, detector: Detector) -> None:
        try:
            canary.check(
                detector, threshold=self._ears.threshold, wait=self._stop.wait if self._ears.waits else None
            )
        except DetectorError:
            if not self._stop.is_set():
                raise

    def _say_hearing(self, *, hears: bool) -> None:
        if hears is not self._hears:
            self._hears = hears
            self._inbox.put(Hearing(hears))
