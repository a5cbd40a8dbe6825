"""Play scenes to a detector as ``sense`` would, in blocks of 20 ms, and keep what it answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from guard.core.event import WakeEvent
from hardware.audio import RATE, SAMPLE_BYTES
from hardware.detectors import Detector
from hardware.detectors.embedding import STEP_BYTES
from hardware.wake_word import WakeWord
from hardware.wav import BLOCK_BYTES, cut_blocks
from tests.audio_bench.scenes import Scene

REFRACTORY_S = 1.0
LATE_S = 1.0  # after the end of the word an event is too late to be its
KEPT = 0.05  # lower scores are of no use to anybody

Trace = Sequence[tuple[float, float]]  # (seconds into the scene, score)


@dataclass(slots=True)
class Heard:
    """What one detector answered to the scenes of one condition."""

    traces: list[Trace] = field(default_factory=list)
    scenes: list[tuple[float, float, float]] = field(default_factory=list)  # seconds: length, start, end

    @property
    def audio_s(self) -> float:
        """Return how long all scenes are together."""
        return sum(length for length, _, _ in self.scenes)


def listen(made: Iterable[Scene], detector_of: Callable[[int], Detector]) -> Heard:
    """Play every scene to the detector for its fold."""
    heard = Heard()
    for scene in made:
        detector = detector_of(scene.fold)
        detector.reset()
        trace = []
        audio = scene.to_bytes()
        for block in cut_blocks((audio,), start=0.0):
            for _, score in detector.receive_audio(block.channels[0]):
                if score >= KEPT:
                    trace.append((round(block.end, 3), round(score, 4)))
        heard.traces.append(trace)
        heard.scenes.append((-(-len(audio) // BLOCK_BYTES) * 0.02, scene.start / RATE, scene.end / RATE))
    return heard


def listen_at_once(made: Iterable[Scene], detector_of: Callable[[int], Detector], *, first: int) -> Heard:
    """Do as ``listen`` with a head, in half the time: its score number n is known after 80 ms x (n + first).

    80 ms are four blocks, so the times are those of ``listen``.
    """
    heard = Heard()
    for scene in made:
        detector = detector_of(scene.fold)
        detector.reset()
        audio = b"".join(block.channels[0] for block in cut_blocks((scene.to_bytes(),), start=0.0))
        scores = detector.receive_audio(audio)
        ends = [
            round((number + first) * STEP_BYTES / SAMPLE_BYTES / RATE, 3) for number in range(len(scores))
        ]
        answers = zip(ends, scores, strict=True)
        heard.traces.append([(end, round(one.score, 4)) for end, one in answers if one.score >= KEPT])
        heard.scenes.append((len(audio) // BLOCK_BYTES * 0.02, scene.start / RATE, scene.end / RATE))
    return heard


def find_events(traces: Sequence[tuple[Trace, float]]) -> list[float]:
    """Return when an event would be sent: any of several traces reaches its threshold."""
    scores = sorted((at, score >= threshold) for trace, threshold in traces for at, score in trace)
    decision = WakeWord(0.5, REFRACTORY_S)
    events = [decision.receive_score("alexa", float(reached), now=at, source="") for at, reached in scores]
    return [event.t for event in events if isinstance(event, WakeEvent)]


def find_delay(events: Sequence[float], start: float, end: float) -> float | None:
    """Return the seconds from the end of the word to its event; None when there is none."""
    return next((at - end for at in events if start <= at <= end + LATE_S), None)


def get_share_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson)."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, hits / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (middle - half) / (1 + z * z / count)), min(1.0, (middle + half) / (1 + z * z / count))


def get_highest_mean(count: int) -> float:
    """Return the highest mean under which ``count`` events or fewer still come once in twenty times."""
    low, high = 0.0, 10.0 * (count + 1)
    for _ in range(60):
        mean = (low + high) / 2
        chance = sum(math.exp(-mean) * mean**k / math.factorial(k) for k in range(count + 1))
        low, high = (mean, high) if chance > 0.05 else (low, mean)
    return high
