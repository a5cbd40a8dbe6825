"""The model's file: what is shipped is good, and whatever is wrong with one is said in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from guard import rules
from guard.core.burst import MODEL_FEATURES, get_contract
from guard.errors import ModelError
from guard.limits import load_limits
from guard.rules import VOICE_MODEL, find_voice_model, load_policy, models_path
from guard.voice_model import MODEL_FILE, format_model, load_model


@pytest.fixture
def content() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((models_path(VOICE_MODEL) / MODEL_FILE).read_text())
    return loaded


def test_the_shipped_model_is_used_by_every_policy() -> None:
    model, fault = find_voice_model()
    assert fault is None
    assert model is not None
    assert model.name == VOICE_MODEL
    assert load_policy().voice is model
    assert load_limits().make_policy().voice is model


def test_what_is_written_is_read_back(tmp_path: Path, content: dict[str, Any]) -> None:
    forest = load_model(models_path(VOICE_MODEL))
    parity = [(row["vector"], row["score"]) for row in content["parity"]]
    assert len(parity) >= 16
    path = tmp_path / MODEL_FILE
    path.write_text(format_model(forest, parity))
    again = load_model(tmp_path)
    assert again.trees == forest.trees
    assert again.threshold == forest.threshold


def refuse(tmp_path: Path, text: str) -> str:
    path = tmp_path / MODEL_FILE
    path.write_text(text)
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert "wakeguard train" in message
    return message


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content)
    for length in (0, 1, len(text) // 3, len(text) // 2, len(text) - 1):
        assert "damaged" in refuse(tmp_path, text[:length])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        load_model(tmp_path / "nowhere" / MODEL_FILE)


def test_another_feature_hash_is_refused(tmp_path: Path, content: dict[str, Any]) -> None:
    message = refuse(tmp_path, json.dumps({**content, "contract": "0123456789abcdef"}))
    assert "0123456789abcdef" in message
    assert get_contract() in message


@pytest.mark.parametrize("other", ["[]", "3", '"text"', "{}", '{"format": 2}'])
def test_another_kind_of_file_is_refused(tmp_path: Path, other: str) -> None:
    assert "no voice model" in refuse(tmp_path, other)


@pytest.mark.parametrize("key", ["trees", "threshold", "name", "parity"])
def test_each_part_is_needed(tmp_path: Path, content: dict[str, Any], key: str) -> None:
    del content[key]
    assert "damaged" in refuse(tmp_path, json.dumps(content))


def damage_loop(content: dict[str, Any]) -> None:
    content["trees"][0]["left"][0] = 0


def damage_end(content: dict[str, Any]) -> None:
    content["trees"][0]["right"][0] = 100_000


def damage_feature(content: dict[str, Any]) -> None:
    content["trees"][0]["feature"][0] = len(MODEL_FEATURES)


def damage_leaf(content: dict[str, Any]) -> None:
    content["trees"][0]["value"] = [0.5] * len(content["trees"][0]["value"])


def damage_list(content: dict[str, Any]) -> None:
    content["trees"][0]["value"].pop()


def damage_number(content: dict[str, Any]) -> None:
    content["trees"][0]["threshold"][0] = "1.0"


def damage_nan(content: dict[str, Any]) -> None:
    content["trees"][0]["threshold"][0] = float("nan")


def damage_rows(content: dict[str, Any]) -> None:
    content["parity"] = []


def damage_threshold(content: dict[str, Any]) -> None:
    content["threshold"] = 0.0


@pytest.mark.parametrize(
    "damage",
    [
        damage_loop,
        damage_end,
        damage_feature,
        damage_leaf,
        damage_list,
        damage_number,
        damage_nan,
        damage_rows,
        damage_threshold,
    ],
)
def test_damaged_trees_are_refused(tmp_path: Path, content: dict[str, Any], damage: Any) -> None:
    damage(content)
    assert "damaged" in refuse(tmp_path, json.dumps(content))


def test_without_the_model_there_is_a_policy_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere(name: str = "") -> Path:
        return tmp_path / name

    monkeypatch.setattr(rules, "models_path", nowhere)
    find_voice_model.cache_clear()
    try:
        model, fault = find_voice_model()
        assert model is None
        assert fault is not None
        assert "No such file" in fault
        assert load_policy().voice is None
    finally:
        find_voice_model.cache_clear()
