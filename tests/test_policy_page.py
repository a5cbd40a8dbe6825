"""The policy page says what the code does."""

from __future__ import annotations

import re

from guard import wording
from guard.core.verdict import Justification, PacketClass, Reason, Scope, Verdict
from guard.rules import load_policy
from tests.conftest import ROOT
from tests.policy_page import PAGE, write_page


def test_page_is_what_the_code_writes() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_page(load_policy()), "run: python -m tests.policy_page"


def test_every_word_has_a_sentence() -> None:
    assert set(wording.CLASSES) == set(PacketClass)
    assert set(wording.JUSTIFICATIONS) == set(Justification)
    assert set(wording.VERDICTS) == set(Verdict)
    assert set(wording.SCOPES) == set(Scope)
    assert set(wording.REASONS) == set(Reason)


def test_page_warns_of_the_two_misleading_words() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "not a TCP SYN" in page
    assert "`justified` is refused" in page


def test_each_invariant_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    invariants = [part for part in page.split("## Invariants")[1].split("\n\n") if part.startswith("**")]
    assert len(invariants) >= 10
    for invariant in invariants:
        named = re.findall(r"`(tests/[a-z_/]+\.py)`", invariant)
        assert named, invariant
        assert all((ROOT / name).is_file() for name in named), invariant
