"""``python -m tests.failures``: force every failure of the process on the real gate, write docs/failures.md.

Each failure is one function that is given the running gate; traffic goes on around it. What counts is how
long nothing came through, and how many application bytes reached the cloud in spite of a muted microphone.
``tests/netns/test_failures.py`` runs the same functions and states what must hold.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.core.event import AliveEvent, MuteState, format_line
from tests.netns.gate import ROOT, GateProcess
from tests.netns.household import Household, wait_until
from tests.netns.manager import Manager
from tests.netns.probe import Probe

OUTPUT = ROOT / "docs" / "failures.md"
LONG_DATAGRAM = 6000  # beyond what the queue hands over

# What a process sees of the clock on the wall, a day off as soon as a file says so: a machine's own clock
# is not for a test to set.
STEPPED_CLOCK = """
import os, sys, time
path, real, real_ns = {path!r}, time.time, time.time_ns
def get_step():
    try:
        return float(open(path).read())
    except (OSError, ValueError):
        return 0.0
time.time = lambda: real() + get_step()
time.time_ns = lambda: real_ns() + int(get_step() * 1e9)
from guard.cli import main
sys.exit(main())
"""


INTRODUCTION = """\
What happened when each failure was forced on the real gate, muted (a gate that starts anew knows of no
wake word), while an Echo talks and asks for names 50 times a second. The *gap* is the longest time in
which no query came through; 0.02 s is none. *Voice* is what TLS delivered to the cloud. Nobody lent a
hand: the gate was started again by the rules of its unit file. Made by `python -m tests.failures`;
`tests/netns/test_failures.py` forces the same failures and requires voice 0 in enforce."""


@dataclass
class Scene:
    """A failure's surroundings."""

    manager: Manager
    probe: Probe
    home: Household
    folder: Path

    @property
    def gate(self) -> GateProcess:
        return self.manager.gate


@dataclass(frozen=True)
class Outcome:
    """What a failure did: seconds without service, application bytes that arrived, starts of the gate."""

    gap: float
    voice: int
    starts: int


def kill(scene: Scene) -> None:
    scene.manager.signal(signal.SIGKILL)
    scene.manager.wait_for_start(1)


def restart(scene: Scene) -> None:
    scene.manager.restart()


def stop(scene: Scene) -> None:
    scene.manager.signal(signal.SIGSTOP)
    scene.manager.wait_for_start(1)


def flood(scene: Scene) -> None:
    """Stop the gate and fill the queue to its brim; then let it go on."""
    scene.manager.signal(signal.SIGSTOP)
    target = (scene.home.cloud_address[socket.AF_INET], 9)
    with scene.home.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(12_000):
            with contextlib.suppress(OSError):
                sender.sendto(b"voice" * 20, target)
    if scene.gate.mode == "monitor":
        scene.probe.wait_for_service(5)
    scene.manager.signal(signal.SIGCONT)


