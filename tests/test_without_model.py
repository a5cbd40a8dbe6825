"""The gate without its voice model: strict in balanced's place, and it says so."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard import rules
from guard.config import parse_config
from guard.core.engine import DeviceSettings, Engine
from guard.core.verdict import Mode
from guard.limits import load_limits
from guard.policies import warn_without_model
from guard.rules import VOICE_MODEL, find_voice_model
from guard.telemetry.log import Log
from guard.voice_model import MODEL_FILE
from tests import wire
from tests.conversation import DEVICE
from tests.waiting import Waiting

CONFIG = {"device": [{"name": DEVICE, "mac": "68:37:e9:00:00:01", "policy": "balanced"}]}


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Give the gate an empty folder of models."""
    monkeypatch.setattr(rules, "models_path", lambda name="": tmp_path / name)
    find_voice_model.cache_clear()
    yield tmp_path
    find_voice_model.cache_clear()


@pytest.mark.parametrize("text", [None, "", '{"format": 1, "trees": [', '{"format": 1, "contract": "other"}'])
def test_balanced_falls_back_to_strict_and_says_so(models: Path, text: str | None) -> None:
    if text is not None:
        (models / VOICE_MODEL).mkdir()
        (models / VOICE_MODEL / MODEL_FILE).write_text(text)
    lines = io.StringIO()
    warn_without_model(parse_config(CONFIG), Log(lines))
    assert "model_missing" in lines.getvalue()
    assert "strict" in lines.getvalue()
    assert DEVICE in lines.getvalue()
    engine = Engine(load_limits().make_policy(), {DEVICE: DeviceSettings(balanced=True)}, mode=Mode.ENFORCE)
    talk = Waiting(engine=engine)
    talk.establish()
    assert engine.get_status(DEVICE, now=talk.now).model is None
    talk.up(wire.app_data(700))
    talk.wait(1.0)
    assert talk.take() == ["app_data justified refuse flow model_missing"]


def test_strict_needs_no_model_and_nothing_is_said(models: Path) -> None:
    lines = io.StringIO()
    strict = {"device": [{**CONFIG["device"][0], "policy": "strict"}]}
    warn_without_model(parse_config(strict), Log(lines))
    assert lines.getvalue() == ""
    engine = Engine(load_limits().make_policy(), {DEVICE: DeviceSettings()}, mode=Mode.ENFORCE)
    talk = Waiting(engine=engine)
    talk.establish()
    assert talk.up(wire.app_data(700)) == "app_data justified hold awaiting_wake_word"


def test_with_the_model_nothing_is_said() -> None:
    lines = io.StringIO()
    warn_without_model(parse_config(CONFIG), Log(lines))
    assert lines.getvalue() == ""
