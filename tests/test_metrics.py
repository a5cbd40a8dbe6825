"""The metrics: complete, named by the rules, documented, read from one snapshot."""

from __future__ import annotations

import re
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from guard.errors import ConfigError
from guard.telemetry.metrics import METRICS, PROCESS_METRICS, MetricsServer, make_registry
from tests.snapshot import make_status

DOCS = Path(__file__).parent.parent / "docs" / "metrics.md"


def scrape() -> str:
    return generate_latest(make_registry(make_status)).decode()


def read_samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(scrape())
        for sample in family.samples
    }


def test_every_metric_is_exposed_with_exactly_its_labels() -> None:
    seen = {name: {key for key, _ in labels} for name, labels in read_samples()}
    expected = {name: set[str]() for name in PROCESS_METRICS}
    for row in METRICS:
        if row.histogram:
            expected |= {f"{row.name}_{part}": set(row.labels) for part in ("sum", "count")}
            expected[f"{row.name}_bucket"] = {*row.labels, "le"}
        else:
            expected[row.name] = set(row.labels)
    assert seen == expected


def test_no_metric_is_named_twice() -> None:
    names = [row.name for row in METRICS]
    assert len(names) == len(set(names))


def test_every_metric_is_documented_with_type_and_labels_and_no_other_is() -> None:
    text = DOCS.read_text()
    lines = re.findall(r"^\| `(?:wakeguard|process)_.*$", text, re.MULTILINE)
    listed = {}
    for line in lines:
        name, kind, labels, _meaning = (cell.strip() for cell in line.strip("|").split("|"))
        listed[name.strip("`")] = (kind, tuple(re.findall(r"`(\w+)`", labels)))
    expected: dict[str, tuple[str, tuple[str, ...]]] = {row.name: (row.kind, row.labels) for row in METRICS}
    expected |= {name: ("counter" if name.endswith("_total") else "gauge", ()) for name in PROCESS_METRICS}
    assert listed == expected


def test_every_failure_and_cause_of_the_gate_is_documented() -> None:
    from guard.sensors import Rejection

    text = DOCS.read_text()
    failures = ("queue_full", "verdict_failed", "sensor_lost", "engine_error", "starting", "handler_error")
    for name in (*Rejection, *failures):
        assert f"`{name}`" in text


def test_decisions_that_differ_in_scope_share_a_series() -> None:
    labels = {
        "device": "kitchen",
        "direction": "upstream",
        "class": "app_data",
        "justification": "not_justified",
        "verdict": "refuse",
        "reason": "muted",
    }
    samples = read_samples()
    assert samples["wakeguard_packets_total", frozenset(labels.items())] == 5
    assert samples["wakeguard_bytes_total", frozenset(labels.items())] == 500


def test_refusals_are_there_for_every_justification_from_the_first_scrape_on() -> None:
    refused = {
        dict(labels).get("justification", ""): value
        for (name, labels), value in read_samples().items()
        if name == "wakeguard_refused_packets_total"
    }
    assert refused == {"not_justified": 5, "justified": 0, "expected": 0, "": 6}


def test_histograms_are_cumulative() -> None:
    samples = read_samples()

    def get(name: str, **labels: str) -> float:
        return samples[f"wakeguard_{name}", frozenset(labels.items())]

    assert get("verdict_duration_seconds_bucket", le="1e-05") == 5
    assert get("verdict_duration_seconds_bucket", le="0.001") == 8
    assert get("verdict_duration_seconds_bucket", le="+Inf") == 9
    assert get("verdict_duration_seconds_count") == 9
    assert get("verdict_duration_seconds_sum") == 0.0125
    assert get("voice_before_refusal_bytes_bucket", device="kitchen", le="0.0") == 3
    assert get("voice_before_refusal_bytes_bucket", device="kitchen", le="+Inf") == 6
    assert get("voice_before_refusal_bytes_sum", device="kitchen") == 2000


def test_a_budget_is_told_as_a_part_of_what_it_saves_up() -> None:
    ratios = {
        dict(labels)["budget"]: value
        for (name, labels), value in read_samples().items()
        if name == "wakeguard_budget_left_ratio"
    }
    assert ratios == {"dns": 0.25}  # a budget of nothing has no parts


def test_states_are_one_hot() -> None:
    samples = read_samples()
    mutes = {
        dict(labels)["state"]: value
        for (name, labels), value in samples.items()
        if name == "wakeguard_mute_state"
    }
    assert mutes == {"muted": 1.0, "unmuted": 0.0, "unknown": 0.0}
    assert samples["wakeguard_mode", frozenset({("mode", "enforce")})] == 1.0
    assert samples["wakeguard_mode", frozenset({("mode", "monitor")})] == 0.0


def test_the_bound_and_what_waits_are_exported() -> None:
    samples = read_samples()

    def get(name: str, **labels: str) -> float:
        return samples[f"wakeguard_{name}", frozenset({"device": "kitchen", **labels}.items())]

    assert get("bound_bytes", kind="unexplained", part="dns") == 10.0
    assert get("bound_bytes", kind="unexplained", part="endpoint") == 3.0
    assert get("bound_bytes", kind="local", part="mdns") == 5.0
    assert get("bound_bytes", kind="explained", part="interaction") == 7.0
    assert (get("held_packets"), get("held_bytes")) == (3, 300)
    assert get("held_packets_settled_total", outcome="released") == 7
    assert get("held_packets_settled_total", outcome="refused") == 2
    assert (get("interaction_left_seconds"), get("interaction_left_bytes")) == (1.5, 1000)
    assert get("interaction_cause", cause="answer") == 1.0
    assert get("interaction_cause", cause="voice") == 0.0
    assert get("policy_info", policy="balanced") == 1.0
    assert get("model_info", model="voice-v1") == 1.0
    assert get("paused") == 1.0
    assert get("kernel_passed_packets_total") == 12
    assert get("kernel_refused_packets_total") == 13
    assert get("unheard_wakes_total") == 1
    assert get("sensor_events_total", type="wake") == 4
    assert "192.0.2" not in scrape()


def test_no_created_series() -> None:
    assert "_created" not in scrape()


@pytest.mark.promtool
def test_promtool_finds_no_fault() -> None:
    result = subprocess.run(
        ["promtool", "check", "metrics"], input=scrape(), capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_server_serves_on_the_given_address_and_goes_away() -> None:
    port = find_free_port()
    with MetricsServer(make_status, address="127.0.0.1", port=port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
            assert 'wakeguard_packets_total{class="app_data"' in text
            assert "process_resident_memory_bytes" in text
        with pytest.raises(ConfigError, match=rf"metrics\.port {port} .*already in use"):
            MetricsServer(make_status, address="127.0.0.1", port=port)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_an_address_that_is_not_ours_names_the_key() -> None:
    with pytest.raises(ConfigError, match=r"metrics\.port"):
        MetricsServer(make_status, address="192.0.2.1", port=find_free_port())


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
