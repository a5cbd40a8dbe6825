"""The Prometheus endpoint: the gate's snapshot, read when somebody asks.

Nothing is counted here and nothing is kept: a scrape asks the gate for its snapshot and writes that out.
``METRICS`` is the one source of names: documents, rules and the dashboard are held to it by tests. Labels are
closed sets (devices by their configured names, the enums of ``guard.core.verdict``); addresses and names of
the outside never are. ``docs/metrics.md`` lists each metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.registry import Collector

from guard import __version__
from guard.build import get_build
from guard.core.context import EXTENSIONS
from guard.core.event import MuteState
from guard.core.verdict import Mode
from guard.errors import ConfigError
from guard.telemetry.family import MetricRow
from guard.telemetry.samples import (
    HOLD_OUTCOMES,
    RECORDING_STATES,
    Sample,
    count_refused,
    info_of_devices,
    of_devices,
    of_gate,
    one_of,
    sum_bound,
    sum_packets,
    table_of_devices,
    table_of_gate,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from guard.status import GateStatus

_PACKET_LABELS: Final = ("device", "direction", "class", "justification", "verdict", "reason")

METRICS: Final = (
    MetricRow(
        "wakeguard_build_info",
        "Always 1; the version is in the label, and whether the gate is compiled or pure Python.",
        lambda _: [Sample((__version__, get_build()), 1.0)],
        ("version", "build"),
    ),
    MetricRow(
        "wakeguard_uptime_seconds",
        "Time since the gate started.",
        of_gate(lambda status: status.uptime_s),
    ),
    MetricRow(
        "wakeguard_mode",
        "1 for the mode the gate is in, 0 for the other.",
        table_of_gate(lambda status: one_of(status.mode, Mode)),
        ("mode",),
    ),
    MetricRow(
        "wakeguard_policy_info",
        "Always 1; the policy is in the label.",
        info_of_devices(lambda device: device.policy),
        ("device", "policy"),
    ),
    MetricRow(
        "wakeguard_model_info",
        "Always 1; the voice model in force is in the label.",
        info_of_devices(lambda device: device.model),
        ("device", "model"),
    ),
    MetricRow(
        "wakeguard_period_scale_ratio",
        "Factor on the policy's heartbeat periods; 1 outside a lab.",
        of_gate(lambda status: status.period_scale),
    ),
    MetricRow(
        "wakeguard_refused_packets_total",
        "Packets of the device refused, by what justified them.",
        table_of_devices(count_refused),
        ("device", "justification"),
    ),
    MetricRow(
        "wakeguard_packets_total",
        "Packets by what the gate said.",
        sum_packets("packets"),
        _PACKET_LABELS,
    ),
    MetricRow(
        "wakeguard_kernel_passed_packets_total",
        "Packets of the device that the kernel passed without asking.",
        of_devices(lambda device: device.passed_by_kernel),
        ("device",),
    ),
    MetricRow(
        "wakeguard_kernel_refused_packets_total",
        "Packets of the device that the kernel refused without asking.",
        of_devices(lambda device: device.refused_by_kernel),
        ("device",),
    ),
    MetricRow(
        "wakeguard_bytes_total",
        "Bytes, IP headers included, by what the gate said.",
        sum_packets("bytes"),
        _PACKET_LABELS,
    ),
    MetricRow(
        "wakeguard_verdict_duration_seconds",
        "Time from taking a packet to the kernel's answer, of the packets that were timed.",
        of_gate(lambda status: status.verdict_times),
        histogram=True,
    ),
    MetricRow(
        "wakeguard_mute_state",
        "1 for the device's mute state, 0 for the others.",
        table_of_devices(lambda device: one_of(device.mute, MuteState)),
        ("device", "state"),
    ),
    MetricRow(
        "wakeguard_mute_age_seconds",
        "Time since the mute state began.",
        of_devices(lambda device: device.mute_age_s),
        ("device",),
    ),
    MetricRow(
        "wakeguard_paused",
        "1 while everything of the device passes by the owner's word.",
        of_devices(lambda device: float(device.paused_left_s is not None)),
        ("device",),
    ),
    MetricRow(
        "wakeguard_interaction_active",
        "1 inside an interaction.",
        of_devices(lambda device: float(device.interaction_left_s is not None)),
        ("device",),
    ),
    MetricRow(
        "wakeguard_interaction_left_seconds",
        "Time the interaction still lasts.",
        of_devices(lambda device: device.interaction_left_s or 0.0),
        ("device",),
    ),
    MetricRow(
        "wakeguard_interaction_left_bytes",
        "Bytes the interaction may still send.",
        of_devices(lambda device: device.interaction_bytes or 0.0),
        ("device",),
    ),
    MetricRow(
        "wakeguard_interaction_cause",
        "1 for what set the interaction's end.",
        table_of_devices(lambda device: one_of(device.interaction_cause, EXTENSIONS)),
        ("device", "cause"),
    ),
    MetricRow(
        "wakeguard_interactions_total",
        "Interactions begun by a wake word.",
        of_devices(lambda device: device.interactions),
        ("device",),
    ),
    MetricRow(
        "wakeguard_unheard_wakes_total",
        "Bursts of speech sent as after a wake word, without one that the sensor heard.",
        of_devices(lambda device: device.unheard_wakes),
        ("device",),
    ),
    MetricRow(
        "wakeguard_voice_before_refusal_bytes",
        "Bytes that a voice had sent before it was refused.",
        of_devices(lambda device: device.voice_leaked),
        ("device",),
        histogram=True,
    ),
    MetricRow(
        "wakeguard_flows",
        "Flows in the gate's table.",
        of_devices(lambda device: device.flows),
        ("device",),
    ),
    MetricRow(
        "wakeguard_condemned_flows",
        "Flows refused whole and remembered.",
        of_devices(lambda device: device.condemned_flows),
        ("device",),
    ),
    MetricRow(
        "wakeguard_held_packets",
        "Packets that wait for a wake word.",
        of_devices(lambda device: device.holds.packets),
        ("device",),
    ),
    MetricRow(
        "wakeguard_held_bytes",
        "Their payload bytes.",
        of_devices(lambda device: device.holds.bytes),
        ("device",),
    ),
    MetricRow(
        "wakeguard_held_packets_settled_total",
        "Packets that waited, by how it ended.",
        table_of_devices(
            lambda device: {outcome: getattr(device.holds, outcome) for outcome in HOLD_OUTCOMES}
        ),
        ("device", "outcome"),
    ),
    MetricRow(
        "wakeguard_bound_bytes",
        "Payload bytes that can leave in an hour.",
        sum_bound,
        ("device", "kind", "part"),
    ),
    MetricRow(
        "wakeguard_budget_left_ratio",
        "What may pass at once on a budget, as a part of the most that it saves up.",
        table_of_devices(
            lambda device: {name: row.left / row.size for name, row in device.budgets.items() if row.size}
        ),
        ("device", "budget"),
    ),
    MetricRow(
        "wakeguard_sensor_age_seconds",
        "Time since the sensor was last heard.",
        of_devices(lambda device: None if device.sensor is None else device.sensor.age_s),
        ("device",),
    ),
    MetricRow(
        "wakeguard_sensor_hears",
        "1 while a microphone and a wake-word detector are at work.",
        of_devices(lambda device: None if device.sensor is None else device.sensor.hears),
        ("device",),
    ),
    MetricRow(
        "wakeguard_sensor_events_total",
        "Events taken for the device, from its sensor or by hand.",
        table_of_devices(lambda device: device.events),
        ("device", "type"),
    ),
    MetricRow(
        "wakeguard_sensor_datagrams_total",
        "Sensor datagrams accepted.",
        of_devices(lambda device: None if device.sensor is None else device.sensor.accepted),
        ("device",),
    ),
    MetricRow(
        "wakeguard_sensor_datagrams_rejected_total",
        "Sensor datagrams thrown away.",
        table_of_devices(lambda device: {} if device.sensor is None else device.sensor.rejected),
        ("device", "cause"),
    ),
    MetricRow(
        "wakeguard_queue_waiting_packets",
        "Packets waiting in the kernel's queue.",
        of_gate(lambda status: status.queue.waiting),
    ),
    MetricRow(
        "wakeguard_queue_lost_packets_total",
        "Packets the kernel's queue lost.",
        table_of_gate(lambda status: status.queue.lost),
        ("cause",),
    ),
    MetricRow(
        "wakeguard_resets_total",
        "Resets to the far ends of refused connections.",
        table_of_gate(lambda status: status.resets),
        ("outcome",),
    ),
    MetricRow(
        "wakeguard_failures_total",
        "Failures by name.",
        table_of_gate(lambda status: status.failures),
        ("failure",),
    ),
    MetricRow(
        "wakeguard_recording",
        "1 for what became of the recording, 0 for the rest.",
        table_of_gate(lambda status: one_of(status.recording, RECORDING_STATES)),
        ("state",),
    ),
)

PROCESS_METRICS: Final = (
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_start_time_seconds",
    "process_open_fds",
    "process_max_fds",
)
"""What prometheus_client tells of any process, under the names that every dashboard knows."""


class GateCollector(Collector):
    """Reads a snapshot at scrape time."""

    def __init__(self, read_status: Callable[[], GateStatus]) -> None:
        """``read_status`` may be called from any thread."""
        self._read_status = read_status

    def collect(self) -> Iterator[Metric]:
        """Return every family with the samples of one snapshot."""
        status = self._read_status()
        return (row.collect(status) for row in METRICS)

    def describe(self) -> Iterable[Metric]:
        """Return the families without samples, so that registering asks nobody."""
        return [row.make() for row in METRICS]


def make_registry(read_status: Callable[[], GateStatus]) -> CollectorRegistry:
    """Return what a scrape collects: the gate's snapshot and the process's own figures."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GateCollector(read_status))
    ProcessCollector(registry=registry)
    return registry


class MetricsServer:
    """The HTTP endpoint, in a thread of its own."""

    def __init__(self, read_status: Callable[[], GateStatus], *, address: str, port: int) -> None:
        """Listen. ConfigError when the port is taken or the address is not ours."""
        registry = make_registry(read_status)
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
