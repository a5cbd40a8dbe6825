"""An explanation as a picture: connections over time, coloured by what became of them.

Knows: matplotlib, which comes with the ``train`` extra. Refuses to know: why (``words``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from guard.core.verdict import Direction, Verdict
from guard.errors import WakeguardError
from guard.explain import strip
from guard.explain.story import Explanation, Mark, Occasion, Story

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {Verdict.ACCEPT: "#2e9e5b", Verdict.HOLD: "#e0a800", Verdict.REFUSE: "#d23b3b"}
CLOUD_COLOUR = "#5b8ff0"
WAKE_COLOUR, MUTED_COLOUR = "#12849c", "#ead9f5"
LANES = 24  # connections at most, the busiest
THINNEST_S = 0.004  # of the picture's whole length: a single packet must be seen
BAR = 0.36
DPI = 130
UNMUTED = "microphone unmuted"


class PictureError(WakeguardError):
    """A picture cannot be drawn or written."""


def require_matplotlib() -> None:
    """Raise PictureError when there is no matplotlib."""
    if find_spec("matplotlib") is None:
        raise PictureError(f"--picture needs matplotlib: {sys.executable} -m pip install 'wakeguard[train]'")


def draw(explanation: Explanation, stories: Sequence[Story], path: Path) -> None:
    """Write a PNG: one lane for each connection, what the Echo sent above, what it received below."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    busiest = sorted(stories, key=lambda story: -(story.bytes_up + story.bytes_down))[:LANES]
    lanes = sorted(busiest, key=lambda story: story.began, reverse=True)
    first, last = strip.find_span(lanes)
    length = max(last - first, 0.001)
    figure = Figure(figsize=(12, 1.9 + 0.42 * max(len(lanes), 3)), layout="constrained")
    axes = figure.add_subplot()
    for lane, story in enumerate(lanes):
        for step in story.steps():
            down = step.direction is Direction.DOWNSTREAM
            colour = CLOUD_COLOUR if down else COLOURS[strip.get_final(step).verdict]
            width = max(step.ended - step.began, length * THINNEST_S)
            axes.broken_barh(
                [(step.began, width)],
                (lane - BAR if down else lane, BAR),
                color=colour,
                linewidth=0,
                zorder=2 + (strip.get_final(step).verdict is Verdict.REFUSE),
            )
        cuts = [turn.at for turn in story.turns() if turn.mark in strip.CUTS]
        axes.plot(cuts, [lane] * len(cuts), "x", color="black", markersize=7, markeredgewidth=1.6)
        voices = [turn.at for turn in story.turns() if turn.mark is Mark.VOICE]
        axes.plot(voices, [lane + BAR] * len(voices), "v", color="black", markersize=5)
    _draw_room(axes, explanation, (first, last))
    axes.set_yticks(range(len(lanes)), [story.name for story in lanes], fontsize=7)
    axes.set_ylim(-0.6, max(len(lanes), 1) - 0.4)
    axes.set_xlim(first - 0.01 * length, last + 0.01 * length)
    axes.set_xlabel("seconds since the first frame")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        handles=[
            *(Patch(color=colour, label=str(verdict)) for verdict, colour in COLOURS.items()),
            Patch(color=CLOUD_COLOUR, label="from the cloud"),
            Patch(color=MUTED_COLOUR, label="not unmuted"),
            Patch(color=WAKE_COLOUR, label="W: wake word"),
        ],
        title="above: from the Echo · x cut · ▾ a voice",
        title_fontsize=7,
        fontsize=7,
        ncols=6,
        loc="outside lower right",
        frameon=False,
    )
    figure.suptitle(
        f"{explanation.device}, mode {explanation.mode}, policy {explanation.policy}",
        fontsize=10,
        x=0.02,
        ha="left",
    )
    FigureCanvasAgg(figure)
    try:
        figure.savefig(path, dpi=DPI, format="png")
    except OSError as error:
        raise PictureError(f"cannot write {path}: {error.strerror}") from None


def _draw_room(axes: Axes, explanation: Explanation, span: tuple[float, float]) -> None:
    """Shade where the microphone was not unmuted, and draw a line for each wake word."""
    closed: float | None = None
    for occasion in [*explanation.occasions, Occasion(span[1], UNMUTED, "mute")]:
        at = min(max(occasion.at, span[0]), span[1])
        if occasion.kind == "mute":
            if closed is not None:
                axes.axvspan(closed, at, color=MUTED_COLOUR, linewidth=0, zorder=0)
            closed = None if occasion.what == UNMUTED else at
        elif occasion.kind == "wake" and at == occasion.at:
            axes.axvline(at, color=WAKE_COLOUR, linewidth=1.0, zorder=1)
            axes.annotate(
                "W",
                (at, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=WAKE_COLOUR,
            )
