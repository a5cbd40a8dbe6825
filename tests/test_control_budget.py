"""The balanced policy's budget is what a quiet Echo needs, and no more than that by far."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.limits import load_limits
from tests.control_budget import HOUR, get_burst, merge, most_within, read_idle

CONTROL = load_limits().make_policy().budgets["control"]


@pytest.mark.captures
def test_all_that_quiet_echos_sent_passes_and_little_more(shared_data: Path) -> None:
    captures = list(read_idle(shared_data / "unisa-2022"))
    assert len(captures) == 7
    needs = [get_burst(rows, CONTROL.per_hour) for _, _, rows in captures]
    hours = [most_within(rows, HOUR) for _, _, rows in captures]
    assert max(hours) <= CONTROL.per_hour <= 1.25 * max(hours)
    assert max(needs) <= CONTROL.burst <= 1.25 * max(needs)


def test_the_arithmetic() -> None:
    rows = [(0.0, 100), (1.0, 100), (3600.0, 50)]
    assert most_within(rows, 1.0) == 200
    assert most_within(rows, 0.5) == 100
    assert most_within(rows, HOUR) == 250
    assert get_burst(rows, 0.0) == 250
    assert get_burst(rows, 3600.0) == 199
    assert get_burst([], 1.0) == 0
    assert merge([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0)]) == [(0.0, 3.0), (5.0, 6.0)]
