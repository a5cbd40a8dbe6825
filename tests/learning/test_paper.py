"""The paper's own tables: read, made packets again, judged, compared, scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guard.core.verdict import Direction, PacketClass, Reason
from guard.errors import DatasetError
from guard.learning.columns import PACKET_COLUMNS
from guard.learning.packets import judge_packets
from guard.learning.paper import (
    PaperCapture,
    find_voices,
    hold_out_captures,
    judge,
    judge_capture,
    load_captures,
    split_in_halves,
)
from guard.learning.paper_frames import DEVICE, PaperFrames
from guard.learning.paper_model import FEATURES, get_features, get_labels, smote
from guard.learning.paper_table import PAPER_CLASSES, PAPER_COLUMNS, guess_condition, read_paper_table
from guard.learning.paper_words import DIFFERENCES, describe, find_difference, is_same, translate
from guard.learning.source import Source
from guard.selector import DeviceSelector
from tests.paper_page import PAGE, write_page

CLOUD = "203.0.113.7"


def line(
    second: float,
    length: int,
    *,
    layer: int = 0,
    ack: int = 1,
    microphone: int = 1,
    kind: str = "23.0",
    label: str = "justified",
    port: int = 443,
    delta: int = 0,
) -> str:
    date = f"2022-01-15 11:00:{second:09.6f}"
    return f"{date},{length},{CLOUD},{port},{float(layer)},{delta},{ack},{microphone},{kind},1,{label}"


def opening(second: float = 0.0) -> list[str]:
    """A connection as an Echo opens it: SYN, ACK, hello, last flight."""
    return [
        line(second, 74, layer=1, ack=0, kind="", label="retransmit"),
        line(second + 0.1, 66, layer=1, kind="", label="ack"),
        line(second + 0.1, 501, kind="22.0", label="handshake"),
        line(second + 0.2, 141, kind="22.0", label="handshake"),
        line(second + 0.2, 72, kind="20.0", label="handshake"),
        line(second + 0.2, 111, kind="22.0", label="handshake"),
    ]


def write(folder: Path, lines: Sequence[str], condition: str = "no_wake_word", *, head: bool = True) -> Path:
    path = folder / condition / "01.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join([*([",".join(PAPER_COLUMNS)] if head else []), *lines]) + "\n")
    return path


def judged(path: Path) -> list[dict[str, Any]]:
    source = Source(path, "one", group="paper", device="", condition=guess_condition(path))
    rows: list[Sequence[Any]] = []
    judge_packets(source, rows.append)
    return list(describe(rows))


def test_each_row_becomes_one_packet_of_its_class(tmp_path: Path) -> None:
    lines = [
        *opening(),
        line(1.0, 112, label="syn"),  # a PING of 41 bytes, with TCP timestamps
        line(2.0, 364),
        line(3.0, 74, layer=1, ack=0, kind="", label="retransmit", port=55443),
        line(4.0, 74, layer=1, ack=0, kind="", label="retransmit", port=55443, delta=1000),
    ]
    packets = judged(write(tmp_path, lines))
    assert [packet["packet_class"] for packet in packets] == [
        "handshake",
        "ack",
        *["handshake"] * 4,
        "syn",
        "app_data",
        "handshake",
        "retransmit",
    ]
    assert [packet["length"] for packet in packets] == [74, 66, 501, 141, 72, 111, 112, 364, 74, 74]
    assert [translate(packet) for packet in packets] == [packet["class"] for packet in packets]
    assert packets[6]["records"] == "23:41"
    assert packets[7]["records"] == "23:293"
    assert packets[7]["verdict"] == "refuse"


def test_a_heartbeat_before_its_period_is_over_is_application_data(tmp_path: Path) -> None:
    beats = [line(second, 112, label="syn") for second in (1.0, 31.0, 40.0)]
    packets = judged(write(tmp_path, [*opening(), *beats]))
    assert [packet["packet_class"] for packet in packets[-3:]] == ["syn", "syn", "app_data"]
    assert packets[-1]["reason"] == Reason.HEARTBEAT_TOO_SOON
    assert not is_same(packets[-1])
    difference = find_difference(packets[-1])
    assert difference is not None
    assert "sooner" in difference.why


def test_a_difference_that_no_rule_allows_is_found(tmp_path: Path) -> None:
    packets = judged(write(tmp_path, [*opening(), line(2.0, 364, label="syn")]))
    assert packets[-1]["packet_class"] == PacketClass.APP_DATA
    assert not is_same(packets[-1])
    assert find_difference(packets[-1]) is None


def test_a_segment_sent_again_is_a_retransmission(tmp_path: Path) -> None:
    again = line(3.0, 364, layer=1, kind="", label="not_relevant", delta=1000)
    packets = judged(write(tmp_path, [*opening(), line(2.0, 364), again]))
    assert packets[-1]["packet_class"] == PacketClass.RETRANSMIT
    assert translate(packets[-1]) == "not_relevant"


def test_the_muted_microphone_refuses_at_once(tmp_path: Path) -> None:
    lines = [line(2.0, 364, microphone=0, label="not_justified")]
    (packet,) = judged(write(tmp_path, lines, "microphone_mute"))
    assert packet["justification"] == packet["class"] == "not_justified"
    assert packet["held_ms"] is None


def test_frames_come_in_order_and_only_the_echos_have_a_row(tmp_path: Path) -> None:
    frames = PaperFrames(write(tmp_path, [*opening(), line(2.0, 364)]))
    matcher = None
    seen: Counter[Direction] = Counter()
    last = 0
    for number, time_ns, interface, frame, _wire, flags in frames:
        matcher = matcher or DeviceSelector(DEVICE).make_matcher(interface)
        matched = matcher(frame, flags)
        assert matched is not None
        seen[matched[0]] += 1
        assert (frames.row is not None) == (matched[0] is Direction.UPSTREAM)
        assert time_ns >= last
        last = time_ns
        assert number == seen.total()
    assert seen[Direction.UPSTREAM] == 7
    assert seen[Direction.DOWNSTREAM] > 1  # the cloud agrees, greets, acknowledges


OLD = [
    "2022-01-13 10:52:20.059684,74,203.0.113.7,443,TCP,0,retransmit",
    "2022-01-13 10:52:20.100000,66,203.0.113.7,443,TCP,40,ack",
    "2022-01-13 10:52:21.000000,364,203.0.113.7,443,SSL,900,illegitimate_packet",
    "2022-01-13 10:52:22.000000,231,203.0.113.7,80,HTTP,0,http_request",
    "2022-01-13 10:52:23.000000,72,203.0.113.7,443,SSL,0,handshake",
]


@pytest.mark.parametrize(("name", "label"), [("mute_13.csv", "not_justified"), ("nowake_1.csv", "justified")])
def test_the_older_layout_is_read_by_its_name(tmp_path: Path, name: str, label: str) -> None:
    path = tmp_path / name
    path.write_text("\n".join(OLD) + "\n")
    rows = list(read_paper_table(path))
    assert [row.label for row in rows] == ["retransmit", "ack", label, "not_relevant", "handshake"]
    assert [row.content_type for row in rows] == [None, None, 23, None, 20]
    assert [row.ack_flag for row in rows] == [0, 1, 1, 1, 1]
    assert {row.microphone for row in rows} == {int(label == "justified")}


def test_the_older_layout_needs_a_condition(tmp_path: Path) -> None:
    path = tmp_path / "unknown.csv"
    path.write_text("\n".join(OLD) + "\n")
    with pytest.raises(DatasetError, match=r"line 1 .*--condition"):
        list(read_paper_table(path))
    assert len(list(read_paper_table(path, "music_stream"))) == len(OLD)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (line(1.0, 100, label=""), "its class is empty"),
        (line(1.0, 100, label="voice"), "class 'voice' is none of"),
        (line(1.0, 100).replace("2022", "yesterday"), "is no row"),
        ("1,2,3", "3 fields"),
        (line(1.0, 100).replace(",100,", ",long,"), "is no row"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path: Path, wrong: str, why: str) -> None:
    path = write(tmp_path, [line(0.5, 100), wrong])
    with pytest.raises(DatasetError, match=f"line 3 is no row.*{why}" if why != "is no row" else "line 3"):
        list(read_paper_table(path))


def test_smote_makes_classes_equally_large_between_their_own_rows() -> None:
    features = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [10.0, 0.0], [12.0, 0.0], [5.0, 5.0]])
    labels = np.array(["a", "a", "a", "b", "b", "alone"])
    more, its_labels = smote(features, labels, seed=3)
    assert Counter(map(str, its_labels)) == {"a": 3, "b": 3, "alone": 3}
    made = more[len(features) :]
    between = made[its_labels[len(features) :] == "b"]
    assert ((between[:, 0] >= 10) & (between[:, 0] <= 12) & (between[:, 1] == 0)).all()
    assert (made[its_labels[len(features) :] == "alone"] == [5.0, 5.0]).all()
    again, _ = smote(features, labels, seed=3)
    assert (again == more).all()


def test_the_seven_features_leave_out_who_and_the_microphone(tmp_path: Path) -> None:
    rows = list(read_paper_table(write(tmp_path, opening())))
    assert len(FEATURES) == 7
    assert not {"microphone", "dstip", "date", "label"} & set(FEATURES)
    assert get_features(rows).shape == (6, 7)
    assert get_features(rows, microphone=True).shape == (6, 8)
    assert set(get_labels(rows)) <= set(PAPER_CLASSES)


def test_nothing_of_a_held_out_capture_is_trained_on(tmp_path: Path) -> None:
    """The second capture's one class is nowhere else: whoever answers it has seen it."""
    path = write(tmp_path, [*opening(), *(line(second, 364) for second in range(2, 22))])
    rows = tuple(read_paper_table(path))
    odd = tuple(row._replace(label="expected") for row in rows if row.label == "justified")
    captures = [
        PaperCapture(path, "one", "no_wake_word", rows),
        PaperCapture(path, "two", "no_wake_word", rows),
        PaperCapture(path, "odd", "no_wake_word", odd),
    ]
    result = hold_out_captures(captures, seed=1)
    assert result.by_capture["odd"].score("expected").recall == 0
    assert result.confusion.total == 2 * len(rows) + len(odd)
    halves = split_in_halves(captures, seed=1)
    assert halves.by_capture["odd"].total == len(odd) - len(odd) // 2
    assert halves.by_capture["odd"].score("expected").support > 0


