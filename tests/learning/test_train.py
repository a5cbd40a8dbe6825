"""Training: reproducible, honest about what it needs, and good for captures it has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.errors import DatasetError
from guard.learning.examples import read_examples
from guard.learning.research import find_traces, gather_research
from guard.learning.source import Source
from guard.learning.train import train
from guard.voice_model import load_model

pytestmark = pytest.mark.captures

PER_HOME = 6


@pytest.fixture(scope="module")
def sources(shared_data: Path) -> list[Source]:
    """Return some captures of each household; of those with reports, too."""
    chosen: list[Source] = []
    every = gather_research(shared_data)
    telling = ("help_5_30s", "whats_trending_5", "how_much_is_an_ounce_of_gold", "do_dogs_dream")
    for group in ("haipeng_li", "sean_kennedy"):
        own = [source for source in every if source.group == group]
        first = [source for source in own if any(name in source.name for name in telling)]
        chosen += (first + [source for source in own if source not in first])[:PER_HOME]
    return chosen + [source for source in every if source.is_table]


def test_the_same_seed_gives_the_same_model_and_it_finds_a_codec_it_has_not_seen(
    sources: list[Source], tmp_path: Path
) -> None:
    report = train(sources, tmp_path / "one", seed=3, jobs=1)
    train(sources, tmp_path / "two", seed=3, jobs=1)
    for name in ("model.json", "figures.json", "CARD.md"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert load_model(tmp_path / "one").threshold == report.threshold
    for outcome in report.outcomes:
        if outcome.detector == "model":
            assert outcome.found == outcome.uploads
            assert len(outcome.false) <= 2


def test_one_home_alone_is_not_enough(sources: list[Source], tmp_path: Path) -> None:
    own = [source for source in sources if source.group != "sean_kennedy"]
    with pytest.raises(DatasetError, match="a second household is needed"):
        train(own, tmp_path / "model", jobs=1)
    assert not (tmp_path / "model").exists()


def test_one_class_alone_is_not_enough(sources: list[Source]) -> None:
    with pytest.raises(DatasetError, match="no voice"):
        read_examples([source for source in sources if source.is_table], jobs=1)


def test_the_research_folder_must_be_one(tmp_path: Path, shared_data: Path) -> None:
    with pytest.raises(DatasetError, match="vcfp-pcap"):
        gather_research(tmp_path)
    assert find_traces(tmp_path) is None
    assert find_traces(shared_data) is not None
