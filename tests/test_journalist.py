"""What the journalist writes: the gate's own counts, every change of the room, in bounded memory."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import AliveEvent, MuteEvent, MuteState, WakeEvent
from guard.core.notice import Notice, NoticeKind
from guard.core.verdict import Direction, Mode, Verdict
from guard.gate import Gate
from guard.journalist import KEPT_FREE, MAX_ENTRIES, Journalist
from guard.netfilter.marks import UNJUDGED, make_upstream_mark
from guard.netfilter.queue import hand_over
from guard.rules import load_policy
from guard.sightings import NEW_A_LOOK
from guard.telemetry import journal_schema as schema
from guard.telemetry.journal_store import Fault
from guard.telemetry.journal_writer import Batch, Done
from tests.capture_files import CLOUD, ECHO, tcp
from tests.gateway import Gateway, Packet, live

SECOND = 1_000_000_000
EPOCH_NS = 1_700_000_000 * SECOND


class Paper:
    """A writer that keeps what it takes, when the test lets it."""

    def __init__(self) -> None:
        self.entries: list[schema.Entry] = []
        self.batches: list[int] = []
        self.full = False
        self.fault: Fault | None = None
        self.failures = dict.fromkeys(Fault, 0)
        self.waiting: list[Done] = []
        self.closed = False

    def offer(self, batch: Batch, done: Done) -> bool:
        assert not self.full
        self.batches.append(len(batch))
        self.entries += batch
        done()
        return True

    def close(self) -> None:
        self.closed = True

    def of(self, kind: type[schema.Entry]) -> list[schema.Entry]:
        return [entry for entry in self.entries if type(entry) is kind]


def make_journalist(gate: Gate, paper: Paper, *, flush_s: float = 30.0) -> Journalist:
    return Journalist(gate, paper, flush_s=flush_s, read_epoch_ns=lambda: EPOCH_NS)  # type: ignore[arg-type]  # a double


@pytest.mark.parametrize("seed", range(8))
def test_the_refusals_are_those_of_the_gates_own_counters(tmp_path: Path, seed: int) -> None:
    paper = Paper()
    journalist: list[Journalist] = []
    steps = 0

    def look(gateway: Gateway) -> None:
        nonlocal steps
        steps += 1
        if not journalist:
            journalist.append(make_journalist(gateway.gate, paper))
        elif steps % 20 == 0:
            paper.full = (steps // 20) % 3 == 0  # a disk that is slow now and then
            journalist[0].keep_house()

    gateway = live(tmp_path / "rec", seed, look)
    paper.full = False
    journalist[0].close()
    assert paper.closed
    engine = gateway.gate.engine
    counted: Counter[tuple[str, ...]] = Counter()
    for name in gateway.gate.devices:
        for direction, answer, packets, octets in engine.counters(name):
            if answer.verdict is Verdict.REFUSE and direction is Direction.UPSTREAM:
                key = (name, answer.packet_class or "", answer.justification or "", answer.reason.value)
                counted[*key, "packets"] += packets
                counted[*key, "bytes"] += octets
    written: Counter[tuple[str, ...]] = Counter()
    for row in paper.entries:
        if isinstance(row, schema.Refusal):
            assert row.began <= row.ended
            key = (row.device, row.packet_class, row.justification, row.reason)
            written[*key, "packets"] += row.packets
            written[*key, "bytes"] += row.bytes
    assert written == counted
    assert counted
    interactions = {(row.device, row.began) for row in paper.entries if isinstance(row, schema.Interaction)}
    begun = sum(engine.get_device(name).context.interactions for name in gateway.gate.devices)
    assert len(interactions) <= begun
    ended = [row for row in paper.entries if isinstance(row, schema.Interaction) and row.ended is not None]
    assert {(row.device, row.began) for row in ended} == interactions
    assert all(row.sent >= 0 for row in ended)
    mutes = [row for row in paper.of(schema.Mute) if isinstance(row, schema.Mute)]
    for name in gateway.gate.devices:
        states = [row.state for row in mutes if row.device == name]
        assert all(one != two for one, two in itertools.pairwise(states))


class Room:
    """One device with a sensor, a gate, a journalist, and a clock in the test's hand."""

    def __init__(self, mode: Mode = Mode.ENFORCE) -> None:
        self.now_ns = 10 * SECOND
        engine = Engine(load_policy(), devices={"kitchen": DeviceSettings(sensor=True)}, mode=mode)
        self.gate = Gate(engine, ["kitchen"], clock=lambda: self.now_ns, mode=mode)
        self.gate.open = True
        self.paper = Paper()
        self.journalist = make_journalist(self.gate, self.paper)
        self.seq = 1000

    def at(self, seconds: float) -> None:
        self.now_ns = int(seconds * SECOND)
        self.gate.handle_timer()

    def tell(self, event: MuteEvent | AliveEvent | WakeEvent) -> None:
        self.gate.receive_event(event, device="kitchen")

    def send(self, payload: bytes, *, flags: int = 0x18, port: int = 40000) -> None:
        packet = tcp(payload, seq=self.seq, ports=(port, 443), source=ECHO, destination=CLOUD, flags=flags)
        self.seq = (self.seq + len(payload) + bool(flags & 3)) & 0xFFFFFFFF
        self._queue(packet, make_upstream_mark(1))

    def answer(self, payload: bytes, *, seq: int, port: int = 40000) -> None:
        packet = tcp(
            payload, seq=seq, ack=self.seq, ports=(443, port), source=CLOUD, destination=ECHO, flags=0x10
        )
        self._queue(packet, make_upstream_mark(1) & ~UNJUDGED)

    def _queue(self, packet: bytes, mark: int) -> None:
        self.now_ns += 1
        self.gate.start_batch()
        hand_over(self.gate.receive, lambda: self.now_ns, Packet(packet, mark))  # type: ignore[arg-type]  # a double

    def read(self, kind: type[schema.Entry]) -> Sequence[schema.Entry]:
        self.journalist.keep_house()
        self.journalist.flush()
        return self.paper.of(kind)


