"""The tables of a replay do not depend on the order in which things happened."""

from __future__ import annotations

import pytest

from guard.cli.summary import Found, Summary, print_summary

COUNTS = {"unexplained": 3, "muted": 3, "condemned": 7, "awaited": 3}


@pytest.mark.parametrize("order", [sorted(COUNTS), sorted(COUNTS, reverse=True)])
def test_refusals_come_by_count_and_then_by_name(
    order: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    summary = Summary("echo", "enforce", "strict")
    for reason in order:
        found = Found("app_data", "justified", "refuse", reason, "flow")
        summary.packets[found] += COUNTS[reason]
        summary.bytes[found] += 100
    print_summary(summary)
    table = capsys.readouterr().out.partition("Refusals by reason")[2]
    assert sorted(COUNTS, key=table.index) == ["condemned", "awaited", "muted", "unexplained"]
