"""Who is measured, and how each is started in the gate's namespace.

All run behind the same rules, the gate's own as it applies them in monitor mode, so that connection
tracking, marks and rules cost each the same. A gate in enforce mode, or with its fast path on, runs behind
its own; without a queue there are no rules at all, only routing.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter, sleep

from guard.core.verdict import Mode
from tests.bench import builds
from tests.bench.network import QUEUE, Network, run
from tests.bench.process import started
from tests.bench.report import FOLDER
from tests.bench.suricata import explain_missing, find_suricata
from tests.bench.traffic import ECHO_MAC
from tests.bench.wide import WIDE_LIMITS

HERE = Path(__file__).resolve().parent
SENDER_CPU, MEASURED_CPU = 0, 1
READY_SECONDS = 60.0
POLL_SECONDS = 0.005

NO_QUEUE, C_LOOP, PYTHON_LOOP, SURICATA = "no queue", "C accept-all", "Python accept-all", "Suricata"
SCAPY, NAIVE = "scapy", "scapy and forest"
GATE_MONITOR, GATE_STRICT, GATE_BALANCED = "gate, monitor", "gate, strict", "gate, balanced"
GATE_FAST = "gate, monitor, fast path"
GATE_COMPILED, GATE_COMPILED_FAST = "gate, monitor, compiled", "gate, monitor, compiled, fast path"


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that listens on the queue; without a queue there is no process."""

    process: subprocess.Popen[bytes] | None
    start_seconds: float

    @property
    def pid(self) -> int:
        """The process, 0 where there is none."""
        return self.process.pid if self.process else 0


@dataclass(frozen=True, slots=True)
class Program:
    """Not the gate: a command line made from (network), and why it cannot run here, if so."""

    name: str
    command: Callable[[Network], Sequence[str]]
    explain_missing: Callable[[], str | None] = lambda: None


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate with its settings, as `wakeguard run` starts it."""

    name: str
    mode: Mode = Mode.MONITOR
    policy: str = "strict"
    fast_path: bool = False
    compiled: bool = False

    def explain_missing(self) -> str | None:
        """Return why this one cannot run here; None when it can."""
        if self.fast_path and not builds.has_fast_path():
            return "this gate has no kernel fast path"
        return builds.explain_missing() if self.compiled else None


Contender = Program | Gate | None


def _python(script: str, *arguments: str) -> Callable[[Network], Sequence[str]]:
    return lambda _: [sys.executable, str(HERE / script), *arguments, str(QUEUE)]


def _c_loop(_: Network) -> Sequence[str]:
    return [str(compile_program("accept_all.c", "netfilter_queue", "nfnetlink")), str(QUEUE)]


def _explain_missing_module(*names: str) -> Callable[[], str | None]:
    def explain() -> str | None:
        missing = [name for name in names if importlib.util.find_spec(name) is None]
        return f"{', '.join(missing)} is not installed" if missing else None

    return explain


_TABLE: tuple[Program | Gate, ...] = (
    Program(C_LOOP, _c_loop),
    Program(PYTHON_LOOP, _python("accept_all.py")),
    Program(SURICATA, lambda network: find_suricata().command(QUEUE, network.folder), explain_missing),
    Program(SCAPY, _python("naive.py", "scapy"), _explain_missing_module("scapy")),
    Program(NAIVE, _python("naive.py", "forest"), _explain_missing_module("scapy", "sklearn")),
    Gate(GATE_MONITOR),
    Gate(GATE_STRICT, Mode.ENFORCE),
    Gate(GATE_BALANCED, Mode.ENFORCE, "balanced"),
    Gate(GATE_FAST, fast_path=True),
    Gate(GATE_COMPILED, compiled=True),
    Gate(GATE_COMPILED_FAST, compiled=True, fast_path=True),
)
CONTENDERS: dict[str, Contender] = {NO_QUEUE: None, **{made.name: made for made in _TABLE}}


def choose_available(names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return those who can run here, and why the others cannot."""
    reasons = {}
    for name in names:
        contender = CONTENDERS[name]
        if contender is not None and (reason := contender.explain_missing()) is not None:
            reasons[name] = reason
    return tuple(name for name in names if name not in reasons), reasons


def compile_program(name: str, *libraries: str) -> Path:
    """Compile ``name`` once into ``build/bench`` and return the program."""
    source, program = HERE / name, FOLDER / Path(name).stem
    newest = max(path.stat().st_mtime for path in (source, HERE / "frames.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        FOLDER.mkdir(parents=True, exist_ok=True)
        warnings = ("-Wall", "-Wextra", "-Wno-unused-function")  # each uses a part of frames.h
        run("gcc", "-O2", *warnings, "-o", str(program), str(source), *(f"-l{name}" for name in libraries))
    return program


@contextmanager
def running(name: str, network: Network) -> Iterator[Running]:
    """Start a contender behind its rules and hand it over once it listens on the queue."""
    contender = CONTENDERS[name]
    if contender is None:
        yield Running(None, 0.0)
    elif isinstance(contender, Gate):
        with running_gate(network, contender) as begun:
            yield begun
    else:
        with _running_program(network, contender) as begun:
            yield begun


@contextmanager
def _running_program(network: Network, program: Program) -> Iterator[Running]:
    config = write_config(network, Gate("rules only"))
    network.run(sys.executable, "-m", "guard", "rules", "apply", "--config", str(config))
    command = program.command(network)
    log = network.folder / "log"
    began = perf_counter()
    with started(network.command(*command), log=log, cpu=MEASURED_CPU) as process:
        deadline = monotonic() + READY_SECONDS
        while network.read_queue().listener == 0:
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError(f"{program.name} did not start: {log.read_text()}")
            sleep(POLL_SECONDS)
        yield Running(process, perf_counter() - began)


@contextmanager
def running_gate(network: Network, gate: Gate) -> Iterator[Running]:
    """Start the gate and hand it over, with the seconds it took, once it tells its service manager."""
    command = [sys.executable, "-m", "guard", "run", "--config", str(write_config(network, gate))]
    path = network.folder / "notify.sock"
    log = network.folder / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(READY_SECONDS)
        environment = {"NOTIFY_SOCKET": str(path), **builds.choose_build(compiled=gate.compiled)}
        began = perf_counter()
        with started(
            network.command(*command), log=log, cpu=MEASURED_CPU, environment=environment
        ) as process:
            try:
                while b"READY=1" not in notify.recv(4096).splitlines():
                    pass
            except TimeoutError:
                raise RuntimeError(f"the gate did not become ready: {log.read_text()}") from None
            yield Running(process, perf_counter() - began)


def write_config(network: Network, gate: Gate) -> Path:
    """Write the gate's configuration for this network: one Echo, known by its MAC, and no sensor."""
    share = str(gate.fast_path).lower()
    switches = f"[fast_path]\nacknowledgements = {share}\ncondemned = {share}\n"
    fast_path = switches if builds.has_fast_path() else ""
    path = network.folder / f"wakeguard-{os.urandom(4).hex()}.toml"
    path.write_text(
        f'mode = "{gate.mode}"\n'
        f'[[device]]\nname = "bench"\nmac = "{ECHO_MAC.hex(":")}"\npolicy = "{gate.policy}"\n'
        f'[network]\nlan = "lan0"\nqueue = {QUEUE}\n{fast_path}'
        f'[control]\nsocket = "{network.folder}/control.sock"\n'
        f'[metrics]\naddress = "127.0.0.1"\nport = 9917\n'
        f'[state]\ndirectory = "{network.folder}/state"\n{WIDE_LIMITS}'
    )
    return path
