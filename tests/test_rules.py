"""The data files are found and read, and a bad one is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from guard.core.policy import Policy
from guard.errors import ConfigError
from guard.rules import load_policy, models_path, read_toml, rules_path


@pytest.fixture
def copied_rules(tmp_path: Path) -> Path:
    for file in rules_path().glob("*.toml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def test_the_shipped_policy_loads() -> None:
    assert isinstance(load_policy(), Policy)


def test_a_policy_folder_of_ones_own_loads(copied_rules: Path) -> None:
    assert isinstance(load_policy(copied_rules), Policy)


@pytest.mark.parametrize("name", ["policy.toml", "endpoints.toml"])
def test_an_unknown_key_is_named_with_its_folder(copied_rules: Path, name: str) -> None:
    with (copied_rules / name).open("r+", encoding="utf-8") as file:
        text = file.read()
        file.seek(0)
        file.write("generosity = 7\n" + text)
    with pytest.raises(ConfigError, match="generosity") as caught:
        load_policy(copied_rules)
    assert str(copied_rules) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_folders_are_found() -> None:
    assert rules_path("policy.toml").is_file()
    assert models_path("README.md").is_file()


def test_a_missing_data_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nothing\.rules is missing"):
        rules_path("nothing.rules")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"a = ", "not TOML", id="not TOML"),
        pytest.param(b"a = 1\na = 2\n", "not TOML", id="a key twice"),
        pytest.param(b"\xff\xfe", "not UTF-8 text at byte 0", id="not text"),
        pytest.param(None, "No such file", id="absent"),
    ],
)
def test_an_unreadable_file_is_one_line_that_names_it(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "policy.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_toml(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)
