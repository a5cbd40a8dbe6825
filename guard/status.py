"""What the gate says about itself: one snapshot for ``status``, ``mute-led`` and the metrics.

The structs below are the JSON of ``wakeguard status --json``. A snapshot is built in the gate's loop and
is plain data ever after, so whoever reads it needs no lock.
"""

from __future__ import annotations

from typing import Final

import msgspec

VERSION: Final = 1
"""Of the JSON: raised when a field changes its meaning or goes away, not when one is added."""


class PacketCount(msgspec.Struct, frozen=True):
    """How often one decision was given. ``packet_class`` is None for what the cloud sends."""

    direction: str
    packet_class: str | None = msgspec.field(name="class")
    justification: str | None
    verdict: str
    scope: str | None
    reason: str
    after_virtual_reset: bool
    packets: int
    bytes: int


class SensorStatus(msgspec.Struct, frozen=True):
    """A device's sensor socket; ``age_s`` since the last event, None before the first.

    ``hears``: whether a microphone and a wake-word detector are at work, None when nobody says.
    """

    age_s: float | None
    hears: bool | None
    accepted: int
    rejected: dict[str, int]


class HistogramStatus(msgspec.Struct, frozen=True):
    """How many observations fell into each class: up to each bound, and above the last one; their sum."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


class BudgetStatus(msgspec.Struct, frozen=True):
    """What may still pass at once on a budget, and the most that it saves up, in its ``unit``."""

    left: float
    size: float
    unit: str  # "bytes" or "packets"


class HoldStatus(msgspec.Struct, frozen=True):
    """What waits for a wake word now, and how many packets did so before, by how it ended."""

    packets: int
    bytes: int
    released: int
    refused: int


class BoundStatus(msgspec.Struct, frozen=True):
    """The most payload bytes that can leave in an hour, by budget.

    ``unexplained``: without a wake word; ``local``: besides, to the home's own network; ``explained``: by
    one wake word, inside its interaction and on its connections afterwards.
    """

    unexplained: dict[str, float]
    local: dict[str, float]
    explained: dict[str, float]


class DeviceState(msgspec.Struct, frozen=True):
    """One Echo.

    ``mute_age_s`` counts from the beginning of the state; ``closed`` is the reason why application data
    is not justified at all, None when a wake word would justify it. Outside an interaction the fields about
    one are None: ``interaction_cause`` is what set its end (wake_word, voice, answer or speech),
    ``interaction_bytes`` what it may still send. ``paused_left_s``: how long all of it still passes by the
    owner's word, None when it is not paused. ``events``: how many the sensor sent, by type;
    ``unheard_wakes``: bursts of speech that no wake event explained; ``voice_leaked``: the bytes that a
    voice had sent before it was refused; ``model``: the voice model in force, None when there is none.
    ``passed_by_kernel`` and ``refused_by_kernel``: what the fast path decided, which ``packets`` counts too.
    """

    name: str
    policy: str
    mute: str
    mute_age_s: float | None
    mute_source: str | None
    closed: str | None
    interaction_left_s: float | None
    interaction_cause: str | None
    interaction_bytes: float | None
    interactions: int
    flows: int
    condemned_flows: int
    holds: HoldStatus
    bound: BoundStatus
    sensor: SensorStatus | None
    packets: tuple[PacketCount, ...]
    events: dict[str, int]
    unheard_wakes: int
    voice_leaked: HistogramStatus
    budgets: dict[str, BudgetStatus]
    model: str | None
    paused_left_s: float | None = None
    passed_by_kernel: int = 0
    refused_by_kernel: int = 0


class QueueStatus(msgspec.Struct, frozen=True):
    """The kernel's queue: what waits, and what it lost by cause."""

    number: int
    waiting: int
    lost: dict[str, int]


class GateStatus(msgspec.Struct, frozen=True):
    """Everything."""

    version: int
    gate_version: str
    pid: int
    mode: str
    policy: str
    period_scale: float
    uptime_s: float
    recording: str  # "off", "on" or "failed"
    failures: dict[str, int]
    queue: QueueStatus
    resets: dict[str, int]  # to the far ends of refused connections: sent, limited (by their rate), failed
    verdict_times: HistogramStatus  # seconds, of the packets that were timed
    devices: tuple[DeviceState, ...]
    journal: str = "off"  # "on", or the name of the fault that keeps it from being written
    build: str = "pure"  # how the gate was built: "compiled" or "pure"
