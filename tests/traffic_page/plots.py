"""The page's pictures: lengths and times only."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tests.traffic_page.figures import NOMINAL, get_intervals, select
from tests.traffic_page.records import APPLICATION_DATA, Session
from tests.traffic_page.uploads import LABELS, MACS, Upload

VOICE, OTHER, CLOUD, GREY, DARK = "#d1495b", "#edae49", "#30638e", "#9aa5b1", "#22303c"
DPI = 120
_BIN_S = 0.1


def _make_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _name(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=9, color=DARK)


def _pick(uploads: Sequence[Upload], household: str) -> Upload:
    """Return the command whose length is nearest to the median: one as they are."""
    own = [one for one in select(uploads, household, pre_roll=True) if one.answer and len(one.opening) >= 2]
    middle = statistics.median(one.seconds for one in own)
    return min(own, key=lambda one: (abs(one.seconds - middle), one.session.path.name, one.start))


def draw_command(uploads: Sequence[Upload]) -> Figure:
    """One command of each Echo, record by record."""
    figure = _make_figure(10, 8.4)
    for axes, household in zip(figure.subplots(2, 1), MACS, strict=True):
        one = _pick(uploads, household)
        until = 5.0
        for n in range(12):
            axes.axhline(one.unit + n * one.step, color=GREY, linewidth=0.4, alpha=0.55, zorder=0)
        for records, colour, marker, size in (
            ([r for r in one.down if r.at < until], CLOUD, "v", 22),
            ([r for r in one.up if r not in one.audio and r.at < until], OTHER, "^", 30),
            (one.audio, VOICE, "o", 12),
        ):
            axes.scatter(
                [record.at for record in records],
                [record.length for record in records],
                s=size,
                c=colour,
                marker=marker,
                linewidths=0,
                alpha=0.85,
                zorder=3,
            )
        axes.set_yscale("log")
        axes.set_ylim(22, 60_000)
        axes.set_xlim(-0.12, until)
        axes.set_yticks([33, 113, 432, 1000, 4128, 16408], ["33", "113", "432", "1000", "4128", "16408"])
        axes.minorticks_off()
        axes.set_ylabel("record length, bytes (logarithmic)", fontsize=8)
        answer = one.seconds + (one.answer[0] if one.answer else 0.0)
        for start, end, label, colour in (
            (0.0, 0.25, "opening,\npre-roll", OTHER),
            (0.25, one.seconds, "the steady run", VOICE),
            (
                answer,
                answer + max(one.answer[1] - one.answer[0] if one.answer else 0.0, 0.03),
                "answer",
                CLOUD,
            ),
        ):
            axes.axvspan(start, end, color=colour, alpha=0.10, linewidth=0)
            middle = (start + end) / 2 if end - start > 0.5 else start + 0.02
            where = "center" if end - start > 0.5 else "left"
            axes.text(middle, 42_000, label, fontsize=8, color=DARK, va="top", ha=where)
        _name(
            axes,
            f"{LABELS[household]}: one command of {one.seconds:.2f} s; "
            f"grey lines: {one.unit}, and {one.step} bytes more each",
        )
        _tidy(axes)
    axes.set_xlabel("seconds from the command's first record", fontsize=9)
    figure.legend(
        handles=[
            Line2D([], [], color=VOICE, marker="o", linestyle="", label="voice"),
            Line2D([], [], color=OTHER, marker="^", linestyle="", label="what else the Echo sends"),
            Line2D([], [], color=CLOUD, marker="v", linestyle="", label="the cloud"),
        ],
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    return figure


def draw_pre_roll(uploads: Sequence[Upload]) -> Figure:
    """How voice adds up in every command: faster than speech at first, as fast as speech then."""
    figure = _make_figure(10, 4.6)
    for axes, household in zip(figure.subplots(1, 2), MACS, strict=True):
        rate = 0
        for pre_roll, colour, alpha, width in ((True, VOICE, 0.06, 0.8), (False, DARK, 0.6, 0.9)):
            for one in select(uploads, household, pre_roll=pre_roll):
                audio = one.audio
                rate = int(NOMINAL[one.unit] * one.step)
                if audio:
                    begin = audio[0].at
                    total = np.cumsum([r.length - one.unit + one.step for r in audio]) / rate
                    axes.step(
                        [r.at - begin for r in audio],
                        total,
                        where="post",
                        color=colour,
                        alpha=alpha,
                        lw=width,
                    )
        axes.plot([0, 4], [0, 4], color=CLOUD, linestyle="--", linewidth=1.2)
        axes.text(3.1, 2.8, "as fast as\none speaks", fontsize=8, color=CLOUD)
        axes.set_xlim(0, 4)
        axes.set_ylim(0, 6)
        axes.set_xlabel("seconds from the first record of voice", fontsize=9)
        axes.set_ylabel("seconds of speech sent", fontsize=9)
        counts = [len(select(uploads, household, pre_roll=pre_roll)) for pre_roll in (True, False)]
        _name(
            axes,
            f"{LABELS[household]}: {counts[0]} commands (red), {counts[1]} turns without a burst (black)",
        )
        _tidy(axes)
    return figure


def draw_answer(uploads: Sequence[Upload]) -> Figure:
    """What flows in both directions around the end of the upload, over all commands."""
    figure = _make_figure(10, 4.8)
    edges = np.arange(-4.0, 6.0 + _BIN_S, _BIN_S)
    rows = figure.subplots(2, 2, sharex=True, sharey="row")
    for column, household in enumerate(MACS):
        own = select(uploads, household, pre_roll=True)
        for row, (name, colour) in enumerate((("up", VOICE), ("down", CLOUD))):
            axes = rows[row][column]
            sums = np.zeros((len(own), len(edges) - 1))
            for number, one in enumerate(own):
                records = one.up if name == "up" else one.down
                at = [record.at - one.seconds for record in records]
                sums[number], _ = np.histogram(at, edges, weights=[record.length for record in records])
            middle = edges[:-1] + _BIN_S / 2
            kilobytes = sums / 1000 / _BIN_S
            axes.fill_between(
                middle, kilobytes.mean(axis=0), step="mid", color=colour, alpha=0.25, linewidth=0
            )
            axes.step(middle, np.median(kilobytes, axis=0), where="mid", color=colour, linewidth=1.3)
            axes.axvline(0, color=DARK, linewidth=0.8, linestyle=":")
            arrow = "from the Echo" if name == "up" else "from the cloud"
            _name(axes, f"{LABELS[household]}, {arrow}")
            axes.set_ylabel("kB a second", fontsize=8)
            _tidy(axes)
        rows[1][column].set_xlabel("seconds from the last record of voice", fontsize=9)
    return figure


def draw_lattice(sessions: Sequence[Session], uploads: Sequence[Upload]) -> Figure:
    """Where record lengths fall between two rungs of the lattice, in commands and outside them."""
    figure = _make_figure(10, 3.6)
    for axes, household in zip(figure.subplots(1, 2), MACS, strict=True):
        own = [one for one in uploads if one.household == household]
        unit, step = own[0].unit, own[0].step
        during = [r.length for one in own for r in one.up if r.at <= one.seconds]
        outside = list(get_quiet_lengths(sessions, own, household))
        edges = np.linspace(-step / 2, step / 2, 41)
        for lengths, colour, label in ((during, VOICE, "in an upload"), (outside, GREY, "at other times")):
            large = [length for length in lengths if length >= unit]
            phase = [(length - unit + step / 2) % step - step / 2 for length in large]
            axes.hist(
                phase,
                edges,
                weights=[100 / len(phase)] * len(phase),
                color=colour,
                alpha=0.75,
                label=f"{label}: {len(large):,} records",
            )
        axes.set_yscale("log")
        axes.set_ylim(0.05, 140)
        axes.set_yticks([0.1, 1, 10, 100], ["0.1 %", "1 %", "10 %", "100 %"])
        axes.set_xlabel(f"bytes beside the nearest of {unit} + n x {step}", fontsize=9)
        axes.set_ylabel("share of the Echo's records (log.)", fontsize=8)
        _name(axes, f"{LABELS[household]}, records of {unit} bytes and more")
        axes.legend(fontsize=8, frameon=False, loc="upper left")
        _tidy(axes)
    return figure


def get_quiet_lengths(sessions: Sequence[Session], uploads: Sequence[Upload], household: str) -> list[int]:
    """Return the lengths that an Echo sends when no command is being sent."""
    lengths: list[int] = []
    for session in sessions:
        if session.path.parent.name != household:
            continue
        spans = [
            (one.start - 0.5, one.start + one.seconds + 0.5) for one in uploads if one.session is session
        ]
        lengths += [
            record.length
            for flow in session.flows
            for record in flow.records
            if record.up
            and record.kind == APPLICATION_DATA
            and not any(start <= record.at <= end for start, end in spans)
        ]
    return lengths


def draw_heartbeats(sessions: Sequence[Session], idle: dict[str, list[float]]) -> Figure:
    """Seconds between heartbeats, idle and in between commands."""
    figure = _make_figure(10, 3.4)
    busy = [gap for gap in get_intervals(sessions, 41) if gap < 100]
    panels: list[tuple[str, list[float], tuple[float, float], str]] = [
        (f"{kind}: nobody speaks (2022)", gaps, (period - 0.6, period + 0.6), VOICE)
        for (kind, gaps), period in zip(idle.items(), (30.0, 91.0), strict=True)
    ]
    panels.append(("record 41 between commands (2018)", busy, (0.0, 36.0), CLOUD))
    for axes, (title, gaps, limits, colour) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.hist(gaps, np.linspace(*limits, 49), color=colour)
        axes.set_yscale("log")
        axes.set_xlabel(f"seconds since the last ({len(gaps)} intervals)", fontsize=8)
        axes.set_ylabel("how often (log.)", fontsize=8)
        _name(axes, title)
        _tidy(axes)
    return figure


def draw_connections(uploads: Sequence[Upload]) -> Figure:
    """One capture of each Echo: names asked for, connections, commands."""
    figure = _make_figure(10, 6.4)
    for axes, household in zip(figure.subplots(2, 1, height_ratios=(5, 6)), MACS, strict=True):
        own = [one for one in uploads if one.household == household]
        session = max(
            {id(one.session): one.session for one in own}.values(),
            key=lambda s: (
                len({flow.name for flow in s.flows if flow.opened is not None}),
                -s.ended,
                s.path.name,
            ),
        )
        lanes: dict[str, list[tuple[float, float]]] = {}
        speech = {id(one.flow) for one in own if one.session is session}
        for flow in session.flows:
            if flow.segments:
                name = (
                    "the voice connection"
                    if id(flow) in speech
                    else flow.name or f"no name seen, port {flow.server_port}"
                )
                last = flow.closed if flow.closed is not None else max(s.at for s in flow.segments)
                begin = flow.opened if flow.opened is not None else 0.0
                if flow.opened is None and flow.closed is None:
                    last = session.ended
                lanes.setdefault(name, []).append((begin, max(last, begin + 0.25)))
        names = sorted(
            lanes, key=lambda name: (name != "the voice connection", min(lanes[name])), reverse=True
        )
        for one in own:
            if one.session is session:
                axes.axvspan(one.start, one.start + one.seconds, color=VOICE, alpha=0.18, linewidth=0)
        for lane, name in enumerate(names):
            colour = VOICE if name == "the voice connection" else CLOUD
            spans = [(begin, end - begin) for begin, end in lanes[name]]
            axes.broken_barh(spans, (lane - 0.28, 0.56), color=colour, alpha=0.8, linewidth=0)
            asked = [at for at, query in session.queries if query == name]
            axes.plot(asked, [lane + 0.42] * len(asked), "v", color=DARK, markersize=4)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_xlim(0, session.ended)
        axes.set_ylim(-0.6, len(names) - 0.3)
        _name(axes, f"{LABELS[household]}: one capture with its commands")
        _tidy(axes)
        axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("seconds", fontsize=9)
    figure.legend(
        handles=[
            Patch(color=VOICE, alpha=0.3, label="a command is being sent"),
            Patch(color=CLOUD, label="a connection, from its SYN to its end"),
            Line2D([], [], color=DARK, marker="v", linestyle="", label="its name is asked for"),
        ],
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    return figure


def write_all(
    folder: Path, sessions: Sequence[Session], uploads: Sequence[Upload], idle: dict[str, list[float]]
) -> None:
    """Write every picture into ``folder``."""
    pictures: dict[str, Callable[[], Figure]] = {
        "command": lambda: draw_command(uploads),
        "pre-roll": lambda: draw_pre_roll(uploads),
        "answer": lambda: draw_answer(uploads),
        "lattice": lambda: draw_lattice(sessions, uploads),
        "heartbeats": lambda: draw_heartbeats(sessions, idle),
        "connections": lambda: draw_connections(uploads),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in pictures.items():
        draw().savefig(folder / f"alexa-{name}.png", dpi=DPI)