def ms(seconds: float) -> int:
    return EPOCH_NS // 1_000_000 + round(seconds * 1000)


def test_mute_states_are_written_with_the_time_they_began() -> None:
    room = Room()
    assert room.read(schema.Mute) == []
    room.tell(AliveEvent(10.0, MuteState.UNMUTED))
    room.at(11)
    room.tell(AliveEvent(11.0, MuteState.UNMUTED))
    room.at(12)
    room.tell(MuteEvent(12.0, MuteState.MUTED))
    room.tell(MuteEvent(12.0, MuteState.UNMUTED))  # between two looks, and seen all the same
    room.at(20)  # the sensor has fallen silent
    entries = [entry for entry in room.read(schema.Mute) if isinstance(entry, schema.Mute)]
    assert [(entry.state, entry.source) for entry in entries] == [
        ("unmuted", "led"),
        ("muted", "led"),
        ("unmuted", "led"),
        ("unknown", ""),
    ]
    assert abs(entries[0].began - ms(10)) <= 1
    assert abs(entries[3].began - ms(15)) <= 1  # silence counts from what was heard last, plus 3 s


def test_an_interaction_is_written_when_it_begins_and_again_when_it_ends() -> None:
    room = Room()
    room.tell(AliveEvent(10.0, MuteState.UNMUTED))
    room.tell(WakeEvent(10.0, "echo", source="array"))
    (begun,) = room.read(schema.Interaction)
    assert isinstance(begun, schema.Interaction)
    assert (begun.word, begun.source, begun.ended, begun.sent) == ("echo", "array", None, 0)
    room.at(12)
    room.tell(MuteEvent(12.0, MuteState.MUTED))
    *_, ended = room.read(schema.Interaction)
    assert isinstance(ended, schema.Interaction)
    assert ended.began == begun.began
    assert ended.ended is not None
    assert abs(ended.ended - ms(12)) <= 2


