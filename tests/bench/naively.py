"""How much faster than measuring scripts do it: scapy for every packet, and a forest asked about each."""

from __future__ import annotations

from tests.bench.live import HOW, alternate, measure, save_saturated
from tests.bench.load import NAIVELY

SECONDS = 240.0
NOTE = (
    f"{HOW} scapy dissects every packet; then scikit-learn's forest of 100 trees is asked about it, one "
    "packet at a time, as the scripts published with measurement papers do. Few packets and few "
    "connections, as it takes its time."
)


def run_section() -> None:
    """Measure, and save the table."""
    measurements, missing = alternate(NAIVELY, measure, seconds=SECONDS)
    save_saturated("naive", "The naive way", NOTE, measurements, missing)
