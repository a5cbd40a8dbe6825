"""The state directory: one gate at a time, a mode that survives, nothing guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.core.verdict import Mode
from guard.errors import ConfigError
from guard.state import StateDirectory


def test_the_mode_survives(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with StateDirectory(path) as state:
        assert state.load_mode() is None
        for mode in (Mode.ENFORCE, Mode.MONITOR, Mode.ENFORCE):
            state.store_mode(mode)
            assert state.load_mode() is mode
    assert StateDirectory(path).load_mode() is Mode.ENFORCE
    assert sorted(file.name for file in path.iterdir()) == ["gate.lock", "mode.json"]


def test_looking_at_the_mode_makes_nothing(tmp_path: Path) -> None:
    assert StateDirectory(tmp_path / "state").load_mode() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"version":1,"mode":"open"}', '{"version":2,"mode":"enforce"}', "\0"]
)
def test_a_damaged_mode_is_no_reason_to_guess(tmp_path: Path, content: str) -> None:
    (tmp_path / "mode.json").write_text(content)
    with pytest.raises(ConfigError, match=r"mode\.json is damaged; remove it"):
        StateDirectory(tmp_path).load_mode()


def test_a_mode_that_cannot_be_stored_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StateDirectory(tmp_path) as state:
        state.store_mode(Mode.ENFORCE)

        def refuse(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            state.store_mode(Mode.MONITOR)
        assert state.load_mode() is Mode.ENFORCE
    assert sorted(file.name for file in tmp_path.iterdir()) == ["gate.lock", "mode.json"]


def test_a_directory_that_cannot_be_made_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"state\.directory"), StateDirectory(tmp_path / "file" / "state"):
        pass