def test_a_connection_is_written_with_what_it_carried_and_how_it_ended() -> None:
    room = Room()
    room.tell(AliveEvent(10.0, MuteState.UNMUTED))
    room.tell(WakeEvent(10.0, "alexa"))
    room.seq = 0xFFFFFFF0  # the sequence numbers wrap in its middle
    room.send(b"", flags=0x02)
    room.answer(b"", seq=7000)
    (opened,) = room.read(schema.Flow)
    assert isinstance(opened, schema.Flow)
    assert (opened.end, opened.ended, opened.sent, opened.explained) == ("open", None, 0, True)
    for _ in range(3):
        room.send(bytes((23, 3, 3, 1, 0)) + bytes(256))
    room.answer(b"x" * 100, seq=7000)
    room.send(b"", flags=0x11)
    room.answer(b"", seq=7100)
    closed = room.read(schema.Flow)[-1]
    assert isinstance(closed, schema.Flow)
    assert (closed.flow, closed.began) == (opened.flow, opened.began)
    assert closed.end == "closed"
    assert 3 * 261 <= closed.sent <= 3 * 261 + 1  # a FIN counts one
    assert closed.received == 100
    before = len(room.read(schema.Flow))
    room.at(200)  # it is forgotten: nothing new to say
    assert len(room.read(schema.Flow)) == before


def test_memory_is_bounded_while_nothing_can_be_written() -> None:
    room = Room()
    room.paper.full = True
    for number in range(2 * MAX_ENTRIES):
        room.journalist.note_failure("queue_full", count=number)
    assert room.journalist.lost >= MAX_ENTRIES
    asked: list[str] = []
    room.journalist.request_flush(lambda: asked.append("written"))
    assert asked == []
    room.paper.full = False
    room.journalist.keep_house()
    assert asked == ["written"]
    assert room.paper.batches == [MAX_ENTRIES]


def test_a_flood_of_connections_is_taken_up_in_parts() -> None:
    room = Room()
    for port in range(20_000, 20_000 + 2 * NEW_A_LOOK):
        room.send(b"x" * 50, port=port)
    assert len(room.read(schema.Flow)) == NEW_A_LOOK
    for _ in range(3):
        room.read(schema.Flow)
    flows = {row.flow for row in room.read(schema.Flow) if isinstance(row, schema.Flow)}
    assert len(flows) == 2 * NEW_A_LOOK


def test_traffic_takes_no_room_from_what_people_did() -> None:
    room = Room()
    for number in range(2 * MAX_ENTRIES):
        flow = f"tcp {number}"
        notice = Notice("kitchen", NoticeKind.VOICE_REFUSED, flow, room.gate.read_clock(), 100)
        room.journalist.note_notice(notice)
        room.journalist.note(schema.Flow(1, "kitchen", number, None, flow, 0, 0, False, False, "refused"))
    for number in range(KEPT_FREE // 2):
        room.journalist.note_change("policy", "strict", "balanced", f"device-{number}")
    assert len(room.read(schema.Mode)) == KEPT_FREE // 2


def test_who_asks_need_not_wait_for_a_faulty_disk() -> None:
    room = Room()
    room.paper.full, room.paper.fault = True, Fault.DISK_FULL
    asked: list[str] = []
    room.journalist.request_flush(lambda: asked.append("told"))
    assert asked == ["told"]


def test_switches_pauses_and_notices_are_written() -> None:
    room = Room()
    room.journalist.note_change("mode", "monitor", "enforce")
    room.journalist.note_pause("kitchen", 10.0, 310.0)
    room.journalist.note_pause("kitchen", 10.0, 310.0, 20.0, "muted")
    room.journalist.note_notice(Notice("kitchen", NoticeKind.VOICE_REFUSED, "tcp a > b #1", 11.0, 700))
    assert room.read(schema.Mode)[0][3:] == ("mode", "monitor", "enforce")
    began, ended = room.read(schema.Pause)
    assert isinstance(began, schema.Pause)
    assert isinstance(ended, schema.Pause)
    assert (began.ended, ended.ended, ended.cause, ended.until) == (None, ms(20), "muted", ms(310))
    (notice,) = room.read(schema.Notice)
    assert notice[3:] == ("voice_refused", "tcp a > b #1", 700)


def test_nothing_is_written_while_nothing_happens() -> None:
    room = Room()
    room.journalist.keep_house()
    writes = len(room.paper.batches)
    for second in range(11, 100):
        room.at(second)
        room.journalist.keep_house()
    assert len(room.paper.batches) == writes
