"""Whatever happens to the process: in enforce no voice arrives, in monitor traffic goes on."""

from __future__ import annotations

import contextlib
import signal
import threading
from pathlib import Path

import pytest

from guard.errors import ControlError
from tests.failures import FAILURES, Failure, measure
from tests.netns.gate import GateProcess
from tests.netns.household import Household
from tests.netns.probe import Probe

pytestmark = pytest.mark.kernel

WATCHDOG = 2.5  # seconds; the gate speaks every second
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


# A handler that never comes back, as one on a dead disk would not.
STANDING_STILL = """
import sys, time
import guard.loop, guard.reporter
guard.loop.STALL = 1
guard.reporter.Reporter.read = lambda self: time.sleep(60)
from guard.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("mode", ["monitor", "enforce"])
def test_a_gate_that_stands_still_is_ended_without_a_service_manager(
    routed: Household, tmp_path: Path, mode: str
) -> None:
    gate = GateProcess(routed, tmp_path, mode=mode)
    gate.program = ("-c", STANDING_STILL)
    with gate, Probe(routed) as probe:

        def ask() -> None:
            with contextlib.suppress(ControlError):
                gate.ask("status")

        asking = threading.Thread(target=ask)
        asking.start()
        assert gate.process is not None
        assert gate.process.wait(timeout=10) == -signal.SIGALRM
        asking.join()
        if mode == "monitor":
            probe.wait_for_service()
        else:
            seen = len(probe.arrivals)
            gate.program = ("-m", "guard")
            gate.start()
            probe.wait_for_service()
            assert seen < len(probe.arrivals)
            assert probe.voice == 0
