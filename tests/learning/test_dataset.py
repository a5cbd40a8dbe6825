"""Datasets: what is written, what is refused, that nothing is ever half there."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from guard.cli import main
from guard.core.burst import get_contract
from guard.errors import CaptureError, DatasetError
from guard.learning.bursts import BURST_COLUMNS, write_bursts
from guard.learning.columns import PACKET_COLUMNS, Kind
from guard.learning.dataset import build_dataset
from guard.learning.gather import Request, gather, gather_all
from guard.learning.packets import judge_packets
from guard.learning.source import Source
from tests.capture_files import EPOCH_NS, ethernet, pcap, record, tcp, udp
from tests.dataset_page import PAGE, write_page
from tests.learning.households import MAC, VOICE_RECORDS, connection, write_capture, write_home, write_idle

SECOND = 1_000_000_000


def packets_of(path: Path, **fields: Any) -> list[dict[str, Any]]:
    source = Source(path, "one", group="home", device=MAC, **fields)
    rows: list[Sequence[Any]] = []
    judge_packets(source, rows.append)
    names = [column.name for column in PACKET_COLUMNS]
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_a_packets_row_says_what_the_engine_says_beside_the_papers_columns(tmp_path: Path) -> None:
    path = tmp_path / "one.pcap"
    request = b"GET /song HTTP/1.1\r\n"
    frames = [
        ethernet(tcp(flags=0x02, seq=999)),
        ethernet(tcp(record(23, 300), seq=1000)),
        ethernet(tcp(flags=0x10, seq=1305)),
        ethernet(tcp(request, ports=(5000, 80))),
        ethernet(udp(b"0" * 40, ports=(5000, 53))),
    ]
    path.write_bytes(pcap((EPOCH_NS + number * SECOND, frame) for number, frame in enumerate(frames)))
    rows = packets_of(path)
    assert [row["packet_class"] for row in rows] == [
        "handshake",
        "app_data",
        "ack",
        "app_data",
        "not_relevant",
    ]
    assert [row["highest_layer"] for row in rows] == [1, 0, 1, 3, 2]
    assert [row["ack_flag"] for row in rows] == [0, 1, 1, 1, 0]
    assert [row["delta"] for row in rows] == [0, 1000, 1000, 0, 0]
    assert [row["stream"] for row in rows] == [0, 0, 0, 1, 2]
    assert [row["protocol"] for row in rows] == ["tcp"] * 4 + ["udp"]
    assert [row["dstport"] for row in rows] == [443, 443, 443, 80, 53]
    assert [row["length"] for row in rows] == [len(frame) for frame in frames]
    assert [row["records"] for row in rows] == [None, "23:300", None, None, None]
    assert [row["content_type"] for row in rows] == [None, 23, None, None, None]
    assert rows[1]["class"] == rows[1]["justification"] == "justified"
    assert (rows[1]["verdict"], rows[1]["held_ms"]) == ("refuse", 800.0)
    assert rows[0]["held_ms"] is None
    assert {row["frame"] for row in rows} == {1, 2, 3, 4, 5}  # in order though one waited
    assert rows[0]["date"] == "2018-11-26 18:22:12.295688"


@pytest.mark.parametrize(
    ("condition", "label", "microphone"),
    [
        ("microphone_mute", "not_justified", 0),
        ("no_wake_word", "justified", 1),
        ("normal_conversation", "expected", 1),
        ("music_stream", "justified", 1),
    ],
)
def test_the_condition_is_the_papers_label_and_mutes_the_engine(
    tmp_path: Path, condition: str, label: str, microphone: int
) -> None:
    path = write_capture(tmp_path / "one.pcap", 1, voice=True)
    rows = [row for row in packets_of(path, condition=condition) if row["packet_class"] == "app_data"]
    assert {row["class"] for row in rows} == {label}
    assert {row["microphone"] for row in rows} == {microphone}
    assert ({row["justification"] for row in rows} == {"not_justified"}) == (microphone == 0)


def test_events_tell_what_was_going_on(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "one.pcap", 1, voice=True)
    events = tmp_path / "one.jsonl"
    events.write_text(
        '{"t":9.0,"type":"wake","word":"alexa","score":0.9}\n{"t":35.0,"type":"mute","state":"muted"}\n'
    )
    rows = packets_of(path, events=events)
    data = [row for row in rows if row["packet_class"] == "app_data"]
    began = rows[0]["time"]
    labels = {row["class"] for row in data if 9.0 < row["time"] - began < 12.0}
    assert labels == {"expected"}
    assert {row["class"] for row in data if row["time"] - began > 35} == {"not_justified"}
    assert {row["microphone"] for row in rows if row["time"] - began > 35} == {0}
    assert {row["microphone"] for row in rows if row["time"] - began < 35} == {1}


def test_memory_does_not_grow_with_the_capture(tmp_path: Path) -> None:
    peaks = []
    for frames in (400, 4000):
        path = tmp_path / f"{frames}.pcap"
        path.write_bytes(
            pcap(
                (EPOCH_NS + number * SECOND // 10, ethernet(udp(b"0" * 40, ports=(5000, 53))))
                for number in range(frames)
            )
        )
        source = Source(path, "one", group="home", device=MAC)
        count = [0]

        def take(_row: Sequence[Any], count: list[int] = count) -> None:
            count[0] += 1

        judge_packets(source, take)  # once before: caches fill
        count[0] = 0
        tracemalloc.start()
        judge_packets(source, take)
        peaks.append(tracemalloc.get_traced_memory()[1] - min(path.stat().st_size, 1 << 18))
        tracemalloc.stop()
        assert count[0] == frames
    assert peaks[1] < peaks[0] + 500_000, peaks  # ten times as many packets; a reader's buffer is 256 kB


def test_bursts_are_written_as_they_come_and_not_kept(tmp_path: Path) -> None:
    peaks = []
    for bursts in (120, 420):
        path = tmp_path / f"{bursts}.pcap"
        path.write_bytes(
            pcap(
                (
                    EPOCH_NS + number * SECOND // 20 + number // 14 * 2 * SECOND,
                    ethernet(tcp(record(23, 700), seq=1000 + 705 * number)),
                )
                for number in range(14 * bursts)
            )
        )
        source = Source(path, "one", group="home", device=MAC)
        written: Counter[int] = Counter()

        def take(row: Sequence[Any], written: Counter[int] = written) -> None:
            written[row[5]] += 1

        write_bursts(source, take)  # once before: caches fill
        written.clear()
        tracemalloc.start()
        found = write_bursts(source, take)
        peaks.append(tracemalloc.get_traced_memory()[1] - min(path.stat().st_size, 1 << 18))
        tracemalloc.stop()
        assert sorted(written) == list(range(bursts))
        assert min(written.values()) > 4
        assert found.labels == {"unlabelled": bursts}
    assert peaks[1] < peaks[0] + 300_000, peaks  # 300 bursts more; kept they are 2 MB


def build(folder: Path, *sources: Source, **options: Any) -> dict[str, Any]:
    return build_dataset(sources, folder, jobs=1, **options)


def test_a_dataset_is_four_tables_and_a_manifest(tmp_path: Path) -> None:
    uploads = write_home(tmp_path / "home")
    out = tmp_path / "new" / "dataset"
    seen: list[str] = []
    manifest = build(
        out,
        *gather(Request([tmp_path / "home"], MAC, uploads=uploads)),
        on_done=seen.append,
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "bursts.csv",
        "bursts.parquet",
        "dataset.json",
        "packets.csv",
        "packets.parquet",
    ]
    assert list(out.parent.iterdir()) == [out]
    assert seen == [f"home/spoken-{number}.pcap" for number in range(3)]
    assert json.loads((out / "dataset.json").read_text()) == manifest
    assert manifest["feature_contract"] == get_contract()
    entry = manifest["captures"][0]
    assert entry["bursts"] == {"voice": 1, "control": 1}
    kinds = {Kind.TEXT: pl.String, Kind.INT: pl.Int64, Kind.FLOAT: pl.Float64}
    for table, columns in (("packets", PACKET_COLUMNS), ("bursts", BURST_COLUMNS)):
        frame = pl.read_parquet(out / f"{table}.parquet")
        assert dict(frame.schema) == {column.name: kinds[column.kind] for column in columns}
        with (out / f"{table}.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == frame.height > 0
        assert [row["capture"] for row in rows] == frame["capture"].to_list()
    packets = pl.read_parquet(out / "packets.parquet")
    assert packets.height == sum(entry["packets"] for entry in manifest["captures"])
    bursts = pl.read_parquet(out / "bursts.parquet")
    voices = bursts.filter(pl.col("label") == 1)
    assert voices["longest"].unique().to_list() == [193.0]
    assert voices["certain"].max() == 1
    assert bursts.filter(pl.col("label") == 0)["certain"].max() == 0
    assert voices.group_by("capture").len()["len"].max() <= VOICE_RECORDS  # type: ignore[operator]  # a number


def test_processes_write_what_one_would(tmp_path: Path) -> None:
    uploads = write_home(tmp_path / "home")
    sources = gather(Request([tmp_path / "home"], MAC, uploads=uploads))
    build_dataset(sources, tmp_path / "one", jobs=1)
    build_dataset(sources, tmp_path / "two", jobs=2)
    for name in ("packets.csv", "bursts.csv", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_dask_cluster_writes_what_one_process_would(tmp_path: Path) -> None:
    from distributed import LocalCluster

    uploads = write_home(tmp_path / "home", captures=4)
    sources = gather(Request([tmp_path / "home"], MAC, uploads=uploads))
    build_dataset(sources, tmp_path / "one", jobs=1)
    make: Any = LocalCluster
    with make(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, local_directory=tmp_path
    ) as cluster:
        address = cluster.scheduler_address
        out = tmp_path / "two"
        command = ["dataset", "build", str(tmp_path / "home"), "--device", MAC, "--uploads", str(uploads)]
        assert main([*command, "--cluster", address, "-o", str(out)]) == 0
        workers = {worker["name"] for worker in cluster.scheduler_info["workers"].values()}
    assert len(workers) == 2
    for name in ("packets.csv", "bursts.csv", "dataset.json"):
        assert (tmp_path / "one" / name).read_bytes() == (out / name).read_bytes()


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_capture(tmp_path / "one.pcap", 1, voice=True)
    out = tmp_path / "out"
    command = ["dataset", "build", str(path), "--device", MAC, "-o", str(out), "--cluster", "nowhere"]
    assert main(command) == 2
    assert "no Dask scheduler answers at nowhere" in capsys.readouterr().err
    assert not out.exists()


def test_nobody_is_named_without_addresses(tmp_path: Path) -> None:
    uploads = write_home(tmp_path / "kitchen-of-carol")
    sources = gather(Request([tmp_path / "kitchen-of-carol"], MAC, uploads=uploads))
    out = tmp_path / "out"
    build(out, *sources, with_addresses=False)
    for path in out.iterdir():
        for secret in (b"carol", b"spoken", b"52.94.229.122", b"192.168.86.40", b"2018-11-26"):
            assert secret not in path.read_bytes(), (path.name, secret)
    packets = pl.read_parquet(out / "packets.parquet")
    assert packets["dstip"].unique().to_list() == ["peer-1"]
    assert sorted(packets["capture"].unique()) == ["capture-1", "capture-2", "capture-3"]
    assert packets["time"].min() == 0.0
    assert packets["date"][0] == "1970-01-01 00:00:00.000000"
    assert pl.read_parquet(out / "bursts.parquet")["group"].unique().to_list() == ["household-1"]
    build(tmp_path / "open", *sources)
    kept = ["length", "dstport", "delta", "class", "records", "verdict"]
    assert packets.select(kept).equals(pl.read_parquet(tmp_path / "open" / "packets.parquet").select(kept))


def test_a_damaged_capture_leaves_nothing(tmp_path: Path) -> None:
    write_home(tmp_path / "home")
    whole = (tmp_path / "home" / "spoken-1.pcap").read_bytes()
    (tmp_path / "home" / "spoken-1.pcap").write_bytes(whole[:-7])
    with pytest.raises(CaptureError, match=r"spoken-1.pcap is damaged after frame"):
        build(tmp_path / "out", *gather(Request([tmp_path / "home"], MAC)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "home.uploads"]


def test_nothing_that_exists_is_written_over(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "one.pcap", 1, voice=True)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("dear")
    with pytest.raises(DatasetError, match="exists already"):
        build(out, *gather(Request([path], MAC)))
    assert [inner.name for inner in out.iterdir()] == ["mine"]


def check(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["dataset", "build", *map(str, arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("wakeguard: ")
    assert output.err.count("\n") == 1
    return output.err


def test_bad_input_gets_one_line_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    uploads = write_home(home)
    out = tmp_path / "out"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no capture" in check(capsys, empty, "--device", MAC, "-o", out)
    assert "needs --device" in check(capsys, home, "-o", out)
    assert "does not exist" in check(capsys, tmp_path / "none.pcap", "--device", MAC, "-o", out)
    (tmp_path / "loop").symlink_to("loop")
    assert "does not exist" in check(capsys, tmp_path / "loop", "--device", MAC, "-o", out)
    assert main(["dataset", "build", "--device", MAC, "-o", str(out)]) == 2
    assert "name captures" in capsys.readouterr().err
    absent = check(capsys, home, "--device", "02:00:00:00:00:09", "-o", out, "--jobs", 1)
    assert f"it holds {MAC}" in absent
    listing = tmp_path / "list.csv"
    listing.write_text("file,start_s\nspoken-0.pcap,3\n")
    assert "has no column end_s" in check(capsys, home, "--device", MAC, "--uploads", listing, "-o", out)
    listing.write_text("file,start_s,end_s\nspoken-0.pcap,soon,later\n")
    assert "line 2" in check(capsys, home, "--device", MAC, "--uploads", listing, "-o", out)
    listing.write_text("file,start_s,end_s\nother.pcap,1,2\n")
    assert "lists none of these" in check(capsys, home, "--device", MAC, "--uploads", listing, "-o", out)
    events = tmp_path / "events"
    events.mkdir()
    (events / "spoken-0.jsonl").write_text("")
    assert "spoken-1.jsonl is missing" in check(capsys, home, "--device", MAC, "--events", events, "-o", out)
    single = events / "spoken-0.jsonl"
    assert "explains one capture" in check(capsys, home, "--device", MAC, "--events", single, "-o", out)
    again = tmp_path / "elsewhere" / "home"
    write_home(again)
    assert "two captures are called" in check(capsys, home, again, "--device", MAC, "-o", out)
    assert not out.exists()
    assert uploads.is_file()


def test_each_home_may_have_its_own_device(tmp_path: Path) -> None:
    write_home(tmp_path / "a", captures=1)
    (tmp_path / "b").mkdir()
    other = bytes.fromhex("020000000001")
    frames = [(EPOCH_NS, ethernet(tcp(record(23, 300)), source=other))]
    (tmp_path / "b" / "one.pcap").write_bytes(pcap(frames))
    out = tmp_path / "out"
    command = ["dataset", "build", f"{tmp_path / 'a'}={MAC}", f"{tmp_path / 'b'}=02:00:00:00:00:01"]
    assert main([*command, "-o", str(out), "--jobs", "1"]) == 0
    manifest = json.loads((out / "dataset.json").read_text())
    assert [entry["group"] for entry in manifest["captures"]] == ["a", "b"]
    assert all(entry["packets"] for entry in manifest["captures"])
    with pytest.raises(DatasetError, match="two captures"):
        gather_all([Request([tmp_path / "a"], MAC), Request([tmp_path / "a"], MAC)])


def test_an_idle_home_needs_only_its_condition(tmp_path: Path) -> None:
    manifest = build(
        tmp_path / "out", *gather(Request([write_idle(tmp_path / "idle")], MAC, condition="no_wake_word"))
    )
    assert [entry["bursts"] for entry in manifest["captures"]] == [{"control": 1}] * 2


def test_a_capture_may_be_listed_without_a_voice(tmp_path: Path) -> None:
    write_idle(tmp_path / "idle", captures=1)
    listing = tmp_path / "list.csv"
    listing.write_text("file,start_s,end_s\nidle-0.pcap,,\n")
    (source,) = gather(Request([tmp_path / "idle"], MAC, uploads=listing))
    assert source.uploads == ()
    assert build(tmp_path / "out", source)["captures"][0]["bursts"] == {"control": 1}


def test_the_document_lists_the_columns() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == write_page(page), "run: python -m tests.dataset_page"


def test_frames_of_the_tests_are_in_order() -> None:
    times = [time_ns for time_ns, _ in connection(40000, 1, voice=True)]
    assert times == sorted(times)
