"""The kernel's share of the work: in the gate's counts and in its journal, and forgotten for a pause."""

from __future__ import annotations

import io

import pytest

from guard.config import FastPath
from guard.core.segment import TCP_CONTROL
from guard.core.verdict import Decision, Mode
from guard.errors import NetfilterError
from guard.kernel_share import KernelShare
from guard.netfilter import netlink
from guard.netfilter.counts import REFUSED_ACK, REFUSED_DATA, Count, KernelCounts
from guard.tally import Tally
from guard.telemetry.log import Log
from tests.gate_doubles import ACCEPT, make_gate

BOTH = FastPath(acknowledgements=True, condemned=True)


class Scene:
    """A gate whose kernel has counted what a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: FastPath = BOTH) -> None:
        self.counted: dict[Decision, Count] = {}
        self.reads = 0
        self.fault: NetfilterError | None = None
        self.log = io.StringIO()
        self.gate, _ = make_gate(Mode.ENFORCE, ACCEPT)
        self.device = self.gate.devices[0]
        monkeypatch.setattr(
            KernelCounts, "get", lambda _self, device: self.counted if device == self.device else {}
        )
        monkeypatch.setattr(KernelCounts, "read", lambda _self: self._read())
        monkeypatch.setattr(KernelCounts, "read_in_background", lambda _self, *, now: self._read())
        self.share = KernelShare(settings, self.gate, log=Log(self.log))
        self.gate.tally = self.tally = Tally()

    def _read(self) -> None:
        self.reads += 1
        if self.fault is not None:
            raise self.fault


def test_the_journal_hears_of_each_refusal_once_and_of_nothing_that_passed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(monkeypatch)
    scene.counted = {TCP_CONTROL: (9, 900), REFUSED_ACK: (1, 40), REFUSED_DATA: (2, 200)}
    scene.share.keep_house(now=1.0)
    scene.share.keep_house(now=2.0)
    scene.counted[REFUSED_DATA] = (5, 500)
    scene.share.finish()
    rows = scene.tally.take()
    assert [(row.flow, row.decision, row.passed, row.packets, row.bytes) for row in rows] == [
        ("", REFUSED_ACK, False, 1, 40),
        ("", REFUSED_DATA, False, 5, 500),
    ]
    assert all(row.first_ns <= row.last_ns for row in rows)


def test_the_last_counts_may_fail_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.counted = {REFUSED_ACK: (1, 40)}
    scene.fault = NetfilterError("busy")
    scene.share.finish()
    assert [row.packets for row in scene.tally.take()] == [1]


def test_without_a_journal_nothing_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.gate.tally = None
    scene.counted = {REFUSED_ACK: (1, 40)}
    scene.share.keep_house(now=1.0)
    assert scene.reads == 1
    assert scene.gate.read_kernel(scene.device) == scene.counted


@pytest.mark.parametrize("acknowledgements", [False, True])
def test_verdicts_make_connections_quiet_by_their_own_switch(
    monkeypatch: pytest.MonkeyPatch, *, acknowledgements: bool
) -> None:
    scene = Scene(monkeypatch, FastPath(acknowledgements=acknowledgements, condemned=True))
    assert scene.gate.fast_path is acknowledgements


def test_with_both_off_no_counter_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch, FastPath())
    with scene.share.replacing():
        pass
    scene.share.keep_house(now=1.0)
    scene.share.finish()
    assert scene.reads == 0


def test_a_pause_forgets_the_devices_own_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(
        netlink, "clear_connmarks", lambda value, mask, *, clear: asked.append((value, mask, clear))
    )
    scene = Scene(monkeypatch)
    scene.share.forget_condemned(scene.device)
    assert asked == [(0x41000000, 0x7F000000, 0x40000000)]
    Scene(monkeypatch, FastPath(acknowledgements=True)).share.forget_condemned(scene.device)
    assert len(asked) == 1


def test_a_kernel_that_cannot_be_asked_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: int, mask: int, *, clear: int) -> None:
        raise OSError("no such subsystem")

    monkeypatch.setattr(netlink, "clear_connmarks", fail)
    scene = Scene(monkeypatch)
    scene.share.forget_condemned(scene.device)
    (line,) = scene.log.getvalue().splitlines()
    assert "condemned connections stay refused" in line
    assert "no such subsystem" in line
