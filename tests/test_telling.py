"""What the gate tells its surroundings: the service manager, the log, the recording's end."""

from __future__ import annotations

import io
import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import MuteEvent, MuteState
from guard.core.hold import Held
from guard.core.verdict import Direction, Mode
from guard.decisions import DecisionLog
from guard.errors import RecordingError
from guard.notify import get_watchdog_interval, notify
from guard.recorded import Recorder
from guard.recording import Recording
from guard.rules import load_policy
from guard.telemetry.log import Log
from guard.trace import Settings


def test_the_service_manager_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        notify("READY=1", {"NOTIFY_SOCKET": str(path)})
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/nowhere/at/all"}])
def test_without_a_service_manager_nothing_happens(environment: dict[str, str]) -> None:
    notify("READY=1", environment)


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "10000000"}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "10000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_asks(
    environment: dict[str, str], interval: float | None
) -> None:
    assert get_watchdog_interval(environment) == interval


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fail() -> ValueError:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        return error


def test_the_journal_gets_one_json_object_a_line() -> None:
    stream = io.StringIO()
    log = Log(stream)
    log.info("ready", mode="enforce", devices=["kitchen"], path=Path("/etc"))
    log.warning("reset failed")
    log.error("handler error", exception=fail())
    first, second, third = (json.loads(line) for line in stream.getvalue().splitlines())
    at = datetime.fromisoformat(first.pop("timestamp"))
    assert timedelta() <= datetime.now(UTC) - at < timedelta(minutes=1)
    path = "PosixPath('/etc')"
    assert first == {
        "event": "ready",
        "level": "info",
        "mode": "enforce",
        "devices": ["kitchen"],
        "path": path,
    }
    assert (second["event"], second["level"]) == ("reset failed", "warning")
    assert (third["event"], third["level"]) == ("handler error", "error")
    assert "in fail" in third["exception"]
    assert third["exception"].endswith("ValueError: two\nlines")


def test_people_get_text_that_cannot_steer_their_terminal() -> None:
    stream = Terminal()
    log = Log(stream)
    log.info("ready", mode="enforce", fault="\x1b[2J\n{}")
    log.error("handler error", exception=fail())
    first, second, *below = stream.getvalue().splitlines()
    assert "ready" in first
    assert first.endswith(r" mode='enforce' fault='\x1b[2J\n{}'")
    assert "handler error" in second
    assert "exception" not in second
    assert below[0].startswith("Traceback")
    assert below[-2:] == ["ValueError: two", "lines"]


def test_decisions_that_cannot_be_written_end_once_and_raise_nothing(tmp_path: Path) -> None:
    engine = Engine(load_policy(), {"kitchen": DeviceSettings()}, mode=Mode.MONITOR)
    failures: list[RecordingError] = []
    with DecisionLog(tmp_path / "log", engine, epoch_ns=0, on_failure=failures.append) as log:
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123  # a device, not a path of ours
            os.dup2(full.fileno(), log._file.fileno())
        for step in range(3000):  # more than is buffered
            decision = engine.receive_packet(b"E", device="kitchen", direction=Direction.UPSTREAM, now=step)
            log.packet(b"E", "kitchen", Direction.UPSTREAM, step, decision)
            log.release([Held(step, step, 0, 1, decision, after=False)], step)
    assert len(failures) == 1
    assert "No space left" in str(failures[0])
    with pytest.raises(RecordingError, match="File exists"):
        DecisionLog(tmp_path / "log", engine, epoch_ns=0, on_failure=failures.append)


def test_a_recording_that_fails_ends_once_and_raises_nothing(tmp_path: Path) -> None:
    recorder = Recorder(
        tmp_path / "recording",
        settings=Settings({"kitchen": DeviceSettings(sensor=True)}),
        epoch_ns=0,
        mode=Mode.MONITOR,
    )
    failures: list[RecordingError] = []
    recording = Recording(recorder, on_failure=failures.append)
    recording.packet(b"\x45", "kitchen", Direction.UPSTREAM, 1)
    active = [recording.active]
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123  # a device, not a path of ours
        os.dup2(full.fileno(), recorder._events.fileno())
    for step in range(3):
        recording.event(MuteEvent(0.0, MuteState.MUTED), "kitchen", 2 + step)
        recording.packet(b"\x45", "kitchen", Direction.UPSTREAM, 3 + step)
        recording.mode(Mode.ENFORCE, "", 4 + step)
        recording.timer(5 + step)
        recording.flush()
    active.append(recording.active)
    assert active == [True, False]
    assert len(failures) == 1
    assert "No space left" in str(failures[0])
    recording.close()
