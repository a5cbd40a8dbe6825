"""The top of the benchmarks page: one row for each contender, and each goal with what was reached.

Everything is read from the sections' JSON; nothing is measured here. A goal whose figures are not there yet
is left out, and none is rounded into reach.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench import report
from tests.bench.contenders import (
    C_LOOP,
    GATE_COMPILED,
    GATE_COMPILED_FAST,
    GATE_FAST,
    GATE_MONITOR,
    NAIVE,
    NO_QUEUE,
    SURICATA,
)
from tests.bench.load import EVERYBODY, MIX_100

Raw = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Every single measurement of the mix of 100 flows, by section."""

    saturated: Raw
    paced: Raw
    ramp: Raw
    naive: Raw

    @classmethod
    def load(cls) -> Figures:
        """Read what the sections have saved."""
        naive, saturated = _get_single("naive"), _get_single("saturated")
        mixed = [made for made in saturated if made["load"] == MIX_100]
        paced = [made for made in _get_raw("paced") if made["load"] == MIX_100]
        return cls(mixed, paced, _get_raw("ramp"), naive)


def _get_raw(section: str) -> Raw:
    made = report.load_section(section)
    return made["raw"] if made else []


def _get_single(section: str) -> Raw:
    made = report.load_section(section)
    return made["raw"]["single"] if made else []


def _pick(raw: Raw, name: str, value: Callable[[dict[str, Any]], float]) -> list[float]:
    return [value(made) for made in raw if made["contender"] == name]


def get_process_us(made: dict[str, Any]) -> float:
    """Return CPU of the process for each queued packet, microseconds."""
    return float(made["process_ns"] / 1000 / made["queued"]) if made["queued"] else 0.0


def get_machine_us(made: dict[str, Any]) -> float:
    """Return CPU of process, sending calls and softirq threads for each packet, microseconds."""
    return float((made["process_ns"] + made["sender_ns"] + made["softirq_ns"]) / 1000 / made["sent"])


def _get_added(raw: Raw, name: str, percentile: str) -> list[float]:
    mine = _pick(raw, name, lambda made: made["on_the_way"][percentile])
    free = _pick(raw, NO_QUEUE, lambda made: made["on_the_way"][percentile])
    return [own - base for own, base in zip(mine, free, strict=True)] if mine and free else []


def compare_medians(mine: Iterable[float], theirs: Iterable[float]) -> float | None:
    """Return the median of the ratios, turn by turn; None where one of them was not measured."""
    ratios = [own / other for own, other in zip(mine, theirs, strict=False) if other]
    return statistics.median(ratios) if ratios else None


def _median(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f}" if values else ""


