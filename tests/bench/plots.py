"""The pictures of both pages, drawn from the sections' JSON; matplotlib, without a display."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench import report, summary
from tests.bench.contenders import NO_QUEUE
from tests.bench.load import EVERYBODY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY, RED, GREEN = "#2b6cb0", "#b8c2cc", "#c0392b", "#2f855a"
DPI = 110


def draw_all() -> None:
    """Draw every picture whose figures are there."""
    import matplotlib as mpl

    mpl.use("Agg")
    report.PICTURES.mkdir(exist_ok=True)
    figures = summary.Figures.load()
    if figures.saturated:
        _draw_cpu(figures.saturated)
    if figures.paced:
        _draw_latency(figures.paced)
    if figures.ramp:
        _draw_rate(figures.ramp)
    for name, title in (("growth-flows", "connections"), ("growth-devices", "devices")):
        if made := report.load_section(name):
            _draw_growth(name, title, made["raw"])
    if made := report.load_section("growth-capture"):
        _draw_captures(made["raw"])


def _start(width: float = 8.5, height: float = 4.4) -> tuple[Figure, Axes]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _start_at_zero(axes: Axes) -> None:
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)


def _count_in_tens(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _finish(figure: Figure, name: str) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(Path(report.PICTURES, f"{name}.png"), dpi=DPI, metadata={"Software": None})
    plt.close(figure)


def _get_medians(raw: list[dict[str, Any]], value: Any) -> dict[str, float]:
    names = [name for name in EVERYBODY if any(made["contender"] == name for made in raw)]
    return {
        name: statistics.median(value(made) for made in raw if made["contender"] == name) for name in names
    }


def _draw_cpu(raw: list[dict[str, Any]]) -> None:
    process = _get_medians(raw, lambda made: made["process_ns"] / 1000 / made["sent"])
    machine = _get_medians(raw, summary.get_machine_us)
    figure, axes = _start()
    names = list(process)[::-1]
    axes.barh(names, [process[name] for name in names], color=BLUE, label="the process on the queue")
    rest = [machine[name] - process[name] for name in names]
    axes.barh(names, rest, left=[process[name] for name in names], color=GREY, label="the kernel before it")
    for row, name in enumerate(names):
        axes.text(machine[name], row, f" {machine[name]:.1f}", va="center", fontsize=9)
    axes.set_xlabel("CPU for each packet sent in, microseconds (saturated)")
    axes.legend(frameon=False, loc="upper right")
    _finish(figure, "bench-cpu")


def _draw_latency(raw: list[dict[str, Any]]) -> None:
    figure, axes = _start()
    styles = {"p50": ("o", GREEN), "p99": ("s", BLUE), "p99.9": ("D", RED)}
    for percentile, (marker, colour) in styles.items():
        medians = _get_medians(raw, lambda made, which=percentile: made["on_the_way"][which])
        names = [name for name in medians if name != NO_QUEUE][::-1]
        added = [max(medians[name] - medians.get(NO_QUEUE, 0.0), 0.1) for name in names]
        axes.plot(added, names, marker, color=colour, label=percentile)
    _count_in_tens(axes)
    axes.grid(axis="x", which="both", alpha=0.3)
    axes.set_xlabel("microseconds more than without a queue (5,000 packets a second)")
    axes.legend(frameon=False)
    _finish(figure, "bench-latency")


def _draw_rate(raw: list[dict[str, Any]]) -> None:
    rates = _get_medians(raw, lambda made: made["rate"])
    figure, axes = _start()
    names = list(rates)[::-1]
    axes.barh(names, [rates[name] for name in names], color=BLUE)
    for row, name in enumerate(names):
        axes.text(rates[name], row, f" {rates[name]:,.0f}", va="center", fontsize=9)
    axes.set_xlabel("packets a second before the queue loses one (one processor)")
    _finish(figure, "bench-rate")


def _draw_growth(name: str, what: str, raw: list[dict[str, Any]]) -> None:
    figure, axes = _start(7.5, 4.0)
    counts = [made["count"] for made in raw]
    axes.plot(counts, [statistics.median(made["ns"]) / 1000 for made in raw], "o-", color=BLUE)
    axes.fill_between(
        counts,
        [min(made["ns"]) / 1000 for made in raw],
        [max(made["ns"]) / 1000 for made in raw],
        color=BLUE,
        alpha=0.15,
    )
    _count_in_tens(axes)
    _start_at_zero(axes)
    axes.set_xlabel(what)
    axes.set_ylabel("CPU for each packet, microseconds", color=BLUE)
    memory = axes.twinx()
    memory.plot(counts, [made["memory_mb"] for made in raw], "s--", color=RED)
    _start_at_zero(memory)
    memory.set_ylabel("memory of the process, MB", color=RED)
    _finish(figure, name)


def _draw_captures(raw: list[dict[str, Any]]) -> None:
    figure, axes = _start(7.5, 4.0)
    sizes = [made["megabytes"] for made in raw]
    axes.plot(sizes, [statistics.median(made["rates"]) for made in raw], "o-", color=BLUE)
    _count_in_tens(axes)
    _start_at_zero(axes)
    axes.set_xlabel("size of the capture, MB")
    axes.set_ylabel("packets for each second of CPU", color=BLUE)
    memory = axes.twinx()
    memory.plot(sizes, [made["peak_mb"] for made in raw], "s--", color=RED)
    _start_at_zero(memory)
    memory.set_ylabel("peak memory, MB", color=RED)
    _finish(figure, "growth-capture")
