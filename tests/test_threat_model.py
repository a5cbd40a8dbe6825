"""The threat model's numbers are the code's."""

from __future__ import annotations

from guard.core.bound import get_bound, get_explained_bound
from guard.rules import load_policy
from tests.conftest import ROOT


def test_the_bound_is_what_the_code_computes() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    policy = load_policy()
    numbers = [sum(get_bound(policy, balanced=balanced).values()) for balanced in (False, True)]
    numbers += get_explained_bound(policy).values()
    for number in numbers:
        assert f"**{number:,.0f}" in text
