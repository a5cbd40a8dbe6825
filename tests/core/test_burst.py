"""The feature vector, by hand; and what of the traffic the model is asked about at all."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from guard.core.burst import (
    CAP,
    CONTROL_BYTES,
    FEATURES,
    MIN_RUN,
    MODEL_FEATURES,
    PACE,
    PACE_GAP_S,
    PACE_LONGEST,
    PAUSE_S,
    TERMS,
    WINDOW,
    Burst,
    get_contract,
)
from guard.core.forest import LEAF, Forest, Tree


class Model:
    """Says that it is a voice once it was asked ``after`` times."""

    name = "counting"

    def __init__(self, after: int = 1000) -> None:
        self.asked: list[list[float]] = []
        self.after = after

    def is_voice(self, vector: Sequence[float]) -> bool:
        self.asked.append(list(vector))
        return len(self.asked) >= self.after


def feed(burst: Burst, rows: Sequence[tuple[float, int]]) -> list[bool]:
    return [burst.receive(length, at, lattice=length == 113) for at, length in rows]


def test_the_vector_says_what_its_names_say() -> None:
    model = Model()
    burst = Burst(model)
    feed(burst, [(10.0, 300), (10.1, 113), (10.2, 113), (10.4, 113)])
    assert model.asked == []
    values = dict(zip(FEATURES, burst.get_vector(), strict=True))
    assert values == pytest.approx(
        {
            "records": 4.0,
            "seconds": 0.4,
            "bytes_per_s": 639 / 0.4,
            "equal": 0.75,
            "run": 3.0,
            "sizes": 2.0,
            "unit": 187.0,
            "length": 113.0,
            "mean_length": 639 / 4,
            "longest": 300.0,
            "shortest": 113.0,
            "mean_gap_s": 0.4 / 3,
            "longest_gap_s": 0.2,
            "gap_spread": 0.35355339,
            "lattice": 0.75,
        }
    )
    feed(burst, [(10.5, 113), (10.6, 113)])
    assert model.asked == [burst.get_vector()]


def test_only_the_last_records_count_and_a_pause_begins_anew() -> None:
    burst = Burst(None)
    feed(burst, [(0.01 * n, 2000) for n in range(5)] + [(0.1 + 0.01 * n, 200) for n in range(WINDOW)])
    values = dict(zip(FEATURES, burst.get_vector(), strict=True))
    assert (values["longest"], values["records"], values["run"]) == (200.0, 13.0, float(WINDOW))
    burst.receive(200, 0.17 + PAUSE_S + 0.01, lattice=False)
    assert burst.get_vector()[:2] == [1.0, 0.0]


def test_nobody_is_asked_about_records_that_are_too_slow_for_speech() -> None:
    model = Model()
    feed(Burst(model), [(0.8 * n, 485) for n in range(50)])  # of a hasty player
    assert model.asked == []
    feed(Burst(model), [(0.6 * n, 485) for n in range(MIN_RUN)])
    assert len(model.asked) == 1
    feed(Burst(model), [(0.02 * n, 48) for n in range(MIN_RUN)])  # 6 kbit/s and what TLS adds
    assert len(model.asked) == 2


def test_nobody_is_asked_before_records_are_equally_long() -> None:
    model = Model()
    burst = Burst(model)
    feed(burst, [(0.001 * n, 365 + n % 3) for n in range(50)])
    assert model.asked == []
    feed(burst, [(0.6 + 0.01 * n, 200) for n in range(MIN_RUN)])
    assert len(model.asked) == 1


def test_once_a_voice_it_stays_one_until_a_pause_and_nobody_is_asked_again() -> None:
    model = Model(after=2)
    burst = Burst(model)
    said = feed(burst, [(0.02 * n, 113) for n in range(8)])
    assert said == [False] * 5 + [True, False, False]
    assert burst.is_voice(0.14 + PAUSE_S)
    assert not burst.is_voice(0.15 + PAUSE_S)
    assert len(model.asked) == 2
    burst.receive(113, 5.0, lattice=True)
    assert not burst.voice


def test_whatever_keeps_the_pace_of_speech_is_a_voice() -> None:
    burst = Burst(None)
    said = feed(burst, [(0.02 * n, 100 + n) for n in range(PACE)])
    assert said == [False] * (PACE - 1) + [True]


@pytest.mark.parametrize(
    ("gap_s", "length"),
    [
        pytest.param(0.002, 200, id="at the line's speed"),
        pytest.param(PACE_GAP_S + 0.01, 200, id="too rare"),
        pytest.param(0.02, PACE_LONGEST + 1, id="too long"),
    ],
)
def test_reports_do_not_keep_it(gap_s: float, length: int) -> None:
    burst = Burst(None)
    assert not any(feed(burst, [(gap_s * n, length + n) for n in range(2 * PACE)]))


def test_the_contract_changes_with_what_the_features_mean() -> None:
    before = get_contract()
    assert before == get_contract()
    assert TERMS[:5] == (PAUSE_S, WINDOW, MIN_RUN, CONTROL_BYTES, CAP)
    assert TERMS[5:] == FEATURES
    assert [*MODEL_FEATURES, "lattice"] == list(FEATURES)
    assert "lattice" not in MODEL_FEATURES
    for at in range(len(TERMS)):
        assert get_contract((*TERMS[:at], "another", *TERMS[at + 1 :])) != before


def test_a_forest_is_the_mean_of_its_trees() -> None:
    low = Tree([0, LEAF, LEAF], [1.0, 0.0, 0.0], [1, 0, 0], [2, 0, 0], [0.0, 0.25, 0.75])
    always = Tree([LEAF], [0.0], [0], [0], [1.0])
    forest = Forest("small", 0.8, (low, always))
    assert forest.get_score([1.0]) == pytest.approx(0.625)
    assert forest.get_score([1.1]) == pytest.approx(0.875)
    assert [forest.is_voice([value]) for value in (1.0, 1.1)] == [False, True]
