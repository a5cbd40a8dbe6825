"""The figures as docs/balanced.md, and its picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from guard.core.bound import get_bound
from guard.core.policy import Policy
from guard.lab.namespaces import DEVICES
from tests.balanced.life import SONG_S, Silence, Tally
from tests.balanced.play import Outcome
from tests.balanced.senders import MEASURED, ODD, Temper
from tests.balanced.stream import EVERY_S, REQUEST_BYTES, Streamed
from tests.balanced.uploads import Leak

SECONDS = 60.0
REFUSED, LEFT = "#2e9e5b", "#d23b3b"
DAY, UNEXPLAINED = "A day with it", "A voice that nothing explains"
OTHERS = "As no Echo was seen to speak"
_HEAD = """# Balanced: what it gives, and what it costs

Written by `sudo python -m tests.balanced`; with `--senders` all but the first two tables anew.

Under `strict` nothing passes without a wake word, and Alexa's telemetry and upkeep cut her connections
all day. Under `balanced` they may use a budget, and the [voice detector](model.md) decides who may: this
page is its trial.

## A day with it

One hundred commands to each of the lab's two [Echos](lab.md) at random, {every:g} s apart on average, a
wake event up to 0.7 s after the first audio packet. After every third command a follow-up turn without a
wake word, after every tenth a song of {song:g} s; reports and telemetry in between. *Without a gate* is
monitor mode: nothing waits, nothing is refused. Answered means that every byte had arrived. One process,
virtual time; the kernel rows are the real gate in namespaces.

| gate | where | Echo | commands answered | follow-ups | songs | connections cut |
|---|---|---|---|---|---|---|
"""
_SILENCE = """
## A voice that nothing explains

Both Echos upload two seconds of speech with no wake word; or muted, and then a wake word is heard as
well. Counted where the cloud's program reads, pieces of records included: on the kernel rows behind the
receiving kernel's TCP. What does come under balanced are headers and JSON, which are sent before any
speech and look like any other report.

| situation | policy | where | Echo | utterances | bytes of speech that arrived | of headers and JSON |
|---|---|---|---|---|---|---|
"""
_MEASURED = """
## As Echos were measured to speak

{seconds:g} s of speech in utterances of 4 s, in the shapes of the [captures](alexa-traffic.md), under the
suites seen there and two others, with no wake word. Cut, a sender *gives up* the utterance; *repeats* it
from its beginning, three times in all; or *goes on* on a new connection with what is being said, which no
Echo was seen to do. Bytes of speech that left:

| sender | sent | gives up | repeats | goes on | muted |
|---|---|---|---|---|---|
"""
_UPLOADS = """
Going on, a sender gets the tail of an utterance through: where less than a run of records is left of it,
no run shows within the {probe:.0f} ms that the first of them waits.

**The uploads of the captures themselves**, record by record at their own times, each with full budgets on
a connection of its own: of {count} uploads with {sent:,} bytes of speech, {clean} leave nothing and
{dirty} leave {left:,} bytes in all. {told}
"""
_ODD = """
## As no Echo was seen to speak

