"""Compare what arrived with what was promised.

Each promise is a row: the modes in which it holds, and a function that returns the text of the fault,
or nothing. The lab fails when one of them does. How often a conversation succeeds under strict is no
promise: it is counted and shown (``get_success``, ``get_declined``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from guard.core.verdict import Mode, PacketClass, Verdict
from guard.lab import frames
from guard.lab.runner import ItemResult, Result
from guard.lab.scenario import Act, Item


def find_faults(results: Iterable[Result]) -> list[str]:
    """Return a line for every promise that was not kept, none when all is well."""
    faults = []
    for result in results:
        for modes, find in _PROMISES:
            if result.phase.mode in modes:
                place = f"{result.phase.mode}, {result.phase.situation.name}, {result.device} Echo"
                faults += [f"{place}: {fault}" for fault in find(result)]
    return faults


def get_success(results: Iterable[Result], device: str, mode: Mode) -> tuple[int, int]:
    """Return how many spoken commands that followed a wake word were answered, and of how many."""
    commands = _get_commands(results, device, mode)
    return sum(item.succeeded for item in commands), len(commands)


def get_declined(results: Iterable[Result], device: str, mode: Mode) -> int:
    """Return how many of those the Echo did not even begin, since it had no session for them."""
    return sum(item.declined for item in _get_commands(results, device, mode))


def _get_commands(results: Iterable[Result], device: str, mode: Mode) -> list[ItemResult]:
    return [
        item
        for result in results
        if result.device == device and result.phase.mode is mode
        for item in result.items
        if item.item.explained and item.item.step.act is Act.VOICE
    ]


def get_app_data(result: Result, verdict: Verdict) -> int:
    """Return how many packets of class app_data the gate gave ``verdict`` (in monitor: would have)."""
    return sum(
        count
        for said, count in result.said.items()
        if said.packet_class == PacketClass.APP_DATA and said.verdict == verdict
    )


def _find_loss(result: Result) -> Iterator[str]:
    for item in result.items:
        if item.sent != item.received or not item.succeeded:
            yield f"{_name(item)}: {item.sent} bytes sent, {item.received} received in monitor"
    if result.heartbeats_sent != result.heartbeats_received:
        yield f"heartbeats: {result.heartbeats_sent} bytes sent, {result.heartbeats_received} received"


def _find_silence(result: Result) -> Iterator[str]:
    """Monitor must say what enforce would refuse."""
    unexplained = any(not item.item.explained for item in result.items)
    if unexplained and not get_app_data(result, Verdict.REFUSE):
        yield "the gate would have refused nothing"


def _find_leak(result: Result) -> Iterator[str]:
    for item in result.items:
        if not item.sent and not item.item.explained:
            why = "the Echo had just lost its session" if item.declined else "it was never sent"
            yield f"{_name(item)}: {why}, so nothing was shown"
        if item.received and not item.item.explained:
            yield f"{_name(item)}: {item.received} bytes reached the cloud and nothing explains them"
    if result.cut:
        yield f"{result.cut} bytes of refused records reached the cloud"
    explained = any(item.item.explained for item in result.items)
    accepted = get_app_data(result, Verdict.ACCEPT)
    if accepted and not explained:
        yield f"the gate accepted {accepted} packets of application data"


def _find_mutilation(result: Result) -> Iterator[str]:
    """Check that what follows a wake word and was answered arrived whole."""
    for item in result.items:
        whole = _get_least_bytes(item.item)
        if item.succeeded and item.received < whole:
            yield f"{_name(item)}: {item.received} of {whole} bytes arrived"
    explained = [item for item in result.items if item.item.explained]
    if explained and not any(item.succeeded for item in explained):
        yield "nothing that followed a wake word arrived"


def _find_dead_heart(result: Result) -> Iterator[str]:
    if not result.heartbeats_received:
        yield "no heartbeat reached the cloud"


def _name(item: ItemResult) -> str:
    return f"{item.item.step.act} {item.item.number}"


def _get_least_bytes(item: Item) -> int:
    sizes: dict[Act, Callable[[], list[frames.Frame]]] = {
        Act.TELEMETRY: lambda: frames.telemetry(0, 0),
        Act.STATE: lambda: frames.state(0, 0),
        Act.VOICE: lambda: frames.utterance(0, 0, seconds=item.step.seconds),
        Act.SONG: lambda: frames.request(0, 0) * 2,
    }
    return frames.get_bytes(sizes[item.step.act]())


_PROMISES: tuple[tuple[frozenset[Mode], Callable[[Result], Iterator[str]]], ...] = (
    (frozenset({Mode.MONITOR}), _find_loss),
    (frozenset({Mode.MONITOR}), _find_silence),
    (frozenset({Mode.ENFORCE}), _find_leak),
    (frozenset({Mode.ENFORCE}), _find_mutilation),
    (frozenset(Mode), _find_dead_heart),
)
