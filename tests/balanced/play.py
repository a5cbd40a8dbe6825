"""A sender before the engine, in enforce: what of its speech leaves.

One process, virtual time, packets put together by hand, a cloud that acknowledges whatever passes. A sender
that is cut redials at once; what it does then is its temper.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import MuteEvent, MuteState
from guard.core.hold import Held
from guard.core.policy import Policy
from guard.core.verdict import Decision, Mode, Scope, Verdict
from tests import wire
from tests.balanced.senders import Cipher, Sender, Sent, Temper
from tests.conversation import DEVICE, Conversation
from tests.wire import ACK, SYN

SEGMENT_BYTES = 1400
REDIAL_S = 0.02
BEGIN_S = 1000.0
FIRST_PORT = 30_000
ATTEMPTS = 3  # of an eager Echo to say the same
SETTLED_S = 1.0  # nothing waits any longer


@dataclass(slots=True)
class Outcome:
    """What became of a sender's speech. Bytes are those of TCP payload with speech in it."""

    sent: int = 0
    left: int = 0
    connections: int = 0
    refused: int = 0  # connections cut
    first_refused_s: float | None = None
    left_before: int = 0  # the first refusal
    other: int = 0  # bytes without speech that left

    @property
    def share(self) -> float:
        """Return the share of its speech that left."""
        return self.left / self.sent if self.sent else 0.0


class Play:
    """One sender, one engine."""

    def __init__(self, policy: Policy, *, muted: bool, balanced: bool = True) -> None:
        self.engine = Engine(
            policy, {DEVICE: DeviceSettings(sensor=False, balanced=balanced)}, mode=Mode.ENFORCE
        )
        self.outcome = Outcome()
        self._now = BEGIN_S
        if muted:
            self.engine.receive_event(MuteEvent(self._now, MuteState.MUTED), device=DEVICE, now=self._now)
        self._line: Conversation | None = None  # that is up
        self._lines: list[Conversation] = []
        self._dial_at = -inf
        self._waiting: dict[int, tuple[Conversation, int, bool]] = {}

    def run(self, sender: Sender, *, seconds: float, temper: Temper, seed: int = 1) -> Outcome:
        """Play a sender; return what left."""
        for utterance in sender.speak(seed, seconds):
            self._utter(sender.cipher, utterance, temper)
        return self._finish()

    def run_one(self, cipher: Cipher, utterance: list[Sent]) -> Outcome:
        """Play a single utterance of a sender that gives up; return what left."""
        self._utter(cipher, utterance, Temper.GIVES_UP)
        return self._finish()

    def _finish(self) -> Outcome:
        self.advance(self._now + SETTLED_S)
        assert self.engine.engine_errors == 0
        assert not self._waiting
        return self.outcome

    def _utter(self, cipher: Cipher, utterance: list[Sent], temper: Temper) -> None:
        suite = cipher.suite
        for attempt in range(ATTEMPTS if temper is Temper.REPEATS else 1):
            late = max(0.0, self._now + REDIAL_S - BEGIN_S - utterance[0].at) if attempt else 0.0
            cut = self.outcome.refused
            for sent in utterance:
                record = wire.app_data(suite.get_length(sent.plaintext))
                if sent.speech and not attempt:
                    self.outcome.sent += len(record)
                self.advance(BEGIN_S + sent.at + late)
                if self.outcome.refused == cut or temper is Temper.GOES_ON:
                    self._send(cipher, record, speech=sent.speech)
            self.advance(self._now + SETTLED_S)
            if self.outcome.refused == cut:
                return

    def _send(self, cipher: Cipher, record: bytes, *, speech: bool) -> None:
        if self._line is None and self._now >= self._dial_at:
            self._line = self.dial(cipher)
        line = self._line
        if line is None:
            return
        for start in range(0, len(record), SEGMENT_BYTES):
            segment = record[start : start + SEGMENT_BYTES]
            answer = line.send(segment)
            if answer.verdict is Verdict.HOLD:
                self._waiting[self.engine.facts.packet_id] = (line, len(segment), speech)
            elif not self._settle(line, answer, len(segment), speech=speech):
                return

    def dial(self, cipher: Cipher) -> Conversation | None:
        """Open a connection and do its handshake; None where the gate refuses that."""
        outcome = self.outcome
        line = Conversation(self.engine, port=FIRST_PORT + outcome.connections, now=self._now)
        outcome.connections += 1
        self._lines = [*self._lines[-1:], line]
        new = cipher.number >> 8 == 0x13
        flight = wire.server_hello(cipher.number) + (
            wire.CCS + wire.app_data(1200) if new else wire.SERVER_FLIGHT_1_2
        )
        hello = wire.client_hello(versions=(wire.TLS_1_3, wire.TLS_1_2) if new else ())
        finish = wire.CCS + (wire.app_data(cipher.suite.finished_length) if new else wire.FINISHED_GCM)
        if not new:
            finish = wire.CLIENT_KEY_EXCHANGE + finish
        if line.send(flags=SYN).verdict is not Verdict.ACCEPT:
            self._dial_at = self._now + 1.0
            return None
        line.answer(flags=SYN | ACK)
        for payload, reply in ((hello, flight), (finish, b"")):
            if line.send(payload).verdict is not Verdict.ACCEPT:
                self._dial_at = self._now + 1.0
                return None
            line.answer(reply)
        return line

    def _settle(self, line: Conversation, answer: Decision, size: int, *, speech: bool) -> bool:
        """Count what left; drop the connection when it was refused for good. False when it is over."""
        outcome = self.outcome
        if answer.verdict is Verdict.ACCEPT:
            if speech:
                outcome.left += size
            else:
                outcome.other += size
            return True
        if outcome.first_refused_s is None and speech:
            outcome.first_refused_s = self._now - BEGIN_S
            outcome.left_before = outcome.left
        if answer.scope is Scope.FLOW and line is self._line:
            outcome.refused += 1
            self._line = None
            self._dial_at = self._now + REDIAL_S
        return self._line is line

    def advance(self, until: float) -> None:
        """Let time pass: timers are served when they are due; the cloud acknowledges what came."""
        engine = self.engine
        while (due := engine.get_timer()) is not None and due <= until:
            self._now = max(self._now, due)
            self._release(engine.handle_timer(now=self._now))
        self._now = max(self._now, until)
        for line in self._lines:
            line.now = self._now
        if self._line is not None and not self._waiting:
            self._line.answer()

    def _release(self, released: list[Held]) -> None:
        for held in released:
            packet_id, answer = held.packet_id, held.answer
            line, size, speech = self._waiting.pop(packet_id)
            self._settle(line, answer, size, speech=speech)


def play(
    sender: Sender, policy: Policy, *, seconds: float, temper: Temper, muted: bool = False, seed: int = 1
) -> Outcome:
    """Play ``sender`` under the balanced policy for so long."""
    return Play(policy, muted=muted).run(sender, seconds=seconds, temper=temper, seed=seed)
