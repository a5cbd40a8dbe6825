"""The journal's file: what is written is read back, bounds are kept, faults have names and cost no entry."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.errors import JournalError
from guard.telemetry import journal_schema as schema
from guard.telemetry.journal import Filter, Journal
from guard.telemetry.journal_store import DAY_MS, FILE_NAME, Fault, Store, StoreError
from guard.telemetry.journal_writer import Writer
from tests.conftest import ROOT
from tests.netns.household import wait_until

RUN = 1_700_000_000_000


def refusal(
    at: int = RUN, *, device: str = "kitchen", reason: str = "muted", packets: int = 1
) -> schema.Refusal:
    return schema.Refusal(
        RUN,
        device,
        at,
        at + 5,
        "tcp 10.0.0.2:5 > 52.4.1.9:443 #1",
        "app_data",
        "not_justified",
        reason,
        "flow",
        after_virtual_reset=False,
        passed=False,
        packets=packets,
        bytes=100 * packets,
    )


def mute(at: int, state: str, device: str = "kitchen") -> schema.Mute:
    return schema.Mute(RUN, device, at, state, "led")


def make_store(folder: Path, *, days: int = 30, max_bytes: int = 10_000_000) -> Store:
    return Store(folder / FILE_NAME, days=days, max_bytes=max_bytes)


def test_what_is_written_is_read_back_in_order_with_stable_ids(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write([refusal(RUN + 3), mute(RUN + 1, "muted"), schema.Run(RUN, None, "enforce", "1.0")])
    with Journal(store.path) as journal:
        rows = journal.read(Filter())
        assert [(row.id, row.kind, row.began - RUN) for row in rows] == [
            ("g1", "run", 0),
            ("m1", "mute", 1),
            ("r1", "refusal", 3),
        ]
        assert rows[2].fields["passed"] is False
        store.write(
            [refusal(RUN + 2), schema.Run(RUN, RUN + 9, "enforce", "1.0")]
        )  # it ended: the same entry
        assert journal.get("r1") == rows[2]
        assert journal.get("1") == rows[2]
        assert journal.get("R2").began == RUN + 2
        assert journal.get("g1").fields["ended"] == RUN + 9
        assert len(journal.read(Filter(kinds=("run",)))) == 1
    store.close()


def test_a_filter_lets_through_what_it_says(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write([refusal(RUN + n, device="bath" if n % 2 else "kitchen") for n in range(10)])
    store.write([schema.Mode(RUN, "", RUN + 20, "mode", "monitor", "enforce")])
    with Journal(store.path) as journal:
        assert [row.began - RUN for row in journal.read(Filter(device="bath", limit=3))] == [7, 9, 20]
        assert len(journal.read(Filter(since_ms=RUN + 11))) == 5  # it lasted until then
        assert [row.id for row in journal.read(Filter(kinds=("refusal",), after={"refusal": 8}))] == [
            "r9",
            "r10",
        ]
        assert journal.get_ends()["refusal"] == 10
        assert journal.get_devices() == ["bath", "kitchen"]
        assert journal.get_latest("refusal", "bath", RUN + 4) == journal.get("r4")
        assert journal.get_latest("mute", "bath", RUN + 4) is None
    store.close()


def test_refusals_are_summed_by_what_the_counters_name(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write([refusal(packets=2), refusal(packets=3), refusal(reason="condemned"), refusal(device="bath")])
    store.write([refusal()._replace(run=RUN + 1)])
    key = ("kitchen", "app_data", "not_justified", "refuse", "muted")
    with Journal(store.path) as journal:
        assert journal.count_refusals()[key] == (6, 600)
        assert journal.count_refusals(RUN)[key] == (5, 500)
        assert len(journal.count_refusals()) == 3
    store.close()


@pytest.mark.parametrize(
    ("name", "complaint"), [("x7", "is no id"), ("", "is no id"), ("r99", "no entry"), ("r-1", "no id")]
)
def test_an_id_that_is_none_says_what_ids_are(tmp_path: Path, name: str, complaint: str) -> None:
    store = make_store(tmp_path)
    store.write([refusal()])
    with Journal(store.path) as journal, pytest.raises(JournalError, match=complaint) as caught:
        journal.get(name)
    assert "\n" not in str(caught.value)
    store.close()


def test_no_journal_and_a_foreign_file_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="wakeguard run"):
        Journal(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to look like a file" * 20)
    with pytest.raises(JournalError, match="cannot be read"):
        Journal(tmp_path / FILE_NAME)
    (tmp_path / FILE_NAME).unlink()
    later = sqlite3.connect(tmp_path / FILE_NAME)
    later.execute("PRAGMA user_version=9")
    later.close()
    with pytest.raises(JournalError, match="version 9, not 1"):
        Journal(tmp_path / FILE_NAME)


def test_old_entries_go_and_the_file_stays_within_its_bounds(tmp_path: Path) -> None:
    store = make_store(tmp_path, days=2, max_bytes=300_000)
    now = RUN + 10 * DAY_MS
    store.write([refusal(now - 3 * DAY_MS), mute(now - 3 * DAY_MS, "muted"), mute(now - DAY_MS, "unmuted")])
    for start in range(0, 6000, 500):
        store.write([refusal(now - 6000 + start + n) for n in range(500)])
    assert store.path.stat().st_size + wal_size(store) > 600_000
    store.prune(now_ms=now)
    assert store.path.stat().st_size + wal_size(store) <= 330_000
    with Journal(store.path) as journal:
        left = journal.read(Filter(kinds=("refusal",)))
        assert left[-1].began == now - 1  # the newest stay
        assert 500 < len(left) < 6000
        assert [row.fields["state"] for row in journal.read(Filter(kinds=("mute",)))] == ["unmuted"]
    store.write([refusal(now)])
    with Journal(store.path) as journal:
        assert journal.get_ends()["refusal"] == 6002  # numbers are never given again
    store.close()


def wal_size(store: Store) -> int:
    path = store.path.with_name(f"{FILE_NAME}-wal")
    return path.stat().st_size if path.exists() else 0


def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.write_bytes(b"garbage " * 1000)
    store = make_store(tmp_path)
    with pytest.raises(StoreError, match="set aside") as caught:
        store.write([refusal()])
    assert caught.value.fault is Fault.DAMAGED
    store.write([refusal()])
    assert path.with_name(f"{FILE_NAME}.damaged").read_bytes().startswith(b"garbage")
    with Journal(path) as journal:
        assert len(journal.read(Filter())) == 1
    store.close()


def test_a_page_damaged_in_the_middle_is_found_when_the_gate_starts(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write([refusal(RUN + n) for n in range(2000)])
    store.prune(now_ms=RUN)
    store.close()
    with store.path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096)
    again = make_store(tmp_path)
    with pytest.raises(StoreError) as caught:
        again.write([refusal()])
    assert caught.value.fault is Fault.DAMAGED
    again.write([refusal()])
    again.close()


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write([refusal()])
    bad = refusal()._replace(packets=None)  # type: ignore[arg-type]  # what no gate makes
    with pytest.raises(StoreError):
        store.write([mute(RUN, "muted"), refusal(), bad])
    with Journal(store.path) as journal:
        assert [row.id for row in journal.read(Filter())] == ["r1"]
    store.close()


def test_a_file_that_is_removed_is_begun_anew(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.write([refusal()])
    for path in tmp_path.iterdir():
        path.unlink()
    store.write([mute(RUN, "muted")])
    with Journal(store.path) as journal:
        assert [row.id for row in journal.read(Filter())] == ["m1"]
    store.close()


def test_a_directory_that_cannot_be_made_is_a_named_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = make_store(tmp_path / "file" / "journal")
    with pytest.raises(StoreError, match=r"journal\.directory") as caught:
        store.write([refusal()])
    assert caught.value.fault is Fault.UNWRITABLE


def test_only_the_owner_and_its_group_may_read_it(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    before = os.umask(0)
    try:
        store.write([refusal()])
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}
    store.close()


ENTRIES = st.lists(
    st.one_of(
        st.builds(
            refusal,
            at=st.integers(RUN, RUN + 10**9),
            device=st.sampled_from(("kitchen", "bath")),
            reason=st.sampled_from(("muted", "condemned")),
            packets=st.integers(1, 10**6),
        ),
        st.builds(mute, at=st.integers(RUN, RUN + 10**9), state=st.sampled_from(("muted", "unmuted"))),
        st.builds(
            schema.Interaction,
            run=st.just(RUN),
            device=st.sampled_from(("kitchen", "bath")),
            began=st.integers(RUN, RUN + 3),
            ended=st.one_of(st.none(), st.integers(RUN, RUN + 9)),
            word=st.text(max_size=9),
            source=st.just("led"),
            cause=st.just(""),
            sent=st.integers(0, 2**40),
        ),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(st.lists(ENTRIES, max_size=5))
def test_any_batches_leave_what_a_dictionary_would_hold(
    tmp_path_factory: pytest.TempPathFactory, batches: Sequence[Sequence[schema.Entry]]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    store = make_store(folder)
    store.write([])
    keyed: dict[tuple[object, ...], schema.Entry] = {}
    plain: list[schema.Entry] = []
    for batch in batches:
        store.write(batch)
        for entry in batch:
            if isinstance(entry, schema.Interaction):
                keyed[entry.device, entry.began] = entry
            else:
                plain.append(entry)
    with Journal(store.path) as journal:
        rows = journal.read(Filter())
        found = [schema.TABLE_OF[entry] for entry in map(type, [*keyed.values(), *plain])]
        assert sorted(row.kind for row in rows) == sorted(table.kind for table in found)
        for row in rows:
            if row.kind == "interaction":
                assert dict(row.fields) == keyed[row.fields["device"], row.began]._asdict()
        packets = sum(entry.packets for entry in plain if isinstance(entry, schema.Refusal))
        assert sum(count for count, _ in journal.count_refusals().values()) == packets
    store.close()


class Faulty:
    """A store that fails as it is told to, and remembers what it wrote."""

    def __init__(self, *faults: Fault | None) -> None:
        self.faults = list(faults)
        self.written: list[schema.Entry] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.closed = False

    def write(self, batch: Sequence[schema.Entry]) -> None:
        assert self.may_go_on.wait(10)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            raise StoreError(Path("/journal"), fault, "no")
        self.written += batch

    def prune(self, *, now_ms: int) -> None:
        return

    def close(self) -> None:
        self.closed = True


def make_writer(store: Faulty, told: list[str]) -> Writer:
    return Writer(
        store,  # type: ignore[arg-type]  # a double
        retry_s=0.001,
        clock=lambda: 0.0,
        read_ms=lambda: RUN,
        on_fault=lambda error: told.append(error.fault),
        on_recovery=lambda: told.append("recovered"),
    )


def test_a_batch_that_cannot_be_written_is_tried_again_and_told_of_once() -> None:
    store, told = Faulty(Fault.DISK_FULL, Fault.DISK_FULL, Fault.DISK_FULL), list[str]()
    writer = make_writer(store, told)
    tried = threading.Event()
    assert writer.offer([refusal()], tried.set)
    assert tried.wait(10)
    second = threading.Event()
    assert writer.offer([mute(RUN, "muted")], second.set)
    assert second.wait(10)
    writer.close()
    assert store.written == [refusal(), mute(RUN, "muted")]
    assert told == [Fault.DISK_FULL, "recovered"]
    assert writer.failures[Fault.DISK_FULL] == 3
    assert writer.fault is None
    assert store.closed


def test_after_damage_the_batch_goes_into_the_new_file_at_once() -> None:
    store, told = Faulty(Fault.DAMAGED), list[str]()
    writer = make_writer(store, told)
    tried = threading.Event()
    writer.offer([refusal()], tried.set)
    assert tried.wait(10)
    assert writer.fault is None
    assert store.written == [refusal()]
    writer.close()


def test_a_slow_disk_takes_one_batch_more_and_no_third() -> None:
    store = Faulty()
    store.may_go_on.clear()
    writer = make_writer(store, [])
    assert writer.offer([refusal()], lambda: None)
    wait_until(lambda: not writer.full)  # the thread has the first in hand
    assert [writer.offer([refusal()], lambda: None) for _ in range(2)] == [True, False]
    store.may_go_on.set()
    writer.close()
    assert len(store.written) == 2


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda table: table.kind)
def test_every_kind_is_documented(table: schema.Table) -> None:
    text = (ROOT / "docs" / "journal.md").read_text(encoding="utf-8")
    assert f"| `{table.kind}` | `{table.letter}1` |" in text
