"""The real gate as a process in the household, and a cloud that counts what TLS delivers to it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from guard.control import ask
from tests.netns.household import ECHO_MAC, QUEUE, Household, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
PORT = 443
FAST_PATHS: Final = {
    "": (),
    "0": (),
    "1": ("acknowledgements", "condemned"),
    "acknowledgements": ("acknowledgements",),
    "condemned": ("condemned",),
}
FAST_PATH: Final[tuple[str, ...]] = FAST_PATHS[os.environ.get("WAKEGUARD_FAST_PATH", "")]
"""The whole suite must pass with the kernel's fast path in every position."""


class GateProcess:
    """``wakeguard run`` in the household's middle; its files are in ``folder``."""

    def __init__(self, home: Household, folder: Path, *options: str, **settings: Any) -> None:
        self.home = home
        self.folder = folder
        self.options = options
        self.prefix: tuple[str, ...] = ()  # a program to start it with
        self.program: tuple[str, ...] = ("-m", "guard")
        self.config = folder / "gate.toml"
        self.control = folder / "run" / "control.sock"
        self.sensors = folder / "run" / "sensors.sock"
        self.write_config(**settings)
        self.process: subprocess.Popen[bytes] | None = None

    def write_config(
        self,
        *,
        mode: str = "enforce",
        sensor: bool = False,
        lan: str | None = None,
        queue: int = QUEUE,
        metrics: bool = False,
        device: str = f'mac = "{ECHO_MAC}"',
        policy: str = "strict",
        fast_path: Sequence[str] = FAST_PATH,
        extra: str = "",
        state: Path | None = None,
    ) -> None:
        self.mode = mode
        switches = "\n".join(["[fast_path]", *(f"{key} = true" for key in fast_path), ""])
        sensors = f'[sensors]\nsocket = "{self.sensors}"\n' if sensor else ""
        self.config.write_text(
            f'mode = "{mode}"\npolicy = "{policy}"\n[[device]]\nname = "kitchen"\n{device}\n'
            f'[network]\nlan = "{lan or self.home.lan}"\nqueue = {queue}\n'
            f"{switches}{sensors}"
            f'[control]\nsocket = "{self.control}"\n[state]\ndirectory = "{state or self.folder / "state"}"\n'
            f"[metrics]\nenabled = {str(metrics).lower()}\n{extra}"
        )

    def __enter__(self) -> GateProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        log = self.folder / "gate.log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                self.command("run", *self.options), stdout=file, stderr=file, env=environment()
            )
        wait_until(lambda: '"event": "ready"' in log.read_text() or self.get_status() is not None)
        assert self.process.poll() is None, log.read_text()

    def get_status(self) -> int | None:
        assert self.process is not None
        return self.process.poll()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and return its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=10)
        self.process = None
        return status

    def command(self, *words: str) -> list[str]:
        """Return the command line of ``wakeguard`` with this gate's configuration, in its namespace."""
        name, *rest = words
        gate = ["ip", "netns", "exec", self.home.gate.name, *self.prefix, sys.executable, *self.program]
        return [*gate, name, *rest, "--config", str(self.config)]

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another ``wakeguard`` command to its end."""
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment(),
        )

    def ask(self, command: str, **fields: Any) -> Any:
        return ask(self.control, command, timeout=10, **fields)

    def tell(self, kind: str) -> None:
        """Send an event by hand."""
        self.ask("event", type=kind)

    def count(self, **wanted: str) -> int:
        """Return how many packets of the Echo were decided like that."""
        rows = self.ask("status")["devices"][0]["packets"]
        return sum(row["packets"] for row in rows if all(row[key] == value for key, value in wanted.items()))


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class TlsCloud:
    """A TLS server that counts the application bytes it is delivered, and echoes nothing."""

    def __init__(self, home: Household, family: socket.AddressFamily = socket.AF_INET) -> None:
        self.home = home
        self.family = family
        self.received = 0
        self.established = 0  # connections whose handshake is over and whose end has not come
        self._ends: list[tuple[socket.socket, threading.Thread]] = []
        self._context = make_server_context()
        self._listener = home.cloud.socket(family, socket.SOCK_STREAM)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((home.cloud_address[family], PORT))
        self._listener.listen()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> TlsCloud:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        self._listener.close()
        for connection, thread in self._ends:
            # An open socket would keep its namespace alive, and the kernel's removal of it waiting.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)
            connection.close()

    def _accept(self) -> None:
        self._listener.settimeout(None)
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._ends.append((connection, thread))
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.settimeout(30)
            # A duplicate: wrapping takes the descriptor away, and closing down needs one to shut.
            with self._context.wrap_socket(connection.dup(), server_side=True) as stream:
                self.established += 1
                try:
                    while data := stream.recv(65536):
                        self.received += len(data)
                finally:
                    self.established -= 1

    @contextlib.contextmanager
    def connect(
        self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, *, seconds: float = 5.0
    ) -> Iterator[ssl.SSLSocket]:
        """Yield the Echo's end of a TLS connection whose handshake is over."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        plain = self.home.echo.socket(self.family, socket.SOCK_STREAM)
        plain.settimeout(seconds)
        try:
            plain.connect((self.home.cloud_address[self.family], PORT))
            with context.wrap_socket(plain) as stream:
                yield stream
        finally:
            plain.close()

    def can_connect(self, *, seconds: float) -> bool:
        """Tell whether a TLS handshake comes through within ``seconds``."""
        try:
            with self.connect(seconds=seconds):
                return True
        except OSError:
            return False

    def deliver(self, stream: ssl.SSLSocket, size: int) -> None:
        """Send ``size`` bytes and wait until they have arrived."""
        before = self.received
        stream.sendall(b"v" * size)
        wait_until(lambda: self.received >= before + size)


@functools.cache
def make_server_context() -> ssl.SSLContext:
    """Return the cloud's context, with a self-signed certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = f"{folder}/cloud.pem", f"{folder}/cloud.key"
        command = (
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "1", "-subj", "/CN=cloud.test", "-keyout", key, "-out", certificate),
        )
        subprocess.run(command, check=True, capture_output=True)
        context.load_cert_chain(certificate, key)
    return context


def talks_in_vain(stream: ssl.SSLSocket, size: int) -> bool:
    """Send ``size`` bytes; tell whether the connection was reset for it."""
    try:
        stream.settimeout(10)
        stream.sendall(b"v" * size)
        return stream.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def get_rules(home: Household) -> str:
    """Return both families' rules without counters and comments."""
    lines = [
        line
        for program in ("iptables-save", "ip6tables-save")
        for line in home.gate.run(program).splitlines()
        if not line.startswith(("#", ":"))
    ]
    return json.dumps([line for line in lines if line != "COMMIT" and not line.startswith("*")])
