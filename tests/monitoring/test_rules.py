"""Rules, alerts and examples: what Prometheus' and Alertmanager's own tools say to them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROMETHEUS = ROOT / "packaging" / "prometheus"
RULES = PROMETHEUS / "wakeguard.rules.yml"
ALERTMANAGER = ROOT / "packaging" / "alertmanager" / "alertmanager.yml"
CASES = Path(__file__).parent / "rules_test.yml"
DOCS = ROOT / "docs" / "metrics.md"

ALERTS = re.findall(r"^ +- alert: (\w+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)
RECORDS = re.findall(r"^ +- record: (\S+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)


def ask(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.promtool
def test_promtool_takes_the_configuration_and_the_rules() -> None:
    for command in (("check", "config", str(PROMETHEUS / "prometheus.yml")), ("check", "rules", str(RULES))):
        status, output = ask("promtool", *command)
        assert status == 0, output
        assert "SUCCESS" in output


@pytest.mark.promtool
def test_each_alert_fires_when_it_should_and_only_then() -> None:
    status, output = ask("promtool", "test", "rules", str(CASES))
    assert status == 0, output


@pytest.mark.promtool
def test_a_case_that_does_not_hold_is_noticed(tmp_path: Path) -> None:
    text = CASES.read_text(encoding="utf-8").replace("../../packaging/prometheus", str(PROMETHEUS))
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(text.replace("exp_alerts: []", "exp_alerts: [{exp_labels: {device: nobody}}]", 1))
    assert ask("promtool", "test", "rules", str(wrong))[0] != 0


@pytest.mark.amtool
def test_amtool_takes_the_example() -> None:
    status, output = ask("amtool", "check-config", str(ALERTMANAGER))
    assert status == 0, output


@pytest.mark.amtool
@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
def test_every_alert_reaches_the_owner(severity: str) -> None:
    command = ("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}")
    status, output = ask(*command)
    assert (status, output.splitlines()[0]) == (0, "owner")


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_case_and_its_place_in_the_documents(alert: str) -> None:
    assert f"alertname: {alert}\n" in CASES.read_text(encoding="utf-8")
    assert f"| `{alert}` |" in DOCS.read_text(encoding="utf-8")


def test_no_alert_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `(Wakeguard\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)) == set(
        ALERTS
    )
    assert set(re.findall(r"Wakeguard[A-Z]\w+", ALERTMANAGER.read_text(encoding="utf-8"))) <= set(ALERTS)


def test_the_severities_of_the_alerts_are_those_of_the_routes() -> None:
    severities = re.findall(r"severity: (\w+)", RULES.read_text(encoding="utf-8"))
    assert len(severities) == len(ALERTS)
    assert set(severities) == {"critical", "warning", "info"}


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_series_says_level_metric_and_operation(record: str) -> None:
    assert re.fullmatch(r"(?:instance|device(?:_\w+)?):wakeguard_\w+:\w+", record)
    assert f"`{record}`" in DOCS.read_text(encoding="utf-8")
