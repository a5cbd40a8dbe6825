"""Scores of many channels in, wake events out.

Pure. It knows a threshold and a refractory time; it does not know where scores come from. Any channel
fires: over four simulated microphones that was measured best for its cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from guard.core.event import WakeEvent


@dataclass(slots=True)
class WakeWord:
    """The one decision, whether a wake word was just said.

    A word fires when its score reaches ``threshold`` on any channel, once; it can fire again after
    ``refractory_s`` in which no channel reached the threshold. A detector stuck at "yes" fires once.
    """

    threshold: float
    refractory_s: float
    fired: int = 0
    suppressed: int = 0  # scores that reached the threshold within the refractory time
    _reached: dict[str, float] = field(default_factory=dict)  # word -> when a channel last reached it

    def receive_score(self, word: str, score: float, *, now: float, source: str) -> WakeEvent | None:
        """Return the wake event that ``score`` of ``word`` makes, if any; ``now`` (s) is the audio's time."""
        if score < self.threshold:
            return None
        last = self._reached.get(word)
        self._reached[word] = now if last is None else max(last, now)
        if last is not None and now - last < self.refractory_s:
            self.suppressed += 1
            return None
        self.fired += 1
        return WakeEvent(now, word, min(1.0, score), source)
