"""The model's card and its tables, in words and from figures.

Knows: Markdown, how a figure is told with its interval. Refuses to know: where figures come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guard.core.burst import CONTROL_BYTES, MIN_RUN, MODEL_FEATURES, WINDOW, get_contract
from guard.learning.figures import Report
from guard.learning.forest import DEPTH, LONGEST, SHORTEST, TREES

_WORDS = {
    "gate": "the gate: certain rule or model",
    "certain rule": "certain rule alone: lattices of known codecs",
    "model": "model alone: knows no codec's lattice",
    "equal run": "baseline: longest run of equally long records",
    "bytes a second": "baseline: bytes in a second",
}


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _share(value: float, interval: tuple[float, float]) -> str:
    if value != value:
        return "—"
    return f"{100 * value:.1f} % ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def format_uploads(report: Report) -> str:
    """Return the table of uploads found, by household and detector."""
    rows = [
        (
            outcome.household,
            _WORDS[outcome.detector],
            f"{outcome.found} of {outcome.uploads}",
            _share(outcome.recall, outcome.recall_interval),
            str(len(outcome.false)),
            f"{outcome.hours:.1f} h",
            _share(outcome.precision, outcome.precision_interval),
        )
        for outcome in report.outcomes
    ]
    return format_table(
        ("held-out household", "detector", "uploads found", "recall", "false alarms", "in", "precision"), rows
    )


def _quantiles(values: Iterable[float]) -> list[float]:
    known = sorted(value for value in values if value == value)
    return [known[round(share * (len(known) - 1))] for share in (0.5, 0.95, 1.0)] if known else []


def format_delays(report: Report) -> str:
    """Return the table of how soon each detector speaks."""
    rows = []
    for outcome in report.outcomes:
        times, sizes = _quantiles(outcome.delays_s), _quantiles(outcome.audio_bytes)
        if not times or outcome.detector == "bytes a second":
            continue
        rows.append(
            (
                outcome.household,
                _WORDS[outcome.detector],
                " / ".join(f"{1000 * value:.0f}" for value in times),
                " / ".join(f"{value:,.0f}" for value in sizes),
                f"{outcome.found - len(outcome.late)} of {outcome.found}",
            )
        )
    head = (
        "held-out household",
        "detector",
        "ms: median / p95 / most",
        "bytes after the first record",
        "within both bars",
    )
    return format_table(head, rows)


def format_data(report: Report) -> str:
    """Return the table of what there was to learn from."""
    rows = [
        (
            home.name,
            str(home.captures),
            f"{home.hours:.1f}",
            str(home.uploads),
            f"{home.voice_rows:,}",
            f"{home.other_rows:,}",
            f"{home.unsure_rows:,}",
        )
        for home in report.data
    ]
    head = ("household", "captures", "hours", "uploads", "rows of voice", "of anything else", "left out")
    return format_table(head, rows)


def format_card(report: Report) -> str:
    """Return ``CARD.md``."""
    return f"""# voice-v1

Written by `wakeguard train`; a test fails when it does not say what `figures.json` does.

**What it is.** A forest of {TREES} trees, at most {DEPTH} questions deep, exported as lists in `model.json`
(no pickle). It is shown {len(MODEL_FEATURES)} figures of a burst of TLS records, their lengths and times, and
says whether somebody's voice is being sent. Feature contract `{get_contract()}`; a gate that computes other
features refuses it.

**What for.** The balanced policy lets an Echo's control traffic use a budget, and never a voice. Voices of
codecs that were measured are told by a certain rule on the lattice of their lengths, without this model. The
model tells those of codecs that nobody has measured, by the steady run of one unit. Under either policy it
only makes the gate refuse more. It is asked only after {MIN_RUN} records of equal length, and looks at the
last {WINDOW}; records of {CONTROL_BYTES} bytes of plaintext or less, a connection's own upkeep, are left out.

**Threshold.** {report.threshold:.3f}, chosen like that of each trial below: on captures that the scoring
forest was not grown on. Seed {report.seed}.

## Data

{format_data(report)}

- `haipeng_li`, `sean_kennedy`: VCFingerprinting (Kennedy et al., IEEE CNS 2019), MIT licence, two homes and
  two Echo models, 2018. What is a voice there derives from record sizes: see `docs/model.md` on where that
  is circular.
- `paper`: the muted and idle captures behind the paper, one Echo, 2022. Tables of frames without record
  lengths, read as one record a frame; not redistributed.

## Figures

Each household's are of detectors trained on the other households alone, in brackets 95 % intervals (Wilson).
The shipped model is grown on all three by the same steps.

{format_uploads(report)}

{format_delays(report)}

## Limits

- Two codecs of two devices. To the model each home's codec is unknown when it is tried there, so the rows
  "model alone" say what to expect of a third; no device after 2022, no TLS 1.3, no QUIC was seen.
- A voice in records of changing length (variable bit rate, random padding), in records of more than about
  {LONGEST} bytes or of less than {SHORTEST}, is not told. `docs/model.md` has what of such senders leaves;
  the budget bounds it.
- Intervals treat uploads as independent. They come from two devices: the next device may differ more.
"""
