"""Who may speak to the gate as its sensor: the kernel says who it is, whatever the datagram says."""

from __future__ import annotations

import pwd
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from guard.core.event import Event, MuteEvent, MuteState, VoiceEvent, WakeEvent, format_line
from tests.netns.gate import GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household

pytestmark = pytest.mark.kernel

LISTED, STRANGER = "daemon", "nobody"
SEND = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[1]))
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[3].encode(), sys.argv[2])
"""


def speak(gate: GateProcess, user: str, *events: Event) -> bool:
    """Send events as ``user``; say whether the socket took them."""
    uid = str(pwd.getpwnam(user).pw_uid)
    results = [
        subprocess.run(
            [sys.executable, "-c", SEND, uid, str(gate.sensors), format_line(event)],
            capture_output=True,
            check=False,
        )
        for event in events
    ]
    return all(result.returncode == 0 for result in results)


def get_device(gate: GateProcess) -> dict[str, Any]:
    device: dict[str, Any] = gate.ask("status")["devices"][0]
    return device


def opening(now: float) -> tuple[Event, ...]:
    return MuteEvent(now, MuteState.UNMUTED), WakeEvent(now, "alexa"), VoiceEvent(now)


def test_only_listed_users_are_heard(routed: Household) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # a stranger must be able to reach the socket, or nothing is proved
        sensors = f'[sensors]\nsocket = "{folder / "run" / "sensors.sock"}"\nusers = ["{LISTED}"]\n'
        with GateProcess(routed, folder, extra=sensors) as gate, TlsCloud(routed) as cloud:
            assert speak(gate, STRANGER, *opening(time.monotonic()))
            device = get_device(gate)
            assert device["sensor"]["rejected"]["forged"] == 3
            assert (device["closed"], device["interactions"]) == ("starting", 0)
            with cloud.connect() as stream:
                assert talks_in_vain(stream, 1000)
            assert cloud.received == 0
            assert speak(gate, LISTED, *opening(time.monotonic()))
            device = get_device(gate)
            assert (device["mute"], device["interactions"], device["sensor"]["accepted"]) == ("unmuted", 1, 3)


def test_without_a_list_the_files_mode_keeps_strangers_out(routed: Household) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with GateProcess(routed, folder, sensor=True) as gate:
            assert not speak(gate, STRANGER, *opening(time.monotonic()))
            assert get_device(gate)["closed"] == "starting"


def test_the_past_and_the_future_open_nothing(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, sensor=True) as gate:
        assert speak(gate, "root", *opening(time.monotonic() - 3600), *opening(time.monotonic() + 3600))
        device = get_device(gate)
        assert (device["sensor"]["rejected"]["stale"], device["sensor"]["rejected"]["future"]) == (3, 3)
        assert (device["closed"], device["interactions"]) == ("starting", 0)
