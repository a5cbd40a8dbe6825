"""Each promise of the lab notices when it is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from guard.core.verdict import Mode
from guard.lab.household import Said
from guard.lab.runner import ItemResult, Phase, Result
from guard.lab.scenario import SITUATIONS, get_items
from guard.lab.verdict import find_faults

REFUSED = Said("app_data", "justified", "refuse")
ACCEPTED = Said("app_data", "expected", "accept")


def _make(mode: Mode, name: str) -> Result:
    """Return a result with which all is well."""
    situation = SITUATIONS[name]
    result = Result(Phase(0, mode, situation), "eager", [ItemResult(item) for item in get_items(situation)])
    result.heartbeats_sent = result.heartbeats_received = 51
    for item in result.items:
        passes = mode is Mode.MONITOR or item.item.explained
        item.sent = 40_000
        item.received = 40_000 if passes else 0
        item.succeeded = passes
        result.said[ACCEPTED if item.item.explained else REFUSED] += 9
    return result


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_good_result_has_no_fault(mode: Mode, name: str) -> None:
    assert find_faults([_make(mode, name)]) == []


def _lose(result: Result) -> None:
    result.items[0].received -= 1


def _leak(result: Result) -> None:
    result.items[0].received = 1


def _cut(result: Result) -> None:
    result.cut = 5


def _stay_silent(result: Result) -> None:
    result.said = Counter({ACCEPTED: 3})


def _never_send(result: Result) -> None:
    result.items[0].sent = 0


def _decline(result: Result) -> None:
    voice = result.items[2]
    voice.sent, voice.declined = 0, True


def _die(result: Result) -> None:
    result.heartbeats_received = 0


def _mutilate(result: Result) -> None:
    result.items[2].received = 24_000


def _fail_all(result: Result) -> None:
    for item in result.items:
        item.succeeded = False


@pytest.mark.parametrize(
    ("mode", "name", "harm", "fault"),
    [
        (Mode.MONITOR, "no_wake_word", _lose, "telemetry 1: 40000 bytes sent, 39999 received in monitor"),
        (Mode.MONITOR, "no_wake_word", _stay_silent, "the gate would have refused nothing"),
        (Mode.MONITOR, "music_stream", _die, "no heartbeat reached the cloud"),
        (Mode.ENFORCE, "no_wake_word", _leak, "telemetry 1: 1 bytes reached the cloud and nothing explains"),
        (Mode.ENFORCE, "microphone_mute", _cut, "5 bytes of refused records reached the cloud"),
        (Mode.ENFORCE, "microphone_mute", _stay_silent, "the gate accepted 3 packets of application data"),
        (
            Mode.ENFORCE,
            "microphone_mute",
            _never_send,
            "telemetry 1: it was never sent, so nothing was shown",
        ),
        (Mode.ENFORCE, "no_wake_word", _decline, "voice 3: the Echo had just lost its session, so nothing"),
        (Mode.ENFORCE, "microphone_mute", _die, "no heartbeat reached the cloud"),
        (Mode.ENFORCE, "normal_conversation", _mutilate, "voice 3: 24000 of 25564 bytes arrived"),
        (Mode.ENFORCE, "music_stream", _fail_all, "nothing that followed a wake word arrived"),
    ],
)
def test_a_broken_promise_is_named(mode: Mode, name: str, harm: Callable[[Result], None], fault: str) -> None:
    result = _make(mode, name)
    harm(result)
    faults = find_faults([result])
    assert any(fault in line for line in faults), faults
    assert all(line.startswith(f"{mode}, {name}, eager Echo: ") for line in faults)
