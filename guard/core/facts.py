"""What the engine is told about a device, and what it tells of devices and packets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guard.core.event import MuteState
from guard.core.flow import Flow
from guard.core.hold import Held
from guard.core.tls import Record
from guard.core.verdict import Direction, Reason


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """What is set up for a device.

    ``sensor``: a mute sensor will report; ``balanced``: control traffic may use the device's leak budget.
    """

    sensor: bool = False
    balanced: bool = False


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A device at one moment. Times are seconds on the engine's clock, ages seconds.

    ``mute`` is what the sensor says, ``closed`` why application data is not justified (None: it may be);
    ``mute_age`` is the time since the state began, ``sensor_age`` since it was last reported.
    """

    mute: MuteState
    mute_age: float | None
    mute_source: str | None
    sensor_age: float | None
    closed: Reason | None
    interaction_until: float | None
    interaction_cause: str | None  # what set its end: one of ``context.EXTENSIONS``
    interaction_bytes: float | None  # what it may still send
    interactions: int
    flows: int
    condemned_flows: int
    held_packets: int
    held_bytes: int
    unheard_wakes: int  # bursts of speech that no wake event explained
    voice_refusals: int  # voice-like runs refused
    voice_leaked: tuple[int, ...]  # the same by what had left before: classes of ``voice.LEAK_BOUNDS``
    voice_leaked_bytes: int  # all of it
    budgets: Mapping[str, float]  # what each has left, in its unit
    model: str | None  # the voice model in force


class Facts:
    """About the packet received last; overwritten by the next one.

    ``records``: the TLS records whose header this packet completed; ``listed``: the same list, None where
    nobody asked for it, and ``records`` stays empty. ``held``: the packet that was told to wait last, this
    one where its answer is HOLD.
    """

    __slots__ = (
        "direction",
        "flow",
        "held",
        "key",
        "listed",
        "packet_id",
        "payload_bytes",
        "protocol",
        "records",
    )

    def __init__(self, *, list_records: bool) -> None:
        self.packet_id = 0  # how many packets there were
        self.direction = Direction.UPSTREAM
        self.flow: Flow | None = None
        self.protocol = 0  # of a packet without a flow
        self.key = b""  # likewise
        self.held: Held | None = None
        self.payload_bytes = 0  # transport payload by the IP length
        self.records: list[Record] = []
        self.listed = self.records if list_records else None
