"""A walk through the lab's situations with a real Prometheus looking on, and everything it saw.

Knows the household, the gate in it and Prometheus beside the gate. What is asked stands in ``panels``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from guard.control import ask
from guard.core.event import AliveEvent, Event
from guard.core.verdict import Mode
from guard.lab.kernel_household import KernelHousehold
from guard.lab.namespaces import DEVICES
from guard.lab.runner import Runner, make_phases
from guard.lab.scenario import Situation
from tests.monitoring.panel import Query
from tests.monitoring.panels import PANELS
from tests.monitoring.prometheus import Prometheus, Series, fetch
from tests.netns.household import Namespace, wait_until

PERIOD_SCALE: Final = 0.05
GATE_PORT: Final = 9917
_WAIT_S: Final = 20.0
_TRIES: Final = 10

Counts = dict[tuple[str, ...], int]  # device, class, justification, verdict, reason -> packets


@dataclass(frozen=True)
class Observation:
    """What was seen. ``answers``: a panel's title and its query's place -> series.

    ``raw`` and ``said`` are counted at the same moment.
    """

    started: float  # Unix time
    ended: float
    answers: dict[tuple[str, int], list[Series]]
    raw: Counts  # upstream refusals by Prometheus
    said: Counts  # the same by ``wakeguard status``
    alerts: list[dict[str, Any]]
    rules: list[dict[str, Any]]
    metadata: dict[str, list[dict[str, str]]]
    up: list[Series]
    series: list[Series]  # how many there are of each metric and device
    exposed: str  # the gate's own page


class WatchedHousehold(KernelHousehold):
    """A household whose gate serves Prometheus and whose sensing process says that it hears."""

    def publish(self, event: Event) -> None:
        if isinstance(event, AliveEvent):
            event = replace(event, hears=True)
        super().publish(event)

    @property
    def namespace(self) -> Namespace:
        """Where the gate is."""
        return Namespace(self.namespaces.name("gate"))

    def read_status(self) -> dict[str, Any]:
        """Return the gate's own snapshot."""
        status: dict[str, Any] = ask(self.control, "status", timeout=10)
        return status

    def stop_gate(self) -> None:
        """Stop the gate as ``wakeguard off`` does, after which its journal is whole."""
        ask(self.control, "stop", timeout=10)

    async def silence(self) -> None:
        """End the Echos: nothing is sent any more."""
        for device in DEVICES:
            await self._children.pop(device.name).stop()


def walk(
    folder: Path,
    situations: Sequence[Situation],
    modes: Sequence[Mode] = (Mode.ENFORCE,),
    *,
    step_s: float = 1.0,
    pause_s: float = 0.0,
    on_silence: Callable[[WatchedHousehold], None] = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Observation:
    """Walk and return what was seen. ``on_silence`` is called when the counters stand still."""
    return asyncio.run(_walk(folder, situations, modes, step_s, pause_s, on_silence, tell))


async def _walk(
    folder: Path,
    situations: Sequence[Situation],
    modes: Sequence[Mode],
    step_s: float,
    pause_s: float,
    on_silence: Callable[[WatchedHousehold], None],
    tell: Callable[[str], None],
) -> Observation:
    household = WatchedHousehold(period_scale=PERIOD_SCALE, metrics=True)
    try:
        await household.start()
        with Prometheus(household.namespace, folder) as prometheus:
            await _wait_until(prometheus.is_ready)
            await _wait_until(lambda: bool(prometheus.ask("wakeguard_uptime_seconds")))
            started = time.time()
            await Runner(household, make_phases(situations, modes), tell=tell, pause=pause_s).run()
            ended = time.time()
            answers = {
                (panel.title, place): _ask(prometheus, query, started, ended, step_s)
                for panel in PANELS
                for place, query in enumerate(panel.queries)
            }
            alerts = prometheus.get_alerts()
            up = prometheus.ask("up")
            exposed = fetch(household.namespace, GATE_PORT, "/metrics")[1].decode()
            await household.silence()
            raw, said = await _compare(prometheus, household)
            on_silence(household)
            return Observation(
                started=started,
                ended=ended,
                answers=answers,
                raw=raw,
                said=said,
                alerts=alerts,
                rules=prometheus.get_rules(),
                metadata=prometheus.get_metadata(),
                up=up,
                exposed=exposed,
                series=prometheus.ask('count by (__name__, device) ({job="wakeguard"})'),
            )
    finally:
        await household.stop()


def _ask(prometheus: Prometheus, query: Query, start: float, end: float, step: float) -> list[Series]:
    """Ask what Grafana would ask, its variables filled in as Grafana fills them in."""
    expr = query.expr.replace("$device", ".*")
    expr = expr.replace("$__rate_interval", f"{max(4 * prometheus.every_s, int(step) + prometheus.every_s)}s")
    expr = expr.replace("$__range", f"{int(end - start) + 1}s")
    assert "$" not in expr
    if query.instant:
        return prometheus.ask(expr)
    return prometheus.ask_range(expr, start=start, end=end, step=step)


async def _compare(prometheus: Prometheus, household: WatchedHousehold) -> tuple[Counts, Counts]:
    """Return Prometheus' and the gate's refusals, of a scrape between two equal answers of the gate."""
    for _ in range(_TRIES):
        status = household.read_status()
        await _wait_until(partial(_was_scraped_after, prometheus, status["uptime_s"]))
        rows = prometheus.ask('wakeguard_packets_total{direction="upstream",verdict="refuse"}')
        said = _count(status)
        if _count(household.read_status()) == said:
            labels = ("device", "class", "justification", "verdict", "reason")
            raw = {tuple(row.labels.get(label, "") for label in labels): int(row.last) for row in rows}
            return raw, said
    raise AssertionError("the counters do not stand still")


def _was_scraped_after(prometheus: Prometheus, uptime_s: float) -> bool:
    return prometheus.ask("wakeguard_uptime_seconds")[0].last > uptime_s


def _count(status: dict[str, Any]) -> Counts:
    counts: Counts = {}
    for device in status["devices"]:
        for row in device["packets"]:
            if row["direction"] == "upstream" and row["verdict"] == "refuse":
                fields = (row["class"], row["justification"], row["verdict"], row["reason"])
                key = (device["name"], *(field or "" for field in fields))
                counts[key] = counts.get(key, 0) + row["packets"]
    return counts


async def _wait_until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition, seconds=_WAIT_S)
