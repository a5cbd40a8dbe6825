"""What the service manager is told of a sensing process: that it began, that it goes on, that it ends."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.core.event import AliveEvent, Event, MuteEvent, MuteState
from hardware.service import ServiceManager

MUTE, ALIVE = MuteEvent(1.0, MuteState.UNMUTED), AliveEvent(2.0, MuteState.UNMUTED, hears=True)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind(str(tmp_path / "notify"))
        ears.settimeout(0)
        yield ears


def hear(manager: socket.socket) -> list[str]:
    heard = []
    while True:
        try:
            heard.append(manager.recv(100).decode())
        except BlockingIOError:
            return heard


def test_only_the_heartbeat_keeps_the_watchdog_quiet(manager: socket.socket) -> None:
    output = ServiceManager({"NOTIFY_SOCKET": manager.getsockname()})
    events: list[Event] = [MUTE, MUTE, ALIVE, ALIVE]
    said = []
    for event in events:
        output.send(event)
        said.append(hear(manager))
    assert said == [["READY=1"], [], ["WATCHDOG=1"], ["WATCHDOG=1"]]
    output.close()
    assert hear(manager) == ["STOPPING=1"]


def test_an_abstract_socket_is_one_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ears:
        ears.bind("")  # the kernel chooses an abstract name
        ears.settimeout(5)
        name = ears.getsockname()
        ServiceManager({"NOTIFY_SOCKET": "@" + name[1:].decode()}).send(MUTE)
        assert ears.recv(100) == b"READY=1"


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere/notify"}])
def test_without_a_manager_nothing_is_said_and_nothing_breaks(environment: dict[str, str]) -> None:
    output = ServiceManager(environment)
    output.send(ALIVE)
    output.close()
