"""The kernel's fast path on condemned connections: what it refuses, counts, and leaves to the judge."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from struct import pack

import pytest

from guard.netfilter.fastpath import JUDGED_BURST
from guard.netfilter.queue import MAXIMUM_LENGTH
from guard.telemetry.journal import Journal
from tests import wire
from tests.netns.connection import connected
from tests.netns.families import families
from tests.netns.gate import GateProcess, TlsCloud
from tests.netns.household import Household, wait_until
from tests.netns.segments import Injector

pytestmark = pytest.mark.kernel

PORT = 50_007
FLOOD = 400
PAYLOAD = b"secret"
RESETS = ("-p", "tcp", "--tcp-flags", "RST", "RST")
OTHERS = ("-p", "tcp", "--tcp-flags", "SYN,RST", "NONE")


def program(family: socket.AddressFamily) -> str:
    return "iptables" if family is socket.AF_INET else "ip6tables"


class Arrivals:
    """Counts what reaches the cloud from the Echo, by a rule that does nothing else."""

    def __init__(self, home: Household, family: socket.AddressFamily, *match: str) -> None:
        self._home, self._program = home, program(family)
        home.cloud.run(self._program, "-I", "INPUT", *match, "-s", home.echo_address[family])

    def count(self) -> int:
        return int(self._home.cloud.run(self._program, "-nvxL", "INPUT").splitlines()[2].split()[0])


@contextlib.contextmanager
def condemned(home: Household, gate: GateProcess, family: socket.AddressFamily) -> Iterator[Injector]:
    """Yield a connection of an Echo that hears of no reset, after its first word was refused."""
    home.echo.run(program(family), "-A", "INPUT", *RESETS, "-j", "DROP")
    with connected(home, family, port=PORT) as (echo, _):
        injector = Injector(home, echo)
        echo.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))  # closing frees the port
        gate.tell("mute")
        injector.send(PAYLOAD)
        wait_until(lambda: gate.count(verdict="refuse") == 1)
        yield injector


def flood(injector: Injector, count: int = FLOOD) -> None:
    injector.send(PAYLOAD, count=count)
    injector.send(count=count)


def get_share(gate: GateProcess) -> int:
    return int(gate.ask("status")["devices"][0]["refused_by_kernel"])


def settle(gate: GateProcess, share: int) -> int:
    """Wait until the kernel's counters were read, which shows at least ``share``; return what they say."""
    wait_until(lambda: get_share(gate) >= share, seconds=20)
    return get_share(gate)


