"""What iptables-save prints, taken apart: our chains, our jumps, and the text that swaps them.

Pure text in and out. Everything that is ours has a chain name that begins with ``WAKEGUARD-``; all
else is the user's, is never flushed, declared or reset, and appears in no text made here.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CHAIN_PREFIX: Final = "WAKEGUARD-"

# mangle first: it marks, queues and has the last word, so the moment between the two commits is closed.
ORDER: Final = ("mangle", "filter")
"""The tables that hold rules of ours, in the order in which they are committed."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A rule in a chain of the user's that leads to one of ours; ``position`` counts from 1."""

    chain: str
    position: int
    rule: str


@dataclass(frozen=True, slots=True)
class OwnTable:
    """What is ours in one table: chains, their rules in order (without ``-A``), jumps to them."""

    chains: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    jumps: tuple[Jump, ...] = ()


Tables = Mapping[str, OwnTable]


def parse_tables(text: str) -> dict[str, OwnTable]:
    """Return what is ours, by table, in iptables-save's output or in a rendered template.

    Tables without anything of ours are left out.
    """
    found: dict[str, OwnTable] = {}
    for table, lines in _split_tables(text).items():
        chains: list[str] = []
        rules: list[str] = []
        jumps: list[Jump] = []
        positions: dict[str, int] = {}
        for line in lines:
            if line.startswith(":"):
                name = line[1:].split()[0]
                if name.startswith(CHAIN_PREFIX):
                    chains.append(name)
                continue
            option, chain, rule = _split_rule(line)
            if chain.startswith(CHAIN_PREFIX):
                rules.append(f"{chain} {rule}")
                continue
            if option == "-I":
                rule = rule.partition(" ")[2]  # the templates say the place: the first
            positions[chain] = positions.get(chain, 0) + 1
            if _leads_to_us(rule):
                jumps.append(Jump(chain, positions[chain], rule))
        if chains or rules or jumps:
            found[table] = OwnTable(tuple(chains), tuple(rules), tuple(jumps))
    return found


def find_hollow_tables(text: str) -> dict[str, tuple[str, ...]]:
    """Return the tables that hold nothing but built-in chains that accept, and the names of these.

    iptables-nft makes a table with its built-in chains when the first rule is added, and leaves it there.
    """
    return {
        table: tuple(line[1:].split()[0] for line in lines)
        for table, lines in _split_tables(text).items()
        if all(line.startswith(":") and line.split()[1] == "ACCEPT" for line in lines)
    }


def format_swap(current: Tables, wanted: Tables) -> str:
    """Return the iptables-restore text (for ``--noflush``) that turns ``current`` into ``wanted``.

    One transaction for each table: there is no moment without a chain, a rule or a jump that both have.
    Empty when there is nothing to do.
    """
    lines: list[str] = []
    others = tuple(name for name in current if name not in ORDER)
    for table in (*ORDER, *others):
        before, after = current.get(table), wanted.get(table)
        if before is None and after is None:
            continue
        before, after = before or OwnTable(), after or OwnTable()
        stale = tuple(chain for chain in before.chains if chain not in after.chains)
        lines.append(f"*{table}")
        lines += [f":{chain} - [0:0]" for chain in (*after.chains, *stale)]  # creates or flushes
        lines += [f"-D {jump.chain} {jump.rule}" for jump in before.jumps]
        lines += [f"-I {jump.chain} {jump.position} {jump.rule}" for jump in after.jumps]
        lines += [f"-A {rule}" for rule in after.rules]
        lines += [f"-X {chain}" for chain in stale]
        lines.append("COMMIT")
    return "\n".join((*lines, "")) if lines else ""


def compare_tables(installed: Tables, wanted: Tables) -> list[str]:
    """Return how ``installed`` differs from ``wanted``, a line each; empty when they are equal."""
    differences: list[str] = []
    for table in dict.fromkeys((*wanted, *installed)):
        here, there = installed.get(table, OwnTable()), wanted.get(table, OwnTable())
        differences += [f"{table}: chain {c} is missing" for c in there.chains if c not in here.chains]
        differences += [
            f"{table}: chain {c} should not be there" for c in here.chains if c not in there.chains
        ]
        differences += _compare_jumps(table, here.jumps, there.jumps)
        for chain in there.chains:
            if chain in here.chains:
                differences += _compare_rules(table, _chain(here.rules, chain), _chain(there.rules, chain))
    return differences


def _compare_jumps(table: str, here: tuple[Jump, ...], there: tuple[Jump, ...]) -> list[str]:
    differences = []
    for wanted in there:
        found = [jump for jump in here if (jump.chain, jump.rule) == (wanted.chain, wanted.rule)]
        if not found:
            differences.append(f"{table}: {wanted.chain} has no {wanted.rule}")
        elif found[0].position != wanted.position:
            differences.append(
                f"{table}: {wanted.chain} {wanted.rule} is rule {found[0].position}, not {wanted.position}"
            )
        differences += [f"{table}: {jump.chain} {jump.rule} is there twice" for jump in found[1:]]
    known = {(jump.chain, jump.rule) for jump in there}
    differences += [
        f"{table}: {jump.chain} {jump.rule} should not be there"
        for jump in here
        if (jump.chain, jump.rule) not in known
    ]
    return differences


def _compare_rules(table: str, here: list[str], there: list[str]) -> list[str]:
    missing = [f"{table}: missing: -A {rule}" for rule in there if _normal(rule) not in map(_normal, here)]
    foreign = [f"{table}: not ours: -A {rule}" for rule in here if _normal(rule) not in map(_normal, there)]
    if not missing and not foreign and [*map(_normal, here)] != [*map(_normal, there)]:
        return [f"{table}: the rules of {there[0].split()[0]} are in another order or there twice"]
    return missing + foreign


def _chain(rules: tuple[str, ...], chain: str) -> list[str]:
    return [rule for rule in rules if rule.split(maxsplit=1)[0] == chain]


def _normal(rule: str) -> str:
    """Return the rule without what releases of iptables print differently: a MAC's case."""
    words = rule.split()
    return " ".join(
        word.lower() if index and words[index - 1] == "--mac-source" else word
        for index, word in enumerate(words)
    )


def _split_rule(line: str) -> tuple[str, str, str]:
    """Return the option, the chain and the rest as it stands: a comment's blanks belong to the rule."""
    option, chain, *rest = line.split(maxsplit=2)
    return option, chain, rest[0] if rest else ""


def _leads_to_us(rule: str) -> bool:
    """Tell whether the rule's own target is a chain of ours; a comment that says so is none."""
    try:
        words = shlex.split(rule)
    except ValueError:
        return False
    targets = [after for word, after in itertools.pairwise(words) if word in ("-j", "-g")]
    return bool(targets) and targets[-1].startswith(CHAIN_PREFIX)


def _split_tables(text: str) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("*"):
            lines = tables.setdefault(line[1:], [])
        elif line.startswith((":", "-A ", "-I ")):
            lines.append(line)
    return tables
