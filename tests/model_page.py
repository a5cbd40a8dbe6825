"""Write ``docs/model.md`` from the figures of the shipped model's training: ``python -m tests.model_page``.

A test fails when the page is not what this writes. The figures themselves are ``wakeguard train``'s, the
table of odd senders is measured here.
"""

from __future__ import annotations

from guard.core.burst import (
    FEATURES,
    LEAST_BYTES_PER_S,
    MIN_RUN,
    PACE,
    PACE_GAP_S,
    PACE_LONGEST,
    PACE_S,
    PAUSE_S,
    WINDOW,
)
from guard.core.voice import (
    BURST_LEAD_S,
    BURST_S,
    MAX_GAP_S,
    PAIR,
    RUN,
    RUN_COVERS,
    SURE_RUN,
    SURE_RUN_COVERS,
    WIDE,
)
from guard.learning.bursts import BURST_COLUMNS
from guard.learning.card import format_data, format_delays, format_table, format_uploads
from guard.learning.figures import Report, read_report
from guard.learning.trial import BYTES_BAR, DELAY_BAR_S
from guard.rules import VOICE_MODEL
from tests.conftest import ROOT
from tests.senders import SENDERS, SPEECH_S, send

PAGE = ROOT / "docs" / "model.md"
FIGURES = ROOT / "models" / VOICE_MODEL / "figures.json"


def format_features() -> str:
    """Return the table of features, in the words of the dataset's columns."""
    columns = {column.name: column for column in BURST_COLUMNS}
    rows = [(f"`{name}`", columns[name].unit, columns[name].meaning) for name in FEATURES]
    return format_table(("feature", "unit", "meaning"), rows)


def format_late(report: Report) -> str:
    """Return the table of uploads that the gate recognised later than the bars, by file."""
    rows = [
        (outcome.household, name.rpartition("/")[2], f"{at:.1f}", f"{1000 * delay:.0f}", f"{size:,}")
        for outcome in report.outcomes
        if outcome.detector == "gate"
        for name, at, delay, size in sorted(outcome.late)
    ]
    return format_table(("household", "capture", "at second", "ms", "bytes"), rows)


def format_commands(report: Report) -> str:
    """Return the table of commands found in a capture."""
    rows = [
        (
            home.name,
            ", ".join(f"{count} in {files}" for count, files in home.commands.items()),
            str(home.unheard),
        )
        for home in report.data
    ]
    return format_table(
        ("household", "commands found in a capture, in so many captures", "pre-roll bursts"), rows
    )


def format_senders() -> str:
    """Return the table of senders that the detector was not made for."""
    rows = []
    for sender in SENDERS:
        left, recognised = send(sender)
        spoken = sender.rate * SPEECH_S
        rows.append((sender.what, f"{spoken:,.0f}", f"{left:,}", "yes" if recognised else "no"))
    return format_table(("sender", "bytes of speech", "bytes that left", "recognised"), rows)


