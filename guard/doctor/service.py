"""The running gate: whether it answers, is kept running, can be watched, and is well."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Final

from guard import __version__
from guard.doctor.finding import Finding, absent, fault, note, ok
from guard.doctor.situation import Situation
from guard.errors import SetupError
from guard.setup import units

RESTARTS: Final = 3  # as many may be a slow network at boot; more are a fault that comes back
_METRICS_SECONDS: Final = 5
_METRICS_BYTES: Final = 65536  # the first of our names stands in the first lines


def check_configuration(situation: Situation) -> Finding:
    """See that there is a configuration that the gate takes."""
    if situation.config is None and not situation.path.exists():
        return fault(f"{situation.path} is not there", "`sudo wakeguard setup` writes one")
    if situation.config is None:
        text, _, remedy = situation.complaint.rpartition("; ")
        return fault(text or situation.complaint, remedy if text else "`wakeguard setup` writes one")
    names = ", ".join(situation.config.get_device_names())
    return ok(f"{situation.path}: {names}")


def check_gate(situation: Situation) -> Finding:
    """See that a gate answers, that it is this version, and that nothing has failed in it."""
    status = situation.status
    if status is None:
        text, _, remedy = situation.complaint.partition("; ")
        return fault(text or "no gate answers", remedy or "`sudo systemctl start wakeguard`")
    if status["gate_version"] != __version__:
        return fault(
            f"the gate that runs is {status['gate_version']}, the program here {__version__}",
            "systemctl restart wakeguard",
        )
    bad = {name: count for name, count in status["failures"].items() if count and name in _SERIOUS}
    if bad:
        seen = ", ".join(f"{name} {count}" for name, count in bad.items())
        return fault(f"the gate has counted {seen}", _SERIOUS[next(iter(bad))])
    return ok(f"{status['mode']}, up {status['uptime_s']:.0f} s")


_SERIOUS: Final = {
    "engine_error": "`journalctl -u wakeguard` has the error; report it with that line",
    "queue_full": "see `wakeguard status`; a faster machine, or fewer Echos for one",
    "flow_table_full": "more connections than the gate remembers: raise limits.flows",
    "sensor_lost": "`journalctl -u 'wakeguard-sense@*'` says why",
}
"""Failures that the owner can do something about. The others are packets that were not as they should be."""


def check_units(situation: Situation) -> Finding:
    """See that systemd keeps the gate running and starts it at the next boot, rules first."""
    if not situation.managed:
        return absent("there is no systemd here")
    names = [units.RULES, units.GATE]
    try:
        for name in names:
            if units.systemctl("is-enabled", name, check=False).strip() != "enabled":
                return fault(f"{name} is not started at boot", "`sudo wakeguard setup` installs it")
            state = units.systemctl("is-active", name, check=False).strip()
            if state != "active":
                return fault(f"{name} is {state}", f"journalctl -u {name} says why; systemctl restart {name}")
        restarts = int(units.systemctl("show", "--value", "--property=NRestarts", units.GATE).strip() or 0)
    except SetupError as error:
        return fault(str(error), "`sudo wakeguard setup` installs them")
    if restarts > RESTARTS:
        return fault(f"the gate was started again {restarts} times", f"journalctl -u {units.GATE} says why")
    return ok(f"enabled and active, started again {restarts} times")


def check_metrics(situation: Situation) -> Finding:
    """See that the metrics' port is the gate's, and answers."""
    metrics = situation.get_config().metrics
    if not metrics.enabled:
        return absent("metrics.enabled is false")
    host = f"[{metrics.address}]" if ":" in metrics.address else metrics.address
    url = f"http://{host}:{metrics.port}/metrics"
    try:
        with urllib.request.urlopen(url, timeout=_METRICS_SECONDS) as answer:
            text = answer.read(_METRICS_BYTES).decode(errors="replace")
    except (OSError, ValueError) as error:
        if situation.status is None:
            return absent("no gate runs")
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return fault(f"{url} does not answer ({reason})", "restart the gate, or choose another metrics.port")
    if "wakeguard_" not in text:
        return fault(
            f"another program answers at {url}",
            "stop it, or choose another metrics.port and restart the gate",
        )
    if situation.status is None:
        return note(f"{url} answers, but the control socket does not", "systemctl restart wakeguard")
    return ok(url)
