"""Evaluation: figures to check by hand, datasets of no use, pictures that are the same again."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from guard.cli import main
from guard.core.burst import MODEL_FEATURES
from guard.core.forest import LEAF, Forest, Tree
from guard.errors import DatasetError
from guard.learning import importance, scoring
from guard.learning.bursts import BURST_COLUMNS
from guard.learning.dataset import build_dataset
from guard.learning.evaluate import evaluate, get_quantiles
from guard.learning.gather import Request, gather
from guard.learning.importance import get_area
from guard.learning.labelled import find_labelled
from guard.learning.plots import Sighting, draw_confusion, draw_delays, draw_importance, draw_timeline
from guard.learning.report import get_curve, write_report
from guard.learning.scores import Confusion, get_interval
from guard.learning.tables import read_rows
from guard.voice_model import format_model
from tests.learning.households import MAC, write_home, write_idle

PNG = b"\x89PNG\r\n\x1a\n"


def stump(feature: str, threshold: float, *, above: float, name: str = "stump") -> Forest:
    """A model with one question: is the feature above the threshold?"""
    index = MODEL_FEATURES.index(feature)
    tree = Tree([index, LEAF, LEAF], [threshold, 0.0, 0.0], [1, 0, 0], [2, 0, 0], [0.5, 1 - above, above])
    return Forest(name, 0.5, (tree,))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A home with six voices and six reports, an idle one with two reports."""
    folder = tmp_path_factory.mktemp("learning")
    uploads = write_home(folder / "home", captures=6)
    build_dataset(gather(Request([folder / "home"], MAC, uploads=uploads)), folder / "spoken", jobs=1)
    idle = Request([write_idle(folder / "idle")], MAC, condition="no_wake_word")
    build_dataset(gather(idle), folder / "quiet", jobs=1)
    return [folder / "spoken", folder / "quiet"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", stump("longest", 500.0, above=0.0))


def write_model(folder: Path, forest: Forest) -> Path:
    folder.mkdir()
    vector = [0.0] * len(MODEL_FEATURES)
    text = format_model(forest, [(vector, forest.get_score(vector))])
    (folder / "model.json").write_text(text)
    return folder


def test_a_burst_is_one_answer(datasets: list[Path]) -> None:
    evaluation = evaluate(stump("longest", 500.0, above=0.0), datasets, seed=1)
    assert len(evaluation.bursts) == 6 + 6 + 2  # however many rows they have
    for detector in ("gate", "model", "certain rule"):
        confusion = evaluation.confusions[detector]
        assert confusion.counts == {("voice", "voice"): 6, ("control", "control"): 8}
    assert evaluation.get_misses() == []
    delays = evaluation.get_delays()
    assert len(delays) == 6
    assert 0.0 < delays[0] <= delays[-1] < 0.25  # 193 bytes every 40 ms
    assert evaluation.silent_uploads == 0
    assert max(evaluation.importances, key=lambda name: evaluation.importances[name]) == "longest"
    assert math.isclose(evaluation.importances["mean_gap_s"], 0.0, abs_tol=1e-9)


def test_a_model_that_is_wrong_is_told_so(datasets: list[Path]) -> None:
    evaluation = evaluate(stump("longest", 500.0, above=1.0), datasets, seed=1)
    model = evaluation.confusions["model"]
    assert model.counts == {("voice", "control"): 6, ("control", "voice"): 8}
    assert model.score("voice").recall == 0.0
    gate = evaluation.confusions["gate"]  # the certain rule saves the voices, not the false alarms
    assert gate.counts == {("voice", "voice"): 6, ("control", "voice"): 8}
    assert len(evaluation.get_misses()) == 8


def test_the_curve_ends_where_nothing_is_called_a_voice(datasets: list[Path]) -> None:
    curve = get_curve(evaluate(stump("longest", 500.0, above=0.1), datasets, seed=1))
    assert curve[0] == (0.0, 6 / 14, 1.0)
    assert (0.5, 1.0, 1.0) in curve
    assert curve[-1] == (1.0, 1.0, 0.0)


def test_everything_is_written(datasets: list[Path], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures"
    command = ["evaluate", *map(str, datasets), "--model", str(model), "-o", str(out)]
    assert main(command) == 0
    pictures = {path.name for path in out.glob("*.png")}
    assert pictures == {"confusion.png", "delay.png", "features.png", "precision-recall.png", "timeline.png"}
    assert all((out / name).read_bytes().startswith(PNG) for name in pictures)
    summary = json.loads((out / "evaluation.json").read_text())
    assert summary["detectors"]["gate"]["recall"] == 1.0
    assert "| gate | 6 | 0 | 0 | 8 |" in (out / "evaluation.md").read_text()
    before = sorted((path.name, path.read_bytes()) for path in out.iterdir())
    assert main(command) == 2  # nothing is written over
    again = tmp_path / "again"
    assert main([*command[:-1], str(again)]) == 0
    assert sorted((path.name, path.read_bytes()) for path in again.iterdir()) == before


def test_the_terminal_gets_the_figures(
    datasets: list[Path], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *map(str, datasets), "--model", str(model)]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for word in ("stump on 14 bursts", "gate", "certain rule", "100.0% (61.0 to 100.0)", "median"):
        assert word in output.out


def test_batches_and_processes_change_nothing(datasets: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    forest = stump("longest", 500.0, above=0.1)
    whole = evaluate(forest, datasets, seed=1, jobs=1)
    assert evaluate(forest, datasets, seed=1, jobs=2) == whole
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", 7)  # bursts lie across batches
    monkeypatch.setattr(importance, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(scoring, "read_rows", partial(read_rows, count=7))
    monkeypatch.setattr(importance, "read_rows", partial(read_rows, count=7))
    steps: list[tuple[int, int]] = []
    assert evaluate(forest, datasets, seed=1, jobs=1, on_rows=lambda *step: steps.append(step)) == whole
    total = sum(pl.read_parquet(directory / "bursts.parquet").height for directory in datasets)
    assert len(steps) >= total // 7
    assert steps[-1] == (total, total)


def spoil(directory: Path, out: Path, change: pl.Expr) -> Path:
    """Copy a dataset with other labels."""
    out.mkdir()
    (out / "dataset.json").write_bytes((directory / "dataset.json").read_bytes())
    pl.read_parquet(directory / "bursts.parquet").with_columns(change).write_parquet(out / "bursts.parquet")
    return out


def check(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["evaluate", *map(str, arguments)]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert output.err.startswith("wakeguard: ")
    return output.err


def test_datasets_of_no_use_are_refused_in_one_line(
    datasets: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoken, quiet = datasets
    out = tmp_path / "out"
    options = ("--model", model, "-o", out)
    nothing = pl.lit(None, dtype=pl.Int64).alias("label")
    unlabelled = spoil(spoken, tmp_path / "unlabelled", nothing)
    assert "has no labels" in check(capsys, unlabelled, *options)
    some = pl.when(pl.col("capture") == "home/spoken-2.pcap").then(None).otherwise(pl.col("label"))
    half = spoil(spoken, tmp_path / "half", some.alias("label"))
    text = check(capsys, half, *options)
    assert "half labelled: 1 of 6" in text
    assert "home/spoken-2.pcap" in text
    assert "only 'control'" in check(capsys, quiet, *options)
    voices = spoil(spoken, tmp_path / "voices", pl.lit(1, dtype=pl.Int64).alias("label"))
    assert "only 'voice'" in check(capsys, voices, *options)
    (tmp_path / "empty").mkdir()
    assert "no dataset" in check(capsys, tmp_path / "empty", *options)
    assert "no dataset" in check(capsys, tmp_path / "absent", *options)
    assert not out.exists()


def test_a_dataset_of_other_features_is_refused(
    datasets: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = spoil(datasets[0], tmp_path / "other", pl.col("label"))
    manifest = json.loads((other / "dataset.json").read_text())
    manifest["feature_contract"] = "0123456789abcdef"
    (other / "dataset.json").write_text(json.dumps(manifest))
    text = check(capsys, other, "--model", model)
    assert "other features (0123456789abcdef" in text
    assert "build the dataset again" in text


def test_a_damaged_dataset_is_refused(
    datasets: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = spoil(datasets[0], tmp_path / "cut", pl.col("label"))
    whole = (cut / "bursts.parquet").read_bytes()
    (cut / "bursts.parquet").write_bytes(whole[: len(whole) // 2])
    assert "bursts.parquet cannot be read" in check(capsys, cut, "--model", model)
    (cut / "bursts.parquet").unlink()
    assert "holds no bursts.parquet" in check(capsys, cut, "--model", model)
    (cut / "dataset.json").write_text("{")
    assert "dataset.json cannot be read" in check(capsys, cut, "--model", model)
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    (fewer / "dataset.json").write_bytes((datasets[0] / "dataset.json").read_bytes())
    pl.read_parquet(datasets[0] / "bursts.parquet").drop("group").write_parquet(fewer / "bursts.parquet")
    assert "has other columns" in check(capsys, fewer, "--model", model)


def test_a_model_that_does_not_fit_is_refused(
    datasets: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    file = model / "model.json"
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    assert "damaged" in check(capsys, *datasets, "--model", model, "-o", out)
    content = json.loads(whole)
    content["contract"] = "0123456789abcdef"
    file.write_text(json.dumps(content))
    assert "0123456789abcdef" in check(capsys, *datasets, "--model", model, "-o", out)
    assert "No such file" in check(capsys, *datasets, "--model", tmp_path / "none", "-o", out)
    assert not out.exists()


def test_a_capture_to_draw_that_is_not_there_is_named(
    datasets: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    text = check(capsys, *datasets, "--model", model, "-o", out, "--timeline", "attic")
    assert "capture called attic" in text
    assert not out.exists()


def test_rows_that_nobody_labelled_are_left_out_of_a_labelled_capture(
    datasets: list[Path], tmp_path: Path
) -> None:
    first = pl.when(pl.col("burst") == 0).then(None).otherwise(pl.col("label")).alias("label")
    unsure = spoil(datasets[0], tmp_path / "unsure", first)
    assert set(find_labelled([datasets[0]])[0].labels) == {0, 1}
    evaluation = evaluate(stump("longest", 500.0, above=0.0), [unsure, datasets[0]], seed=1)
    bursts = Counter(burst.dataset for burst in evaluation.bursts)
    assert bursts == {str(unsure): 6, str(datasets[0]): 12}
    with pytest.raises(DatasetError, match="only 'control'"):
        find_labelled([unsure])


def test_scores_are_what_one_counts_by_hand() -> None:
    confusion = Confusion.of("aaaabb", "aaabba")
    score = confusion.score("a")
    assert (score.precision, score.recall, score.support) == (3 / 4, 3 / 4, 4)
    assert confusion.accuracy == 4 / 6
    assert math.isnan(Confusion.of("a", "a").score("b").precision)
    assert get_interval(0, 0) == (0.0, 1.0)
    low, high = get_interval(735, 735)
    assert 0.994 < low < 0.996
    assert high == 1.0
    low, high = get_interval(8, 10)
    assert math.isclose(low, 0.4902, abs_tol=1e-4)  # Wilson, as in textbooks
    assert math.isclose(high, 0.9433, abs_tol=1e-4)


def test_area_and_quantiles() -> None:
    labels = pl.Series([0, 0, 1, 1]).to_numpy()
    assert get_area(labels, [0.1, 0.2, 0.3, 0.4]) == 1.0
    assert get_area(labels, [0.4, 0.3, 0.2, 0.1]) == 0.0
    assert get_area(labels, [0.5, 0.5, 0.5, 0.5]) == 0.5
    assert get_quantiles([]) is None
    assert get_quantiles([float(n) for n in range(1, 101)]) == {"median": 50.0, "p95": 96.0, "maximum": 100.0}


def test_pictures_are_the_same_again_and_show_what_they_are_given(tmp_path: Path) -> None:
    def draw(folder: Path, share: float) -> dict[str, bytes]:
        folder.mkdir()
        draw_confusion(Confusion.of("ab", "aa"), "ab", "title", folder / "confusion.png")
        draw_delays([0.01, share], 0.15, "title", folder / "delay.png")
        draw_importance({"run": share, "equal": 0.1}, "unit", "title", folder / "features.png")
        packets = [Sighting(1.0, 100, "ack"), Sighting(share, 500, "expected")]
        draw_timeline(packets, [0.5], "title", folder / "timeline.png")
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first, again, other = (
        draw(tmp_path / name, share) for name, share in (("a", 0.2), ("b", 0.2), ("c", 0.4))
    )
    assert first == again
    assert {name for name in first if first[name] != other[name]} == set(first) - {"confusion.png"}


def test_each_feature_of_the_gate_is_a_column() -> None:
    names = [column.name for column in BURST_COLUMNS]
    assert set(MODEL_FEATURES) <= set(names)
    assert len(names) == len(set(names))


def test_a_report_for_a_model_that_finds_nothing_has_no_delays(datasets: list[Path], tmp_path: Path) -> None:
    evaluation = evaluate(stump("longest", 500.0, above=0.0), datasets, seed=1)
    unheard = [burst for burst in evaluation.bursts if not burst.label]
    assert all(burst.seconds is None for burst in unheard)
    write_report(evaluation, datasets, tmp_path / "out", timeline="idle/idle-0.pcap")
    assert (tmp_path / "out" / "timeline.png").is_file()
