"""A panel of the dashboard: what it asks, and how the answer is drawn. Widths are of 24 columns."""

from __future__ import annotations

from dataclasses import dataclass, field

Mapping = dict[float, tuple[str, str]]  # value -> text, colour


@dataclass(frozen=True)
class Query:
    """One question. ``mapping`` says what its values mean."""

    expr: str
    legend: str = ""
    instant: bool = False
    mapping: Mapping = field(default_factory=dict)
    heatmap: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel. ``kind`` is Grafana's name of it, ``unit`` as well."""

    title: str
    kind: str
    queries: tuple[Query, ...]
    description: str
    width: int = 12
    height: int = 8
    unit: str = "short"
    decimals: int | None = None
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    stacked: bool = False
    bars: bool = False
    colours: tuple[tuple[str, str], ...] = ()  # how a series' name begins -> its colour
    names: bool = False  # a stat that shows the series' names and no numbers
    top: float | None = None


@dataclass(frozen=True)
class Row:
    """A heading and what stands under it."""

    title: str
    panels: tuple[Panel, ...]
