"""Whatever happens to the process: in enforce no voice arrives, in monitor traffic goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.failures import FAILURES, Failure, measure

pytestmark = pytest.mark.kernel

WATCHDOG = 1.0  # seconds; the unit file's are for a quiet machine
# longest time without service in monitor: where the gate does not stand still there is none to speak of
GAPS = {"stalled (SIGSTOP) until the watchdog ends it": 2 * WATCHDOG + 2.0}
STARTS = {
    "killed (SIGKILL) under load": 2,
    "stopped and started in good order": 2,
    "stalled (SIGSTOP) until the watchdog ends it": 2,
}


@pytest.mark.parametrize("mode", ["monitor", "enforce"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.force.__name__)
def test_a_failure_of_the_process(failure: Failure, mode: str, tmp_path: Path) -> None:
    outcome = measure(failure, mode, tmp_path, watchdog=WATCHDOG)
    assert outcome.starts == STARTS.get(failure.name, 1)
    if mode == "enforce":
        assert outcome.voice == 0
        assert outcome.gap < 10.0
    else:
        assert outcome.voice > 0
        assert outcome.gap < GAPS.get(failure.name, 1.0)
