"""The whole gate: real process, real queue, real TCP and TLS; what counts is what the receiver got."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from guard.core.event import AliveEvent, MuteState, WakeEvent, format_line
from guard.errors import ControlError
from tests.netns.families import families
from tests.netns.gate import GateProcess, TlsCloud, environment, get_rules, talks_in_vain
from tests.netns.household import Household, wait_until

pytestmark = pytest.mark.kernel

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
versions = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])
VOICE = 20_000


@families
@versions
def test_muted_nothing_arrives_and_the_echo_is_told(
    household: Household, tmp_path: Path, family: socket.AddressFamily, version: ssl.TLSVersion
) -> None:
    with GateProcess(household, tmp_path) as gate, TlsCloud(household, family) as cloud:
        gate.tell("mute")
        with cloud.connect(version) as stream:
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == 0
        assert gate.count(reason="muted", justification="not_justified", verdict="refuse") > 0
        assert gate.count(**{"class": "app_data", "verdict": "accept"}) == 0


@families
@versions
def test_after_a_wake_word_all_arrives_and_muting_ends_it(
    household: Household, tmp_path: Path, family: socket.AddressFamily, version: ssl.TLSVersion
) -> None:
    with GateProcess(household, tmp_path) as gate, TlsCloud(household, family) as cloud:
        gate.tell("unmute")
        gate.tell("wake")
        with cloud.connect(version) as stream:
            cloud.deliver(stream, VOICE)
            assert gate.count(justification="expected", verdict="accept") > 0
            gate.tell("mute")
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == VOICE


def test_without_a_wake_word_nothing_arrives(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == 0
        assert gate.count(justification="justified", verdict="refuse") > 0


def test_monitor_passes_everything_and_says_what_it_would_refuse(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, mode="monitor") as gate, TlsCloud(routed) as cloud:
        gate.tell("mute")
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            cloud.deliver(stream, VOICE)
        assert gate.count(verdict="refuse", reason="muted") > 0


def test_killed_in_enforce_the_gate_is_closed_until_it_runs_again(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        gate.tell("wake")
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            assert gate.stop(signal.SIGKILL) == -signal.SIGKILL
            stream.sendall(b"v" * VOICE)
            assert not cloud.can_connect(seconds=1.0)
            assert cloud.received == VOICE
            gate.start()
            gate.tell("mute")
            assert talks_in_vain(stream, VOICE)
        assert cloud.can_connect(seconds=5.0)
        assert cloud.received == VOICE


def test_killed_in_monitor_traffic_goes_on(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, mode="monitor") as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            gate.stop(signal.SIGKILL)
            cloud.deliver(stream, VOICE)
        assert cloud.can_connect(seconds=5.0)


def test_stopped_in_monitor_nothing_is_left(routed: Household, tmp_path: Path) -> None:
    before = get_rules(routed)
    with GateProcess(routed, tmp_path, mode="monitor", sensor=True) as gate:
        assert get_rules(routed) != before
        assert gate.stop() == 0
        assert get_rules(routed) == before
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_enforce_it_stays_closed_until_off(
    routed: Household, tmp_path: Path, number: signal.Signals
) -> None:
    before = get_rules(routed)
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        assert gate.stop(number) == 0
        assert not cloud.can_connect(seconds=0.5)
        off = gate.call("off")
        assert (off.returncode, off.stderr) == (0, "")
        assert get_rules(routed) == before
        assert cloud.can_connect(seconds=5.0)


def test_off_stops_a_running_gate_and_opens(routed: Household, tmp_path: Path) -> None:
    before = get_rules(routed)
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        gate.tell("mute")
        off = gate.call("off")
        assert (off.returncode, off.stderr) == (0, "")
        assert gate.process is not None
        assert gate.process.wait(timeout=10) == 0
        assert get_rules(routed) == before
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)


def test_off_works_without_a_readable_configuration(routed: Household, tmp_path: Path) -> None:
    before = get_rules(routed)
    with GateProcess(routed, tmp_path) as gate:
        gate.stop(signal.SIGKILL)
        gate.config.write_text("mode = ")
        off = gate.call("off")
        assert off.returncode == 2
        assert "the rules are gone" in off.stderr
        assert get_rules(routed) == before


def test_the_mode_switches_at_once_and_survives(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, mode="monitor") as gate, TlsCloud(routed) as cloud:
        gate.tell("mute")
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            switch = gate.call("mode", "enforce")
            assert (switch.returncode, switch.stdout, switch.stderr) == (0, "enforce\n", "")
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == VOICE
        gate.stop()
        gate.start()
        assert gate.call("mode").stdout == "enforce\n"
        gate.tell("mute")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == VOICE
        gate.ask("mode", mode="monitor")
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)


def test_no_voice_passes_while_the_rules_change(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, mode="monitor") as gate, TlsCloud(routed) as cloud:
        stop = threading.Event()

        def talk() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError), cloud.connect(seconds=1.0) as stream:
                    while not stop.is_set():
                        stream.sendall(b"v" * 1000)

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            for _ in range(3):
                wait_until(lambda: cloud.received > 0)
                gate.ask("mode", mode="enforce")
                # Once the switch is done, only what the cloud's kernel had already may still be read.
                marker = gate.count(verdict="refuse")
                wait_until(lambda seen=marker: gate.count(verdict="refuse") > seen)  # type: ignore[misc]  # bound now
                received = cloud.received
                marker = gate.count(verdict="refuse")
                wait_until(lambda seen=marker: gate.count(verdict="refuse") > seen + 3)  # type: ignore[misc]  # bound now
                assert cloud.received == received
                gate.ask("mode", mode="monitor")
                cloud.received = 0
        finally:
            stop.set()
            talker.join()


def test_a_switch_that_fails_leaves_the_old_mode(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, mode="monitor") as gate, TlsCloud(routed) as cloud:
        rules = get_rules(routed)
        (tmp_path / "state" / "mode.json").mkdir()  # nothing can be put in its place
        with pytest.raises(ControlError, match="could not be stored"):
            gate.ask("mode", mode="enforce")
        assert gate.ask("mode") == {"mode": "monitor"}
        assert get_rules(routed) == rules
        gate.tell("mute")
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)


def test_the_sensor_opens_and_its_silence_closes(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, sensor=True) as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        assert gate.count(verdict="refuse", reason="starting") > 0
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sensor:
            sensor.connect(str(gate.sensors))
            now = time.monotonic()
            for event in (AliveEvent(now, MuteState.UNMUTED), WakeEvent(now, "alexa")):
                sensor.send(format_line(event).encode())
            sensor.send(b"rubbish")
        wait_until(lambda: gate.ask("status")["devices"][0]["interaction_left_s"] is not None)
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            wait_until(lambda: gate.ask("mute-led")[0]["mute"] == "unknown")
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == VOICE
        assert gate.count(verdict="refuse", reason="sensor_lost") > 0
        wait_until(lambda: gate.ask("status")["failures"]["sensor_lost"] == 1)
        assert gate.ask("status")["devices"][0]["sensor"]["rejected"]["malformed"] == 1


def test_a_flood_does_not_keep_the_owner_out(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate:
        stop = threading.Event()

        def flood() -> None:
            with routed.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                while not stop.is_set():
                    with contextlib.suppress(OSError):
                        sender.sendto(b"x" * 100, (routed.cloud_address[socket.AF_INET], 9))

        threads = [threading.Thread(target=flood) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: gate.count(verdict="refuse") > 1000, seconds=20)
            began = time.monotonic()
            gate.tell("mute")
            assert time.monotonic() - began < 1.0
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def test_what_was_recorded_replays_to_identical_lines(routed: Household, tmp_path: Path) -> None:
    record, decisions = tmp_path / "recording", tmp_path / "decisions.jsonl"
    options = ("--record", str(record), "--decisions", str(decisions))
    with GateProcess(routed, tmp_path, *options, sensor=True) as gate, TlsCloud(routed) as cloud:
        gate.tell("unmute")
        gate.tell("wake")
        with cloud.connect(ssl.TLSVersion.TLSv1_2) as stream, cloud.connect() as second:
            cloud.deliver(stream, VOICE)
            gate.tell("mute")
            assert talks_in_vain(stream, VOICE)
            gate.ask("mode", mode="monitor")
            cloud.deliver(second, VOICE)
        gate.ask("mode", mode="enforce")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
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
    assert len(live) > 40
    assert {json.loads(line)["verdict"] for line in live} == {"accept", "refuse"}
    assert replay.stdout.splitlines() == live


def test_a_full_disk_ends_the_recording_and_nothing_else(routed: Household, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], check=True)
    try:
        options = ("--record", str(disk / "recording"))
        with GateProcess(routed, tmp_path, *options, mode="monitor") as gate, TlsCloud(routed) as cloud:
            assert gate.ask("status")["recording"] == "on"
            with cloud.connect() as stream:
                for _ in range(50):
                    cloud.deliver(stream, VOICE)
            wait_until(lambda: gate.ask("status")["recording"] == "failed")
            assert gate.ask("status")["failures"]["handler_error"] == 0
            assert cloud.can_connect(seconds=5.0)
            assert gate.stop() == 0
        log = (tmp_path / "gate.log").read_text()
        assert log.count("recording ended") == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_process_is_small_quick_and_without_strangers(routed: Household, tmp_path: Path) -> None:
    began = time.monotonic()
    with GateProcess(routed, tmp_path, metrics=True) as gate:
        assert gate.process is not None
        assert time.monotonic() - began < 3.0  # a second on a quiet machine: the bench measures it
        status = Path("/proc", str(gate.process.pid), "status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 40 * 1024
        maps = Path("/proc", str(gate.process.pid), "maps").read_text()
        assert "numpy" not in maps


# What a start once loaded, or would by one careless import: each costs milliseconds and memory on a Pi.
STRANGERS = {
    *("asyncio", "concurrent.futures", "logging", "multiprocessing", "unittest"),
    *("numpy", "onnxruntime", "pygments", "rich", "scapy", "sklearn", "structlog", "tomlkit"),
    *("guard.decisions", "guard.lab", "guard.learning", "guard.pcapng", "guard.replay", "hardware"),
}


def test_a_start_loads_nothing_that_a_running_gate_does_not_need(
    routed: Household, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # Python then names every module as it is loaded
    with GateProcess(routed, tmp_path, metrics=True) as gate:
        assert gate.stop() == 0
    lines = (tmp_path / "gate.log").read_text().splitlines()
    loaded = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert {"guard.gate", "prometheus_client", "netfilterqueue"} <= loaded
    assert not loaded & STRANGERS
    commands = {name for name in loaded if name.startswith("guard.cli.")}
    assert commands <= {"guard.cli.asking", "guard.cli.live"}


def test_status_shows_what_happened(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        gate.tell("mute")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        shown = gate.call("status").stdout
        for word in ("enforce", "kitchen", "muted", "not_justified", "refuse", "handshake"):
            assert word in shown
        assert json.loads(gate.call("status", "--json").stdout)["devices"][0]["mute"] == "muted"
        assert "kitchen: muted for" in gate.call("mute-led").stdout
        assert json.loads(gate.call("mute-led", "--json").stdout)[0]["source"] == "manual"
        assert "muted" in gate.call("event", "wake").stdout
        assert "interaction" not in gate.call("event", "wake").stdout
        assert (
            "interaction for another" in (gate.call("event", "unmute"), gate.call("event", "wake"))[1].stdout
        )
