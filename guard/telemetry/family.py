"""One metric: its name, its type, and where its samples are read.

Knows Prometheus' families. Refuses to know which metrics there are (``guard.telemetry.metrics``) and what the
gate's snapshot holds (``guard.telemetry.samples``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from guard.status import GateStatus, HistogramStatus
    from guard.telemetry.samples import Read


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric: its name, its help, where its samples are read, its labels (``device`` first)."""

    name: str
    help: str
    read: Read
    labels: tuple[str, ...] = ()
    histogram: bool = False

    @property
    def kind(self) -> str:
        """The metric's type; a name that ends in ``_total`` is a counter's."""
        if self.histogram:
            return "histogram"
        return "counter" if self.name.endswith("_total") else "gauge"

    def make(self) -> Metric:
        """Return the empty family."""
        return _FAMILIES[self.kind](self.name, self.help, labels=self.labels)

    def collect(self, status: GateStatus) -> Metric:
        """Return the family with the samples of a snapshot."""
        family = self.make()
        for labels, value in self.read(status):
            if isinstance(family, HistogramMetricFamily):
                family.add_metric(labels, _make_buckets(value), sum_value=value.sum)  # type: ignore[union-attr, arg-type]  # the table says that it is one
            else:
                family.add_metric(labels, value)  # type: ignore[attr-defined]  # both families have it
        return family


_FAMILIES: Final[dict[str, Callable[..., Metric]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _make_buckets(histogram: HistogramStatus) -> list[tuple[str, float]]:
    """Return upper bound -> observations up to it, the last of all of them."""
    bounds = (*map(floatToGoString, histogram.bounds), "+Inf")
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
