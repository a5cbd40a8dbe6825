"""What a table is built from: one capture, its device, and what was going on.

Knows: captures and the paper's own tables, the events and the condition that explain them. Refuses to know:
columns. It is plain values, so that it can be sent to another process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from guard.capture import Capture, Frame
from guard.core.event import MuteEvent, MuteState
from guard.errors import CaptureError
from guard.household import explain_absence
from guard.learning.paper_frames import DEVICE, PaperFrames
from guard.learning.paper_table import CONDITIONS, is_paper_table
from guard.replay import Replay, Witness
from guard.selector import DeviceSelector
from guard.trace import Entry, Trace, read_trace

CAPTURE_SUFFIXES = (".pcap", ".pcapng", ".cap", ".pcap.gz", ".pcapng.gz", ".cap.gz", ".csv")
EVENTS_SUFFIX = ".jsonl"


@dataclass(frozen=True, slots=True)
class Upload:
    """A voice left: from its first to its last record, seconds from the first frame; on which connection."""

    begin_s: float
    end_s: float
    server: str = ""  # its address; "" where it is not known
    client_port: int = 0  # likewise 0


WitnessMaker = Callable[[Replay], Witness]


@dataclass(frozen=True, slots=True)
class Source:
    """One capture, or one of the paper's tables (then ``device`` does not matter).

    ``name`` stands in the tables; ``group`` is the household, or whatever else must not be in training and in
    testing at once. ``uploads``: when a voice left; None: nobody said.
    """

    path: Path
    name: str
    group: str
    device: str
    events: Path | None = None
    condition: str | None = None
    uploads: tuple[Upload, ...] | None = None

    @property
    def is_table(self) -> bool:
        """Say whether it is one of the paper's tables."""
        return is_paper_table(self.path)

    def open_frames(self) -> Capture | PaperFrames:
        """Return the frames, from the first one on."""
        return PaperFrames(self.path, self.condition) if self.is_table else Capture(self.path)

    def read_trace(self) -> Trace:
        """Return what the engine is told besides packets: the events, else the condition's mute state."""
        if self.events is not None:
            return read_trace(self.events)
        if self.condition is None or CONDITIONS[self.condition][1]:
            return Trace()
        return Trace(entries=(Entry(0.0, MuteEvent(0.0, MuteState.MUTED)),))


def replay(
    source: Source, frames: Iterable[Frame], make_witness: WitnessMaker, *, trace: Trace | None = None
) -> Replay:
    """Run a source through the engine, in monitor mode, and return the replay that is over.

    CaptureError when the device sent and got nothing in it.
    """
    selector = DeviceSelector(DEVICE if source.is_table else source.device)
    run = Replay(frames, selector, trace=source.read_trace() if trace is None else trace)
    run.witness = make_witness(run)
    run.run()
    seen = run.totals
    if not (seen.upstream or seen.downstream or seen.not_ip):
        raise CaptureError(explain_absence(source.path, source.device))
    return run
