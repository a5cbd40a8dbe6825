"""The Prometheus endpoint: the gate's snapshot, read when somebody asks.

Nothing is counted here and nothing is kept: a scrape asks the gate for its snapshot and writes that out.
Labels are closed sets (devices by their configured names, the enums of ``guard.core.verdict``); addresses
and names of the outside never are. ``docs/metrics.md`` lists each metric of ``METRICS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from guard import __version__
from guard.core.context import EXTENSIONS
from guard.core.event import MuteState
from guard.core.verdict import Mode
from guard.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from guard.status import DeviceState, GateStatus, PacketCount


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: its name, its help and its labels, ``device`` first where it has one."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def make(self) -> Metric:
        """Return the empty family; a name that ends in ``_total`` is a counter."""
        if self.name.endswith("_total"):
            return CounterMetricFamily(self.name, self.help, labels=self.labels)
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


_PACKET_LABELS: Final = ("device", "direction", "class", "justification", "verdict", "reason")

METRICS: Final = (
    MetricRow("wakeguard_build_info", "Always 1; the version is in the label.", ("version",)),
    MetricRow("wakeguard_uptime_seconds", "Time since the gate started."),
    MetricRow("wakeguard_mode", "1 for the mode the gate is in, 0 for the other.", ("mode",)),
    MetricRow("wakeguard_policy_info", "Always 1; the policy is in the label.", ("device", "policy")),
    MetricRow("wakeguard_period_scale_ratio", "Factor on the policy's heartbeat periods; 1 outside a lab."),
    MetricRow("wakeguard_packets_total", "Packets by what the gate said.", _PACKET_LABELS),
    MetricRow("wakeguard_bytes_total", "Bytes, IP headers included, by what the gate said.", _PACKET_LABELS),
    MetricRow(
        "wakeguard_mute_state", "1 for the device's mute state, 0 for the others.", ("device", "state")
    ),
    MetricRow("wakeguard_mute_age_seconds", "Time since the mute state began.", ("device",)),
    MetricRow("wakeguard_interaction_active", "1 inside an interaction.", ("device",)),
    MetricRow("wakeguard_interaction_left_seconds", "Time the interaction still lasts.", ("device",)),
    MetricRow("wakeguard_interaction_left_bytes", "Bytes the interaction may still send.", ("device",)),
    MetricRow(
        "wakeguard_interaction_cause",
        "1 for what set the interaction's end.",
        ("device", "cause"),
    ),
    MetricRow("wakeguard_interactions_total", "Interactions begun by a wake word.", ("device",)),
    MetricRow("wakeguard_flows", "Flows in the gate's table.", ("device",)),
    MetricRow("wakeguard_condemned_flows", "Flows refused whole and remembered.", ("device",)),
    MetricRow("wakeguard_held_packets", "Packets that wait for a wake word.", ("device",)),
    MetricRow("wakeguard_held_bytes", "Their payload bytes.", ("device",)),
    MetricRow(
        "wakeguard_held_packets_settled_total", "Packets that waited, by how it ended.", ("device", "outcome")
    ),
    MetricRow(
        "wakeguard_bound_bytes",
        "Payload bytes that can leave in an hour.",
        ("device", "kind", "part"),
    ),
    MetricRow("wakeguard_sensor_age_seconds", "Time since the sensor was last heard.", ("device",)),
    MetricRow(
        "wakeguard_sensor_hears", "1 while a microphone and a wake-word detector are at work.", ("device",)
    ),
    MetricRow("wakeguard_sensor_datagrams_total", "Sensor datagrams accepted.", ("device",)),
    MetricRow(
        "wakeguard_sensor_datagrams_rejected_total", "Sensor datagrams thrown away.", ("device", "cause")
    ),
    MetricRow("wakeguard_queue_waiting_packets", "Packets waiting in the kernel's queue."),
    MetricRow("wakeguard_queue_lost_packets_total", "Packets the kernel's queue lost.", ("cause",)),
    MetricRow("wakeguard_resets_total", "Resets to the far ends of refused connections.", ("outcome",)),
    MetricRow("wakeguard_failures_total", "Failures by name.", ("failure",)),
    MetricRow("wakeguard_recording", "1 for what became of the recording, 0 for the rest.", ("state",)),
)

_OUTCOMES: Final = ("released", "refused")
_BOUND_KINDS: Final = ("unexplained", "local", "explained")
_RECORDING_STATES: Final = ("off", "on", "failed")
_Sample = tuple[tuple[str, ...], float]


class GateCollector(Collector):
    """Reads a snapshot at scrape time."""

    def __init__(self, read_status: Callable[[], GateStatus]) -> None:
        """``read_status`` may be called from any thread."""
        self._read_status = read_status

    def collect(self) -> Iterator[Metric]:
        """Return every family with the samples of one snapshot."""
        status = self._read_status()
        for row in METRICS:
            family = row.make()
            for labels, value in _SOURCES[row.name](status):
                family.add_metric(labels, value)  # type: ignore[attr-defined]  # both families have it
            yield family

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples, so that registering asks nobody."""
        return [row.make() for row in METRICS]