@pytest.fixture(scope="module")
def captures(shared_data: Path) -> list[PaperCapture]:
    return load_captures(shared_data / "unisa-2022")


@pytest.mark.captures
def test_our_classes_differ_from_the_papers_only_where_the_design_says_so(
    captures: list[PaperCapture],
) -> None:
    unexplained = []
    used: Counter[int] = Counter()
    packets = 0
    for capture in captures:
        for packet in judge_capture(capture, microphone=True):
            packets += 1
            if is_same(packet):
                continue
            difference = find_difference(packet)
            if difference is None:
                unexplained.append((capture.name, packet["date"], packet["class"], packet["packet_class"]))
            else:
                used[DIFFERENCES.index(difference)] += 1
    assert unexplained == []
    assert packets == sum(len(capture.rows) for capture in captures) == 13_907
    too_soon = next(index for index, row in enumerate(DIFFERENCES) if "sooner than its period" in row.why)
    assert set(used) == set(range(len(DIFFERENCES))) - {
        too_soon
    }  # the others all occur; that one is for later


@pytest.mark.captures
def test_the_muted_and_the_idle_captures_hold_no_voice_and_the_conversation_does(
    captures: list[PaperCapture],
) -> None:
    voices = {capture.name: len(find_voices(capture)) for capture in captures}
    assert voices.pop("dataset/normal_conversation/01.csv") == 5
    assert set(voices.values()) == {0}


@pytest.mark.captures
def test_ours_beats_what_the_paper_prints(captures: list[PaperCapture]) -> None:
    ours = judge(captures, microphone=True).confusion
    assert ours.accuracy > 0.995
    for label in ("not_justified", "justified", "expected"):
        score = ours.score(label)
        assert score.precision > 0.95
        assert score.recall > 0.95
    blind = judge(captures, microphone=False).confusion
    assert blind.score("not_justified").recall == 0  # nothing in the traffic tells, and nothing is pretended


@pytest.mark.captures
@pytest.mark.slow
@pytest.mark.timeout(1800)  # twenty-two forests: a minute and a half of one core
def test_the_page_is_what_the_code_writes(captures: list[PaperCapture]) -> None:
    assert PAGE.read_text(encoding="utf-8") == write_page(captures, None), "run: python -m tests.paper_page"


def test_the_columns_begin_with_the_papers() -> None:
    assert tuple(column.name for column in PACKET_COLUMNS[: len(PAPER_COLUMNS)]) == PAPER_COLUMNS
