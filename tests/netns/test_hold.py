"""Packets that wait for the wake word, in a real kernel's queue; and settings that change meanwhile."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.netns.gate import GateProcess, TlsCloud, environment, talks_in_vain
from tests.netns.household import Household, wait_until

pytestmark = pytest.mark.kernel

VOICE = 4_000
LONG = "[limits.hold]\nhold_s = 5\n"  # so long that no test depends on its end
SHORT = "[limits.hold]\nhold_s = 0.3\n"
NONE = "[limits.hold]\nhold_s = 0\n"


def get_device(gate: GateProcess) -> dict[str, Any]:
    device: dict[str, Any] = gate.ask("status")["devices"][0]
    return device


def wait_for_hold(gate: GateProcess, size: int = 1) -> None:
    wait_until(lambda: get_device(gate)["holds"]["bytes"] >= size)


def test_what_waits_arrives_the_moment_the_wake_word_is_heard(household: Household, tmp_path: Path) -> None:
    with GateProcess(household, tmp_path, extra=LONG) as gate, TlsCloud(household) as cloud:
        with cloud.connect() as stream:
            stream.sendall(b"v" * VOICE)
            wait_for_hold(gate, VOICE)
            assert cloud.received == 0
            with cloud.connect() as other:  # nobody else is kept waiting
                assert other.version() == "TLSv1.3"
            gate.tell("wake")
            began = time.monotonic()
            wait_until(lambda: cloud.received == VOICE)
            assert time.monotonic() - began < 1.0  # TCP's own next try would come later
        holds = get_device(gate)["holds"]
        assert (holds["packets"], holds["bytes"], holds["refused"]) == (0, 0, 0)
        assert holds["released"] > 0
        assert "before:" in gate.call("status").stdout
        device = get_device(gate)
        assert device["interaction_cause"] in ("wake_word", "voice", "answer")
        assert device["interaction_bytes"] > 0


def test_without_a_wake_word_what_waited_is_refused_for_good(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, extra=SHORT) as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
            gate.tell("wake")
        assert get_device(gate)["holds"]["refused"] > 0
        assert gate.count(verdict="refuse", reason="no_interaction") > 0
        assert cloud.can_connect(seconds=5.0)
        assert cloud.received == 0


def test_muting_refuses_at_once_what_waits(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, extra=LONG) as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            stream.sendall(b"v" * VOICE)
            wait_for_hold(gate)
            gate.tell("mute")
            assert get_device(gate)["holds"]["packets"] == 0
            assert talks_in_vain(stream, VOICE)
            gate.tell("unmute")
            gate.tell("wake")
        assert cloud.can_connect(seconds=5.0)
        assert cloud.received == 0


def test_in_monitor_nothing_waits_and_the_report_says_what_would(routed: Household, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.jsonl"
    options = ("--decisions", str(decisions))
    with (
        GateProcess(routed, tmp_path, *options, mode="monitor", extra=LONG) as gate,
        TlsCloud(routed) as cloud,
    ):
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            assert get_device(gate)["holds"]["packets"] > 0
        assert gate.stop() == 0
    waited = [row for row in map(json.loads, decisions.read_text().splitlines()) if row["held_ms"]]
    assert waited
    assert {row["verdict"] for row in waited} == {"refuse"}
    assert all(
        row["held_ms"] == pytest.approx(5000, abs=10) for row in waited if row["reason"] != "condemned"
    )


def test_towards_monitor_what_waits_passes_at_once(routed: Household, tmp_path: Path) -> None:
    gate = GateProcess(routed, tmp_path, extra=LONG)
    with gate, TlsCloud(routed) as cloud, cloud.connect() as stream:
        stream.sendall(b"v" * VOICE)
        wait_for_hold(gate)
        assert cloud.received == 0
        gate.ask("mode", mode="monitor")
        wait_until(lambda: cloud.received == VOICE)


def test_killed_while_packets_wait_none_of_them_arrives(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, extra=LONG) as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            stream.sendall(b"v" * VOICE)
            wait_for_hold(gate)
            gate.stop(signal.SIGKILL)
            gate.start()
            gate.tell("mute")
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == 0


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
def test_a_recording_with_holds_replays_to_identical_lines(
    routed: Household, tmp_path: Path, mode: str
) -> None:
    record, decisions = tmp_path / "recording", tmp_path / "decisions.jsonl"
    options = ("--record", str(record), "--decisions", str(decisions))
    settings: dict[str, Any] = {"mode": mode, "extra": SHORT + "[lab]\nperiod_scale = 0.01\n"}
    with GateProcess(routed, tmp_path, *options, **settings) as gate, TlsCloud(routed) as cloud:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with cloud.connect(version) as stream:
                stream.sendall(b"v" * VOICE)
                wait_for_hold(gate)
                gate.tell("wake")
                cloud.deliver(stream, VOICE)
                gate.tell("mute")
                gate.tell("unmute")
            with cloud.connect(version) as stream:
                if mode == "enforce":
                    assert talks_in_vain(stream, VOICE)
                else:
                    cloud.deliver(stream, VOICE)
                    wait_until(lambda: get_device(gate)["holds"]["packets"] == 0)
        gate.write_config(mode=mode, policy="balanced", extra=LONG + "[lab]\nperiod_scale = 0.01\n")
        assert gate.ask("reload") == {"changed": ["policy", "limits"]}
        with cloud.connect() as stream:
            cloud.deliver(stream, 500)  # control traffic: the new policy's budget
            assert gate.count(reason="control_budget") > 0
        assert gate.stop() == 0
    arguments = ("--device", "kitchen", "--events", str(record / "events.jsonl"), "--format", "jsonl")
    replay = subprocess.run(
        [sys.executable, "-m", "guard", "replay", str(record / "packets.pcapng"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (replay.returncode, replay.stderr) == (0, "")
    live = decisions.read_text().splitlines()
    assert replay.stdout.splitlines() == live
    waited = [row for row in map(json.loads, live) if row["held_ms"] is not None]
    assert {row["verdict"] for row in waited} == {"accept", "refuse"}


def test_a_reload_counts_at_once_and_loses_no_connection(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, extra=NONE) as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            gate.write_config(policy="balanced", extra=NONE)
            reloaded = gate.call("reload")
            assert (reloaded.returncode, reloaded.stdout) == (0, "reloaded: policy\n")
            cloud.deliver(stream, 500)
            assert gate.count(verdict="accept", reason="control_budget") > 0
            assert gate.ask("status")["policy"] == "balanced"
            gate.write_config(policy="strict", extra=NONE)
            assert gate.process is not None
            gate.process.send_signal(signal.SIGHUP)
            wait_until(lambda: gate.ask("status")["policy"] == "strict")
            assert talks_in_vain(stream, 500)
        assert cloud.received == 500


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"extra": "[limits.hold]\nhold = 1\n"}, 'did you mean "hold_s"'),
        ({"policy": "lax"}, "policy"),
        ({"lan": "wlan7"}, "network needs a restart"),
        ({"sensor": True}, "sensors needs a restart"),
    ],
)
def test_a_bad_reload_keeps_the_old_settings(
    routed: Household, tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    with GateProcess(routed, tmp_path, extra=NONE) as gate, TlsCloud(routed) as cloud:
        before = gate.ask("status")["devices"][0]["bound"]
        good = gate.config.read_text()
        gate.write_config(**{"extra": NONE, **settings})
        assert gate.process is not None
        gate.process.send_signal(signal.SIGHUP)
        log = tmp_path / "gate.log"
        wait_until(lambda: "reload failed" in log.read_text())
        status = gate.ask("status")
        assert (status["policy"], status["devices"][0]["bound"]) == ("strict", before)
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == 0
        refused = gate.call("reload")
        assert refused.returncode == 2
        assert complaint in refused.stderr
        assert refused.stderr.count("\n") == 1
        gate.config.write_text(good)
        assert gate.call("reload").stdout == "reloaded: nothing has changed\n"


def test_reloads_under_load_let_nothing_through(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, extra=NONE) as gate, TlsCloud(routed) as cloud:
        stop = threading.Event()
        errors = 0

        def talk() -> None:
            nonlocal errors
            while not stop.is_set():
                try:
                    with cloud.connect() as stream:
                        talks_in_vain(stream, VOICE)
                except OSError:
                    errors += 1

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            for step in range(20):
                gate.write_config(extra=f"[limits.interaction]\nlisten_s = {5 + step % 2}\n{NONE}")
                assert gate.ask("reload") == {"changed": ["limits"]}
        finally:
            stop.set()
            thread.join()
        assert cloud.received == 0
        assert gate.count(verdict="accept", **{"class": "app_data"}) == 0


def test_status_prints_the_bound(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, policy="balanced") as gate:
        bound = get_device(gate)["bound"]
        assert bound["unexplained"]["control"] > 0
        shown = gate.call("status").stdout
        assert f"{sum(bound['unexplained'].values()):,.0f} payload bytes an hour" in shown
        assert "(balanced)" in shown
        with routed.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x" * 100, (routed.cloud_address[socket.AF_INET], 9))
