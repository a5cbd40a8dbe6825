"""How a snapshot becomes samples: label values and a number each.

Knows the gate's snapshot (``guard.status``). Refuses to know names, help texts and Prometheus: those are in
``guard.telemetry.metrics``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from guard.core.verdict import Direction, Justification, Verdict

if TYPE_CHECKING:
    from guard.status import DeviceState, GateStatus, HistogramStatus, PacketCount

BOUND_KINDS: Final = ("unexplained", "local", "explained")
RECORDING_STATES: Final = ("off", "on", "failed")
HOLD_OUTCOMES: Final = ("released", "refused")

_UPSTREAM: Final = Direction.UPSTREAM.name.lower()


class Sample(NamedTuple):
    """One series' value: a number, or the classes of a histogram."""

    labels: tuple[str, ...]
    value: float | HistogramStatus


Samples = Iterable[Sample]
Read = Callable[["GateStatus"], Samples]


def of_gate(read: Callable[[GateStatus], float | HistogramStatus]) -> Read:
    """Return a reader of one number of the gate as a whole."""
    return lambda status: [Sample((), read(status))]


def of_devices(read: Callable[[DeviceState], float | HistogramStatus | None]) -> Read:
    """Return a reader of one number of each device; None leaves the device out."""

    def collect(status: GateStatus) -> Samples:
        for device in status.devices:
            value = read(device)
            if value is not None:
                yield Sample((device.name,), value)

    return collect


def info_of_devices(read: Callable[[DeviceState], str | None]) -> Read:
    """Return a reader of one text of each device, as a label; None leaves the device out."""

    def collect(status: GateStatus) -> Samples:
        for device in status.devices:
            text = read(device)
            if text is not None:
                yield Sample((device.name, text), 1.0)

    return collect


def table_of_devices(read: Callable[[DeviceState], Mapping[str, float]]) -> Read:
    """Return a reader of a table of each device: label value -> number."""
    return lambda status: [
        Sample((device.name, key), value) for device in status.devices for key, value in read(device).items()
    ]


def table_of_gate(read: Callable[[GateStatus], Mapping[str, float]]) -> Read:
    """Return a reader of a table of the gate as a whole: label value -> number."""
    return lambda status: [Sample((key,), value) for key, value in read(status).items()]


def one_of(chosen: str | None, states: Iterable[str]) -> dict[str, float]:
    """Return 1 for the chosen state and 0 for the others."""
    return {state: float(state == chosen) for state in states}


def sum_packets(field: str) -> Read:
    """Return a reader of what the gate said. Decisions that differ in scope alone share a series."""

    def collect(status: GateStatus) -> Samples:
        sums: dict[tuple[str, ...], int] = {}
        for device in status.devices:
            for row in device.packets:
                labels = (device.name, *_name(row))
                sums[labels] = sums.get(labels, 0) + getattr(row, field)
        return [Sample(labels, value) for labels, value in sums.items()]

    return collect


def _name(row: PacketCount) -> tuple[str, ...]:
    return (row.direction, row.packet_class or "", row.justification or "", row.verdict, row.reason)


def count_refused(device: DeviceState) -> dict[str, float]:
    """Return justification -> packets refused; the empty one is of all that is not application data.

    Each is there from the first scrape on: a counter that is born with its first packet has no increase.
    """
    refused = dict.fromkeys((*(justification.value for justification in Justification), ""), 0.0)
    for row in device.packets:
        if row.verdict == Verdict.REFUSE and row.direction == _UPSTREAM:
            refused[row.justification or ""] += row.packets
    return refused


def sum_bound(status: GateStatus) -> Samples:
    """Yield the bound by kind and part. Endpoints share a part: their addresses are no label."""
    for device in status.devices:
        for kind in BOUND_KINDS:
            sums: dict[str, float] = {}
            for part, size in getattr(device.bound, kind).items():
                name = part.partition(" ")[0]
                sums[name] = sums.get(name, 0.0) + size
            for name, size in sums.items():
                yield Sample((device.name, kind, name), size)
