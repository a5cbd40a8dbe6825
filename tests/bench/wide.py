"""Limits under which the benches' traffic is judged packet by packet.

The traffic comes a thousand times faster than a household's and from more connections than an Echo has.
Under the shipped limits the budgets for connections, handshakes and acknowledgements would be empty after
a moment, and what is measured would be the short way of refusing. No check is left out: only the numbers
that they compare with are larger.
"""

from __future__ import annotations

import tomllib

from guard.core.policy import Policy
from guard.limits import Limits, load_limits

WIDE_LIMITS = """\
[limits.flows]
max_per_device = 20000
[limits.budgets]
ack = { per_hour = 1e9, burst = 1e9 }
connection = { per_hour = 1e9, burst = 1e9 }
handshake = { per_hour = 1e12, burst = 1e12 }
"""


def load_wide_limits() -> Limits:
    """Return the shipped limits with those laid over."""
    return load_limits(tomllib.loads(WIDE_LIMITS)["limits"])


def load_wide_policy() -> Policy:
    """Return the policy with these limits."""
    return load_wide_limits().make_policy()
