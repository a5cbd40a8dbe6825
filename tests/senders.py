"""Senders that the detector was not made for, and what of their speech leaves before it is refused.

Knows: how each would cut speech into records. Each speaks for SPEECH_S on a fresh connection, nobody said a
wake word, under the balanced policy; what passes is what the engine accepts of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from guard.core.verdict import Verdict
from tests import wire
from tests.waiting import HELD, Waiting

SPEECH_S = 20.0
SEGMENT = 1460
_GCM, _TLS_1_3 = 24, 17  # what a record adds to its plaintext

Rows = Iterator[tuple[float, int]]  # seconds since the last record, record length


@dataclass(frozen=True, slots=True)
class Sender:
    """One way to send speech; ``rate`` is bytes of speech a second."""

    what: str
    rate: float
    rows: Callable[[Random], Rows]
    new: bool = False  # TLS 1.3
    suite: int = 0xC02F


def steady(frame: int, gap_s: float, overhead: int = _GCM) -> Callable[[Random], Rows]:
    def rows(_draw: Random) -> Rows:
        while True:
            yield gap_s, frame + overhead

    return rows


def varying(low: int, high: int, gap_s: float, overhead: int = _GCM) -> Callable[[Random], Rows]:
    def rows(draw: Random) -> Rows:
        while True:
            yield gap_s, draw.randint(low, high) + overhead

    return rows


SENDERS = (
    Sender("Opus, 32 kbit/s, as measured", 4000, steady(89, 0.02)),
    Sender("the same under ChaCha20", 4000, steady(89, 0.02, 16), suite=0xCCA8),
    Sender("the same under TLS 1.3", 4000, steady(89, 0.02, _TLS_1_3), new=True),
    Sender("64 kbit/s in SPDY, as measured", 8000, steady(408, 0.05)),
    Sender("LPCM, as measured", 32000, steady(1033, 0.032)),
    Sender("a codec nobody has measured: 24 kbit/s, 20 ms", 3000, steady(9 + 61, 0.02)),
    Sender("the same, 60 ms in a record", 3000, steady(9 + 181, 0.06)),
    Sender("6 kbit/s, 20 ms", 750, steady(9 + 15, 0.02)),
    Sender("6 kbit/s, half a second in a record", 750, steady(9 + 375, 0.5)),
    Sender("variable rate, 16 to 48 kbit/s", 4000, varying(49, 129, 0.02)),
    Sender("records padded to random lengths", 4000, varying(89, 600, 0.02)),
    Sender("four seconds of 32 kbit/s in one record of 16 kB", 4000, steady(16000, 4.0)),
    Sender(
        "the same under TLS 1.3, padded to random lengths", 4000, varying(89, 600, 0.02, _TLS_1_3), new=True
    ),
)


def send(sender: Sender) -> tuple[int, bool]:
    """Return how many bytes leave, and whether it was recognised as a voice."""
    talk = Waiting(balanced=True, policy=HELD)
    if sender.new:
        talk.establish_1_3()
    else:
        hello = {"hello": wire.server_hello(sender.suite) + wire.SERVER_FLIGHT_1_2}
        finished = wire.record(22, bytes(32 if sender.suite == 0xCCA8 else 40))
        talk.open()
        talk.up(wire.client_hello())
        talk.down(hello["hello"])
        talk.up(wire.CLIENT_KEY_EXCHANGE + wire.CCS + finished)
        talk.down(wire.CCS + finished)
    sizes: dict[int, int] = {}
    left, begin = 0, talk.now
    for gap_s, length in sender.rows(Random(1)):
        if talk.now - begin >= SPEECH_S:
            break
        record = wire.app_data(length)
        for start in range(0, len(record), SEGMENT):
            answer = talk.send(record[start : start + SEGMENT])
            size = len(record[start : start + SEGMENT])
            sizes[talk.engine.facts.packet_id] = size
            left += size if answer.verdict is Verdict.ACCEPT else 0
        talk.ack()
        talk.wait(gap_s)
    talk.wait(2.0)
    left += sum(sizes.get(number, 0) for number, words in talk.released if words.split()[2] == Verdict.ACCEPT)
    status = talk.engine.get_status(talk.device, now=talk.now)
    return left, status.voice_refusals > 0
