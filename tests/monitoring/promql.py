"""The pieces of PromQL that the dashboard's questions are made of.

``$device`` and ``$__rate_interval`` are Grafana's to fill in.
"""

from __future__ import annotations

from typing import Final

DEVICE: Final = 'device=~"$device"'
RATE: Final = "[$__rate_interval]"


def refused(window: str) -> str:
    """Count the application data refused, by what justified it."""
    return (
        "sum by (justification) "
        f'(increase(wakeguard_refused_packets_total{{{DEVICE},justification!=""}}{window}))'
    )


def happened(metric: str, labels: str = "") -> str:
    """Return 1 where a counter of a device rose, else 0."""
    return f"sum by (device) (increase({metric}{{{DEVICE}{labels}}}{RATE})) > bool 0"


def quantile(share: float) -> str:
    """Return the time within which this share of the packets got their verdict."""
    buckets = f"sum by (le) (rate(wakeguard_verdict_duration_seconds_bucket{RATE}))"
    return f"histogram_quantile({share}, {buckets}) >= 0"  # nothing where nothing was timed


def of_the_gate(expr: str) -> str:
    """Leave out whatever else this Prometheus scrapes."""
    return f"{expr} * on (instance, job) group_left (version) wakeguard_build_info"
