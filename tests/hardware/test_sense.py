"""The whole process: lamp and microphone in, events at the gate's socket and in a trace that replay reads."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from guard.core.event import (
    AliveEvent,
    Event,
    MuteEvent,
    MuteState,
    TraceHeader,
    VoiceEvent,
    WakeEvent,
    parse_line,
)
from guard.sensors import SensorSocket
from guard.trace import read_trace
from hardware import canary
from hardware.assemble import make_sensor
from hardware.config import MuteLedSettings, SenseSettings
from hardware.errors import PinError
from hardware.gpio import GpioLamp
from hardware.inbox import Inbox, Level
from hardware.publish import Publisher, TraceFile
from hardware.sense import Sense
from tests.hardware.pins import MockBench
from tests.hardware.wait import wait_until

CONFIG = """
[[device]]
name = "kitchen"
mac = "68:37:e9:00:00:01"
[sensors]
socket = "{socket}"
[sense.mute_led]
hold_s = 0.3
"""


class Gate:
    """The gate's end of the socket."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.events: list[Event] = []

    def read(self) -> list[Event]:
        with contextlib.suppress(BlockingIOError):
            while True:
                event = parse_line(self._socket.recv(2048))
                assert not isinstance(event, TraceHeader)
                self.events.append(event)
        return self.events

    def close(self) -> None:
        self._socket.close()
        self._path.unlink()


@contextlib.contextmanager
def sensing(folder: Path, *options: str, config: str = CONFIG) -> Iterator[subprocess.Popen[str]]:
    """Run `wakeguard sense` with the script on its standard input; it must end well."""
    path = folder / "wakeguard.toml"
    path.write_text(config.format(socket=folder / "sensors.sock"))
    command = [sys.executable, "-m", "guard", "sense", "--config", str(path), *options]
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said, text=True, bufsize=1)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0, (folder / "said").read_text()
    finally:
        process.kill()
        process.wait()
        get_stdin(process).close()


