from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.netns.household import Household


@pytest.fixture(params=["routed", "bridged"])
def household(request: pytest.FixtureRequest) -> Iterator[Household]:
    with Household(bridged=request.param == "bridged") as home:
        yield home


@pytest.fixture
def routed() -> Iterator[Household]:
    with Household() as home:
        yield home
