"""How fast the sensors act, end to end, on the real gate. The table is made by ``tests.latency``."""

from __future__ import annotations

import pytest

from tests.latency import MUTE_GOAL_S, WAKE_GOAL_S, Measured, format_page, measure


@pytest.mark.kernel
def test_the_gate_closes_and_opens_in_time() -> None:
    # Medians: one trial in a few may meet a busy machine.
    closing, opening = measure(trials=5)
    assert closing.median_s < MUTE_GOAL_S, closing
    assert opening.median_s < WAKE_GOAL_S, opening


def test_the_page_has_medians_and_tails() -> None:
    values = [0.001 * value for value in range(1, 21)]
    page = format_page([Measured("one to the other", 0.05, values)], machine="a machine", date="a day")
    assert "| one to the other | 20 | 10.5 | 19.0 | 20.0 | 50 |" in page
