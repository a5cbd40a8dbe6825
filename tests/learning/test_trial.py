"""Detectors on trial: what counts as found, as a false alarm, and where a threshold is put."""

from __future__ import annotations

from math import nan
from pathlib import Path

import pytest

from guard.errors import DatasetError
from guard.learning.card import format_card, format_table
from guard.learning.examples import OTHER, VOICE, Example, read_examples
from guard.learning.features import BurstRow, Reading, RunRow
from guard.learning.figures import Report, count_commands, format_report, read_report
from guard.learning.source import Source, Upload
from guard.learning.trial import (
    Candidate,
    choose_threshold,
    detect_by,
    detect_certain,
    detect_either,
    detect_equal_run,
    detect_rate,
    try_detector,
)


def make_example(*, uploads: tuple[tuple[float, float], ...] = ((10.0, 14.0),), name: str = "one") -> Example:
    reading = Reading(duration_s=3600.0)
    return Example(name, "home", tuple(Upload(*times) for times in uploads), reading, [])


def add(example: Example, now: float, run: float, *, label: int = OTHER, flow: str = "tcp") -> None:
    vector = [0.0] * 15
    vector[4] = run
    on_lattice = now - 10.0 if label == VOICE else None
    example.reading.rows.append(BurstRow(flow, now, now, label == VOICE, on_lattice, 500, vector))
    example.labels.append(label)


def test_found_missed_late_and_false_are_told_apart() -> None:
    example = make_example(uploads=((10.0, 14.0), (40.0, 44.0), (70.0, 74.0)))
    add(example, 10.1, 9.0, label=VOICE)
    add(example, 10.4, 9.0, label=VOICE)  # found already
    add(example, 40.3, 2.0, label=VOICE)  # too low
    add(example, 70.9, 9.0, label=VOICE)
    add(example, 100.0, 9.0)
    add(example, 100.2, 9.0)  # the same second of the same connection: one alarm
    outcome = try_detector("run", "home", detect_equal_run, 5.0, [example])
    assert (outcome.uploads, outcome.found, outcome.hours) == (3, 2, 1.0)
    assert outcome.missed == [("one", 40.0)]
    assert outcome.false == [("one", "tcp", 100.0)]
    assert outcome.delays_s == pytest.approx([0.1, 60.9])
    assert [row[:2] for row in outcome.late] == [("one", 70.0)]
    assert outcome.recall == pytest.approx(2 / 3)
    assert outcome.precision == pytest.approx(2 / 3)
    low, high = outcome.recall_interval
    assert low < 2 / 3 < high


def test_the_threshold_lies_between_voices_and_the_rest() -> None:
    example = make_example()
    add(example, 10.1, 30.0, label=VOICE)
    add(example, 200.0, 10.0)
    assert choose_threshold(detect_equal_run, [example]) == 20.0
    add(example, 300.0, 50.0)  # not separable: one of the two must be wrong
    assert choose_threshold(detect_equal_run, [example]) == 20.0


def test_detectors_speak_where_their_sources_do() -> None:
    example = make_example()
    example.reading.runs.append(RunRow("tcp", 10.0, 10.1, 226))
    example.reading.seconds["tcp", 50] = 9000
    (certain,) = detect_certain(example)
    assert certain._replace(delay_s=0.1) == Candidate("tcp", 10.1, 1.0, 0.1, 226)
    assert certain.delay_s == pytest.approx(0.1)
    (rate,) = detect_rate(example)
    assert (rate.now, rate.score) == (50.5, 9000.0)
    add(example, 9.9, 7.0)
    both = detect_either(detect_certain, detect_by(lambda row: row.vector[4]))
    assert [candidate.now for candidate in both(example)] == [9.9, 10.1]


def test_commands_are_counted_without_anybodys_list() -> None:
    example = make_example(uploads=())
    for at in (10.0, 12.0, 40.0, 70.0, 75.0):
        example.reading.runs.append(RunRow("tcp", at, at + 0.1, 0))
    assert count_commands(example) == 3


def test_figures_survive_their_file(tmp_path: Path) -> None:
    example = make_example()
    add(example, 10.1, 9.0, label=VOICE)
    report = Report.of([example], 1)
    report.outcomes = [try_detector("model", "home", detect_equal_run, 5.0, [example])]
    report.outcomes[0].delays_s.append(nan)
    path = tmp_path / "figures.json"
    path.write_text(format_report(report))
    again = read_report(path)
    assert again.data == report.data
    assert again.outcomes[0].found == 1
    assert again.outcomes[0].delays_s[1] != again.outcomes[0].delays_s[1]
    assert "voice-v1" in format_card(again)
    path.write_text("{")
    with pytest.raises(DatasetError, match="wakeguard train"):
        read_report(path)


def test_captures_nobody_labelled_are_refused(tmp_path: Path) -> None:
    source = Source(tmp_path / "a.pcap", "a.pcap", "home", "02:00:00:00:00:01")
    with pytest.raises(DatasetError, match=r"nobody says whether a voice leaves in a\.pcap"):
        read_examples([source])


def test_a_table_is_markdown() -> None:
    assert format_table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
