"""A song that plays on after its command: for how long may it ask for the next piece?

The pace is that of the one streaming capture there is (2022): a request of 456 bytes every 3.4 s. It was
HTTP on port 80, which needs an endpoint row; here it is TLS, on a connection that the interaction opened.
"""

from __future__ import annotations

from dataclasses import dataclass

from guard.core.event import WakeEvent
from guard.core.policy import Policy
from guard.core.verdict import Verdict
from tests import wire
from tests.balanced.play import BEGIN_S, Play
from tests.balanced.senders import GCM
from tests.conversation import DEVICE

REQUEST_BYTES, EVERY_S = 456, 3.4
HASTY_S = 0.8  # nobody was seen to ask so often


@dataclass(frozen=True, slots=True)
class Streamed:
    """For how long a song played (s), and whether it could have gone on."""

    seconds: float
    whole: bool


def stream(policy: Policy, *, balanced: bool, seconds: float, every: float = EVERY_S) -> Streamed:
    """Play a song of ``seconds`` after a wake word, a request ``every`` s; return how far it came."""
    stage = Play(policy, muted=False, balanced=balanced)
    stage.engine.receive_event(WakeEvent(BEGIN_S, "alexa"), device=DEVICE, now=BEGIN_S)
    line = stage.dial(GCM)
    assert line is not None
    at = 1.0
    while at < seconds:
        stage.advance(BEGIN_S + at)
        answer = line.send(wire.app_data(GCM.suite.get_length(REQUEST_BYTES)))
        if answer.verdict is not Verdict.ACCEPT:
            return Streamed(at, whole=False)
        line.answer(wire.app_data(1400))
        at += every
    return Streamed(seconds, whole=True)
