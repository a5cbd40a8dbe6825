"""A real Prometheus beside the real gate: what the lab's traffic looks like on the dashboard."""

from __future__ import annotations

import subprocess

import pytest

from guard.lab.namespaces import DEVICES
from guard.lab.scenario import MICROPHONE_MUTE, NO_WAKE_WORD, NORMAL_CONVERSATION
from guard.telemetry.journal import Journal
from guard.telemetry.journal_store import FILE_NAME
from guard.telemetry.metrics import METRICS, PROCESS_METRICS
from tests.conftest import ROOT
from tests.monitoring.panels import PANELS
from tests.monitoring.walk import Counts, Observation, WatchedHousehold, walk

pytestmark = [pytest.mark.kernel, pytest.mark.prometheus, pytest.mark.slow]

QUESTIONS = [(panel.title, place) for panel in PANELS for place in range(len(panel.queries))]

_written: Counts = {}


def _read_journal(household: WatchedHousehold) -> None:
    household.stop_gate()
    with Journal(household.namespaces.directory / "state" / FILE_NAME) as journal:
        _written.update({key: packets for key, (packets, _) in journal.count_refusals().items()})


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Observation:
    """Walk once: muted, without a wake word, and a conversation, in enforce."""
    situations = (MICROPHONE_MUTE, NO_WAKE_WORD, NORMAL_CONVERSATION)
    return walk(tmp_path_factory.mktemp("prometheus"), situations, on_silence=_read_journal)


@pytest.mark.parametrize(("title", "place"), QUESTIONS)
def test_every_question_of_the_dashboard_is_answered_in_finite_numbers(
    title: str, place: int, seen: Observation
) -> None:
    answer = seen.answers[title, place]
    assert answer
    assert all(series.is_finite() for series in answer)


def test_the_raw_counters_are_the_gates_own(seen: Observation) -> None:
    assert sum(seen.raw.values()) > 100
    assert {justification for _, _, justification, _, _ in seen.raw} >= {"not_justified", "justified"}
    assert seen.raw == seen.said


def test_the_raw_counters_are_those_of_the_journal(seen: Observation) -> None:
    assert seen.raw == _written


def test_what_is_drawn_is_what_happened(seen: Observation) -> None:
    mute, wakes, _, refusals, *_ = (
        seen.answers["Mute, wake words and refusals", place] for place in range(6)
    )
    for series in mute:
        values = [value for _, value in series.points]
        assert {0, 2} <= set(values)
        assert values[-1] == 0
    assert len(wakes) == len(refusals) == 2
    for series in (*wakes, *refusals):
        assert {value for _, value in series.points} == {0, 1}
    refused = {row.labels["justification"]: row.last for row in seen.answers["Refused", 0]}
    assert refused["not_justified"] > 0
    assert refused["justified"] > 0
    timeline = seen.answers["Mute, wake words and refusals", 6]
    assert {value for series in timeline for _, value in series.points} == {0, 1}
    modes = [row.labels["mode"] for row in seen.answers["Mode", 0]]
    assert modes == ["enforce"]


def test_the_alerts_of_a_muted_echo_that_speaks_fire(seen: Observation) -> None:
    firing = {
        (alert["labels"]["alertname"], alert["labels"]["device"])
        for alert in seen.alerts
        if alert["state"] == "firing"
    }
    for name in ("WakeguardSendingWhileMuted", "WakeguardVoiceWhileMuted"):
        assert {(name, "eager"), (name, "lazy")} <= firing
    silent = {"WakeguardDown", "WakeguardSensorLost", "WakeguardMicrophoneDeaf", "WakeguardFault"}
    assert not silent & {name for name, _ in firing}


def test_the_shipped_rules_are_evaluated_without_a_fault(seen: Observation) -> None:
    assert len(seen.rules) > 10
    assert {rule["health"] for rule in seen.rules} == {"ok"}
    assert [series.last for series in seen.up] == [1.0]


def test_prometheus_takes_each_metric_for_what_it_is(seen: Observation) -> None:
    kinds = {name: rows[0]["type"] for name, rows in seen.metadata.items()}
    for row in METRICS:
        name = row.name.removesuffix("_total")
        assert kinds.get(row.name, kinds.get(name)) == row.kind
    assert set(PROCESS_METRICS) <= set(kinds) | {f"{name}_total" for name in kinds}


@pytest.mark.promtool
def test_promtool_finds_no_fault_in_what_a_real_gate_exposes(seen: Observation) -> None:
    command = ("promtool", "check", "metrics")
    done = subprocess.run(command, input=seen.exposed, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_address_of_the_household_is_exposed(seen: Observation) -> None:
    assert 'device="eager"' in seen.exposed
    for device in DEVICES:
        for address in (device.mac, device.address, *device.cloud.values()):
            assert address not in seen.exposed
    for reference in ("192.0.2.", "198.51.100.", "2001:db8"):
        assert reference not in seen.exposed


def test_a_device_has_no_more_series_than_the_documents_say(seen: Observation) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert "120 series" in text
    counts: dict[str, float] = {}
    for series in seen.series:
        if series.labels["__name__"].startswith("wakeguard_"):
            device = series.labels.get("device", "")
            counts[device] = counts.get(device, 0) + series.last
    assert set(counts) == {"", "eager", "lazy"}
    assert all(count <= 120 for count in counts.values())
