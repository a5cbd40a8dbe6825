"""What a real Prometheus answered to the dashboard's questions, drawn where the dashboard has its panels.

Run as root by ``python -m tests.monitoring.picture``. It is not Grafana that draws: titles, places,
questions, colours and units are the dashboard's, the lines are matplotlib's.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from guard.core.verdict import Mode
from guard.lab.scenario import SITUATIONS
from tests.conftest import ROOT
from tests.monitoring.dashboard import COLUMNS, make_dashboard
from tests.monitoring.panel import Panel, Query
from tests.monitoring.panels import JUSTIFICATIONS, PANELS, ROWS
from tests.monitoring.prometheus import Series
from tests.monitoring.walk import Observation, walk

FOLDER: Final = ROOT / "docs" / "pictures"
# file -> the rows of the dashboard in it
PICTURES: Final = {"dashboard-refusals.png": ROWS[:2], "dashboard-health.png": ROWS[2:]}
PAUSE_S: Final = 3.0

_COLOURS: Final = {
    "transparent": "#f4f5f5",
    "light-blue": "#8ab8ff",
    "blue": "#3274d9",
    "green": "#56a64b",
    "dark-green": "#19730e",
    "yellow": "#f2cc0c",
    "orange": "#ff780a",
    "red": "#e02f44",
    "purple": "#a352cc",
}
_PER_COLUMN, _PER_ROW = 0.62, 0.36  # inches


def draw() -> None:
    """Walk the lab in both modes and draw what was seen."""
    with tempfile.TemporaryDirectory() as folder:
        seen = walk(
            Path(folder),
            tuple(SITUATIONS.values()),
            tuple(Mode),
            pause_s=PAUSE_S,
            tell=print,
        )
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        _draw_picture(name, seen)


def _draw_picture(name: str, seen: Observation) -> None:
    from matplotlib.figure import Figure

    titles = {row.title for row in PICTURES[name]} | {
        panel.title for row in PICTURES[name] for panel in row.panels
    }
    places = {
        panel["title"]: panel["gridPos"] for panel in make_dashboard()["panels"] if panel["title"] in titles
    }
    top = min(place["y"] for place in places.values())
    height = max(place["y"] + place["h"] for place in places.values()) - top
    figure = Figure(figsize=(COLUMNS * _PER_COLUMN, height * _PER_ROW), facecolor="white")

    def place_axes(title: str) -> Any:
        place = places[title]
        left, right = place["x"] + 1.0, place["x"] + place["w"] - 0.4
        upper, lower = place["y"] - top + 1.2, place["y"] - top + place["h"] - 1.3
        box = (left / COLUMNS, 1 - lower / height, (right - left) / COLUMNS, (lower - upper) / height)
        return figure.add_axes(box)

    for row in PICTURES[name]:
        y = 1 - (places[row.title]["y"] - top + 0.7) / height
        figure.text(0.01, y, row.title, fontsize=12, fontweight="bold")
        for panel in row.panels:
            axes = place_axes(panel.title)
            axes.set_title(panel.title, fontsize=9, loc="left")
            answers = [(query, seen.answers[panel.title, place]) for place, query in enumerate(panel.queries)]
            _DRAW[panel.kind](axes, panel, answers, seen)
    figure.savefig(FOLDER / name, dpi=90, metadata={"Software": None})


Answers = list[tuple[Query, list[Series]]]


def _name(query: Query, series: Series) -> str:
    name = query.legend
    for label, value in series.labels.items():
        name = name.replace(f"{{{{{label}}}}}", value)
    return JUSTIFICATIONS[name][0] if name in JUSTIFICATIONS else name


def _colour(panel: Panel, query: Query, series: Series) -> str | None:
    justification = series.labels.get("justification", "")
    if query.legend == "{{justification}}" and justification in JUSTIFICATIONS:
        return _COLOURS[JUSTIFICATIONS[justification][1]]
    name = _name(query, series)
    return next((_COLOURS[colour] for beginning, colour in panel.colours if name.startswith(beginning)), None)


def _draw_lines(axes: Any, panel: Panel, answers: Answers, seen: Observation) -> None:
    rows = [(query, series) for query, answer in answers for series in answer]
    times = sorted({when for _, series in rows for when, _ in series.points})
    below = [0.0] * len(times)
    for place, (query, series) in enumerate(rows):
        values = dict(series.points)
        heights = [values.get(when, 0.0 if panel.stacked else float("nan")) for when in times]
        dates = [_date(when) for when in times]
        name, colour = _name(query, series), _colour(panel, query, series) or f"C{place}"
        if panel.stacked:
            above = [low + value for low, value in zip(below, heights, strict=True)]
            axes.fill_between(
                dates, below, above, step="post", alpha=0.7, label=name, color=colour, linewidth=0
            )
            below = above
        else:
            axes.step(dates, heights, where="post", label=name, color=colour, linewidth=1)
    axes.set_ylim(bottom=0, top=panel.top or 1.3 * axes.get_ylim()[1])  # with room for the legend
    _format_value_axis(axes.yaxis, panel.unit)
    axes.legend(fontsize=6, loc="upper right", ncols=3, framealpha=0.6)
    _set_time(axes, seen)


def _draw_states(axes: Any, panel: Panel, answers: Answers, seen: Observation) -> None:
    rows = [(query, series) for query, answer in answers for series in answer]
    rows.sort(key=lambda row: row[1].labels.get("device", ""))
    shown: dict[str, str] = {}
    for place, (query, series) in enumerate(reversed(rows)):
        for (when, value), (following, _) in zip(series.points, series.points[1:], strict=False):
            text, colour = query.mapping[value]
            width = dt.timedelta(seconds=following - when)
            axes.broken_barh([(_date(when), width)], (place - 0.4, 0.8), facecolors=_COLOURS[colour])
            if colour != "transparent":
                shown[text] = _COLOURS[colour]
    axes.set_yticks(range(len(rows)), [_name(query, series) for query, series in reversed(rows)], fontsize=7)
    handles = [axes.scatter([], [], marker="s", color=colour, label=text) for text, colour in shown.items()]
    axes.legend(handles=handles, fontsize=6, loc="upper right", ncols=len(shown), framealpha=0.8)
    _set_time(axes, seen)
    labels = max(len(label.get_text()) for label in axes.get_yticklabels())
    box = axes.get_position()
    shift = 0.0045 * labels
    axes.set_position([box.x0 + shift, box.y0, box.width - shift, box.height])


def _draw_numbers(axes: Any, panel: Panel, answers: Answers, seen: Observation) -> None:
    axes.axis("off")
    rows = [(query, series) for query, answer in answers for series in answer]
    for place, (query, series) in enumerate(rows):
        x = (place + 0.5) / len(rows)
        colour = _colour(panel, query, series) or _COLOURS["blue"]
        if panel.names:
            lines = _name(query, series).split(" ", 1)
            text = "\n".join(lines)
            axes.text(x, 0.45, text, ha="center", va="center", fontsize=11, color=colour, fontweight="bold")
            continue
        axes.text(x, 0.65, f"{series.last:.0f}", ha="center", va="center", fontsize=20, color=colour)
        axes.text(
            x, 0.15, _name(query, series).replace(" what", "\nwhat"), ha="center", va="center", fontsize=7
        )


def _draw_bars(axes: Any, panel: Panel, answers: Answers, seen: Observation) -> None:
    rows = [(query, series) for query, answer in answers for series in answer]
    if any(query.heatmap for query, _ in rows):
        rows.sort(key=lambda row: float(row[1].labels["le"]))
        counts = [series.last for _, series in rows]
        values = [count - before for count, before in zip(counts, [0.0, *counts], strict=False)]
    else:
        values = [series.last for _, series in rows]
    colour = _COLOURS[panel.steps[0][1]]
    names = [_name(query, series) for query, series in rows]
    bars = axes.barh(range(len(rows)), values, color=colour)
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.bar_label(bars, labels=[_say(value, panel.unit) for value in values], fontsize=7, padding=2)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.margins(x=0.15)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    box = axes.get_position()
    shift = 0.0045 * max(map(len, names))
    axes.set_position([box.x0 + shift, box.y0, box.width - shift, box.height])


def _draw_heat(axes: Any, panel: Panel, answers: Answers, seen: Observation) -> None:
    from matplotlib.colors import PowerNorm

    rows = sorted(answers[0][1], key=lambda series: float(series.labels["le"]))
    times = sorted({when for series in rows for when, _ in series.points})
    below = dict.fromkeys(times, 0.0)
    cells = []
    for series in rows:
        values = {when: dict(series.points).get(when, below[when]) for when in times}
        cells.append([values[when] - below[when] for when in times])
        below = values
    axes.pcolormesh(
        [_date(when) for when in times],
        range(len(rows)),
        cells,
        cmap="Oranges",
        norm=PowerNorm(0.5, vmin=0),
        shading="nearest",
    )
    names = [f"{float(series.labels['le']) * 1000:g} ms" for series in rows]
    axes.set_yticks(range(len(rows)), [name.replace("inf ms", "more") for name in names], fontsize=6)
    _set_time(axes, seen)


def _draw_table(axes: Any, panel: Panel, answers: Answers, seen: Observation) -> None:
    axes.axis("off")
    lines = [
        (
            ", ".join(f"{label} {text}" for label, text in sorted(series.labels.items())),
            _say(series.last, panel.unit),
        )
        for _, answer in answers
        for series in answer
    ]
    table = axes.table(lines, loc="upper center", cellLoc="left", colWidths=[0.85, 0.15])
    table.auto_set_font_size(False)
    table.set_fontsize(6)


_DRAW: Final[dict[str, Callable[[Any, Panel, Answers, Observation], None]]] = {
    "timeseries": _draw_lines,
    "state-timeline": _draw_states,
    "stat": _draw_numbers,
    "bargauge": _draw_bars,
    "heatmap": _draw_heat,
    "table": _draw_table,
}


def _date(when: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(when, dt.UTC)


def _set_time(axes: Any, seen: Observation) -> None:
    from matplotlib.dates import DateFormatter

    axes.set_xlim(_date(seen.started), _date(seen.ended))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))  # type: ignore[no-untyped-call]  # it has no types
    axes.tick_params(labelsize=6)
    axes.grid(alpha=0.2)


def _format_value_axis(axis: Any, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: _say(value, unit)))


def _say(value: float, unit: str) -> str:
    """Write a value as Grafana writes its unit."""
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"
    if unit in {"bytes", "Bps"}:
        names: Iterable[str] = ("B", "kB", "MB")
        for name in names:
            if value < 1000 or name == "MB":
                return f"{value:.3g} {name}" + ("/s" if unit == "Bps" else "")
            value /= 1000
    return f"{value:.4g}" + (" p/s" if unit == "pps" else "")


assert {panel.kind for panel in PANELS} <= set(_DRAW)

if __name__ == "__main__":
    draw()