The same {seconds:g} s from senders that the detector was not made for, as bad as they can be: cut, each
goes on at once on a new connection. What leaves is charged to the `control` budget, so in {seconds:g} s
it cannot be more than **{bound:,.0f} bytes**, in an hour **{hour:,.0f}**; all budgets together are in
[policy.md](policy.md#the-bound). While muted nothing of any of them leaves.

![How much of each sender's speech leaves](pictures/balanced-leaks.png)

| sender | sent | left | share | before the first refusal | connections cut |
|---|---|---|---|---|---|
"""
_FOOT = """
How to read it: a detector that knows lengths and times alone cannot tell speech from a report when both
are sent alike, so what bounds such a sender is the budget, and the mute. `strict` lets none of it pass.

## A song that plays on

On a connection that the command's interaction opened, with requests of {request} bytes. The one streaming
capture there is has one every 2.2 to {every} s, which the `lineage` budget holds for hours. A player that
asks more often uses it up; one that asks in as many bytes a second as the slowest codec (6 kbit/s), always
in as many at once, cannot be told from a voice.

| policy | a request every | plays |
|---|---|---|
"""


@dataclass
class Figures:
    """All that was measured."""

    days: list[tuple[str, str, dict[str, Tally]]] = field(default_factory=list)  # gate, where
    silences: list[tuple[str, str, str, Silence]] = field(default_factory=list)  # situation, policy, where
    measured: dict[tuple[str, str], Outcome] = field(default_factory=dict)  # sender, temper or "muted"
    odd: dict[tuple[str, bool], Outcome] = field(default_factory=dict)  # sender, muted
    leaks: list[Leak] = field(default_factory=list)
    streams: dict[tuple[str, float], Streamed] = field(
        default_factory=dict
    )  # policy, seconds between requests
    kept: dict[str, list[str]] = field(default_factory=dict)  # heading -> rows of an earlier page


def write_page(figures: Figures, policy: Policy, *, every: float) -> str:
    """Return the document."""
    control = policy.budgets["control"]
    parts = [
        _HEAD.format(every=every, song=SONG_S),
        _join_or_keep(_list_days(figures), figures.kept, DAY),
        _SILENCE,
        _join_or_keep(_list_silences(figures), figures.kept, UNEXPLAINED),
        _MEASURED.format(seconds=SECONDS),
        _join(_list_measured(figures)),
        _UPLOADS.format(
            probe=policy.probe_s * 1000,
            count=len(figures.leaks),
            sent=sum(leak.outcome.sent for leak in figures.leaks),
            clean=sum(not leak.outcome.left for leak in figures.leaks),
            dirty=sum(leak.outcome.left > 0 for leak in figures.leaks),
            left=sum(leak.outcome.left for leak in figures.leaks),
            told=_tell_leaks(figures.leaks),
        ),
        _ODD.format(
            seconds=SECONDS,
            bound=control.get_bound(SECONDS),
            hour=get_bound(policy, balanced=True)["control"],
        ),
        _join(_list_odd(figures)),
        _FOOT.format(request=REQUEST_BYTES, every=EVERY_S),
        _join(
            (name, f"{pace:g} s", _tell_stream(streamed))
            for (name, pace), streamed in figures.streams.items()
        ),
    ]
    return "".join(parts)


def _list_days(figures: Figures) -> Iterable[Sequence[str]]:
    for gate, where, day in figures.days:
        for device in DEVICES:
            tally = day[device.name]
            yield (
                gate,
                where,
                device.name,
                f"{tally.answered} of {tally.commands}",
                f"{tally.followed} of {tally.follow_ups}",
                f"{tally.played} of {tally.songs}",
                str(tally.resets),
            )


def _list_silences(figures: Figures) -> Iterable[Sequence[str]]:
    for situation, policy, where, silence in figures.silences:
        for device in DEVICES:
            cells = [silence.speech[device.name], silence.opening[device.name]]
            counts = [f"{cell:,}" for cell in cells]
            yield situation, policy, where, device.name, str(silence.utterances), *counts


def _list_measured(figures: Figures) -> Iterable[Sequence[str]]:
    for sender in MEASURED:
        outcomes = [figures.measured[sender.name, key] for key in (*Temper, "muted")]
        yield sender.name, f"{outcomes[0].sent:,}", *(f"{outcome.left:,}" for outcome in outcomes)


def _list_odd(figures: Figures) -> Iterable[Sequence[str]]:
    for sender in ODD:
        outcome = figures.odd[sender.name, False]
        refused = outcome.first_refused_s is not None
        yield (
            sender.name,
            f"{outcome.sent:,}",
            f"{outcome.left:,}",
            f"{outcome.share:.0%}",
            f"{outcome.left_before:,}" if refused else "never refused",
            str(outcome.refused),
        )


def _tell_leaks(leaks: Sequence[Leak]) -> str:
    dirty = sorted((leak for leak in leaks if leak.outcome.left), key=lambda leak: -leak.outcome.left)
    if not dirty:
        return ""
    told = "".join(f"- {leak.name}: {leak.outcome.left:,} of {leak.outcome.sent:,} bytes\n" for leak in dirty)
    why = "In these nothing of a known length follows the first record for longer than it waits"
    return f"\n{why}:\n\n{told.rstrip()}"


def _tell_stream(streamed: Streamed) -> str:
    minutes = streamed.seconds / 60
    return f"{minutes:.0f} minutes and on" if streamed.whole else f"{minutes:.1f} minutes, then it is cut"


def read_rows(page: str) -> dict[str, list[str]]:
    """Return heading -> the rows of the table below it."""
    found: dict[str, list[str]] = {}
    for section in page.split("\n## ")[1:]:
        heading, _, text = section.partition("\n")
        lines = [line for line in text.splitlines() if line.startswith("|")]
        found[heading] = lines[2:]
    return found


def _join_or_keep(rows: Iterable[Sequence[str]], kept: dict[str, list[str]], heading: str) -> str:
    return _join(rows) or "".join(f"{row}\n" for row in kept.get(heading, []))


def _join(rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def draw(figures: Figures, policy: Policy, path: Path) -> None:
    """Write the picture: what left of each sender's speech, beside the bound."""
    rows = [
        *((sender.name, figures.measured[sender.name, Temper.GOES_ON]) for sender in MEASURED[::3]),
        *((sender.name, figures.odd[sender.name, False]) for sender in ODD),
    ]
    figure = Figure(figsize=(10, 0.9 + 0.3 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, (_name, outcome) in enumerate(reversed(rows)):
        axes.barh(place, 1.0, color=REFUSED, height=0.7)
        axes.barh(place, outcome.share, color=LEFT, height=0.7)
        axes.text(
            1.01,
            place,
            f"{outcome.left / 1000:,.1f} of {outcome.sent / 1000:,.0f} kB",
            va="center",
            fontsize=8,
        )
    axes.axhline(len(ODD) - 0.5, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)], fontsize=8)
    axes.set_xlim(0, 1.18)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0 %", "25 %", "50 %", "75 %", "100 %"], fontsize=8)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    bound = policy.budgets["control"].get_bound(SECONDS) / 1000
    axes.set_title(
        "Share of a minute's speech that left (red) and that was refused (green); "
        f"at most {bound:,.0f} kB may leave.\n"
        "Above the line: shapes measured on Echos. Below: shapes that no Echo was seen to send.",
        loc="left",
        fontsize=9,
    )
    figure.savefig(path, dpi=120)
