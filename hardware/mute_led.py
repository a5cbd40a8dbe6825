"""From light to mute state: what the samples of one comparator mean.

Pure: samples and ``now`` (s) in, a ``MuteState`` out. It knows nothing of pins or polarity; ``lit`` is
True when the lamp shines, False when it is dark, None when the level could not be read.

| what is seen                                   | what is said                                       |
|---|---|
| at the start, or after a loss                  | unknown, until one level was stable for ``hold_s`` |
| dark, then lit for ``debounce_s``              | muted, at once: a mute is believed quickly         |
| lit for ``hold_s``                             | muted, settled: steady red                         |
| lit for less than ``hold_s``, then dark        | pulsing: the settled state from before it, kept    |
| lit again while pulsing                        | the settled state, until lit for ``hold_s``        |
| dark for ``hold_s``                            | unmuted, settled: an unmute is believed slowly     |
| no level stable for ``debounce_s`` in ``hold_s`` | unknown: flicker                                 |
| no sample for ``dead_s``, or one unreadable    | unknown: dead sensor                               |

``hold_s`` must be longer than the longest phase, lit or dark, of the Echo's pulse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from guard.core.event import MuteState


@dataclass(frozen=True, slots=True)
class Times:
    """How long is long; all in seconds."""

    debounce_s: float = 0.05
    hold_s: float = 1.5
    dead_s: float = 1.0


class MuteLed:
    """The decoder. Feed it every sample, edges and polls alike; ask ``get_timer`` when it wants the time."""

    def __init__(self, times: Times, *, now: float) -> None:
        self._times = times
        self._now = now
        self._heard = now
        self.state = MuteState.UNKNOWN  # what is said
        self.settled = MuteState.UNKNOWN  # the last steady state
        self.flickers = 0
        self.losses = 0
        self._raw: bool | None = None  # the last sample
        self._raw_since = now
        self._level: bool | None = None  # the debounced level
        self._level_since = now  # its first edge
        self._unstable_since = math.inf  # since when no level was stable
        self._pulsing = False

    def receive_level(self, lit: bool | None, *, now: float) -> MuteState:  # noqa: FBT001 - it is the sample itself
        """Take one sample and return the state that is said after it."""
        self.handle_time(now=now)
        if lit is None:
            self._lose()
            return self.state
        self._heard = self._now
        if lit is not self._raw:
            if self._level is not None:
                self._unstable_since = min(self._unstable_since, self._now)
            self._raw = lit
            self._raw_since = self._now
        return self.state

    def handle_time(self, *, now: float) -> MuteState:
        """Let time pass and return the state that is said now. Time that runs backwards stands still."""
        now = self._now = max(now, self._now)
        times = self._times
        if now >= self._heard + times.dead_s:  # as get_timer reckons, to the last bit
            self._lose()
            return self.state
        if self._raw is not None and now >= self._raw_since + times.debounce_s:
            self._unstable_since = math.inf
            if self._raw is not self._level:
                self._change_level(self._raw)
        if now >= self._unstable_since + times.hold_s:
            self.flickers += 1
            self._forget()
            self._unstable_since = now
        if self._level is not None and now >= self._level_since + times.hold_s:
            self._pulsing = False
            self.state = self.settled = MuteState.MUTED if self._level else MuteState.UNMUTED
        return self.state

    def get_timer(self) -> float:
        """Return when ``handle_time`` may say something new (s); inf when only a sample can."""
        times = self._times
        deadlines = [self._heard + times.dead_s if self._raw is not None else math.inf]
        if self._raw is not self._level:
            deadlines.append(self._raw_since + times.debounce_s)
            deadlines.append(self._unstable_since + times.hold_s)
        if self._level is not None:
            said = MuteState.MUTED if self._level else MuteState.UNMUTED
            if self.settled is not said or self._pulsing:
                deadlines.append(self._level_since + times.hold_s)
        return min(deadlines)

    def _change_level(self, lit: bool) -> None:  # noqa: FBT001 - it is the sample itself
        lit_for = self._raw_since - self._level_since
        was_lit = self._level
        self._level = lit
        self._level_since = self._raw_since
        if lit:
            if not self._pulsing and self.settled is not MuteState.UNKNOWN:
                self.state = MuteState.MUTED
        elif was_lit and lit_for < self._times.hold_s:
            self._pulsing = True
            self.state = self.settled

    def _lose(self) -> None:
        self.losses += self._raw is not None
        self._forget()

    def _forget(self) -> None:
        self.state = self.settled = MuteState.UNKNOWN
        self._raw = self._level = None
        self._raw_since = self._level_since = self._now
        self._unstable_since = math.inf
        self._pulsing = False
