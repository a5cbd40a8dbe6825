"""Policy, limits and mode of a replay: a trace brings them, and what is said by hand goes first."""

from __future__ import annotations

from pathlib import Path

from guard.capture import Capture
from guard.core.verdict import Mode
from guard.replay import Replay
from guard.selector import DeviceSelector
from guard.trace import read_trace
from tests.capture_files import EPOCH_NS, ethernet, pcap, record, tcp
from tests.replay.session import MAC, SECOND, gate_line, lines, run, session, trace, write


def control_session() -> list[tuple[int, bytes]]:
    """Return a flow in mid-stream whose records no voice would send."""
    payload = record(23, 500)
    return [
        (EPOCH_NS + step * SECOND, ethernet(tcp(payload, seq=1000 + step * len(payload))))
        for step in range(8)
    ]


def test_the_balanced_policy_lets_control_traffic_pass(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(control_session()))
    reasons = [line["reason"] for line in lines(path, "--device", MAC, "--policy", "balanced")]
    assert "control_budget" in reasons
    assert "control_budget" not in [line["reason"] for line in lines(path, "--device", MAC)]
    assert "policy balanced" in run(path, "--device", MAC, "--policy", "balanced").stdout


def test_a_trace_brings_its_policy_and_its_limits(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(control_session()))
    events = trace(tmp_path, gate_line(budgets={"control": {"per_hour": 0, "burst": 0}}))
    assert "control_budget" not in [
        line["reason"] for line in lines(path, "--device", MAC, "--events", events)
    ]
    events = trace(tmp_path, gate_line())
    assert "control_budget" in [line["reason"] for line in lines(path, "--device", MAC, "--events", events)]
    strict = lines(path, "--device", MAC, "--events", events, "--policy", "strict")
    assert "control_budget" not in [line["reason"] for line in strict]


def test_mode_given_by_hand_beats_the_recorded_one(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session()))
    gate = '{"type":"gate","mode":"enforce","devices":{}}'
    recorded = read_trace(trace(tmp_path, gate))
    assert Replay(Capture(path), DeviceSelector(MAC), trace=recorded).mode is Mode.ENFORCE
    explicit = Replay(Capture(path), DeviceSelector(MAC), trace=recorded, mode=Mode.MONITOR)
    assert explicit.mode is Mode.MONITOR
