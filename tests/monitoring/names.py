"""Which metrics a text names: a query, a rule, a document."""

from __future__ import annotations

import re

from guard.telemetry.metrics import METRICS, PROCESS_METRICS

_NAME = re.compile(r"(?<![\w:])(?:wakeguard|process)_[a-z_]+(?![\w:]*\.(?:service|py))")


def get_exposed() -> set[str]:
    """Return every series name that a scrape of the gate may hold."""
    names = set(PROCESS_METRICS)
    for row in METRICS:
        if row.histogram:
            names |= {f"{row.name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            names.add(row.name)
    return names


def get_documented() -> set[str]:
    """Return the names as documents have them: a histogram's own, too."""
    return get_exposed() | {row.name for row in METRICS}


def find_names(text: str) -> set[str]:
    """Return the metrics that ``text`` names; a rule's ``level:metric:operation`` is none of them."""
    return set(_NAME.findall(text))
