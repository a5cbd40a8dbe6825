"""How much can leave without a wake word: the sum of the budgets.

Every packet that passes outside an interaction is charged to one of these, so the sum bounds the payload
bytes, whatever the device does. It counts transport payload, a whole record for a heartbeat.
"""

from __future__ import annotations

from guard.core.budget import SECONDS_PER_HOUR
from guard.core.policy import Policy
from guard.core.suite import SUITES
from guard.core.tls import RECORD_HEADER_BYTES

# charged in bytes and able to go anywhere; a service of the home network stays in the home (``judge``)
_BYTES = ("handshake", "retransmit", "dns", "ntp", "icmp")
_LOCAL = ("dhcp", "mdns", "ssdp", "igmp")


def get_bound(policy: Policy, *, balanced: bool, seconds: float = SECONDS_PER_HOUR) -> dict[str, float]:
    """Return budget -> payload bytes that can leave the home within ``seconds`` without a wake word.

    Upstream of what a past interaction explains (lineage) is not in it: ``get_explained_bound``.
    """
    names = (*_BYTES, "control") if balanced else _BYTES
    bound = {name: policy.budgets[name].get_bound(seconds) for name in names}
    longest = max(
        (suite.get_length(beat.plaintext) for suite in SUITES for beat in policy.heartbeats), default=0
    )
    bound["heartbeat"] = policy.budgets["heartbeat"].get_bound(seconds) * (RECORD_HEADER_BYTES + longest)
    for endpoint in policy.endpoints:
        name = f"endpoint {endpoint.network}:{endpoint.port}"
        bound[name] = bound.get(name, 0.0) + endpoint.budget.get_bound(seconds)
    return bound


def get_local_bound(policy: Policy, *, seconds: float = SECONDS_PER_HOUR) -> dict[str, float]:
    """Return budget -> payload bytes to the home's own network within ``seconds``."""
    return {name: policy.budgets[name].get_bound(seconds) for name in _LOCAL}


def get_explained_bound(policy: Policy, *, seconds: float = SECONDS_PER_HOUR) -> dict[str, float]:
    """Return what one wake word lets leave upstream: the interaction, and its connections afterwards."""
    return {
        "interaction": (policy.pre_roll_s + policy.max_s) * policy.voice_bytes_per_s,
        "lineage": policy.budgets["lineage"].get_bound(seconds),
    }
