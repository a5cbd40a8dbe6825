"""Households for the tests on the real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bear what CPython leaves behind when a connection is reset while the cloud wraps it for TLS."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"))
