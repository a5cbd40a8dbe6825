"""A service manager in small: it starts the gate, watches it and starts it anew, as the unit file says.

The unit file is the real one, read for what counts here: how long a silent gate is waited for, by which
signal it is ended, when it is started again. ``watchdog`` in seconds replaces the unit's, for hurried tests.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

from tests.netns.gate import ROOT, GateProcess, environment
from tests.netns.household import wait_until

UNITS = ROOT / "packaging" / "systemd"


def read_unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    unit.read(UNITS / name)
    return unit


class Manager:
    """Keeps ``gate`` running until the block ends."""

    def __init__(self, gate: GateProcess, *, watchdog: float | None = None) -> None:
        service = read_unit("wakeguard.service")["Service"]
        self.gate = gate
        self.watchdog = float(service["WatchdogSec"]) if watchdog is None else watchdog
        self.starts = 0
        self._signal = signal.Signals[service["WatchdogSignal"]]
        self._restart = float(service["RestartSec"])
        self._path = gate.folder / "notify.sock"
        self._ears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ears.bind(str(self._path))
        self._ears.settimeout(0.02)
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._heard = 0.0
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Manager:
        self._thread.start()
        assert self._ready.wait(20), (self.gate.folder / "gate.log").read_text()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if self.gate.process is not None:
            with contextlib.suppress(OSError):
                self.gate.process.kill()
            self.gate.process.wait()
        self._ears.close()

    def signal(self, number: signal.Signals) -> None:
        """Signal the gate."""
        assert self.gate.process is not None
        self.gate.process.send_signal(number)

    def restart(self) -> None:
        """Stop it in good order, and start it when it has ended: ``systemctl restart``."""
        self._restart, kept = 0.0, self._restart
        starts = self.starts
        self.signal(signal.SIGTERM)
        wait_until(lambda: self.starts > starts and self._ready.is_set(), seconds=20)
        self._restart = kept

    def wait_for_start(self, starts: int) -> None:
        """Wait until it has been started more than ``starts`` times and is ready."""
        wait_until(lambda: self.starts > starts and self._ready.is_set(), seconds=30)

    def _work(self) -> None:
        self._start()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                message = self._ears.recv(4096)
                if b"READY=1" in message or b"WATCHDOG=1" in message:
                    self._heard = time.monotonic()
                    self._ready.set()
            assert self.gate.process is not None
            if self.gate.process.poll() is not None:
                self._ready.clear()
                self._stopping.wait(self._restart)
                self._start()
            elif self._ready.is_set() and time.monotonic() - self._heard > self.watchdog:
                self.gate.process.send_signal(self._signal)
                self.gate.process.wait()

    def _start(self) -> None:
        notify = {"NOTIFY_SOCKET": str(self._path), "WATCHDOG_USEC": str(int(self.watchdog * 1e6))}
        with (self.gate.folder / "gate.log").open("ab") as log:
            self.gate.process = subprocess.Popen(
                self.gate.command("run", *self.gate.options),
                stdout=log,
                stderr=log,
                env={**environment(), **notify},
                cwd=os.fspath(Path("/")),
            )
        self.starts += 1