class MetricsServer:
    """The HTTP endpoint, in a thread of its own."""

    def __init__(self, read_status: Callable[[], GateStatus], *, address: str, port: int) -> None:
        """Listen. ConfigError when the port is taken or the address is not ours."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(GateCollector(read_status))
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"metrics.port {port} on {address} cannot be had: {error.strerror}; "
                "choose another metrics.port, or set metrics.enabled = false"
            ) from None

    def __enter__(self) -> MetricsServer:
        """Return the server; it listens already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _count(device: DeviceState, row: PacketCount) -> tuple[str, ...]:
    return (
        device.name,
        row.direction,
        row.packet_class or "",
        row.justification or "",
        row.verdict,
        row.reason,
    )


def _sum_packets(status: GateStatus, field: str) -> Iterable[_Sample]:
    """Decisions that differ in scope alone share a series."""
    sums: dict[tuple[str, ...], int] = {}
    for device in status.devices:
        for row in device.packets:
            labels = _count(device, row)
            sums[labels] = sums.get(labels, 0) + getattr(row, field)
    return sums.items()


def _sum_parts(parts: Mapping[str, float]) -> dict[str, float]:
    """Endpoints share a part: their addresses are no label."""
    sums: dict[str, float] = {}
    for part, size in parts.items():
        name = part.partition(" ")[0]
        sums[name] = sums.get(name, 0.0) + size
    return sums


def _one_of(chosen: str, states: Iterable[str], *prefix: str) -> list[_Sample]:
    return [((*prefix, state), float(state == chosen)) for state in states]


def _of_devices(read: Callable[[DeviceState], float | None]) -> Callable[[GateStatus], list[_Sample]]:
    def collect(status: GateStatus) -> list[_Sample]:
        values = ((device.name, read(device)) for device in status.devices)
        return [((name,), value) for name, value in values if value is not None]

    return collect


_SOURCES: Final[dict[str, Callable[[GateStatus], Iterable[_Sample]]]] = {
    "wakeguard_build_info": lambda _: [((__version__,), 1.0)],
    "wakeguard_uptime_seconds": lambda status: [((), status.uptime_s)],
    "wakeguard_mode": lambda status: _one_of(status.mode, Mode),
    "wakeguard_policy_info": lambda status: [((row.name, row.policy), 1.0) for row in status.devices],
    "wakeguard_period_scale_ratio": lambda status: [((), status.period_scale)],
    "wakeguard_packets_total": lambda status: _sum_packets(status, "packets"),
    "wakeguard_bytes_total": lambda status: _sum_packets(status, "bytes"),
    "wakeguard_mute_state": lambda status: [
        sample for device in status.devices for sample in _one_of(device.mute, MuteState, device.name)
    ],
    "wakeguard_mute_age_seconds": _of_devices(lambda device: device.mute_age_s),
    "wakeguard_interaction_active": _of_devices(lambda device: float(device.interaction_left_s is not None)),
    "wakeguard_interaction_left_seconds": _of_devices(lambda device: device.interaction_left_s or 0.0),
    "wakeguard_interaction_left_bytes": _of_devices(lambda device: device.interaction_bytes or 0.0),
    "wakeguard_interaction_cause": lambda status: [
        sample
        for device in status.devices
        for sample in _one_of(device.interaction_cause or "", EXTENSIONS, device.name)
    ],
    "wakeguard_interactions_total": _of_devices(lambda device: device.interactions),
    "wakeguard_flows": _of_devices(lambda device: device.flows),
    "wakeguard_condemned_flows": _of_devices(lambda device: device.condemned_flows),
    "wakeguard_held_packets": _of_devices(lambda device: device.holds.packets),
    "wakeguard_held_bytes": _of_devices(lambda device: device.holds.bytes),
    "wakeguard_held_packets_settled_total": lambda status: [
        ((device.name, outcome), getattr(device.holds, outcome))
        for device in status.devices
        for outcome in _OUTCOMES
    ],
    "wakeguard_bound_bytes": lambda status: [
        ((device.name, kind, part), size)
        for device in status.devices
        for kind in _BOUND_KINDS
        for part, size in _sum_parts(getattr(device.bound, kind)).items()
    ],
    "wakeguard_sensor_age_seconds": _of_devices(
        lambda device: None if device.sensor is None else device.sensor.age_s
    ),
    "wakeguard_sensor_hears": _of_devices(
        lambda device: None if device.sensor is None else device.sensor.hears
    ),
    "wakeguard_sensor_datagrams_total": _of_devices(
        lambda device: None if device.sensor is None else device.sensor.accepted
    ),
    "wakeguard_sensor_datagrams_rejected_total": lambda status: [
        ((device.name, cause), count)
        for device in status.devices
        if device.sensor is not None
        for cause, count in device.sensor.rejected.items()
    ],
    "wakeguard_queue_waiting_packets": lambda status: [((), status.queue.waiting)],
    "wakeguard_queue_lost_packets_total": lambda status: [
        ((cause,), count) for cause, count in status.queue.lost.items()
    ],
    "wakeguard_resets_total": lambda status: [((name,), count) for name, count in status.resets.items()],
    "wakeguard_failures_total": lambda status: [((name,), count) for name, count in status.failures.items()],
    "wakeguard_recording": lambda status: _one_of(status.recording, _RECORDING_STATES),
}
