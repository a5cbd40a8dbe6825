"""The voice model's rows, read from captures by the gate's own engine.

Knows: that whoever stands in the model's place in the engine is shown exactly what the model is shown live.
Refuses to know: the vector (``guard.core.burst``), labels (``examples``), files other than captures.

    from guard.learning.features import FEATURES, iter_bursts

    for row in iter_bursts(path, "c4:95:00:e3:93:2f"):  # a capture, its Echo's MAC or IP address
        row.vector  # FEATURES after a record

``iter_bursts(path: Path, device: str | None) -> Iterator[BurstRow]``: a row for each record of application
data that is as long as the four before it in its burst (no pause of a second on the connection): the gate
asks its model at those, until it says that this is a voice. ``device`` is None for one of the paper's tables,
that is read as packets (see ``paper_frames``). Rows of one burst share ``flow`` and ``began_at``; the last
says most. CaptureError for what cannot be read.

``watch_bursts`` hands each row on as it comes and keeps none of them: its memory is flat in the capture's
size. ``read_capture`` keeps them all, for those who must look at them together.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from guard.capture import Capture
from guard.core.burst import FEATURES, MODEL_FEATURES, Burst
from guard.core.engine import Engine
from guard.core.verdict import Decision, Direction, Mode, PacketClass
from guard.learning.paper_frames import DEVICE, PaperFrames
from guard.replay import Replay
from guard.rules import load_policy
from guard.selector import DeviceSelector
from guard.trace import Item

__all__ = [
    "FEATURES",
    "MAX_FLOWS",
    "MODEL_FEATURES",
    "BurstRow",
    "Reading",
    "RunRow",
    "iter_bursts",
    "read_capture",
    "watch_bursts",
]

MAX_FLOWS = 8192  # remembered at once; the engine knows 4096 connections of a device at most


class RunRow(NamedTuple):
    """A run of voice-size records at the moment when the certain rule called it a voice.

    ``run_bytes``: what it had sent after its first record.
    """

    flow: str
    began_at: float
    now: float
    run_bytes: int


class BurstRow(NamedTuple):
    """A burst after one of its records. Times are seconds from the capture's first frame.

    ``certain``: by now the connection is in a run that the gate's certain rule calls a voice. ``on_lattice``:
    seconds since the first record of that run, or of what may become one, None where there is none;
    ``run_bytes``: what it has sent by now after that record. ``called``: the burst's first run that the
    certain rule has called a voice by now.
    """

    flow: str
    began_at: float
    now: float
    certain: bool
    on_lattice: float | None
    run_bytes: int
    vector: list[float]
    called: RunRow | None = None


@dataclass(slots=True)
class Reading:
    """What a capture holds for the detectors.

    ``seconds``: (flow, second) -> bytes of application data, upstream. ``unheard``: bursts of speech from
    before a wake word (nothing in a capture says that one was heard). ``duration_s``: from the device's first
    packet to its last.
    """

    rows: list[BurstRow] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    seconds: Counter[tuple[str, int]] = field(default_factory=Counter)
    unheard: int = 0
    duration_s: float = 0.0


class Onlooker:
    """Stands in the model's place and only looks on."""

    name = "onlooker"

    def __init__(self) -> None:
        self._vectors: list[list[float]] = []

    def is_voice(self, vector: Sequence[float]) -> bool:
        """Note the vector; nothing is a voice."""
        self._vectors.append(list(vector))
        return False

    def take(self) -> list[list[float]]:
        """Return what was noted since the last call."""
        taken, self._vectors = self._vectors, []
        return taken


TakeRow = Callable[[BurstRow], object]


class _Witness:
    """Hands each row to ``take``; with ``reading`` it notes there what else the capture holds."""

    def __init__(self, engine: Engine, onlooker: Onlooker, take: TakeRow, reading: Reading | None) -> None:
        self._engine = engine
        self._onlooker = onlooker
        self._take = take
        self._reading = reading
        # flow -> when the run began that was called a voice last, and the first of its burst that was
        self._called: OrderedDict[str, tuple[float, RunRow]] = OrderedDict()
        self._first: float | None = None

    def see_packet(
        self, frame: int, time_ns: int, direction: Direction, decision: Decision, now: float
    ) -> None:
        reading = self._reading
        if self._first is None:
            self._first = now
        if reading is not None:
            reading.duration_s = now - self._first
        vectors = self._onlooker.take()
        facts = self._engine.facts
        flow = facts.flow
        if direction is not Direction.UPSTREAM or flow is None:
            return
        name = flow.get_name()
        if reading is not None and decision.packet_class is PacketClass.APP_DATA:
            reading.seconds[name, int(now)] += facts.payload_bytes
        voice, burst = flow.conversation.voice, flow.conversation.burst
        certain = voice is not None and voice.is_voice(now)
        if voice is not None and certain:
            self._note_run(RunRow(name, voice.began_at, now, voice.bytes - voice.first_bytes), burst)
        if burst is None:
            return
        current = voice is not None and voice.last_at >= burst.began_at
        on_lattice = now - voice.began_at if voice is not None and current else None
        run_bytes = voice.bytes - voice.first_bytes if voice is not None and current else 0
        called = self._called[name][1] if vectors and name in self._called else None
        if called is not None and called.now < burst.began_at:
            called = None  # that was in a burst before
        for vector in vectors:
            self._take(BurstRow(name, burst.began_at, now, certain, on_lattice, run_bytes, vector, called))

    def _note_run(self, run: RunRow, burst: Burst | None) -> None:
        """Note a run that is a voice, unless it is the one of the packet before."""
        last, first = self._called.pop(run.flow, (None, run))
        if run.began_at != last and self._reading is not None:
            self._reading.runs.append(run)
        if run.began_at != last and (burst is None or first.now < burst.began_at):
            first = run
        self._called[run.flow] = run.began_at, first
        if len(self._called) > MAX_FLOWS:
            self._called.popitem(last=False)

    def see_release(self, packet_id: int, decision: Decision, now: float) -> None:
        """Nothing that waits matters here."""

    def see_item(self, item: Item, now: float) -> None:
        """Nothing that happens matters here."""


def watch_bursts(path: Path, device: str | None, take: TakeRow) -> None:
    """Hand each row of one capture to ``take``, in the order of its frames; keep none of them."""
    _replay(path, device, take, None)


def read_capture(path: Path, device: str | None) -> Reading:
    """Return what one capture holds; ``device`` as for ``iter_bursts``."""
    reading = Reading()
    run = _replay(path, device, reading.rows.append, reading)
    reading.unheard = run.engine.get_status(run.device, now=reading.duration_s).unheard_wakes
    return reading


def iter_bursts(path: Path, device: str | None) -> Iterator[BurstRow]:
    """Yield the rows of one capture, in the order of its frames; see the module."""
    yield from read_capture(path, device).rows


def _replay(path: Path, device: str | None, take: TakeRow, reading: Reading | None) -> Replay:
    onlooker = Onlooker()
    policy = replace(load_policy(), voice=onlooker)
    frames = PaperFrames(path, None) if device is None else Capture(path)
    selector = DeviceSelector(DEVICE if device is None else device)
    run = Replay(frames, selector, policy, mode=Mode.MONITOR, balanced=True)
    run.witness = _Witness(run.engine, onlooker, take, reading)
    run.run()
    return run
