"""The rules on a household's gate: put there, added to, and asked what they counted."""

from __future__ import annotations

import socket

from guard.core.verdict import Mode
from guard.netfilter import ruleset
from tests.netns.household import Household, Namespace


def install(home: Household, mode: Mode, **options: object) -> None:
    """Put the rules there, made with these options."""
    with home.gate.enter():
        ruleset.apply(home.make_spec(mode, **options))  # type: ignore[arg-type]  # any option


def tables(family: socket.AddressFamily, gate: Namespace, *words: str) -> str:
    """Call the family's iptables; return what it prints."""
    return gate.run("iptables" if family is socket.AF_INET else "ip6tables", *words)


def count_packets(
    gate: Namespace, family: socket.AddressFamily, chain: str, text: str, table: str = "mangle"
) -> int:
    """Return how many packets the rules of a chain that have this text have met."""
    listing = tables(family, gate, "-t", table, "-nvxL", chain)
    return sum(int(line.split()[0]) for line in listing.splitlines() if text in line)
