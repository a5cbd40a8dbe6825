"""An entry in words: every kind has a line, every refusal has a reason, a meaning and an advice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from guard import wording
from guard.chronicle import NOTICES, STYLES, format_time, summarise, tell, to_mapping
from guard.core.notice import NoticeKind
from guard.core.verdict import Justification, PacketClass, Reason, Scope
from guard.telemetry import journal_schema as schema
from guard.telemetry.journal import Filter, Journal
from guard.telemetry.journal_store import FILE_NAME, Store

T = 1_700_000_000_000  # 2023-11-14 22:13:20 UTC
FLOW = "tcp 10.0.0.2:5 > 52.4.1.9:443 #1"
REFUSAL = schema.Refusal(
    run=T,
    device="kitchen",
    began=T + 60_000,
    ended=T + 61_500,
    flow=FLOW,
    packet_class="app_data",
    justification="justified",
    reason="no_interaction",
    scope="flow",
    after_virtual_reset=False,
    passed=False,
    packets=1284,
    bytes=1,
)
ENTRIES: tuple[tuple[schema.Entry, str], ...] = (
    (schema.Run(T, None, "enforce", "1.0"), "gate 1.0 started in enforce"),
    (schema.Run(T + 1, T + 9, "monitor", "1.0"), "gate 1.0 ran, and stopped in monitor"),
    (REFUSAL, f"refused: no_interaction, {FLOW}, 1,284 packets, 1 byte"),
    (
        REFUSAL._replace(passed=True, flow=""),
        "would be refused: no_interaction, many connections, 1,284 packets, 1 byte",
    ),
    (
        schema.Flow(T, "kitchen", T, T + 9, FLOW, 1200, 34_000, explained=True, inbound=False, end="closed"),
        f"connection closed: {FLOW}, 1,200 up, 34,000 down, after a wake word",
    ),
    (
        schema.Interaction(T, "kitchen", T, None, "alexa", "microphone", "", 0),
        '"alexa" heard by microphone: an interaction began',
    ),
    (
        schema.Interaction(T, "kitchen", T + 5, T + 8005, "alexa", "manual", "answer", 61_200),
        '"alexa" heard by manual: 8 s, 61,200 bytes sent',
    ),
    (schema.Mute(T, "kitchen", T, "muted", "led"), "microphone muted (by led)"),
    (schema.Mode(T, "", T, "mode", "monitor", "enforce"), "mode: monitor became enforce"),
    (schema.Pause(T, "kitchen", T, T + 300_000, None, ""), "paused until 22:18:20: everything passes"),
    (
        schema.Pause(T, "kitchen", T + 1, T + 300_000, T + 5000, "muted"),
        "paused until 22:18:20, ended 22:13:25: muted",
    ),
    (schema.Notice(T, "kitchen", T, "voice_refused", FLOW, 700), f"voice_refused, {FLOW}, 700"),
)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    store = Store(tmp_path / FILE_NAME, days=30, max_bytes=10_000_000)
    store.write([entry for entry, _ in ENTRIES])
    with Journal(store.path) as opened:
        yield opened
    store.close()


def test_every_entry_has_its_line(journal: Journal) -> None:
    lines = {summarise(row, UTC) for row in journal.read(Filter())}
    assert lines == {line for _, line in ENTRIES}
    assert STYLES.keys() == {table.kind for table in schema.TABLES}


def test_a_refusal_is_told_from_who_to_what_to_do(journal: Journal) -> None:
    row = journal.get("r1")
    story = dict(tell(row, journal, UTC))
    assert story["who"] == "kitchen"
    assert story["when"] == "2023-11-14 22:14:20 to 22:14:21"
    assert story["why"] == "nobody said the wake word"
    assert story["justified"].startswith("unmuted, but nobody spoke to it")
    assert story["scope flow"].startswith("the whole connection")
    assert story["the room"] == (
        'muted since 2023-11-14 22:13:20 (by led), the last wake word ("alexa") at 2023-11-14 22:13:20, '
        "its interaction over at 22:13:28"
    )
    assert "wakeguard pause 5m" in story["what to do"]
    assert "but" not in story
    assert "it passed all the same" in dict(tell(journal.get("r2"), journal, UTC))["but"]
    assert "`" not in "".join(story.values())


def test_what_the_room_was_is_not_made_up(tmp_path: Path) -> None:
    store = Store(tmp_path / FILE_NAME, days=30, max_bytes=10_000_000)
    store.write([REFUSAL, schema.Mute(T, "bath", T, "muted", "led")])
    with Journal(store.path) as journal:
        room = dict(tell(journal.get("1"), journal, UTC))["the room"]
    assert room == "no sensor had reported, no wake word in the journal"
    store.close()


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason in wording.ADVICE])
def test_any_refusal_can_be_told(tmp_path: Path, reason: Reason) -> None:
    store = Store(tmp_path / FILE_NAME, days=30, max_bytes=10_000_000)
    refusals = [REFUSAL._replace(reason=reason.value, packet_class=kind.value) for kind in PacketClass]
    refusals += [REFUSAL._replace(reason=reason.value, justification=why.value) for why in Justification]
    refusals += [
        REFUSAL._replace(reason=reason.value, scope=scope.value, justification="") for scope in Scope
    ]
    store.write(refusals)
    with Journal(store.path) as journal:
        for row in journal.read(Filter()):
            story = dict(tell(row, journal, UTC))
            assert story["why"]
            assert story["what to do"]
    store.close()


def test_every_reason_to_refuse_has_an_advice() -> None:
    reasons = list(Reason)
    first = reasons.index(Reason.MUTED)  # before it: what is accepted, and what waits
    assert list(wording.ADVICE) == reasons[first:]


def test_a_refused_connection_leads_to_its_refusal(tmp_path: Path) -> None:
    store = Store(tmp_path / FILE_NAME, days=30, max_bytes=10_000_000)
    flow = schema.Flow(T, "kitchen", T, T + 9, FLOW, 1, 1, explained=False, inbound=False, end="refused")
    store.write([flow, REFUSAL])
    with Journal(store.path) as journal:
        story = dict(tell(journal.get("f1"), journal, UTC))
    assert story["why"] == "nobody said the wake word (wakeguard why r1)"
    store.close()


@pytest.mark.parametrize(
    ("before", "first"),
    [((REFUSAL,), "nobody said the wake word (wakeguard why r1)"), ((), "an event condemned it")],
)
def test_a_condemned_connection_is_told_from_its_beginning(
    tmp_path: Path, before: tuple[schema.Refusal, ...], first: str
) -> None:
    store = Store(tmp_path / FILE_NAME, days=30, max_bytes=10_000_000)
    store.write([*before, REFUSAL._replace(reason="condemned", began=T + 61_000)])
    with Journal(store.path) as journal:
        story = dict(tell(journal.read(Filter())[-1], journal, UTC))
    assert story["first"].startswith(first)
    store.close()


def test_what_the_kernel_refused_of_many_connections_has_no_one_beginning(tmp_path: Path) -> None:
    store = Store(tmp_path / FILE_NAME, days=30, max_bytes=10_000_000)
    store.write([REFUSAL._replace(reason="condemned", flow="")])
    with Journal(store.path) as journal:
        (row,) = journal.read(Filter())
        story = dict(tell(row, journal, UTC))
    assert "many connections" in story["what"]
    assert "first" not in story
    store.close()


@pytest.mark.parametrize("kind", [*NoticeKind, "sensor_lost", "queue_full"])
def test_every_notice_has_a_meaning(kind: str) -> None:
    assert NOTICES[str(kind)]


def test_programs_get_times_with_an_offset(journal: Journal) -> None:
    content = to_mapping(journal.get("i2"))
    assert content["id"] == "i2"
    assert content["began"].startswith("2023-11-1")
    assert content["began"][-6] in "+-"
    assert to_mapping(journal.get("i1"))["ended"] is None
    assert format_time(T, UTC) == "2023-11-14 22:13:20"
