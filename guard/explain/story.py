"""What happened on one connection, in steps, and what the engine knew at each.

Knows: how packets that got the same answer become one step. Refuses to know: how a story is told (``words``,
``show``), and where it comes from (``witness``). Times are seconds since the capture's first frame, bytes are
transport payload.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from guard.core.facts import DeviceStatus
from guard.core.verdict import Decision, Direction, PacketClass, Verdict

PAUSE_S = 2.0  # a longer one begins another step; heartbeats are rarer and stay together
LENGTHS_KEPT = 4096  # of a step's records, in order: what a minute of voice needs; counted beyond it

Record = tuple[int, int]  # content type, length


class Mark(StrEnum):
    """What can become of a connection besides its packets; ``words.MARKS`` has a sentence for each."""

    OPENED = "opened"
    EXPLAINED = "explained"
    INBOUND = "inbound"
    MIDSTREAM = "midstream"
    AGREED = "agreed"
    FINISHED = "finished"
    OPAQUE = "opaque"
    LOST = "lost"
    FOUND = "found"
    VOICE = "voice"
    CONDEMNED = "condemned"
    VIRTUAL_RESET = "virtual_reset"
    FORGIVEN = "forgiven"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Turn:
    """A mark, when it was made and by which frame (None: by an event or a timer)."""

    mark: Mark
    at: float
    frame: int | None
    detail: str = ""


@dataclass(slots=True)
class Wait:
    """What became of packets that were held, for one final answer."""

    packets: int = 0
    bytes: int = 0
    shortest: float = float("inf")
    longest: float = 0.0
    ended: float = 0.0

    def add(self, size: int, waited: float, now: float) -> None:
        """Take one packet more."""
        self.packets += 1
        self.bytes += size
        self.shortest = min(self.shortest, waited)
        self.longest = max(self.longest, waited)
        self.ended = now


@dataclass(slots=True)
class Step:
    """Packets of one connection, one after the other, that got the same answer."""

    direction: Direction
    decision: Decision
    first_frame: int
    began: float
    status: DeviceStatus | None  # of the device right after the first of them
    last_frame: int = 0
    ended: float = 0.0
    packets: int = 0
    bytes: int = 0
    records: Counter[Record] = field(default_factory=Counter)
    lengths: list[Record] = field(default_factory=list)
    outcomes: dict[Decision, Wait] = field(default_factory=dict)
    last_status: DeviceStatus | None = None

    def takes(self, decision: Decision, now: float) -> bool:
        """Say whether a packet with this answer belongs to the step."""
        rare = decision.packet_class is PacketClass.SYN
        return decision is self.decision and (rare or now - self.ended <= PAUSE_S)

    def add(self, frame: int, size: int, records: list[Record], now: float) -> None:
        """Take one packet more."""
        self.last_frame, self.ended = frame, now
        self.packets += 1
        self.bytes += size
        self.records.update(records)
        if len(self.lengths) < LENGTHS_KEPT:
            self.lengths += records

    @property
    def refused(self) -> bool:
        """Say whether any of it was refused in the end."""
        return self.decision.verdict is Verdict.REFUSE or any(
            answer.verdict is Verdict.REFUSE for answer in self.outcomes
        )


Part = Step | Turn


@dataclass(slots=True)
class Story:
    """One connection (all datagrams to one address and port are one as well), as the witness saw it."""

    name: str
    began: float
    first_frame: int
    suite: str = ""
    parts: list[Part] = field(default_factory=list)
    ended: float = 0.0
    last_frame: int = 0
    packets_up: int = 0
    bytes_up: int = 0
    packets_down: int = 0
    bytes_down: int = 0
    acks: int = 0  # packets of the device without payload that simply passed
    verdicts: Counter[Decision] = field(default_factory=Counter)  # payload bytes by final answer
    latest: Step | None = None
    open_steps: dict[Direction, Step] = field(default_factory=dict)  # that may take more packets

    def add_step(self, step: Step) -> None:
        """Begin another step."""
        self.parts.append(step)
        self.latest = self.open_steps[step.direction] = step

    def add_turns(self, turns: list[Turn]) -> None:
        """Note what became of the connection; steps that went on until now are complete."""
        if turns:
            self.parts += turns
            self.open_steps.clear()

    def steps(self) -> Iterator[Step]:
        """Yield the steps that carry payload or were refused."""
        return (part for part in self.parts if isinstance(part, Step))

    def turns(self) -> Iterator[Turn]:
        """Yield what became of the connection."""
        return (part for part in self.parts if isinstance(part, Turn))

    def get_decisive(self) -> Step | None:
        """Return the step that tells most: the first refused for good, else held, else the largest sent."""
        upstream = [step for step in self.steps() if step.direction is Direction.UPSTREAM]
        refused = [step for step in upstream if step.refused]
        held = [step for step in upstream if step.decision.verdict is Verdict.HOLD]
        if refused or held:
            return (refused or held)[0]
        return max(upstream, key=lambda step: step.bytes, default=None)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something in the room or at the gate: an event, the end of an interaction, a switch of the mode."""

    at: float
    what: str
    kind: str  # wake, mute, mode, settings, end


@dataclass(slots=True)
class Look:
    """One packet, and what the engine knew when it had judged it."""

    frame: int
    at: float
    direction: Direction
    decision: Decision
    flow: str
    bytes: int
    records: list[Record]
    status: DeviceStatus
    framing: str | None  # of the connection's records; None for what is no TCP connection
    suite: str
    handshake_done: bool
    explained: bool  # opened inside an interaction
    condemned_before: bool
    since_interaction: float | None  # s since the last one ended
    voice: str  # what the voice detector had seen of the connection; "" without one
    parts_before: int  # of its story
    final: Decision | None = None  # of a packet that was held
    waited: float = 0.0


@dataclass(slots=True)
class Explanation:
    """Everything that a replay of one device showed."""

    device: str
    mode: str
    policy: str
    stories: dict[str, Story] = field(default_factory=dict)
    occasions: list[Occasion] = field(default_factory=list)
    look: Look | None = None
    ended: float = 0.0
