"""The voice model's rows, read from captures by the gate's own engine.

Knows: that whoever stands in the model's place in the engine is shown exactly what the model is shown live.
Refuses to know: the vector (``guard.core.burst``), labels (``labels``), files other than captures.

    for row in iter_bursts(path, "c4:95:00:e3:93:2f"):  # a capture, its Echo's MAC or IP address
        row.vector  # FEATURES after a record

``iter_bursts(path: Path, device: str | None) -> Iterator[BurstRow]``: a row for each record of application
data that is as long as the two before it in its burst (no pause of a second on the connection): the gate asks
its model at those, until it says that this is a voice. ``device`` is None for one of the paper's tables, which
are read as packets (see ``paper_frames``). Rows of one burst share ``flow`` and ``began_at``; the last says
most. CaptureError for what cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from guard.capture import Capture
from guard.core.burst import FEATURES, MODEL_FEATURES
from guard.core.engine import Engine
from guard.core.policy import Policy
from guard.core.verdict import Decision, Direction, Mode
from guard.learning.paper_frames import DEVICE, PaperFrames
from guard.replay import Replay
from guard.rules import load_policy
from guard.selector import DeviceSelector
from guard.trace import Item

__all__ = ["FEATURES", "MODEL_FEATURES", "BurstRow", "iter_bursts"]


class BurstRow(NamedTuple):
    """A burst after one of its records. Times are seconds from the capture's first frame.

    ``certain``: by now the connection is in a run that the gate's certain rule calls a voice. ``on_lattice``:
    seconds since the first record of that run, or of what may become one; None where there is none.
    """

    flow: str
    began_at: float
    now: float
    certain: bool
    on_lattice: float | None
    run_bytes: int  # of records of a voice's length in that run
    vector: list[float]


class Onlooker:
    """Stands in the model's place and only looks on."""

    name = "onlooker"

    def __init__(self) -> None:
        self.vectors: list[list[float]] = []

    def is_voice(self, vector: Sequence[float]) -> bool:
        """Note the vector; nothing is a voice."""
        self.vectors.append(list(vector))
        return False


class _Witness:
    def __init__(self, engine: Engine, onlooker: Onlooker, rows: list[BurstRow]) -> None:
        self._engine = engine
        self._onlooker = onlooker
        self._rows = rows

    def see_packet(
        self, frame: int, time_ns: int, direction: Direction, decision: Decision, now: float
    ) -> None:
        vectors, self._onlooker.vectors = self._onlooker.vectors, []
        flow = self._engine.facts.flow
        if not vectors or flow is None or flow.conversation.burst is None:
            return
        voice = flow.conversation.voice
        going_on = voice is not None and now - voice.last_at <= 1.0
        for vector in vectors:
            self._rows.append(
                BurstRow(
                    flow.get_name(),
                    flow.conversation.burst.began_at,
                    now,
                    voice is not None and voice.is_voice(now),
                    now - voice.began_at if voice is not None and going_on else None,
                    voice.bytes if voice is not None and going_on else 0,
                    vector,
                )
            )

    def see_release(self, packet_id: int, decision: Decision, now: float) -> None:
        """Nothing that waits matters here."""

    def see_item(self, item: Item, now: float) -> None:
        """Nothing that happens matters here."""


def iter_bursts(path: Path, device: str | None) -> Iterator[BurstRow]:
    """Yield the rows of one capture, in the order of its frames; see the module."""
    onlooker = Onlooker()
    rows: list[BurstRow] = []
    policy: Policy = replace(load_policy(), voice=onlooker)
    frames = PaperFrames(path, None) if device is None else Capture(path)
    selector = DeviceSelector(DEVICE if device is None else device)
    run = Replay(frames, selector, policy, mode=Mode.MONITOR, balanced=True)
    run.witness = _Witness(run.engine, onlooker, rows)
    run.run()
    yield from rows