def write_page() -> str:
    """Return the page."""
    report = read_report(FIGURES)
    gate = [outcome for outcome in report.outcomes if outcome.detector == "gate"]
    late = sum(len(outcome.late) for outcome in gate)
    found = sum(outcome.found for outcome in gate)
    traces_found, traces = report.traces
    return f"""# The voice detector

Written by `python -m tests.model_page`; a test fails when it differs. Trained and measured by
`wakeguard train --research FOLDER -o OUT`, seed {report.seed}; the model is in
[`models/voice-v1`](../models/voice-v1/CARD.md), the table that it learns from in [datasets.md](datasets.md).

## What it decides

Under the balanced policy an Echo's control traffic may use a budget and a voice may not
([policy.md](policy.md)). Under strict there is such a budget only for connections of an interaction that is
over. Three questions tell a voice, all asked of the lengths and times of TLS records alone, in `guard.core`:

**The certain rule** knows codecs that were measured. Voice of a constant bit rate sits on a lattice of
lengths (9 + 80k bytes of plaintext, 8 + 400k, 1033), which moves with the cipher suite. {SURE_RUN} records
of one lattice make a voice where they are equally long, and {PAIR} where they differ on the lattice of
{WIDE} bytes, when they hold at least {100 * SURE_RUN_COVERS:.0f} % of what can be spoken in the time that
passed; {RUN} of any where they hold {100 * RUN_COVERS:.0f} %. On the wide lattice a pre-roll that was cut
counts with its pieces of 4096 bytes. A single frame at most {BURST_S} s after a record of more than half a
second of speech is a voice by itself. A pause of {MAX_GAP_S:.0f} s begins anew. The rule is the same without
a model.

**The model** tells codecs that nobody has measured. It is asked when {MIN_RUN} records in a row are equally
long, about the last {WINDOW} records of the burst (no pause of {PAUSE_S:.0f} s), unless they are slower than
{LEAST_BYTES_PER_S:.0f} bytes a second, as the requests of a player are; the connection's own upkeep,
17 bytes of plaintext or less, is left out. It never widens anything: what it alone takes for a voice keeps no
interaction open.

**The pace** needs no model either: {PACE} records of at most {PACE_LONGEST:,} bytes, no more than
{PACE_GAP_S:.2f} s apart, that take at least {
        PACE_S:.2f} s, are a voice of whatever lengths. In the two homes'
captures four came so at most outside uploads, in the muted and idle ones never enough. It too only refuses.

A record of a voice's length, or one that may hold a whole pre-roll, waits up to 150 ms to see what follows.
Each packet waits its own 150 ms, so that what came before a voice does not release its first records. When
a run follows, all that waits is refused and the connection condemned; what of it had passed is counted
(`wakeguard_voice_before_refusal_bytes`, see [metrics.md](metrics.md)).

**A wake word that our microphone did not hear.** Speech from before the wake word leaves faster than anybody
speaks: {BURST_LEAD_S} s more of it than the time that passed, within {BURST_S} s, or one record of more
than half a second right before the run. Such a burst that no wake event explains is reported as
`unheard_wake`: our microphone missed the word, or the Echo woke by itself.

## Features

{format_features()}

## Protocol

{format_data(report)}

Leave one household out: the detectors are trained, and their thresholds chosen, on the other households; the
figures are of the one left out. The two homes have different codecs, so to the model the codec it is tried on
is unknown, and "model alone" is the honest row. Within the training households the threshold is chosen on
captures that the scoring forest was not grown on (five folds by capture), in the middle of those with the
best F1. An upload is found when the detector speaks within its times (3 s before, 1.5 s after); anything
else is a false alarm. Intervals are Wilson's, 95 %. `paper` holds the muted and idle captures of 2022:
**these tables have lengths of frames alone**, read as one record a frame, so that records over more than
one frame look like several.

## Uploads found

{format_uploads(report)}

In the muted and idle captures nothing was taken for a voice, and no burst for a wake word.

## How soon

From the first record of the run, in time and in bytes of audio after it. The bars are {
        1000 * DELAY_BAR_S:.0f} ms and {
        BYTES_BAR:,} bytes. In balanced the first records wait meanwhile, so a late
decision is no leak.

{format_delays(report)}

{late} of {found} uploads were recognised later than one of the bars, each listed below, all of them in
`haipeng_li`. Two causes: its pre-roll comes in records of up to 4,128 bytes, so that the second or third of
them is beyond the bar, or the line stalled behind the first. The other device sends its pre-roll in one
record of about 5.7 kB before the run; it is not in these bytes, and it waits with the others.

{format_late(report)}

## Where this is circular, and what is not

The list of uploads (`events_train.csv`) was made from record lengths. That the certain rule, which goes by
lengths, finds all of them is no independent proof; that the model does, which sees no lattice and was
trained on another codec, is somewhat better; what is a false alarm does not depend on the list, but for
commands that the list missed. Two checks owe it nothing:

- **Commands in a capture.** Each capture's name is a command that was spoken about five times. The certain
  rule, without the list, finds:

{format_commands(report)}

- **Published traces** of one command each, from a third session: a voice is found in {traces_found} of
  {traces}. These too have packet lengths alone. Of the three others one stops after a few packets, one
  has none of an audio record's length, one has twenty that are 12 bytes longer than any other trace's.

## Senders that it was not made for

Each speaks for {SPEECH_S:.0f} s on a fresh connection under balanced, nobody said the wake word. What leaves
without being recognised is bounded by the budget `control` and nothing else: strict lets none of it pass.

{format_senders()}
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(write_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