@families
def test_a_flood_is_refused_without_the_judge_and_counted(
    household: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    with GateProcess(household, tmp_path, fast_path=("condemned",)) as gate:
        with condemned(household, gate, family) as injector:
            passed = Arrivals(household, family, *OTHERS)
            flood(injector)
            share = settle(gate, FLOOD)
            assert share <= 2 * FLOOD - JUDGED_BURST  # the judge has seen the first of them
            bare = gate.count(**{"class": "ack", "verdict": "refuse", "reason": "condemned"})
            data = gate.count(verdict="refuse", reason="condemned") - bare
            assert (bare, data) == (FLOOD, FLOOD)
            assert passed.count() == 0
            assert gate.call("rules", "check").returncode == 0
        assert f"refused by the kernel: {share}" in gate.call("status").stdout
        counted = {
            tuple(row[key] or "" for key in ("class", "justification", "verdict", "reason")): row["packets"]
            for row in gate.ask("status")["devices"][0]["packets"]
            if row["verdict"] == "refuse"
        }
        assert gate.stop() == 0
    with Journal(tmp_path / "state" / "journal.sqlite") as journal:
        written = {key[1:]: packets for key, (packets, _) in journal.count_refusals().items()}
    assert written == counted


@families
def test_the_echos_own_reset_and_a_new_life_are_the_judges(
    routed: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    with GateProcess(routed, tmp_path, fast_path=("condemned",)) as gate:
        with condemned(routed, gate, family) as injector:
            flood(injector)
            settle(gate, FLOOD)
            resets = Arrivals(routed, family, *RESETS)
            injector.send(flags=wire.RST)
            wait_until(lambda: resets.count() == 1)
            refused = gate.count(verdict="refuse")
            injector.send(PAYLOAD, flags=wire.RST)
            wait_until(lambda: gate.count(verdict="refuse") == refused + 1)
            assert resets.count() == 1
        gate.tell("unmute")
        with connected(routed, family, port=PORT) as (echo, end):  # same ports: its handshake passed
            gate.tell("wake")
            echo.sendall(PAYLOAD)
            assert end.recv(100) == PAYLOAD


@families
def test_a_pause_is_for_condemned_connections_too(
    routed: Household, tmp_path: Path, family: socket.AddressFamily
) -> None:
    with (
        GateProcess(routed, tmp_path, fast_path=("condemned",)) as gate,
        condemned(routed, gate, family) as injector,
    ):
        flood(injector)
        before = settle(gate, FLOOD)
        gate.tell("unmute")
        passed = Arrivals(routed, family, *OTHERS)
        gate.ask("pause", seconds=600.0)
        flood(injector)
        wait_until(lambda: passed.count() == 2 * FLOOD)
        gate.ask("resume")
        refused = gate.count(verdict="refuse")
        injector.send(PAYLOAD)  # the engine has not forgotten
        wait_until(lambda: gate.count(verdict="refuse") > refused)
        flood(injector)
        settle(gate, before + FLOOD)
        assert passed.count() == 2 * FLOOD


def test_monitor_and_a_restart(routed: Household, tmp_path: Path) -> None:
    with (
        GateProcess(routed, tmp_path, fast_path=("condemned",)) as gate,
        condemned(routed, gate, socket.AF_INET) as injector,
    ):
        passed = Arrivals(routed, socket.AF_INET, *OTHERS)
        flood(injector)
        share = settle(gate, FLOOD)
        gate.stop()
        gate.start()  # enforce leaves the rules: they went on alone
        assert get_share(gate) == 0
        flood(injector)
        assert settle(gate, FLOOD) < share + FLOOD
        gate.ask("mode", mode="enforce")  # the rules are new, the count goes on
        assert get_share(gate) >= FLOOD
        assert passed.count() == 0
        gate.ask("mode", mode="monitor")
        flood(injector)
        wait_until(lambda: passed.count() == 2 * FLOOD)
        assert "WAKEGUARD-REFUSE" not in routed.gate.run("iptables-save")


def test_without_it_the_judge_sees_everything(routed: Household, tmp_path: Path) -> None:
    with (
        GateProcess(routed, tmp_path, fast_path=("acknowledgements",)) as gate,
        condemned(routed, gate, socket.AF_INET) as injector,
    ):
        flood(injector)
        wait_until(lambda: gate.count(verdict="refuse", reason="condemned") == 2 * FLOOD)
        assert get_share(gate) == 0
        assert "WAKEGUARD-REFUSE" not in routed.gate.run("iptables-save")


@pytest.mark.parametrize(("parts", "loses"), [((), True), (("condemned",), False)], ids=["queue", "kernel"])
def test_a_flood_on_one_connection_does_not_fill_the_queue(
    routed: Household, tmp_path: Path, parts: tuple[str, ...], *, loses: bool
) -> None:
    """Nor need the gate be awake for what the kernel refuses."""
    with (
        GateProcess(routed, tmp_path, fast_path=parts) as gate,
        condemned(routed, gate, socket.AF_INET) as injector,
    ):
        assert gate.process is not None
        gate.process.send_signal(signal.SIGSTOP)
        injector.send(PAYLOAD, count=MAXIMUM_LENGTH + FLOOD)
        gate.process.send_signal(signal.SIGCONT)
        lost = gate.ask("status")["queue"]["lost"]
        assert (sum(lost.values()) > 0) is loses


def test_on_input_nothing_is_the_kernels(routed: Household, tmp_path: Path) -> None:
    """No rule resets a connection to the gate itself: its connection's mark is never condemned."""
    with (
        GateProcess(routed, tmp_path, fast_path=("condemned",)) as gate,
        connected(routed, socket.AF_INET, at_gate=True) as (echo, end),
    ):
        injector = Injector(routed, echo)
        gate.tell("mute")
        flood(injector)
        wait_until(lambda: gate.count(verdict="refuse") == 2 * FLOOD)
        gate.ask("mode", mode="enforce")  # the rules are new, and their counters were read before
        assert get_share(gate) == 0
        end.settimeout(0)
        with contextlib.suppress(ConnectionResetError):
            assert end.recv(100) == b""


def test_what_waits_when_its_connection_is_condemned_is_settled_by_the_gate(
    routed: Household, tmp_path: Path
) -> None:
    with (
        GateProcess(routed, tmp_path, fast_path=("condemned",)) as gate,
        TlsCloud(routed) as cloud,
        cloud.connect() as stream,
    ):
        stream.sendall(b"v" * 3000)
        wait_until(lambda: gate.ask("status")["devices"][0]["holds"]["packets"] > 0)
        gate.tell("mute")
        holds = gate.ask("status")["devices"][0]["holds"]
        assert (holds["packets"], holds["bytes"]) == (0, 0)
        assert holds["refused"] > 0
        assert cloud.received == 0
