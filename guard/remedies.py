"""What a good value of each setting looks like, for the complaint about a bad one.

``guard.config`` and ``guard.limits`` decide what is bad; here are the words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence

from guard.errors import ConfigError

_INDEX = re.compile(r"\[\d+\]")

# key -> what a good value looks like. Each key of the file has its row.
REMEDIES: Mapping[str, str] = {
    "mode": 'use "monitor" or "enforce"',
    "policy": 'use "strict" or "balanced"',
    "device": 'write one [[device]] with name = "kitchen" and mac = "68:37:e9:00:00:01" for each Echo',
    "device.name": "use 1 to 32 letters, digits, - or _, each name once",
    "device.mac": 'use the form "68:37:e9:00:00:01" (the Alexa app shows it), each device its own',
    "device.addresses": 'use fixed addresses such as ["192.168.4.20"], each device its own',
    "device.policy": 'use "strict" or "balanced", or leave it out: then it is that of the house',
    "endpoint": "write one [[endpoint]] with name, port, per_hour and burst for each peer",
    "endpoint.name": 'use a name such as "spotify-connect"',
    "endpoint.port": "use the TCP port, from 1 to 65535, such as 4070",
    "endpoint.network": 'use a network such as "35.186.224.0/24", or leave it out: any IPv4 address',
    "endpoint.per_hour": "use payload bytes an hour, such as 4096",
    "endpoint.burst": "use payload bytes that may be saved up, such as 1024",
    "limits": "write tables as in rules/policy.toml, such as [limits.interaction]",
    "network": "write a table [network]",
    "network.lan": 'name the interface towards the Echo, such as "wlan0" (`ip link` lists them)',
    "network.unknown": 'use "pass" or "refuse"',
    "network.queue": "use a free queue number from 0 to 65535, such as 1789",
    "fast_path": "write a table [fast_path], or leave it out",
    "fast_path.acknowledgements": "use true or false",
    "fast_path.condemned": "use true or false",
    "sensors": "write a table [sensors], or leave it out when there is no sensor",
    "sensors.socket": 'use an absolute path such as "/run/wakeguard/sensors.sock", with {device} in it '
    "when there are several devices",
    "sensors.users": 'list user names such as ["wakeguard-sense"]',
    "sensors.max_per_second": "use a number from 2 to 10000, such as 50",
    "control": "write a table [control]",
    "control.socket": 'use an absolute path such as "/run/wakeguard/control.sock"',
    "control.users": 'list user names such as ["pi"]',
    "metrics": "write a table [metrics]",
    "metrics.enabled": "use true or false",
    "metrics.address": 'use an address of this machine such as "127.0.0.1"',
    "metrics.port": "use a free port from 1 to 65535, such as 9917",
    "state": "write a table [state]",
    "state.directory": 'use an absolute path such as "/var/lib/wakeguard"',
    "journal": "write a table [journal], or leave it out",
    "journal.enabled": "use true or false",
    "journal.directory": 'use an absolute path such as "/var/lib/wakeguard", or leave it out',
    "journal.days": "use whole days from 1 to 3650, such as 30",
    "journal.megabytes": "use whole megabytes from 1 to 4096, such as 64",
    "journal.flush_s": "use seconds from 1 to 3600, such as 30",
    "lab": "write a table [lab], or leave it out",
    "lab.period_scale": "use a number from 0.001 to 1.0; at home leave it out",
    "sense": "write a table [sense]; `wakeguard sense` reads it",
}


def fault(key: str, what: str) -> ConfigError:
    """Return the error that says ``what`` is wrong with ``key`` (rows numbered) and the remedy."""
    return ConfigError(f"{key} {what}; {REMEDIES[_INDEX.sub('', key)]}")


def suggest(key: str, known: Sequence[str]) -> str:
    """Return ``did you mean "..."?``, or what is known when nothing is near."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"
