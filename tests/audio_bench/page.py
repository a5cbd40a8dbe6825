"""The tables of ``docs/wake-word.md``, from what was measured."""

from __future__ import annotations

import datetime as dt
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hardware.detectors import DEFAULT_DETECTOR
from tests.audio_bench import array
from tests.audio_bench.conditions import OTHER_CONDITIONS, WORD_CONDITIONS
from tests.audio_bench.contestants import (
    CONTESTANTS,
    EVERY,
    FOLDER,
    SYNTHETIC,
    Contestant,
    get_path,
    read_thinned,
    read_traces,
)
from tests.audio_bench.measure import Heard, find_delay, find_events, get_highest_mean, get_share_interval
from tests.bench.report import ROOT, describe_machine, format_table

PAGE = ROOT / "docs" / "wake-word.md"
BEGIN, END = "<!-- bench-audio:begin (written by make bench-audio) -->", "<!-- bench-audio:end -->"
# condition -> (least share found, how the issue says it); of recordings of people
GOALS: Mapping[str, float] = {
    "clean": 0.99,
    "pink 10 dB": 0.97,
    "babble 10 dB": 0.90,
    "no pause after": 0.95,
    "speech before": 0.90,
    "speech before, no pause after": 0.90,
}
LATEST_MS = 200
FOUND_NOTE = (
    "{} recordings a row; in brackets the 95 % confidence interval (Wilson). A word counts as found when an "
    "event comes between its beginning and one second after its end. Columns with openwakeword, which is "
    "costly, rest on every fourth of them, also below."
)
FALSE_AN_HOUR = 0.5
PEOPLE = ("other speech", "other speech, prompts in five languages")  # as recorded, nothing altered
CPU_SHARE = 0.10

Row = dict[str, Any]


def get_events(contestant: Contestant, condition: str) -> tuple[list[list[float]], Heard]:
    """Return the events of each scene of a condition, and the scenes."""
    every = max(EVERY.get(trace, 1) for trace, _ in contestant.parts)
    heard = [(read_thinned(trace, condition, every), threshold) for trace, threshold in contestant.parts]
    made = [
        find_events([(one.traces[number], threshold) for one, threshold in heard])
        for number in range(len(heard[0][0].traces))
    ]
    return made, heard[0][0]


def get_delays(contestant: Contestant, condition: str) -> list[float | None]:
    """Return each word's delay, None where it was missed."""
    events, heard = get_events(contestant, condition)
    return [find_delay(one, start, end) for one, (_, start, end) in zip(events, heard.scenes, strict=True)]


def get_false(contestant: Contestant, condition: str) -> tuple[int, float]:
    """Return the false alarms in a condition without the word, and its hours."""
    events, heard = get_events(contestant, condition)
    return sum(map(len, events)), heard.audio_s / 3600


def format_share(delays: Sequence[float | None]) -> str:
    """Return ``98.5 (95.7-99.5)``: percent found, and the interval."""
    hits = sum(delay is not None for delay in delays)
    low, high = get_share_interval(hits, len(delays))
    return f"{100 * hits / len(delays):.1f} ({100 * low:.1f}-{100 * high:.1f})"


def format_delays(delays: Sequence[float | None]) -> str:
    """Return the median and the 95th percentile in ms."""
    found = sorted(1000 * delay for delay in delays if delay is not None)
    if len(found) < 20:
        return "-"
    return f"{statistics.median(found):.0f} / {statistics.quantiles(found, n=20)[-1]:.0f}"


def format_rate(count: int, hours: float) -> str:
    """Return ``3 (12 an hour)``, or the highest rate that none at all leaves possible."""
    if count:
        return f"{count} ({count / hours:.1f} an hour)"
    return f"0 (under {get_highest_mean(0) / hours:.1f} an hour)"


def make_found(contestants: Sequence[Contestant]) -> list[Row]:
    """Return the table of what is found."""
    return [
        {"": condition, **{one.name: format_share(get_delays(one, condition)) for one in contestants}}
        for condition in (*WORD_CONDITIONS, SYNTHETIC)
    ]


def make_delays(contestants: Sequence[Contestant]) -> list[Row]:
    """Return the table of delays."""
    return [
        {"": condition, **{one.name: format_delays(get_delays(one, condition)) for one in contestants}}
        for condition in WORD_CONDITIONS
    ]


def was_played(contestant: Contestant, condition: str) -> bool:
    """Return whether all of a contestant's detectors heard a condition."""
    return all(condition in read_traces(trace) for trace, _ in contestant.parts)