def tabulate(figures: Figures) -> list[dict[str, str]]:
    """Return a row of medians for each contender."""
    rows = []
    for name in EVERYBODY:
        cost = _pick(figures.saturated, name, get_process_us)
        if not cost:
            continue
        machine = _pick(figures.saturated, name, get_machine_us)
        row = {"who": name, "CPU per queued packet, us": _median(cost, 2) if any(cost) else ""}
        for title, other in (("times C", C_LOOP), ("times Suricata", SURICATA)):
            ratio = (
                compare_medians(cost, _pick(figures.saturated, other, get_process_us)) if any(cost) else None
            )
            row[title] = f"{ratio:.2f}" if ratio is not None else ""
        row["CPU per packet, whole way, us"] = _median(machine, 2)
        whole = compare_medians(machine, _pick(figures.saturated, SURICATA, get_machine_us))
        row["whole way, times Suricata"] = f"{whole:.2f}" if whole is not None else ""
        row["packets a second before loss"] = _median(_pick(figures.ramp, name, lambda made: made["rate"]), 0)
        for percentile in ("p50", "p99", "p99.9"):
            added = [] if name == NO_QUEUE else _get_added(figures.paced, name, percentile)
            row[f"added {percentile}, us"] = _median(added, 0)
        memory = _pick(figures.saturated, name, lambda made: made["memory"]["proportional"] / 1024)
        row["PSS, MB"] = _median(memory, 1) if name != NO_QUEUE else ""
        started = _pick(figures.saturated, name, lambda made: made["start_seconds"])
        row["ready after, s"] = _median(started, 2) if name != NO_QUEUE else ""
        rows.append(row)
    return rows


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound and what was measured; ``at_most`` False: at least."""

    text: str
    bound: float
    measured: float | None
    at_most: bool = True

    @property
    def verdict(self) -> str:
        """Return reached or missed."""
        assert self.measured is not None
        good = self.measured <= self.bound if self.at_most else self.measured >= self.bound
        return "reached" if good else "**missed**"


def list_goals(figures: Figures) -> list[Goal]:
    """Return the goals with what was measured; those without figures are left out."""
    saturated, paced = figures.saturated, figures.paced
    c_loop, suricata = (_pick(saturated, name, get_process_us) for name in (C_LOOP, SURICATA))
    pure, compiled = (_pick(saturated, name, get_process_us) for name in (GATE_MONITOR, GATE_COMPILED))
    whole = _pick(saturated, SURICATA, get_machine_us)
    goals = [
        Goal("CPU per queued packet, pure Python, times C", 1.6, compare_medians(pure, c_loop)),
        Goal("CPU per queued packet, compiled, times C", 1.3, compare_medians(compiled, c_loop)),
        Goal("CPU per queued packet, compiled, times Suricata", 1.2, compare_medians(compiled, suricata)),
    ]
    for name in (GATE_FAST, GATE_COMPILED_FAST):
        mine = _pick(saturated, name, get_machine_us)
        text = f"CPU per forwarded packet, {name.removeprefix('gate, monitor, ')}, times Suricata"
        goals.append(Goal(text, 1.0, compare_medians(mine, whole)))
    whole = _pick(paced, SURICATA, get_machine_us)
    for name in (GATE_FAST, GATE_COMPILED_FAST):
        mine = _pick(paced, name, get_machine_us)
        text = f"the same, paced, {name.removeprefix('gate, monitor, ')}"
        goals.append(Goal(text, 1.0, compare_medians(mine, whole)))
    for percentile, bound in (("p50", 1.2), ("p99", 1.5)):
        for name in (GATE_MONITOR, GATE_COMPILED):
            ratio = compare_medians(
                _get_added(paced, name, percentile), _get_added(paced, C_LOOP, percentile)
            )
            goals.append(Goal(f"added latency {percentile}, {name}, times C", bound, ratio))
    naive = _pick(figures.naive, NAIVE, get_process_us)
    for name in (GATE_MONITOR, GATE_COMPILED):
        ratio = compare_medians(naive, _pick(figures.naive, name, get_process_us))
        goals.append(Goal(f"packet rate, {name}, times the naive way's", 400, ratio, at_most=False))
    goals += _list_own_goals()
    return [goal for goal in goals if goal.measured is not None]


def _list_own_goals() -> list[Goal]:
    goals = []
    if startup := report.load_section("startup"):
        for name, seconds in startup["raw"]["seconds"].items():
            goals.append(Goal(f"{name}: ready, s", 0.5, statistics.median(seconds)))
        for name, memory in startup["raw"].get("pss_mb", {}).items():
            goals.append(Goal(f"{name}: PSS when ready, MB", 40, statistics.median(memory)))
    if idle := report.load_section("growth-idle"):
        for way, octets in idle["raw"].items():
            goals.append(Goal(f"memory of an idle flow, {way}, bytes", 1000, octets))
    if replay := report.load_section("replay"):
        for capture, ratio in (replay["raw"] or {}).items():
            goals.append(Goal(f"replay, {capture}, times tshark's speed", 3, ratio, at_most=False))
    return goals


def format_summary() -> str:
    """Return both tables as Markdown; nothing where nothing was measured."""
    figures = Figures.load()
    if not figures.saturated:
        return ""
    goals = [
        {
            "goal": goal.text,
            "at most" if goal.at_most else "at least": f"{goal.bound:g}",
            "measured": f"{goal.measured:,.2f}",
            "": goal.verdict,
        }
        for goal in list_goals(figures)
    ]
    note = (
        f"Medians of the sections below, {MIX_100}; ratios are medians of the ratios turn by turn. "
        "The whole way: process, sending calls and softirq threads. Added: at a paced 5,000 packets a second."
    )
    pictures = format_pictures(PICTURES)
    parts = [f"## At a glance\n\n{note}\n\n{report.format_table(tabulate(figures))}", pictures]
    columns = ("goal", "at most", "at least", "measured", "")
    ordered = [{column: goal.get(column, "") for column in columns} for goal in goals]
    parts.append(f"## Goals\n\n{report.format_table(ordered)}")
    return "\n\n".join(part for part in parts if part)


def format_pictures(pictures: Mapping[str, str]) -> str:
    """Return links to those pictures that are there."""
    return "\n\n".join(
        f"![{text}](pictures/{name}.png)"
        for name, text in pictures.items()
        if (report.PICTURES / f"{name}.png").exists()
    )


GROWTH_PICTURES = {
    "growth-flows": "cost for each packet and memory against connections",
    "growth-devices": "cost for each packet and memory against devices",
    "growth-capture": "replay: packets for each second of CPU and peak memory against the capture's size",
}
PICTURES = {
    "bench-cpu": "CPU per packet, by contender: process, and the rest of the way",
    "bench-latency": "added latency by contender: p50, p99, p99.9",
    "bench-rate": "packets a second before loss, by contender",
}
