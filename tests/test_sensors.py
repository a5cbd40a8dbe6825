"""The sensor's socket: what is believed, what is counted and thrown away."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import (
    AliveEvent,
    Event,
    MuteEvent,
    MuteState,
    TraceHeader,
    VoiceEvent,
    WakeEvent,
    format_line,
)
from guard.core.verdict import Mode, Reason
from guard.errors import ConfigError
from guard.rules import load_policy
from guard.sensors import BATCH, MAX_AGE, Rejection, SensorSocket

ME = os.geteuid()
NOW = 1000.0


def make_sensor(path: Path, *, uids: tuple[int, ...] = (ME,), listed: bool = False) -> SensorSocket:
    return SensorSocket(path, uids=uids, max_per_second=5, listed=listed, now=NOW)


@pytest.fixture
def sensor(tmp_path: Path) -> Iterator[SensorSocket]:
    made = make_sensor(tmp_path / "sensors.sock")
    yield made
    made.close()


def send(path: Path, *lines: str | bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for line in lines:
            sender.sendto(line.encode() if isinstance(line, str) else line, str(path))


def test_events_arrive_in_order(sensor: SensorSocket, tmp_path: Path) -> None:
    events: list[Event] = [
        MuteEvent(NOW - 0.2, MuteState.UNMUTED),
        WakeEvent(NOW - 0.1, "alexa", 0.97),
        AliveEvent(NOW, MuteState.UNMUTED),
    ]
    send(tmp_path / "sensors.sock", *(format_line(event) + "\n" for event in events))
    assert sensor.receive(now=NOW) == events
    assert sensor.heard == NOW
    assert sensor.accepted == 3
    assert not any(sensor.rejected.values())
    assert sensor.receive(now=NOW) == []


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"", Rejection.MALFORMED),
        (b"\xff\xfe", Rejection.MALFORMED),
        ('{"t":1000,"type":"mute","state":"muted","x":1}', Rejection.MALFORMED),
        ('{"t":1e999,"type":"mute","state":"unmuted"}', Rejection.MALFORMED),
        (format_line(TraceHeader(0)), Rejection.MALFORMED),
        (format_line(WakeEvent(NOW, "alexa")) + " " * 2000, Rejection.MALFORMED),
        (format_line(WakeEvent(NOW - MAX_AGE - 0.1, "alexa")), Rejection.STALE),
        (format_line(WakeEvent(NOW + 0.1, "alexa")), Rejection.FUTURE),
        (format_line(AliveEvent(NOW + 1e9, MuteState.UNMUTED)), Rejection.FUTURE),
        (format_line(VoiceEvent(NOW + 0.1)), Rejection.FUTURE),
        (format_line(VoiceEvent(NOW - MAX_AGE - 0.1)), Rejection.STALE),
        (format_line(MuteEvent(NOW - MAX_AGE - 0.1, MuteState.UNMUTED)), Rejection.STALE),
        (format_line(MuteEvent(NOW + 0.1, MuteState.UNMUTED)), Rejection.FUTURE),
        ('{"t":1000,"type":"voice","loud":true}', Rejection.MALFORMED),
        ('{"t":1000,"type":"alive","mute":"unmuted","hears":1}', Rejection.MALFORMED),
        ('{"t":true,"type":"wake","word":"alexa"}', Rejection.MALFORMED),
        ('{"t":1000,"type":"wake","word":"alexa","score":2}', Rejection.MALFORMED),
        ('{"t":1000,"type":"wake","word":"' + "a" * 65 + '"}', Rejection.MALFORMED),
        ('[{"t":1000,"type":"wake","word":"alexa"}]', Rejection.MALFORMED),
        ("[" * 1000, Rejection.MALFORMED),
    ],
)
def test_what_cannot_be_believed_is_counted(
    sensor: SensorSocket, tmp_path: Path, line: str | bytes, cause: Rejection
) -> None:
    send(tmp_path / "sensors.sock", line)
    assert sensor.receive(now=NOW) == []
    assert sensor.rejected == {**dict.fromkeys(Rejection, 0), cause: 1}
    assert sensor.heard is None
    assert is_closed(line, sensor, tmp_path)


def is_closed(line: str | bytes, sensor: SensorSocket, folder: Path) -> bool:
    """Say whether a gate that has heard nothing else is still closed after this datagram."""
    engine = Engine(load_policy(), {"kitchen": DeviceSettings(sensor=True)}, mode=Mode.ENFORCE)
    send(folder / "sensors.sock", line)
    for event in sensor.receive(now=NOW):
        engine.receive_event(event, device="kitchen", now=NOW)
    status = engine.get_status("kitchen", now=NOW)
    return status.closed is Reason.STARTING and status.interactions == 0


def test_a_newer_state_is_not_undone_by_an_older_one(sensor: SensorSocket, tmp_path: Path) -> None:
    path = tmp_path / "sensors.sock"
    muted = MuteEvent(NOW, MuteState.MUTED)
    send(path, format_line(muted), format_line(AliveEvent(NOW - 0.5, MuteState.UNMUTED)))
    assert sensor.receive(now=NOW) == [muted]
    assert sensor.rejected[Rejection.STALE] == 1
    older = MuteEvent(NOW - 0.7, MuteState.MUTED)  # closing is never too late
    send(path, format_line(older), format_line(WakeEvent(NOW - 0.6, "alexa")))
    assert sensor.receive(now=NOW) == [older, WakeEvent(NOW - 0.6, "alexa")]
    opened = AliveEvent(NOW + 1.2, MuteState.UNMUTED)
    send(path, format_line(AliveEvent(NOW - 0.1, MuteState.UNMUTED)), format_line(opened))
    assert sensor.receive(now=NOW + 1.2) == [opened]


def test_how_old_an_event_may_be_is_the_policys_to_say(tmp_path: Path) -> None:
    path = tmp_path / "sensors.sock"
    sensor = SensorSocket(path, uids=(ME,), max_per_second=5, listed=False, now=NOW, max_age=10.0)
    try:
        send(path, format_line(AliveEvent(NOW - 9.0, MuteState.MUTED)))
        send(path, format_line(AliveEvent(NOW - 11.0, MuteState.MUTED)))
        assert len(sensor.receive(now=NOW)) == 1
        assert not sensor.notice_silence(now=NOW + 9.0)
        assert sensor.notice_silence(now=NOW + 11.0)
    finally:
        sensor.close()


def test_a_flood_of_honest_looking_reports_ends_in_closed(sensor: SensorSocket, tmp_path: Path) -> None:
    engine = Engine(load_policy(), {"kitchen": DeviceSettings(sensor=True)}, mode=Mode.ENFORCE)
    opened = []
    for step in range(40):
        send(tmp_path / "sensors.sock", *[format_line(WakeEvent(NOW + step / 100, "alexa"))] * 5)
        for event in sensor.receive(now=NOW + step / 100):
            engine.receive_event(event, device="kitchen", now=NOW + step / 100)
            opened.append(engine.get_status("kitchen", now=NOW + step / 100).closed is None)
    assert len(opened) == 5
    assert not any(opened)  # nobody has said that the microphone is live
    assert sensor.rejected[Rejection.FLOOD] == 195


def test_a_user_who_is_not_listed_is_a_forger(tmp_path: Path) -> None:
    path = tmp_path / "sensors.sock"
    sensor = make_sensor(path, uids=(ME + 1,))
    try:
        send(path, format_line(MuteEvent(NOW, MuteState.UNMUTED)))
        assert sensor.receive(now=NOW) == []
        assert sensor.rejected[Rejection.FORGED] == 1
    finally:
        sensor.close()


def test_a_flood_is_cut_but_muting_always_comes_through(sensor: SensorSocket, tmp_path: Path) -> None:
    wakes = [format_line(WakeEvent(NOW, "alexa"))] * 5
    accepted = []
    for _ in range(4):
        send(tmp_path / "sensors.sock", *wakes)
        accepted += sensor.receive(now=NOW)
    assert len(accepted) == 5
    assert sensor.rejected[Rejection.FLOOD] == 15
    send(tmp_path / "sensors.sock", format_line(MuteEvent(NOW, MuteState.UNMUTED)))
    assert sensor.receive(now=NOW) == []
    send(tmp_path / "sensors.sock", format_line(MuteEvent(NOW, MuteState.MUTED)))
    assert sensor.receive(now=NOW) == [MuteEvent(NOW, MuteState.MUTED)]
    send(tmp_path / "sensors.sock", format_line(WakeEvent(NOW + 1, "alexa")))
    assert len(sensor.receive(now=NOW + 1)) == 1


def test_forgers_do_not_use_up_the_sensors_allowance(sensor: SensorSocket, tmp_path: Path) -> None:
    sensor._uids = frozenset()
    for _ in range(2 * BATCH):
        send(tmp_path / "sensors.sock", format_line(WakeEvent(NOW, "alexa")))
        sensor.receive(now=NOW)
    sensor._uids = frozenset({ME})
    send(tmp_path / "sensors.sock", format_line(AliveEvent(NOW, MuteState.UNMUTED)))
    assert len(sensor.receive(now=NOW)) == 1


def test_silence_is_noticed_once_each_time(sensor: SensorSocket, tmp_path: Path) -> None:
    assert not sensor.notice_silence(now=NOW + 2.9)
    assert sensor.notice_silence(now=NOW + 3.1)
    assert not sensor.notice_silence(now=NOW + 4)
    send(tmp_path / "sensors.sock", format_line(AliveEvent(NOW + 5, MuteState.UNMUTED)))
    sensor.receive(now=NOW + 5)
    assert not sensor.notice_silence(now=NOW + 6)
    assert sensor.notice_silence(now=NOW + 9)
    assert sensor.lost == 2


def test_socket_mode_and_removal(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sensors.sock"
    sensor = make_sensor(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    sensor.close()
    assert list(tmp_path.iterdir()) == []
    sensor = make_sensor(path, listed=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    sensor.close()


def test_a_socket_left_by_a_killed_gate_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sensors.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(path))
    sensor = make_sensor(path)
    send(path, format_line(AliveEvent(NOW, MuteState.UNMUTED)))
    assert len(sensor.receive(now=NOW)) == 1
    sensor.close()
    assert not path.exists()


def test_a_socket_in_use_is_not_taken(sensor: SensorSocket, tmp_path: Path) -> None:
    path = tmp_path / "sensors.sock"
    with pytest.raises(ConfigError, match=r"sensors\.socket .* is in use"):
        make_sensor(path)
    send(path, format_line(AliveEvent(NOW, MuteState.UNMUTED)))
    assert len(sensor.receive(now=NOW)) == 1


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "sensors.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        make_sensor(path)
    assert path.read_text() == "precious"
    with pytest.raises(ConfigError, match="cannot be bound"):
        make_sensor(tmp_path / "not" / "there" / "sensors.sock")


def test_whether_anybody_listens_is_what_was_said_last_and_forgotten_in_silence(
    sensor: SensorSocket, tmp_path: Path
) -> None:
    assert sensor.hears is None
    for hears in (True, False, True, None):
        send(tmp_path / "sensors.sock", format_line(AliveEvent(NOW, MuteState.UNMUTED, hears)))
        sensor.receive(now=NOW)
        assert sensor.hears is hears
    send(tmp_path / "sensors.sock", format_line(AliveEvent(NOW, MuteState.UNMUTED, True)))
    sensor.receive(now=NOW)
    sensor.notice_silence(now=NOW + 2 * MAX_AGE)
    assert sensor.hears is None