def make_false(contestants: Sequence[Contestant]) -> list[Row]:
    """Return the table of false alarms; "-" where a detector was not played a condition."""
    rows = []
    for condition in OTHER_CONDITIONS:
        hours = get_false(contestants[0], condition)[1]
        cells = {
            one.name: format_rate(*get_false(one, condition)) if was_played(one, condition) else "-"
            for one in contestants
        }
        rows.append({"": f"{condition}, {60 * hours:.0f} min", **cells})
    return rows


def make_costs(contestants: Sequence[Contestant]) -> list[Row]:
    """Return the table of costs."""
    costs = json.loads((FOLDER / "cost.json").read_text())
    rows = []
    for one in contestants:
        single, four = costs[f"{one.costs} 1"], costs[f"{one.costs} 4"]
        rows.append(
            {
                "detector": one.name,
                "CPU of one core, one channel": f"{100 * single['cpu']:.2f} %",
                "four channels": f"{100 * four['cpu']:.2f} %",
                "memory, one channel": f"{single['memory_mb']:.0f} MB",
                "four": f"{four['memory_mb']:.0f} MB",
            }
        )
    return rows


def make_array() -> list[Row]:
    """Return the table of the simulated array."""
    rows = []
    for row in json.loads((FOLDER / "array.json").read_text()):
        shares = {}
        for way in array.WAYS:
            low, high = get_share_interval(row["hits"][way], row["count"])
            shares[way] = f"{100 * row['hits'][way] / row['count']:.0f} % ({100 * low:.0f}-{100 * high:.0f})"
        rows.append({"detector": row["name"], **shares})
    return rows


def make_goals(contestant: Contestant) -> list[Row]:
    """Return each goal, what the contestant reached, and whether that is it."""
    rows: list[Row] = []
    for condition, least in GOALS.items():
        delays = get_delays(contestant, condition)
        share = sum(delay is not None for delay in delays) / len(delays)
        rows.append(
            _judge(f"{condition}: found", f"{least:.0%}", f"{format_share(delays)} %", reached=share >= least)
        )
    found = sorted(1000 * delay for delay in get_delays(contestant, "clean") if delay is not None)
    latest = statistics.quantiles(found, n=20)[-1]
    rows.append(
        _judge(
            "clean: p95 after the end of the word",
            f"{LATEST_MS} ms",
            f"{latest:.0f} ms",
            reached=latest <= LATEST_MS,
        )
    )
    alarms = [get_false(contestant, condition) for condition in PEOPLE]
    count, hours = sum(one for one, _ in alarms), sum(one for _, one in alarms)
    wanted = f"under {FALSE_AN_HOUR} an hour"
    rate = _judge(
        "false alarms in other speech",
        wanted,
        format_rate(count, hours),
        reached=count < FALSE_AN_HOUR * hours,
    )
    if not count and get_highest_mean(0) / hours >= FALSE_AN_HOUR:
        rate[""] = "none came, but the recordings are too short to show it"
    rows.append(rate)
    four = json.loads((FOLDER / "cost.json").read_text())[f"{contestant.costs} 4"]["cpu"]
    rows.append(
        _judge("CPU, four channels", f"under {CPU_SHARE:.0%}", f"{four:.1%}", reached=four < CPU_SHARE)
    )
    return rows


def _judge(goal: str, wanted: str, got: str, *, reached: bool) -> Row:
    return {"goal": goal, "wanted": wanted, "measured": got, "": "reached" if reached else "**missed**"}


def make_page() -> str:
    """Return the generated part of the page."""
    there = [one for one in CONTESTANTS if all(get_path(trace).exists() for trace, _ in one.parts)]
    words = len(get_delays(there[0], "clean"))
    default = next(one for one in there if one.costs == DEFAULT_DETECTOR and "packaged" not in one.name)
    parts: list[tuple[str, str, Callable[[], list[Row]]]] = [
        (f"Goals, and what the default ({default.name}) reached", "", lambda: make_goals(default)),
        (
            "Found, in percent",
            FOUND_NOTE.format(words),
            lambda: make_found(there),
        ),
        ("Milliseconds from the end of the word to the event, p50 / p95", "", lambda: make_delays(there)),
        ("False alarms", "", lambda: make_false(there)),
        ("Cost", "", lambda: make_costs(there)),
        ("A simulated array: babble at 10 dB", "", make_array),
    ]
    made = [f"{dt.datetime.now(dt.UTC):%Y-%m-%d}; {describe_machine()}."]
    for title, note, make in parts:
        made.append(f"## {title}\n\n{note}\n\n{format_table(make())}".replace("\n\n\n\n", "\n\n"))
    return "\n\n".join(made)


def write() -> None:
    """Put the tables between the page's marks."""
    text = PAGE.read_text()
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        sys.exit(f"{PAGE.name} has lost its marks {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n\n{make_page()}\n\n{END}{after}")
