"""Packets that wait, in a replay: their lines, their place, their end.

The engine's side of the bargain is played here where it matters when an answer comes, and not which.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guard.capture import Capture
from guard.core.engine import Engine
from guard.core.hold import Held
from guard.core.verdict import Decision, Justification, PacketClass, Reason, Scope, Verdict, decision
from guard.replay import Replay
from guard.selector import DeviceSelector
from tests.capture_files import ethernet, pcap, udp
from tests.replay.session import MAC, NO_HOLD, SECOND, WAKE, gate_line, lines, run, session, trace, write

HOLD = decision(PacketClass.APP_DATA, Justification.JUSTIFIED, Verdict.HOLD, None, Reason.NO_INTERACTION)
RELEASED = decision(PacketClass.APP_DATA, Justification.EXPECTED, Verdict.ACCEPT, None, Reason.INTERACTION)
REFUSED = decision(
    PacketClass.APP_DATA, Justification.JUSTIFIED, Verdict.REFUSE, Scope.FLOW, Reason.NO_INTERACTION
)
HOLD_S = 0.8
HOLDING_GATE = gate_line(hold={"hold_s": 0.8})


class HoldingEngine(Engine):
    """Holds every payload for HOLD_S, or until a wake event."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.held: list[Held] = []

    def receive_packet(self, packet: bytes, **arguments: Any) -> Decision:
        super().receive_packet(packet, **arguments)
        if arguments["direction"] or not self.facts.payload_bytes:
            return RELEASED
        self.held.append(Held(self.facts.packet_id, arguments["now"], 0, 0, HOLD, after=False))
        self.timer = self.held[0].since + HOLD_S
        return HOLD

    def receive_event(self, event: Any, **arguments: Any) -> list[Held]:
        return self._release(len(self.held), RELEASED)

    def handle_timer(self, *, now: float) -> list[Held]:
        return self._release(sum(held.since + HOLD_S <= now for held in self.held), REFUSED)

    def _release(self, count: int, answer: Decision) -> list[Held]:
        due = self.held[:count]
        del self.held[:count]
        for held in due:
            held.answer = answer
        self.timer = self.held[0].since + HOLD_S if self.held else float("inf")
        return due


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.replay.Engine", HoldingEngine)


@pytest.mark.usefixtures("holding")
def test_held_packets_keep_their_place_and_tell_how_long(tmp_path: Path) -> None:
    frames = session(frames=4)
    frames.insert(3, (frames[2][0], ethernet(udp(b""))))  # not held, after one that is
    path = write(tmp_path, pcap(frames))
    found = lines(path, "--device", MAC)
    assert [line["frame"] for line in found] == [1, 3, 4, 6, 8]
    assert [line["held_ms"] for line in found] == [800, 800, None, 800, 800]  # the last past the end
    assert [line["verdict"] for line in found] == ["refuse", "refuse", "accept", "refuse", "refuse"]


@pytest.mark.usefixtures("holding")
def test_an_event_releases_held_packets(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=4)))
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE.replace("0.5", "0.6")))
    assert [line["held_ms"] for line in found] == [600, 350, 100, 800]
    assert [line["verdict"] for line in found] == ["accept", "accept", "accept", "refuse"]


@pytest.mark.usefixtures("holding")
def test_an_event_after_the_last_packet_still_releases(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=1)))
    found = lines(path, "--device", MAC, "--events", trace(tmp_path, WAKE))
    assert [(line["held_ms"], line["verdict"]) for line in found] == [(500, "accept")]


@pytest.mark.usefixtures("holding")
def test_lines_are_written_while_packets_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guard.replay.BATCH_LINES", 4)
    path = write(tmp_path, pcap(session(frames=200, spacing_ns=SECOND // 10)))
    written: list[str] = []
    longest = 0
    run_ = Replay(Capture(path), DeviceSelector(MAC), NO_HOLD.make_policy(), write=written.append)
    lines_ = run_._lines
    assert lines_ is not None
    flush = lines_.flush

    def spy() -> None:
        nonlocal longest
        longest = max(longest, len(lines_.lines))
        flush()

    monkeypatch.setattr(lines_, "flush", spy)
    run_.run()
    assert longest < 20  # what 0.8 s hold, not the capture
    frames = [json.loads(line)["frame"] for line in "".join(written).splitlines()]
    assert frames == list(range(1, 400, 2))


@pytest.mark.usefixtures("holding")
def test_one_that_waits_long_does_not_have_every_line_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guard.replay.BATCH_LINES", 10)
    path = write(tmp_path, pcap(session(frames=200, spacing_ns=1000)))  # over before the first is settled
    written: list[str] = []
    run_ = Replay(Capture(path), DeviceSelector(MAC), NO_HOLD.make_policy(), write=written.append)
    lines_ = run_._lines
    assert lines_ is not None
    flush = lines_.flush
    looks: list[int] = []

    def spy() -> None:
        looks.append(len(lines_.lines))
        flush()

    monkeypatch.setattr(lines_, "flush", spy)
    run_.run()
    assert looks == [*range(10, 201, 10), 200]
    assert len(written) == 1


def sums_of(table: str) -> list[list[str]]:
    """Return what a printed table says of application data: class, justification, verdict, packets."""
    rows = [line.split("│")[1:-1] for line in table.splitlines() if "app_data" in line]
    return [[cell.strip() for cell in row][:4] for row in rows]


def test_the_table_counts_what_waited_as_it_was_settled(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=4)))
    table = run(
        path, "--device", MAC, "--events", trace(tmp_path, HOLDING_GATE, WAKE), "--policy", "strict"
    ).stdout
    assert "hold" not in table
    assert sums_of(table) == [["app_data", "expected", "accept", "4"]]


def test_what_waits_at_the_end_is_settled(tmp_path: Path) -> None:
    path = write(tmp_path, pcap(session(frames=2)))
    events = trace(tmp_path, HOLDING_GATE)
    found = lines(path, "--device", MAC, "--events", events, "--policy", "strict")
    assert [(line["verdict"], line["held_ms"]) for line in found] == [("refuse", 800.0), ("refuse", 550.0)]
    table = run(path, "--device", MAC, "--events", events, "--policy", "strict").stdout
    assert sums_of(table) == [["app_data", "justified", "refuse", "2"]]
