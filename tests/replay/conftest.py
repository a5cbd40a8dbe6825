"""What every test of the replay starts from: nothing waits for a wake word."""

from __future__ import annotations

import pytest

from tests.replay.session import NO_HOLD


@pytest.fixture(autouse=True)
def no_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each packet its answer at once, unless a test says otherwise."""
    monkeypatch.setattr("guard.replay.load_limits", lambda: NO_HOLD)
