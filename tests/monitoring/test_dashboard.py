"""The dashboard: generated, naming what exists, and what Grafana's own types take for one."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guard.telemetry.metrics import METRICS, PROCESS_METRICS
from tests.conftest import ROOT
from tests.monitoring import dashboard, names, schema
from tests.monitoring.panels import PANELS, ROWS

FOLDER = ROOT / "packaging" / "grafana"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGURATION = sorted(path for path in (ROOT / "packaging").rglob("*") if path.is_file())


def test_the_committed_file_is_what_the_panels_make() -> None:
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.format_dashboard()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_panel_asks_for_metrics_that_exist(panel: Any) -> None:
    for query in panel.queries:
        asked = names.find_names(query.expr)
        assert asked
        assert asked <= names.get_exposed()


@pytest.mark.parametrize("path", CONFIGURATION, ids=lambda path: path.name)
def test_no_shipped_file_names_a_metric_that_does_not_exist(path: Path) -> None:
    assert names.find_names(path.read_text(encoding="utf-8")) <= names.get_exposed()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_names_a_metric_that_does_not_exist(path: Path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))
    assert set().union(*map(names.find_names, quoted)) <= names.get_documented()


def test_names_are_found_and_told_from_others() -> None:
    text = 'rate(wakeguard_bytes_total[5m]) + job:wakeguard_odd_total:sum / process_open_fds "wakeguard.json"'
    assert names.find_names(text) == {"wakeguard_bytes_total", "process_open_fds"}


def test_every_metric_but_the_incidental_is_on_the_dashboard() -> None:
    shown = set().union(*(names.find_names(query.expr) for panel in PANELS for query in panel.queries))
    missing = {
        row.name for row in METRICS if not shown & {row.name, f"{row.name}_bucket", f"{row.name}_count"}
    }
    assert missing == {
        "wakeguard_interaction_cause",
        "wakeguard_interaction_left_bytes",
        "wakeguard_interaction_left_seconds",
        "wakeguard_interactions_total",  # wake words are shown
        "wakeguard_held_bytes",  # packets are shown
        "wakeguard_model_info",
        "wakeguard_mute_age_seconds",
        "wakeguard_period_scale_ratio",
        "wakeguard_recording",
        "wakeguard_sensor_datagrams_total",  # events are shown
    }
    assert set(PROCESS_METRICS) & shown


def test_it_imports_as_it_is() -> None:
    made = dashboard.make_dashboard()
    assert made["uid"] == "wakeguard"
    assert "id" not in made  # Grafana gives one
    assert "__inputs" not in made
    variables = {variable["name"]: variable for variable in made["templating"]["list"]}
    assert set(variables) == {"datasource", "device"}
    assert variables["datasource"]["type"] == "datasource"
    for panel in made["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == "${datasource}"


def test_refusals_by_justification_come_first_and_the_timeline_next() -> None:
    assert "justification" in PANELS[0].queries[0].expr
    assert [panel.kind for panel in ROWS[1].panels] == ["state-timeline", "timeseries", "timeseries"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_a_window_is_grafanas_to_choose(panel: Any) -> None:
    for query in panel.queries:
        windows = re.findall(r"\[([^]]+)\]", query.expr)
        assert set(windows) <= {"$__rate_interval", "$__range"}
        assert ("rate(" in query.expr or "increase(" in query.expr) == bool(windows)


def test_panels_have_room_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    identifiers = set()
    for panel in dashboard.make_dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= dashboard.COLUMNS
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
        assert not cells & taken
        taken |= cells
        identifiers.add(panel["id"])
    assert len(identifiers) == len(dashboard.make_dashboard()["panels"])


@pytest.mark.grafana
@pytest.mark.slow
def test_grafanas_types_take_it_for_a_dashboard(tmp_path: Path) -> None:
    committed = json.loads(dashboard.FILE.read_text(encoding="utf-8"))
    assert schema.find_faults(committed, tmp_path) == ""


def _misname_a_key(made: dict[str, Any]) -> None:
    made["refesh"] = made.pop("refresh")


def _misname_an_option(made: dict[str, Any]) -> None:
    made["panels"][1]["options"]["colourMode"] = made["panels"][1]["options"].pop("colorMode")


def _choose_a_mode_that_is_none(made: dict[str, Any]) -> None:
    made["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "relative"


def _misname_a_field_option(made: dict[str, Any]) -> None:
    panel = next(panel for panel in made["panels"] if panel["type"] == "timeseries")
    panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "dots"


FAULTS = (_misname_a_key, _misname_an_option, _choose_a_mode_that_is_none, _misname_a_field_option)


@pytest.mark.grafana
@pytest.mark.slow
@pytest.mark.parametrize("spoil", FAULTS)
def test_grafanas_types_do_not_take_anything(spoil: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    made = copy.deepcopy(dashboard.make_dashboard())
    spoil(made)
    assert "error TS" in schema.find_faults(made, tmp_path)


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yml")), ids=lambda path: path.parent.name)
def test_a_provisioning_file_says_its_version(path: Path) -> None:
    assert "apiVersion: 1\n" in path.read_text(encoding="utf-8")