def lose_sensor(scene: Scene) -> None:
    """A sensing process that said "unmuted" dies."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sensor:
        sensor.connect(str(scene.gate.sensors))
        sensor.send(format_line(AliveEvent(time.monotonic(), MuteState.UNMUTED)).encode())
    wait_until(lambda: scene.gate.ask("mute-led")[0]["mute"] == "unmuted")
    wait_until(lambda: scene.gate.ask("mute-led")[0]["mute"] == "unknown")


def fill_disk(scene: Scene) -> None:
    """The recording and the state are on a disk that is full."""
    filler = scene.folder / "disk" / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    wait_until(lambda: scene.gate.ask("status")["recording"] == "failed", seconds=20)
    other = "monitor" if scene.gate.mode == "enforce" else "enforce"
    refused = scene.gate.call("mode", other)
    assert refused.returncode == 2, refused
    assert "could not be stored" in refused.stderr
    assert scene.gate.ask("mode") == {"mode": scene.gate.mode}


def step_clock(scene: Scene) -> None:
    """The clock on the wall goes a day ahead, then two back."""
    for step in (86_400, -86_400):
        (scene.folder / "step").write_text(str(step))
        scene.probe.wait_for_service()
        assert scene.gate.ask("mute-led")[0]["mute"] == "muted"
        assert scene.gate.ask("mute-led")[0]["age_s"] < 60


def send_long_datagrams(scene: Scene) -> None:
    """Datagrams that the queue's buffer does not hold; conntrack has put their fragments together."""
    target = (scene.home.cloud_address[socket.AF_INET], 5004)
    with (
        scene.home.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        scene.home.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(target)
        for _ in range(20):
            client.sendto(b"v" * LONG_DATAGRAM, target)
        if scene.gate.mode == "monitor":
            assert all(len(server.recv(65536)) == LONG_DATAGRAM for _ in range(20))
        else:
            wait_until(lambda: scene.gate.count(reason="truncated", verdict="refuse") >= 20)
            server.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                raise AssertionError(server.recv(65536))


@dataclass(frozen=True)
class Failure:
    """A failure's name, how it is forced, and what the gate is started with."""

    name: str
    force: Callable[[Scene], None]
    settings: dict[str, Any]
    disk: bool = False
    clock: bool = False


FAILURES = (
    Failure("killed (SIGKILL) under load", kill, {}),
    Failure("stopped and started in good order", restart, {}),
    Failure("stalled (SIGSTOP) until the watchdog ends it", stop, {}),
    Failure("queue full", flood, {}),
    Failure("sensing process lost", lose_sensor, {"sensor": True}),
    Failure("disk full", fill_disk, {}, disk=True),
    Failure("clock on the wall stepped by a day, both ways", step_clock, {}, clock=True),
    Failure("datagrams longer than the queue's buffer", send_long_datagrams, {}),
)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def measure(failure: Failure, mode: str, folder: Path, *, watchdog: float | None = None) -> Outcome:
    """Force one failure in one mode; return when service has come back by itself."""
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(Household())
        options: tuple[str, ...] = ()
        settings = dict(failure.settings)
        if failure.disk:
            disk = stack.enter_context(small_disk(folder))
            options = ("--record", str(disk / "recording"))
            settings["state"] = disk / "state"
        gate = GateProcess(home, folder, *options, mode=mode, **settings)
        if failure.clock:
            gate.program = ("-c", STEPPED_CLOCK.format(path=str(folder / "step")))
        manager = stack.enter_context(Manager(gate, watchdog=watchdog))
        if "sensor" not in failure.settings:
            gate.tell("mute")
        probe = stack.enter_context(Probe(home))
        voice = probe.voice
        began = time.monotonic()
        failure.force(Scene(manager, probe, home, folder))
        probe.wait_for_service()
        if mode == "monitor":  # what waited in a stopped gate's queue comes with TCP's next try
            wait_until(lambda: probe.voice > voice)
        assert gate.ask("mode") == {"mode": mode}
        return Outcome(probe.get_gap(began), probe.voice - voice, manager.starts)


def describe_machine() -> str:
    model = Path("/proc/device-tree/model")
    kind = (
        model.read_text().strip("\0") if model.exists() else f"{platform.machine()}, {os.cpu_count()} cores"
    )
    return f"{kind}, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def write(rows: list[tuple[Failure, dict[str, Outcome]]]) -> str:
    lines = [
        "# When something fails",
        "",
        INTRODUCTION,
        "",
        f"{dt.datetime.now(tz=dt.UTC).date()}, {describe_machine()}.",
        "",
        "| failure | monitor: gap | voice, bytes | enforce: gap | voice, bytes | starts |",
        "|---|---|---|---|---|---|",
    ]
    for failure, outcomes in rows:
        monitor, enforce = outcomes["monitor"], outcomes["enforce"]
        lines.append(
            f"| {failure.name} | {monitor.gap:.2f} s | {monitor.voice} | {enforce.gap:.2f} s "
            f"| {enforce.voice} | {enforce.starts} |"
        )
    lines += [
        "",
        "- A stalled gate holds the traffic of both modes until it is ended or the queue (8,192 packets) is",
        "  full: the kernel cannot know that nobody will answer. `WatchdogSec=` in the unit file (4 s) is",
        "  how long; without a service manager the gate ends itself after 10 s without a turn (SIGALRM).",
        "- A full queue drops in enforce and passes in monitor; counted as `queue_full`.",
        "- A packet whose interface goes down while it waits is dropped by the kernel, whatever the gate",
        "  says of it afterwards; counted as `verdict_failed`.",
        "- A full disk ends the recording and refuses a switch of the mode; the mode stays what it was.",
        "- Nothing in the gate asks the clock on the wall for the time; only a recording's start does.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    rows = []
    for failure in FAILURES:
        outcomes = {}
        for mode in ("monitor", "enforce"):
            with tempfile.TemporaryDirectory() as name:
                outcomes[mode] = measure(failure, mode, Path(name))
            print(f"{failure.name}, {mode}: {outcomes[mode]}", flush=True)
        rows.append((failure, outcomes))
    OUTPUT.write_text(write(rows))
    print(f"written: {OUTPUT.relative_to(ROOT)}")
    return 1 if any(outcomes["enforce"].voice for _, outcomes in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
