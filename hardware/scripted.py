"""A room without hardware: what happens to the lamp and who speaks, written down.

A script has one step a line: ``[SECONDS] lit|unlit|broken|play``. ``broken`` is a pin that cannot be read;
``play`` plays the microphone's file. A step without seconds happens when its line is read, so that a script
on standard input is a remote control. ``#`` begins a comment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from hardware.errors import HardwareError


class Action(StrEnum):
    """What can happen."""

    LIT = "lit"
    UNLIT = "unlit"
    BROKEN = "broken"
    PLAY = "play"


class Step(NamedTuple):
    """An action at ``t`` seconds from the start; None: at once."""

    t: float | None
    action: Action


# Long enough for the decoder to settle before somebody speaks.
DEFAULT_SCRIPT = (Step(0.0, Action.UNLIT), Step(2.0, Action.PLAY))


def parse_step(line: str) -> Step | None:
    """Return the step in ``line``, None for an empty one; HardwareError when it is none."""
    words = line.partition("#")[0].split()
    if not words:
        return None
    try:
        t = float(words[0]) if len(words) == 2 else None
        if len(words) > 2 or (t is not None and not 0.0 <= t < math.inf):
            raise ValueError
        return Step(t, Action(words[-1]))
    except ValueError:
        raise HardwareError(
            f"script line {line.strip()!r} is no step; write [SECONDS] {'|'.join(Action)}, such as `2.5 lit`"
        ) from None


def parse_script(lines: Iterable[str]) -> tuple[Step, ...]:
    """Return the steps of a whole script in the order of their times, those without one at the start."""
    steps = [step for line in lines if (step := parse_step(line)) is not None]
    return tuple(sorted(steps, key=lambda step: step.t or 0.0))


class ScriptedLamp:
    """A Lamp that is what the script last said; unreadable before it has said anything."""

    def __init__(self) -> None:
        self._lit: bool | None = None

    def apply(self, action: Action) -> None:
        """Let a step happen to the lamp; ``play`` is none of its business."""
        if action is not Action.PLAY:
            self._lit = {Action.LIT: True, Action.UNLIT: False}.get(action)

    def read(self) -> bool | None:
        """Return whether the lamp is lit."""
        return self._lit

    def close(self) -> None:
        """Do nothing: there is no pin."""
