"""Pictures of an evaluation and of traffic, as PNG.

Knows: matplotlib without a screen, one look for all pictures. Refuses to know: how a figure came about.
Colours are those of Okabe and Ito (2008), which people with any colour vision can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.learning.scores import Confusion

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#999999"
DPI = 150

# What a packet is drawn as: colour, marker, size; the rarer and the graver, the later it is drawn.
CLASS_STYLES = {
    "ack": (GREY, "o", 5.0),
    "not_relevant": (YELLOW, "s", 14.0),
    "handshake": (BLUE, "^", 26.0),
    "syn": (GREEN, "d", 34.0),
    "expected": (SKY, "o", 14.0),
    "justified": (ORANGE, "o", 18.0),
    "not_justified": (RED, "o", 20.0),
    "retransmit": (PURPLE, "x", 24.0),
}
CLASS_NAMES = {
    "ack": "ack",
    "retransmit": "retransmit",
    "not_relevant": "not relevant",
    "handshake": "handshake",
    "syn": "heartbeat (syn)",
    "expected": "application data: expected",
    "justified": "application data: justified (no wake word)",
    "not_justified": "application data: not justified (muted)",
}


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet as the timeline draws it: s, bytes, one of CLASS_STYLES."""

    time: float
    length: int
    kind: str


def draw_confusion(confusion: Confusion, order: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix: colour by share of the truth, numbers as counted."""
    figure, axes = _begin(width=0.95 * len(order) + 3.2, height=0.75 * len(order) + 2.2)
    totals = {truth: sum(confusion.counts[truth, answer] for answer in order) for truth in order}
    shares = [[confusion.counts[t, a] / totals[t] if totals[t] else 0.0 for a in order] for t in order]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, truth in enumerate(order):
        for column, answer in enumerate(order):
            count = confusion.counts[truth, answer]
            colour = "white" if shares[row][column] > 0.55 else BLACK
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour if count else GREY)
    axes.set_xticks(range(len(order)), [name.replace("_", " ") for name in order], rotation=35, ha="right")
    axes.set_yticks(range(len(order)), [name.replace("_", " ") for name in order])
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    axes.set_title(title)
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the truth")
    _save(figure, path)


def draw_precision_recall(
    curve: Sequence[tuple[float, float, float]], threshold: float, title: str, path: Path
) -> None:
    """Draw precision and recall by threshold: ``curve`` has (threshold, precision, recall)."""
    figure, axes = _begin()
    thresholds = [row[0] for row in curve]
    axes.plot(thresholds, [row[1] for row in curve], color=BLUE, label="precision", drawstyle="steps-post")
    axes.plot(
        thresholds, [row[2] for row in curve], color=ORANGE, label="recall", drawstyle="steps-post", ls="--"
    )
    axes.axvline(threshold, color=BLACK, lw=1, ls=":")
    axes.annotate(
        f"in force: {threshold:.2f}",
        (threshold, 0.02),
        xytext=(6 if threshold < 0.7 else -6, 0),
        textcoords="offset points",
        ha="left" if threshold < 0.7 else "right",
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("threshold of the model's score")
    axes.set_ylabel("share of bursts")
    axes.set_title(title)
    axes.legend(frameon=False, loc="center left" if threshold >= 0.7 else "center right")
    _save(figure, path)


def draw_delays(delays: Sequence[float], target_s: float, title: str, path: Path) -> None:
    """Draw the share of voices decided by then; ``delays`` sorted, seconds."""
    figure, axes = _begin()
    milliseconds = [1000 * delay for delay in delays]
    shares = [(number + 1) / len(delays) for number in range(len(delays))]
    axes.plot(milliseconds, shares, color=BLUE, drawstyle="steps-post", lw=2)
    within = sum(delay <= target_s for delay in delays) / len(delays)
    axes.axvline(1000 * target_s, color=RED, lw=1, ls="--")
    axes.annotate(
        f"{1000 * target_s:.0f} ms: {within:.1%}",
        (1000 * target_s, 0.5),
        xytext=(6, 0),
        textcoords="offset points",
        color=RED,
        va="center",
    )
    for share, name in ((0.5, "median"), (0.95, "p95")):
        value = milliseconds[min(len(delays) - 1, int(share * len(delays)))]
        axes.plot([value], [share], "o", color=BLACK, ms=5)
        axes.annotate(f"{name} {value:.0f} ms", (value, share), xytext=(8, -12), textcoords="offset points")
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("from the first audio record to the decision (ms, logarithmic from 10 on)")
    axes.set_ylabel("share of the voices found")
    axes.set_title(title)
    _save(figure, path)


def draw_importance(importances: dict[str, float], unit: str, title: str, path: Path) -> None:
    """Draw one bar a feature, the longest on top."""
    names = sorted(importances, key=lambda name: importances[name])
    figure, axes = _begin(height=0.32 * len(names) + 1.6)
    values = [importances[name] for name in names]
    axes.barh([name.replace("_", " ") for name in names], values, color=BLUE)
    most = max(*values, 1e-9)
    for index, value in enumerate(values):
        axes.annotate(
            f"{value:.3f}", (max(value, 0), index), xytext=(4, 0), textcoords="offset points", va="center"
        )
    axes.set_xlim(min(0, *values) * 1.1, most * 1.15)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(unit)
    axes.set_title(title)
    _save(figure, path)


def draw_timeline(packets: Sequence[Sighting], wakes: Sequence[float], title: str, path: Path) -> None:
    """Draw a capture: one mark a packet, its length by its time, its class as colour; wake words as lines."""
    figure, axes = _begin(width=11.0, height=5.4)
    for kind, (colour, marker, size) in CLASS_STYLES.items():
        own = [packet for packet in packets if packet.kind == kind]
        if own:
            axes.scatter(
                [packet.time for packet in own],
                [packet.length for packet in own],
                s=size,
                c=colour,
                marker=marker,
                linewidths=1.0 if marker == "x" else 0.0,
                label=f"{CLASS_NAMES[kind]} ({len(own):,})",
                zorder=2,
            )
    for number, wake in enumerate(wakes):
        axes.axvline(wake, color=BLACK, lw=0.8, ls=":", zorder=1, label=None if number else "wake word")
    axes.set_yscale("log")
    axes.set_yticks([60, 100, 200, 500, 1000, 1500])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axes.minorticks_off()
    axes.set_ylim(45, 2000)
    axes.margins(x=0.01)
    axes.set_xlabel("seconds since the capture began")
    axes.set_ylabel("bytes on the wire")
    axes.set_title(title)
    legend = figure.legend(frameon=False, loc="outside lower center", ncols=3)
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([36.0])
    _save(figure, path)


def _begin(width: float = 7.0, height: float = 4.2) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(visible=True, color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    """Write the picture without the date and version that would make each run's file another."""
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
