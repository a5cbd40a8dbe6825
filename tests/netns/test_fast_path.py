"""The kernel's fast path on the real kernel: it passes what it may, counts it, and changes no decision."""

from __future__ import annotations

import dataclasses
import json
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from guard.core.verdict import Mode
from guard.netfilter import kernel, ruleset
from tests.netns.connection import download
from tests.netns.gate import FAST_PATHS, GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household, wait_until

pytestmark = pytest.mark.kernel

SIZE = 2_000_000
VOICE = 20_000


def get_device(gate: GateProcess) -> dict[str, Any]:
    device: dict[str, Any] = gate.ask("status")["devices"][0]
    return device


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_the_kernel_passes_acknowledgements_and_they_are_counted(
    routed: Household, tmp_path: Path, mode: str
) -> None:
    with GateProcess(routed, tmp_path, mode=mode, fast_path=("acknowledgements",)) as gate:
        for family in (socket.AF_INET, socket.AF_INET6):
            before = get_device(gate)["passed_by_kernel"]
            download(routed, family, SIZE)
            wait_until(lambda before=before: get_device(gate)["passed_by_kernel"] > before + 20, seconds=20)  # type: ignore[misc]  # a default
        accepted = gate.count(**{"class": "ack", "verdict": "accept", "reason": "tcp_control"})
        assert accepted >= get_device(gate)["passed_by_kernel"]
        passed = get_device(gate)["passed_by_kernel"]
        gate.ask("mode", mode="monitor" if mode == "enforce" else "enforce")
        assert get_device(gate)["passed_by_kernel"] >= passed  # the rules are new, the count goes on


def test_without_it_the_gate_sees_every_acknowledgement(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, fast_path=("condemned",)) as gate:
        download(routed, socket.AF_INET, SIZE)
        assert gate.count(**{"class": "ack", "verdict": "accept"}) > 20
        assert get_device(gate)["passed_by_kernel"] == 0
        assert "WAKEGUARD-PASS" not in routed.gate.run("iptables-save")


def list_decisions(home: Household, folder: Path, *, fast_path: Sequence[str]) -> set[tuple[str, ...]]:
    """Play a household's connections; return what was said of them, leaving bare acknowledgements out."""
    folder.mkdir()
    decisions = folder / "decisions.jsonl"
    with (
        GateProcess(home, folder, "--decisions", str(decisions), sensor=True, fast_path=fast_path) as gate,
        TlsCloud(home) as cloud,
    ):
        gate.tell("unmute")
        gate.tell("wake")
        with cloud.connect(ssl.TLSVersion.TLSv1_2) as stream, cloud.connect() as second:
            cloud.deliver(stream, VOICE)
            download(home, socket.AF_INET, SIZE)
            gate.tell("mute")
            assert talks_in_vain(stream, VOICE)
            gate.ask("mode", mode="monitor")
            cloud.deliver(second, VOICE)
        gate.ask("mode", mode="enforce")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        assert gate.stop() == 0
    rows = [json.loads(line) for line in decisions.read_text().splitlines()]
    keys = ("class", "justification", "verdict", "scope", "reason")
    return {
        tuple(str(row.get(key)) for key in keys)
        for row in rows  # of connections alone: the kernels look for their neighbours when they like
        if row["flow"].startswith("tcp ") and row["class"] not in ("ack", "retransmit")
    }


def test_decisions_are_the_same_with_and_without(routed: Household, tmp_path: Path) -> None:
    without = list_decisions(routed, tmp_path / "without", fast_path=FAST_PATHS["0"])
    assert len(without) >= 5
    for position in ("1", "acknowledgements", "condemned"):
        assert list_decisions(routed, tmp_path / position, fast_path=FAST_PATHS[position]) == without


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    ("acknowledgements", "condemned"),
    [(True, False), (False, True), (True, True)],
    ids=["acks", "cond", "both"],
)
def test_its_rules_are_checked_and_removed_like_the_others(
    routed: Household, mode: Mode, *, acknowledgements: bool, condemned: bool
) -> None:
    spec = dataclasses.replace(
        routed.make_spec(mode), pass_quiet=acknowledgements, refuse_condemned=condemned
    )
    with routed.gate.enter():
        kernel.check_requirements(spec)
        ruleset.apply(spec)
        assert ruleset.check(spec) == ()
        foreign = "\n".join(ruleset.check(routed.make_spec(mode)))
        assert ("WAKEGUARD-PASS" in foreign) is acknowledgements
        assert ("WAKEGUARD-REFUSE" in foreign) is (condemned and mode is Mode.ENFORCE)
        ruleset.remove()
        assert not ruleset.is_installed()
