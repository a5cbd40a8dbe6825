"""An evaluation on disk: figures as JSON and Markdown, pictures as PNG, in one new directory.

Knows: which files there are. Refuses to know: how figures come about (``evaluate``), how pictures look
(``plots``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import DatasetError
from guard.learning.bursts import LABELS
from guard.learning.dataset import PACKETS
from guard.learning.evaluate import Evaluation, summarise
from guard.learning.plots import (
    CLASS_STYLES,
    Sighting,
    draw_confusion,
    draw_delays,
    draw_importance,
    draw_precision_recall,
    draw_timeline,
)
from guard.learning.tables import write_directory

if TYPE_CHECKING:
    import polars as pl

TARGET_S = 0.15  # a decision later than this lets a syllable out
CURVE_POINTS = 101
TIMELINE_S = 600.0  # of a long capture so much is drawn


def write_report(
    evaluation: Evaluation, datasets: Sequence[Path], out: Path, *, timeline: str | None = None
) -> None:
    """Write everything into the new directory ``out``; DatasetError when it exists, and then nothing."""
    summary = summarise(evaluation)
    with write_directory(out) as folder:
        text = json.dumps(summary, indent=2)
        (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
        (folder / "evaluation.md").write_text(write_tables(summary), encoding="utf-8")
        title = f"{evaluation.model}, {len(evaluation.bursts):,} bursts"
        draw_confusion(
            evaluation.confusions["gate"], LABELS, f"The gate with {title}", folder / "confusion.png"
        )
        draw_precision_recall(
            get_curve(evaluation),
            evaluation.threshold,
            f"{title}: the model alone",
            folder / "precision-recall.png",
        )
        if delays := evaluation.get_delays():
            draw_delays(
                delays, TARGET_S, f"Time to the decision, {len(delays):,} voices", folder / "delay.png"
            )
        draw_importance(
            evaluation.importances,
            "loss of area under the ROC curve when its values are shuffled",
            f"What {evaluation.model} looks at",
            folder / "features.png",
        )
        _draw_traffic(evaluation, datasets, timeline, folder / "timeline.png")


def get_curve(evaluation: Evaluation) -> list[tuple[float, float, float]]:
    """Return (threshold, precision, recall) of the model alone; 1 where nothing is called a voice."""
    curve = []
    voices = sum(burst.label for burst in evaluation.bursts)
    for step in range(CURVE_POINTS):
        threshold = step / (CURVE_POINTS - 1)
        called = [burst.label for burst in evaluation.bursts if burst.score >= threshold]
        precision = sum(called) / len(called) if called else 1.0
        curve.append((threshold, precision, sum(called) / voices))
    return curve


def write_tables(summary: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"# {summary['model']}",
        "",
        f"Threshold {summary['threshold']:.3f}; bursts: "
        + ", ".join(f"{count:,} {name}" for name, count in summary["bursts"].items())
        + ". In brackets: 95 % intervals (Wilson).",
        "",
        "| detector | found | missed | false | right | precision | recall | F1 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in summary["detectors"].items():
        shares = [
            f"{row[kind]:.4f} ({row[kind + '_95'][0]:.4f} to {row[kind + '_95'][1]:.4f})"
            for kind in ("precision", "recall")
        ]
        counts = [f"{row[kind]:,}" for kind in ("found", "missed", "false", "right")]
        lines.append("| " + " | ".join([name, *counts, *shares, f"{row['f1']:.4f}"]) + " |")
    lines += ["", "| until the decision | median | p95 | maximum |", "| --- | --- | --- | --- |"]
    for title, key, scale in (
        ("ms from the first audio record", "seconds_to_decision", 1000),
        ("bytes of audio", "audio_bytes_to_decision", 1),
    ):
        if summary[key] is not None:
            lines.append(
                f"| {title} | " + " | ".join(f"{scale * v:,.0f}" for v in summary[key].values()) + " |"
            )
    lines += ["", "| feature | importance |", "| --- | --- |"]
    ranks = summary["feature_importance"]
    order = sorted(ranks, key=lambda name: -ranks[name])
    lines += [f"| `{name}` | {round(ranks[name], 4) + 0.0:.4f} |" for name in order]
    if summary["wrong"]:
        lines += ["", "| wrong about | truth | score |", "| --- | --- | --- |"]
        lines += [f"| {row['capture']} | {row['label']} | {row['score']:.3f} |" for row in summary["wrong"]]
    return "\n".join(lines) + "\n"


def _draw_traffic(evaluation: Evaluation, datasets: Sequence[Path], capture: str | None, path: Path) -> None:
    """Draw the packets of one capture: the named one, else the first that holds a voice."""
    import polars as pl

    voices = [burst.capture for burst in evaluation.bursts if burst.label]
    tables = [pl.scan_parquet(directory / f"{PACKETS}.parquet") for directory in datasets]
    table: pl.DataFrame = pl.concat(tables).filter(pl.col("capture") == (capture or voices[0])).collect()
    if not table.height:
        raise DatasetError(f"no dataset holds a capture called {capture}: see `captures` in its dataset.json")
    began = table["time"].min()
    kinds = pl.coalesce("justification", "packet_class").alias("kind")
    rows = table.select(pl.col("time") - began, "length", kinds).filter(pl.col("time") <= TIMELINE_S).rows()
    packets = [Sighting(time, length, kind) for time, length, kind in rows if kind in CLASS_STYLES]
    draw_timeline(packets, (), f"What the Echo sent: {capture or voices[0]}", path)