def get_stdin(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def has_mute(events: list[Event], state: MuteState) -> bool:
    return any(isinstance(event, MuteEvent) and event.state is state for event in events)


SCRIPTED = ("--pin", "scripted", "--script", "-", "--microphone", str(canary.CLIP))


def test_a_word_that_is_played_and_a_lamp_that_is_lit_reach_the_gate(tmp_path: Path) -> None:
    gate = Gate(tmp_path / "sensors.sock")
    record = tmp_path / "trace.jsonl"
    with sensing(tmp_path, *SCRIPTED, "--record", str(record)) as process:
        script = get_stdin(process)
        script.write("unlit\n")
        wait_until(lambda: has_mute(gate.read(), MuteState.UNMUTED))
        wait_until(lambda: any(isinstance(event, AliveEvent) and event.hears for event in gate.read()))
        script.write("play\n")
        wait_until(lambda: any(isinstance(event, WakeEvent) for event in gate.read()))
        script.write("lit\n")
        wait_until(lambda: has_mute(gate.read(), MuteState.MUTED))
        script.write("broken\n")
        wait_until(lambda: isinstance(gate.read()[-1], MuteEvent | AliveEvent) and len(gate.events) > 5)
    wakes = [event for event in gate.events if isinstance(event, WakeEvent)]
    assert [event.word for event in wakes] == ["alexa"]
    assert wakes[0].score >= 0.7
    trace = read_trace(record)
    assert trace.epoch_ns is not None
    assert [entry.item for entry in trace.entries][: len(gate.events)] == gate.events
    gate.close()


def test_it_survives_the_gates_restart_and_says_what_is_lost(tmp_path: Path) -> None:
    with sensing(tmp_path, *SCRIPTED) as process:
        get_stdin(process).write("lit\n")
        wait_until(lambda: "no gate listens there yet" in (tmp_path / "said").read_text())
        for _ in range(2):
            gate = Gate(tmp_path / "sensors.sock")
            wait_until(
                lambda gate=gate: any(  # type: ignore[misc] # mypy cannot infer a default
                    isinstance(event, AliveEvent) and event.mute is MuteState.MUTED for event in gate.read()
                )
            )
            gate.close()
    said = (tmp_path / "said").read_text()
    assert "the gate takes events" in said
    assert said.count("no gate listens there yet") <= 3


def test_what_works_goes_on_beside_what_does_not(tmp_path: Path) -> None:
    """No GPIO here and no such microphone: both are said, with remedies, and the heartbeat says unknown."""
    gate = Gate(tmp_path / "sensors.sock")
    environment = {"GPIOZERO_PIN_FACTORY": "nothing-of-the-kind"}
    os.environ.update(environment)
    try:
        with sensing(tmp_path, "--microphone", "hw:31"):
            wait_until(lambda: sum(isinstance(event, AliveEvent) for event in gate.read()) >= 3)
    finally:
        for name in environment:
            del os.environ[name]
    alive = [event for event in gate.events if isinstance(event, AliveEvent)]
    assert all(event.mute is MuteState.UNKNOWN and event.hears is False for event in alive)
    said = (tmp_path / "said").read_text()
    assert "mute LED: no GPIO can be used here" in said
    assert "microphone: " in said
    assert said.count("mute LED:") == 1
    gate.close()


def test_a_killed_sense_leaves_no_recorder_behind(tmp_path: Path) -> None:
    with sensing(tmp_path, *SCRIPTED) as process:
        wait_until(lambda: "listens to" in (tmp_path / "said").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    assert "ends: events" in (tmp_path / "said").read_text()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "guard", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_accelerated_time_gives_the_same_trace_every_time(tmp_path: Path) -> None:
    config = tmp_path / "w.toml"
    config.write_text(CONFIG.format(socket=tmp_path / "s"))
    script = tmp_path / "script"
    script.write_text("0 unlit  # dark\n1 play\n\n10 play\n12 lit\n14 unlit\n")
    traces = []
    for number in range(2):
        record = tmp_path / f"{number}.jsonl"
        arguments = ("--config", str(config), "--script", str(script), "--record", str(record))
        result = run("sense", *arguments, *SCRIPTED[:2], *SCRIPTED[4:], "--accelerated")
        assert result.returncode == 0, result.stderr
        traces.append(record.read_text())
    assert traces[0] == traces[1]
    events = [entry.item for entry in read_trace(tmp_path / "0.jsonl").entries]
    wakes = [event.t for event in events if isinstance(event, WakeEvent)]
    assert len(wakes) == 2
    assert 1.4 < wakes[0] < 2.2
    assert 10.4 < wakes[1] < 11.2
    states = [(event.state, event.t) for event in events if isinstance(event, MuteEvent)]
    assert [state for state, _ in states] == [
        MuteState.UNKNOWN,
        MuteState.UNMUTED,
        MuteState.MUTED,
        MuteState.UNMUTED,
    ]
    assert [t for _, t in states] == pytest.approx([0.0, 0.3, 12.05, 14.3], abs=0.025)
    assert sum(isinstance(event, AliveEvent) for event in events) in (17, 18)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "/nowhere.toml"), "cannot read /nowhere.toml"),
        (("--microphone", "{folder}/none.wav"), "none.wav cannot be read"),
        (("--microphone", "{folder}/bad.wav"), "bad.wav is no WAV file"),
        (("--pin", "scripted", "--script", "{folder}/bad.wav"), "is no step; write [SECONDS]"),
        (("--record", "{folder}/bad.wav"), "exists already"),
        (("--accelerated",), "--accelerated needs --record"),
        (("--device", "attic"), 'no device "attic"'),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("no sound at all")
    config = tmp_path / "w.toml"
    config.write_text(CONFIG.format(socket=tmp_path / "s"))
    default = () if "--config" in arguments else ("--config", str(config))
    result = run("sense", *default, *(argument.format(folder=tmp_path) for argument in arguments))
    assert result.returncode == 2
    assert result.stderr.startswith("wakeguard: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_gate_that_does_not_read_costs_events_and_no_time(tmp_path: Path) -> None:
    said: list[str] = []
    gate = Gate(tmp_path / "s")
    publisher = Publisher(tmp_path / "s", said.append)
    for number in range(3000):
        publisher.send(AliveEvent(float(number), MuteState.MUTED))
    assert publisher.sent + publisher.unheard == 3000
    assert publisher.unheard > 0
    assert [text for text in said if "does not read" in text]
    assert len(said) == 2
    publisher.close()
    gate.close()


def test_a_trace_begins_with_the_time_of_its_zero(tmp_path: Path) -> None:
    trace = TraceFile(tmp_path / "x", stamped=True)
    trace.send(WakeEvent(3.5, "alexa", 0.9))
    trace.close()
    first, second = (tmp_path / "x").read_text().splitlines()
    assert isinstance(parse_line(first), TraceHeader)
    assert parse_line(second) == WakeEvent(3.5, "alexa", 0.9)


def test_the_gates_own_socket_takes_every_kind_of_event(tmp_path: Path) -> None:
    events: list[Event] = [
        MuteEvent(10.0, MuteState.UNMUTED),
        AliveEvent(10.0, MuteState.UNMUTED, True),
        WakeEvent(10.0, "alexa", 0.9, "microphone 3"),
        VoiceEvent(10.0),
    ]
    gate = SensorSocket(tmp_path / "s", uids=[os.getuid()], max_per_second=50, listed=False, now=10.0)
    publisher = Publisher(tmp_path / "s", lambda _text: None)
    for event in events:
        publisher.send(event)
    assert gate.receive(now=10.0) == events
    assert not any(gate.rejected.values())
    publisher.close()
    gate.close()


class Collected:
    """An output that keeps events and when they came."""

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []

    def send(self, event: Event) -> None:
        self.events.append((time.monotonic(), event))

    def close(self) -> None:
        """Nothing to finish."""


def test_an_edge_of_the_pin_is_an_event_soon_after_the_debounce() -> None:
    """From the pin through gpiozero's callback, the loop and the decoder to an output, in real time."""
    bench = MockBench()
    inbox, output = Inbox(), Collected()
    settings = SenseSettings(mute_led=MuteLedSettings(pin="GPIO17", hold_s=0.2))
    sense = Sense(
        make_sensor(settings, scripted=False, now=time.monotonic()),
        inbox,
        [output],
        open_lamp=lambda: GpioLamp(
            bench.settings, lambda lit, t: inbox.put(Level(lit, t)), factory=bench.factory
        ),
        listening=None,
        poll_s=0.5,  # slower than the edge: it must come by the callback
    )
    sense.step()
    bench.drive(high=True)
    while not has_mute([event for _, event in output.events], MuteState.UNMUTED):
        sense.step()
    bench.drive(high=False)
    edge = time.monotonic()
    while not has_mute([event for _, event in output.events], MuteState.MUTED):
        sense.step()
    came = next(t for t, event in output.events if isinstance(event, MuteEvent) and event.state == "muted")
    assert settings.mute_led.debounce_s <= came - edge + 0.001 < settings.mute_led.debounce_s + 0.4
    assert sense.events == len(output.events)
    inbox.close()


def test_a_pin_that_goes_is_unknown_and_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, inbox, output = MockBench(), Inbox(), Collected()
    now = [100.0]
    lamps: list[GpioLamp] = []

    def open_lamp() -> GpioLamp:
        if len(lamps) == 1 and now[0] < 103.0:
            raise PinError("pin GPIO17 cannot be opened (GPIO busy)")
        lamps.append(GpioLamp(bench.settings, lambda _lit, _t: None, factory=bench.factory))
        bench.drive(high=True)
        return lamps[-1]

    monkeypatch.setattr(inbox, "wait", lambda _timeout: [])  # time is the test's: nothing waits
    sensor = make_sensor(SenseSettings(), scripted=False, now=now[0])
    sense = Sense(sensor, inbox, [output], open_lamp=open_lamp, listening=None, clock=lambda: now[0])

    def live(seconds: float) -> MuteState:
        for _ in range(round(seconds / 0.05)):
            now[0] += 0.05
            sense.step()
        return sensor.mute

    assert live(2.0) is MuteState.UNMUTED
    bench.unplug()
    assert live(0.1) is MuteState.UNKNOWN
    assert sense.lamp_losses == 1
    bench.factory.reset()
    assert live(4.5) is MuteState.UNMUTED
    assert len(lamps) == 2
    inbox.close()
