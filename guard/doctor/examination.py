"""The table of checks, and how they are run: all of them, whatever the others found.

A check that needs a configuration is not run without one; one that the machine keeps from its answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from guard.doctor import machine, network, sensing, service
from guard.doctor.finding import Finding, absent, fault
from guard.doctor.situation import Situation
from guard.errors import WakeguardError


class Check(NamedTuple):
    """One row: what is looked at, by which function, and whether it needs the configuration."""

    name: str
    look: Callable[[Situation], Finding]
    configured: bool = True


CHECKS: Final = (
    Check("configuration", service.check_configuration, configured=False),
    Check("programs", machine.check_programs, configured=False),
    Check("packages", machine.check_packages, configured=False),
    Check("kernel", machine.check_kernel, configured=False),
    Check("kernel settings", machine.check_settings),
    Check("interface", network.check_interface),
    Check("echos", network.check_echo),
    Check("gate", service.check_gate),
    Check("services", service.check_units),
    Check("rules", network.check_rules),
    Check("queue", network.check_queue),
    Check("offload, QUIC", network.check_bypass),
    Check("forwarding", network.check_forwarding),
    Check("IPv6", network.check_ipv6),
    Check("sensors", sensing.check_sensors),
    Check("light sensor", sensing.check_pin),
    Check("models", machine.check_models, configured=False),
    Check("metrics", service.check_metrics),
    Check("journal", machine.check_journal),
    Check("clock", machine.check_clock, configured=False),
)


def examine(situation: Situation, checks: tuple[Check, ...] = CHECKS) -> Iterator[tuple[Check, Finding]]:
    """Yield each check with what it found, in the table's order."""
    for check in checks:
        if check.configured and situation.config is None:
            yield check, absent("needs the configuration")
            continue
        try:
            yield check, check.look(situation)
        except WakeguardError as error:
            yield check, fault(str(error), "mend that first")
        except OSError as error:
            yield check, fault(f"{error.filename or 'the machine'}: {error.strerror}", "run as root")
