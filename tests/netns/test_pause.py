"""The owner's pause, policy and several Echos on the real gate."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path

import pytest

from guard.core.event import AliveEvent, MuteState, WakeEvent, format_line
from guard.errors import ControlError
from guard.telemetry.journal import Filter, Journal
from tests.netns.gate import GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household, wait_until

pytestmark = pytest.mark.kernel

VOICE = 20_000


def test_a_pause_lets_pass_and_ends_by_itself(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        began = time.monotonic()
        paused = gate.call("pause", "3s", "kitchen")
        assert (paused.returncode, paused.stderr) == (0, "")
        assert paused.stdout.startswith("kitchen: everything passes until ")
        assert 0 < gate.ask("status")["devices"][0]["paused_left_s"] <= 3
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            wait_until(lambda: gate.ask("status")["devices"][0]["paused_left_s"] is None)
            assert 2.9 < time.monotonic() - began < 8
            assert talks_in_vain(stream, VOICE)
        assert cloud.received == VOICE
        gate.ask("journal")
        with Journal(tmp_path / "state" / "journal.sqlite") as journal:
            (pause,) = journal.read(Filter(kinds=("pause",)))
            assert pause.fields["cause"] == "its time was up"
            assert 0 <= pause.fields["ended"] - pause.fields["until"] < 1000
            passed = [row for row in journal.read(Filter(kinds=("refusal",))) if row.fields["passed"]]
            # on a slow machine TCP may send again what waits: that is refused, in name, as well
            assert "no_interaction" in {row.fields["reason"] for row in passed}


def test_resume_muting_the_mode_and_a_restart_end_a_pause(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:

        def pause() -> None:
            gate.ask("pause", seconds=600.0)
            with cloud.connect() as stream:
                cloud.deliver(stream, VOICE)

        def is_gated() -> bool:
            received = cloud.received
            with cloud.connect() as stream:
                return talks_in_vain(stream, VOICE) and cloud.received == received

        pause()
        assert gate.call("resume").stdout == "kitchen: gated again\n"
        assert is_gated()
        pause()
        gate.tell("mute")
        assert gate.ask("status")["devices"][0]["paused_left_s"] is None
        assert is_gated()
        with pytest.raises(ControlError, match="kitchen is muted"):
            gate.ask("pause", seconds=600.0)
        gate.tell("unmute")
        pause()
        gate.ask("mode", mode="enforce")
        assert is_gated()
        pause()
        gate.stop()
        gate.start()
        assert gate.ask("status")["devices"][0]["paused_left_s"] is None
        assert is_gated()


def test_each_echo_has_its_own_pause_interaction_and_policy(routed: Household, tmp_path: Path) -> None:
    routed.echo.run("ip", "address", "add", "10.77.0.3/24", "dev", "eth0")
    device = 'addresses = ["10.77.0.2"]\n[[device]]\nname = "bath"\naddresses = ["10.77.0.3"]'
    with GateProcess(routed, tmp_path, device=device) as gate, TlsCloud(routed) as cloud:

        def reaches(address: str) -> bool:
            received = cloud.received
            routed.echo.run("ip", "route", "replace", "10.78.0.0/24", "via", "10.77.0.1", "src", address)
            with cloud.connect() as stream, contextlib.suppress(OSError):
                stream.settimeout(1.5)  # past it, nobody has reset the connection: it passed
                stream.sendall(b"v" * VOICE)
                stream.recv(1)
            return cloud.received == received + VOICE

        assert not reaches("10.77.0.2")
        gate.ask("pause", seconds=600.0, device="bath")
        assert reaches("10.77.0.3")
        assert not reaches("10.77.0.2")
        gate.ask("resume", device="bath")
        gate.ask("event", type="wake", device="kitchen")
        assert reaches("10.77.0.2")
        assert not reaches("10.77.0.3")
        rows = json.loads(gate.call("policy", "bath", "balanced", "--json").stdout)
        assert rows == [{"device": "bath", "policy": "balanced", "file": "strict"}]
        gate.stop()
        gate.start()
        shown = gate.call("policy").stdout
        assert shown == "kitchen: strict\nbath: balanced (the configuration says strict)\n"
        assert [row["policy"] for row in gate.ask("status")["devices"]] == ["strict", "balanced"]
        assert gate.call("policy", "strict").returncode == 0
        assert [row["policy"] for row in gate.ask("status")["devices"]] == ["strict", "strict"]


def test_each_echo_has_its_own_sensor_and_none_speaks_for_another(routed: Household, tmp_path: Path) -> None:
    device = 'addresses = ["10.77.0.2"]\n[[device]]\nname = "bath"\naddresses = ["10.77.0.3"]'
    extra = f'[sensors]\nsocket = "{tmp_path}/run/{{device}}.sock"\n'
    with GateProcess(routed, tmp_path, device=device, extra=extra) as gate:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sensor:
            sensor.connect(f"{tmp_path}/run/bath.sock")
            now = time.monotonic()
            for event in (AliveEvent(now, MuteState.UNMUTED, hears=True), WakeEvent(now, "alexa")):
                sensor.send(format_line(event).encode())
        wait_until(lambda: gate.ask("status")["devices"][1]["interactions"] == 1)
        kitchen, bath = gate.ask("status")["devices"]
        assert (kitchen["mute"], kitchen["interactions"], kitchen["closed"]) == ("unknown", 0, "starting")
        assert kitchen["sensor"]["accepted"] == 0
        assert (bath["mute"], bath["sensor"]["accepted"]) == ("unmuted", 2)
        gate.ask("journal")
        with Journal(tmp_path / "state" / "journal.sqlite") as journal:
            rows = journal.read(Filter(kinds=("interaction", "mute")))
        assert {row.fields["device"] for row in rows} == {"bath"}
