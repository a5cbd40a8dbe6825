"""Take the snapshot of a running gate.

``read`` belongs to the loop; ``read_from_thread`` asks the loop for one, so that nothing is read while it
changes and a slow scrape costs the loop one snapshot, device by device, and no waiting.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from guard import __version__
from guard.build import get_build
from guard.config import Config
from guard.core.bound import get_bound, get_explained_bound, get_local_bound
from guard.core.policy import BUDGET_UNITS, Policy
from guard.core.verdict import Direction, Mode, Reason, Verdict
from guard.core.voice import LEAK_BOUNDS
from guard.gate import Gate
from guard.histogram import Histogram
from guard.journalist import Journalist
from guard.loop import Loop
from guard.losses import QUEUE_FULL, VERDICT_FAILED, Queue
from guard.pauses import Pauses
from guard.sensors import SensorSocket
from guard.status import (
    VERSION,
    BoundStatus,
    BudgetStatus,
    DeviceState,
    GateStatus,
    HistogramStatus,
    HoldStatus,
    PacketCount,
    QueueStatus,
    SensorStatus,
)

_Part = TypeVar("_Part")

SNAPSHOT_TIMEOUT: Final = 2.0  # seconds; a scrape that waits longer than this has found a stalled gate


class Reporter:
    """Reads the gate, its sensors and its queue."""

    def __init__(
        self,
        config: Config,
        policy: Policy,
        gate: Gate,
        loop: Loop,
        *,
        sensors: Mapping[str, SensorSocket],
        queue: Queue,
        get_mode: Callable[[], Mode],
        get_recording: Callable[[], str],
        count_resets: Callable[[], dict[str, int]],
        pauses: Pauses,
        get_journalist: Callable[[], Journalist | None],
    ) -> None:
        self.take_over(config, policy)
        self._gate = gate
        self._loop = loop
        self._sensors = sensors
        self._queue = queue
        self._get_mode = get_mode
        self._get_recording = get_recording
        self._count_resets = count_resets
        self._pauses = pauses
        self._get_journalist = get_journalist
        self._started = gate.read_clock()

    def take_over(self, config: Config, policy: Policy) -> None:
        """Tell of this configuration from now on, which makes ``policy``."""
        self._config = config
        self._policy = policy
        self._policies = config.get_policies()
        self._bounds = {
            name: BoundStatus(
                unexplained=get_bound(policy, balanced=chosen == "balanced"),
                local=get_local_bound(policy),
                explained=get_explained_bound(policy),
            )
            for name, chosen in self._policies.items()
        }

    def read_from_thread(self) -> GateStatus:
        """Return a snapshot, taken by the loop. TimeoutError when the loop is not there to take it.

        Each device has a turn of the loop to itself: packets wait for one device's part, never for all.
        """
        devices = [self._have_taken(partial(self._read_device_now, name)) for name in self._gate.devices]
        return self._have_taken(lambda: self._join(devices))

    def _have_taken(self, read: Callable[[], _Part]) -> _Part:
        parts: SimpleQueue[_Part] = SimpleQueue()
        self._loop.call(lambda: parts.put(read()))
        try:
            return parts.get(timeout=SNAPSHOT_TIMEOUT)
        except Empty:
            raise TimeoutError("the gate's loop takes no turns") from None

    def read(self) -> GateStatus:
        """Return a snapshot; in the loop's thread only."""
        return self._join([self._read_device_now(name) for name in self._gate.devices])

    def _read_device_now(self, name: str) -> DeviceState:
        return self.read_device(name, now=self._gate.read_clock())

    def _join(self, devices: Sequence[DeviceState]) -> GateStatus:
        queue = self._read_queue()
        return GateStatus(
            version=VERSION,
            gate_version=__version__,
            pid=os.getpid(),
            mode=self._get_mode().value,
            policy=self._config.policy,
            period_scale=self._config.lab.period_scale,
            uptime_s=self._gate.read_clock() - self._started,
            recording=self._get_recording(),
            failures=self._count_failures(queue),
            queue=queue,
            resets=self._count_resets(),
            verdict_times=_read_times(self._gate.verdict_times),
            devices=tuple(devices),
            journal=self._get_journal(),
            build=get_build(),
        )

    def read_device(self, name: str, *, now: float) -> DeviceState:
        """Return one device's part of the snapshot."""
        status = self._gate.engine.get_status(name, now=now)
        until = status.interaction_until
        sensor = self._sensors.get(name)
        settled = self._gate.settled[name]
        return DeviceState(
            name=name,
            policy=self._policies[name],
            mute=status.mute.value,
            mute_age_s=status.mute_age,
            mute_source=status.mute_source,
            closed=None if status.closed is None else status.closed.value,
            interactions=status.interactions,
            interaction_left_s=None if until is None else max(0.0, until - now),
            interaction_cause=status.interaction_cause,
            interaction_bytes=status.interaction_bytes,
            flows=status.flows,
            condemned_flows=status.condemned_flows,
            holds=HoldStatus(
                packets=status.held_packets,
                bytes=status.held_bytes,
                released=settled.released,
                refused=settled.refused,
            ),
            bound=self._bounds[name],
            sensor=None if sensor is None else _read_sensor(sensor, now),
            packets=self._read_counters(name),
            passed_by_kernel=self._count_by_kernel(name, Verdict.ACCEPT),
            refused_by_kernel=self._count_by_kernel(name, Verdict.REFUSE),
            paused_left_s=self._pauses.get_left(name, now=now),
            events=dict(self._gate.events[name]),
            unheard_wakes=status.unheard_wakes,
            voice_leaked=HistogramStatus(
                bounds=LEAK_BOUNDS[:-1], counts=status.voice_leaked, sum=status.voice_leaked_bytes
            ),
            budgets={
                budget: BudgetStatus(
                    left=left, size=self._policy.budgets[budget].burst, unit=BUDGET_UNITS[budget]
                )
                for budget, left in status.budgets.items()
            },
            model=status.model,
        )

    def _get_journal(self) -> str:
        journalist = self._get_journalist()
        if journalist is None:
            return "off"
        return "on" if journalist.fault is None else journalist.fault.value

    def _count_by_kernel(self, device: str, verdict: Verdict) -> int:
        shares = self._gate.read_kernel(device).items()
        return sum(packets for answer, (packets, _) in shares if answer.verdict is verdict)

    def _read_counters(self, device: str) -> tuple[PacketCount, ...]:
        counters = {(row[0], row[1]): (row[2], row[3]) for row in self._gate.engine.counters(device)}
        for answer, (packets, size) in self._gate.read_kernel(device).items():
            if packets:
                judged = counters.get((Direction.UPSTREAM, answer), (0, 0))
                counters[Direction.UPSTREAM, answer] = judged[0] + packets, judged[1] + size
        return tuple(
            PacketCount(
                direction=direction.name.lower(),
                packet_class=None if decision.packet_class is None else decision.packet_class.value,
                justification=None if decision.justification is None else decision.justification.value,
                verdict=decision.verdict.value,
                scope=None if decision.scope is None else decision.scope.value,
                reason=decision.reason.value,
                after_virtual_reset=decision.after_virtual_reset,
                packets=packets,
                bytes=size,
            )
            for (direction, decision), (packets, size) in counters.items()
        )

    def _read_queue(self) -> QueueStatus:
        statistics = self._queue.read_statistics()
        number = self._config.network.queue
        if statistics is None:
            return QueueStatus(number=number, waiting=0, lost={"queue_full": 0, "socket_full": 0})
        lost = {"queue_full": statistics.dropped_queue_full, "socket_full": statistics.dropped_userspace}
        return QueueStatus(number=number, waiting=statistics.waiting, lost=lost)

    def _count_failures(self, queue: QueueStatus) -> dict[str, int]:
        journalist = self._get_journalist()
        failed = self._queue.failed
        return {
            QUEUE_FULL: sum(queue.lost.values()),
            **({} if failed is None else {VERDICT_FAILED: failed}),
            Reason.SENSOR_LOST.value: sum(sensor.lost for sensor in self._sensors.values()),
            Reason.ENGINE_ERROR.value: self._gate.engine.engine_errors,
            Reason.STARTING.value: self._gate.starting,
            "unknown_device": self._gate.unknown_devices,
            "handler_error": self._loop.errors,
            "journal": 0 if journalist is None else journalist.failures,
            "journal_lost": 0 if journalist is None else journalist.lost,
        }


def _read_sensor(sensor: SensorSocket, now: float) -> SensorStatus:
    return SensorStatus(
        age_s=None if sensor.heard is None else max(0.0, now - sensor.heard),
        hears=sensor.hears,
        accepted=sensor.accepted,
        rejected={cause.value: count for cause, count in sensor.rejected.items()},
    )


def _read_times(times: Histogram) -> HistogramStatus:
    return HistogramStatus(
        bounds=tuple(bound / 1e9 for bound in times.bounds),
        counts=tuple(times.counts),
        sum=times.total / 1e9,
    )
