"""The model's card and page say what its figures do, and the figures hold what the project promises."""

from __future__ import annotations

from guard.learning.card import format_card
from guard.learning.figures import read_report
from guard.rules import VOICE_MODEL, find_voice_model, models_path
from tests.model_page import FIGURES, PAGE, write_page


def test_the_page_is_what_the_figures_and_the_code_write() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_page(), "run: python -m tests.model_page"


def test_the_card_is_what_the_figures_write() -> None:
    card = (models_path(VOICE_MODEL) / "CARD.md").read_text(encoding="utf-8")
    assert card == format_card(read_report(FIGURES)), "run: wakeguard train"


def test_the_model_and_its_figures_are_of_one_training() -> None:
    model, _ = find_voice_model()
    assert model is not None
    assert model.threshold == read_report(FIGURES).threshold


def test_every_upload_is_found_on_homes_that_were_held_out_and_nothing_else() -> None:
    report = read_report(FIGURES)
    gate = [outcome for outcome in report.outcomes if outcome.detector == "gate"]
    assert {outcome.household for outcome in gate} == {"haipeng_li", "sean_kennedy", "paper"}
    assert sum(outcome.uploads for outcome in gate) == sum(outcome.found for outcome in gate) == 735
    assert not [alarm for outcome in gate for alarm in outcome.false]
    assert sum(home.unheard for home in report.data if home.name == "paper") == 0


def test_the_figures_survive_their_file() -> None:
    report = read_report(FIGURES)
    assert report.traces[1] == 500
    assert all(len(outcome.delays_s) == outcome.found for outcome in report.outcomes)
