"""The panels as Grafana's JSON, which imports as it is: ``packaging/grafana/wakeguard.json``.

Knows Grafana's dashboard schema (``schema`` holds it to the published types). Refuses to know what is asked:
that is in ``panels``.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterator
from typing import Any, Final

from tests.conftest import ROOT
from tests.monitoring.panel import Mapping, Panel, Query
from tests.monitoring.panels import JUSTIFICATIONS, ROWS

FILE: Final = ROOT / "packaging" / "grafana" / "wakeguard.json"
UID: Final = "wakeguard"
COLUMNS: Final = 24

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_LEGEND: Final = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
_TOOLTIP: Final = {"mode": "multi", "sort": "desc"}
_REDUCE: Final = {"reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""}}
_SERIES: Final = {
    "drawStyle": "line",
    "lineInterpolation": "stepAfter",
    "lineWidth": 1,
    "fillOpacity": 15,
    "gradientMode": "none",
    "showPoints": "never",
    "spanNulls": False,
}
# kind -> (options, custom field configuration)
_KINDS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "timeseries": ({"legend": _LEGEND, "tooltip": _TOOLTIP}, _SERIES),
    "stat": (
        {
            **_REDUCE,
            "orientation": "auto",
            "textMode": "value_and_name",
            "wideLayout": True,
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        },
        {},
    ),
    "bargauge": (
        {
            **_REDUCE,
            "orientation": "horizontal",
            "displayMode": "basic",
            "valueMode": "text",
            "namePlacement": "auto",
            "showUnfilled": True,
            "sizing": "auto",
            "minVizWidth": 8,
            "minVizHeight": 16,
            "maxVizHeight": 300,
            "legend": {**_LEGEND, "showLegend": False},
        },
        {},
    ),
    "state-timeline": (
        {
            "alignValue": "left",
            "mergeValues": True,
            "rowHeight": 0.85,
            "showValue": "never",
            "legend": _LEGEND,
            "tooltip": {"mode": "single", "sort": "none"},
        },
        {"lineWidth": 0, "fillOpacity": 80},
    ),
    "heatmap": (
        {
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Oranges",
                "fill": "dark-orange",
                "scale": "exponential",
                "exponent": 0.5,
                "steps": 64,
                "reverse": False,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
        },
        {"scaleDistribution": {"type": "linear"}},
    ),
    "table": (
        {"frameIndex": 0, "showHeader": True, "cellHeight": "sm"},
        {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
    ),
}


def make_dashboard() -> dict[str, Any]:
    """Return the whole dashboard."""
    return {
        "uid": UID,
        "title": "Wakeguard",
        "description": "A privacy gate between an Amazon Echo and its cloud: what it refused, and why.",
        "tags": ["wakeguard"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one cross-hair over all panels
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_DATASOURCE_VARIABLE, _DEVICE_VARIABLE]},
        "panels": list(_place()),
    }


def format_dashboard() -> str:
    """Return the file's text."""
    return json.dumps(make_dashboard(), indent=2) + "\n"


_DATASOURCE_VARIABLE: Final = {
    "name": "datasource",
    "type": "datasource",
    "label": "Prometheus",
    "query": "prometheus",
    "refresh": 1,
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "regex": "",
    "skipUrlSync": False,
}
_DEVICE_VARIABLE: Final = {
    "name": "device",
    "type": "query",
    "label": "Echo",
    "datasource": _SOURCE,
    "query": {"query": "label_values(wakeguard_policy_info, device)", "refId": "device"},
    "refresh": 2,
    "sort": 1,
    "hide": 0,
    "includeAll": True,
    "allValue": ".*",
    "multi": True,
    "current": {"text": ["All"], "value": ["$__all"]},
    "regex": "",
    "skipUrlSync": False,
}


def _place() -> Iterator[dict[str, Any]]:
    """Yield rows and panels from left to right, from top to bottom."""
    number = y = 0
    for row in ROWS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        }
        y += 1
        x = 0
        height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            number += 1
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": place, **_draw(panel)}
            x += panel.width
            height = max(height, panel.height)
        y += height


def _draw(panel: Panel) -> dict[str, Any]:
    options, custom = _KINDS[panel.kind]
    if panel.names:
        options = {**options, "textMode": "name"}
    if panel.stacked:
        custom = {**custom, "stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40}
    if panel.bars:
        custom = {**custom, "drawStyle": "bars", "fillOpacity": 80}
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "custom": custom,
        "color": {"mode": "palette-classic" if panel.kind in {"timeseries", "table"} else "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in panel.steps],
        },
        "mappings": [],
        "min": 0,
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.top is not None:
        defaults["max"] = panel.top
    references = dict(zip(string.ascii_uppercase, panel.queries, strict=False))
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [_ask(reference, query) for reference, query in references.items()],
        "fieldConfig": {"defaults": defaults, "overrides": list(_override(panel, references))},
        "options": options,
        "transformations": [{"id": "merge", "options": {}}] if panel.kind == "table" else [],
    }


def _ask(reference: str, query: Query) -> dict[str, Any]:
    table = not query.legend
    return {
        "refId": reference,
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "instant": query.instant,
        "range": not query.instant,
        "format": "heatmap" if query.heatmap else "table" if table else "time_series",
        "legendFormat": query.legend or "__auto",
    }


def _override(panel: Panel, references: dict[str, Query]) -> Iterator[dict[str, Any]]:
    """Yield what differs by query (the meaning of its values) or by justification (name and colour)."""
    for reference, query in references.items():
        if query.mapping:
            yield {
                "matcher": {"id": "byFrameRefID", "options": reference},
                "properties": [{"id": "mappings", "value": [_translate(query.mapping)]}],
            }
    for beginning, colour in panel.colours:
        yield {
            "matcher": {"id": "byRegexp", "options": f"/^{beginning}/"},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
    if panel.queries[0].legend == "{{justification}}":
        for justification, (text, colour) in JUSTIFICATIONS.items():
            yield {
                "matcher": {"id": "byName", "options": justification},
                "properties": [
                    {"id": "displayName", "value": text},
                    {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}},
                ],
            }


def _translate(mapping: Mapping) -> dict[str, Any]:
    return {
        "type": "value",
        "options": {
            f"{value:g}": {"text": text, "color": colour, "index": index}
            for index, (value, (text, colour)) in enumerate(mapping.items())
        },
    }
