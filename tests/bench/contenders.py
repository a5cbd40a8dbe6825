"""Who is measured, and how each is started in the gate's namespace.

All run behind the same rules, the gate's own as it applies them in monitor mode, so that connection
tracking, marks and rules cost each the same. Only ``gate, enforce`` runs behind its own.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep

from guard.core.verdict import Mode
from tests.bench.network import QUEUE, Network, run
from tests.bench.process import started
from tests.bench.report import FOLDER
from tests.bench.traffic import ECHO_MAC

HERE = Path(__file__).resolve().parent
SENDER_CPU, MEASURED_CPU = 0, 1
READY_SECONDS = 20.0
POLL_SECONDS = 0.005

C_LOOP, PYTHON_LOOP = "C accept-all", "Python accept-all"
GATE_MONITOR, GATE_ENFORCE = "gate, monitor", "gate, enforce"
NAIVE = "scapy per packet"


@dataclass(frozen=True, slots=True)
class Contender:
    """A name for the table and the mode of its rules; ``script`` None means the gate itself."""

    name: str
    script: str | None
    mode: Mode = Mode.MONITOR


CONTENDERS = {
    made.name: made
    for made in (
        Contender(C_LOOP, "accept_all.c"),
        Contender(PYTHON_LOOP, "accept_all.py"),
        Contender(GATE_MONITOR, None),
        Contender(GATE_ENFORCE, None, Mode.ENFORCE),
        Contender(NAIVE, "naive.py"),
    )
}


def compile_program(name: str, *libraries: str) -> Path:
    """Compile ``name`` once into ``build/bench`` and return the program."""
    source, program = HERE / name, FOLDER / Path(name).stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        FOLDER.mkdir(parents=True, exist_ok=True)
        run("gcc", "-O2", "-Wall", "-o", str(program), str(source), *(f"-l{name}" for name in libraries))
    return program


@contextmanager
def running(contender: Contender, network: Network) -> Iterator[subprocess.Popen[bytes]]:
    """Start a contender behind its rules and hand it over once it listens on the queue."""
    if contender.script is None:
        with running_gate(network, contender.mode) as (process, _):
            yield process
        return
    config = write_config(network, contender.mode)
    network.run(sys.executable, "-m", "guard", "rules", "apply", "--config", str(config))
    script = HERE / contender.script
    if script.suffix == ".c":
        command = [str(compile_program(script.name, "netfilter_queue", "nfnetlink"))]
    else:
        command = [sys.executable, str(script)]
    log = network.folder / "log"
    with started(network.command(*command, str(QUEUE)), log=log, cpu=MEASURED_CPU) as process:
        deadline = monotonic() + READY_SECONDS
        while network.read_queue().listener == 0:
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"{contender.name} did not start: {log.read_text()}")
            sleep(POLL_SECONDS)
        yield process


@contextmanager
def running_gate(network: Network, mode: Mode) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Start the gate and hand it over, with the seconds it took, once it tells its service manager."""
    command = [sys.executable, "-m", "guard", "run", "--config", str(write_config(network, mode))]
    path = network.folder / "notify.sock"
    log = network.folder / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(READY_SECONDS)
        began = perf_counter()
        environment = {"NOTIFY_SOCKET": str(path)}
        with started(
            network.command(*command), log=log, cpu=MEASURED_CPU, environment=environment
        ) as process:
            try:
                while b"READY=1" not in notify.recv(4096).splitlines():
                    pass
            except TimeoutError:
                raise RuntimeError(f"the gate did not become ready: {log.read_text()}") from None
            yield process, perf_counter() - began


def write_config(network: Network, mode: Mode) -> Path:
    """Write the gate's configuration for this network: one Echo, known by its MAC, and no sensor."""
    path = network.folder / "wakeguard.toml"
    path.write_text(
        f'mode = "{mode}"\n'
        f'[[device]]\nname = "bench"\nmac = "{ECHO_MAC.hex(":")}"\n'
        f'[network]\nlan = "lan0"\nqueue = {QUEUE}\n'
        f'[control]\nsocket = "{network.folder}/control.sock"\n'
        f'[metrics]\naddress = "127.0.0.1"\nport = 9917\n'
        f'[state]\ndirectory = "{network.folder}/state"\n'
    )
    return path
