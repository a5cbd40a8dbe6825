"""The household in one process: the same Echos, cloud, engine and policy, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest

from guard.core.engine import Engine
from guard.core.event import AliveEvent, MuteState, WakeEvent
from guard.core.verdict import Mode, PacketClass, Reason, Verdict, decision
from guard.lab import frames, virtual_time
from guard.lab.runner import Result, Runner, make_phases
from guard.lab.scenario import SITUATIONS, Act
from guard.lab.simulation import SimulatedHousehold
from guard.lab.verdict import find_faults, get_app_data, get_success

SCALE = 0.05
COMMAND = frames.get_bytes(frames.utterance(0, 0, seconds=1.2))
LAST_COMMAND = frames.get_bytes(frames.utterance(0, 0, seconds=1.0))


def walk(*names: str) -> list[Result]:
    async def main() -> list[Result]:
        household = SimulatedHousehold(period_scale=SCALE)
        phases = make_phases([SITUATIONS[name] for name in names or SITUATIONS], list(Mode))
        await household.start()
        results = await Runner(household, phases, tell=lambda _line: None).run()
        await household.stop()
        return results

    return virtual_time.run(main())


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return walk()


def _select(results: list[Result], mode: Mode, situation: str) -> dict[str, Result]:
    return {
        result.device: result
        for result in results
        if result.phase.mode is mode and result.phase.situation.name == situation
    }


def test_every_promise_is_kept(results: list[Result]) -> None:
    assert len(results) == 16
    assert find_faults(results) == []


def test_monitor_changes_nothing_and_says_what_it_would_do(results: list[Result]) -> None:
    for name in SITUATIONS:
        for result in _select(results, Mode.MONITOR, name).values():
            assert [item.received for item in result.items] == [item.sent for item in result.items]
            assert all(item.succeeded and item.sent for item in result.items)
            assert result.resets == 0
            refused = get_app_data(result, Verdict.REFUSE)
            assert (refused > 0) is any(not item.item.explained for item in result.items)


@pytest.mark.parametrize("name", ["microphone_mute", "no_wake_word"])
def test_enforce_lets_no_byte_through_that_nothing_explains(results: list[Result], name: str) -> None:
    for result in _select(results, Mode.ENFORCE, name).values():
        assert all(item.sent for item in result.items)
        assert [item.received for item in result.items] == [0, 0, 0]
        assert result.cut == 0
        assert get_app_data(result, Verdict.ACCEPT) == 0
        assert result.heartbeats_received > 0
        if name == "microphone_mute":  # else some wait behind what is held, and are refused with it
            assert result.heartbeats_received == result.heartbeats_sent
        assert result.heard <= result.heartbeats_received  # the cloud had nothing else to answer


def test_of_a_conversation_enforce_lets_through_what_follows_the_wake_word(results: list[Result]) -> None:
    both = _select(results, Mode.ENFORCE, "normal_conversation")
    assert [item.received for item in both["eager"].items] == [0, 0, COMMAND, COMMAND, LAST_COMMAND]
    assert [item.received for item in both["lazy"].items] == [0, 0, COMMAND, COMMAND, LAST_COMMAND]
    assert all(result.resets for result in both.values())  # of the telemetry and of the report of settings


def test_a_song_that_was_asked_for_plays_in_enforce(results: list[Result]) -> None:
    for result in _select(results, Mode.ENFORCE, "music_stream").values():
        assert all(item.succeeded for item in result.items)
        assert result.heard > 60_000


def test_the_success_rates_are_those_of_the_tempers(results: list[Result]) -> None:
    assert get_success(results, "eager", Mode.MONITOR) == (4, 4)
    assert get_success(results, "lazy", Mode.MONITOR) == (4, 4)
    assert get_success(results, "eager", Mode.ENFORCE) == (4, 4)
    assert get_success(results, "lazy", Mode.ENFORCE) == (4, 4)


def test_the_eager_one_tries_more_often_and_gets_no_further(results: list[Result]) -> None:
    for name in ("microphone_mute", "no_wake_word"):
        both = _select(results, Mode.ENFORCE, name)
        assert both["eager"].resets > both["lazy"].resets > 0
        assert sum(i.sent for i in both["eager"].items) > sum(i.sent for i in both["lazy"].items)


def test_the_same_walk_twice_gives_the_same(results: list[Result]) -> None:
    again = walk()
    assert [asdict(result) for result in again] == [asdict(result) for result in results]


def test_one_situation_alone_does_not_profit_from_the_interaction_before() -> None:
    assert find_faults(walk("normal_conversation")) == []
    assert find_faults(walk("music_stream", "no_wake_word")) == []


def test_a_gate_that_accepts_all_does_not_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = decision(PacketClass.HANDSHAKE, None, Verdict.ACCEPT, None, Reason.HANDSHAKE)
    monkeypatch.setattr(Engine, "receive_packet", lambda *_, **__: passes)
    faults = find_faults(walk("no_wake_word"))
    voice = frames.get_bytes(frames.utterance(0, 0, seconds=1.0))
    for device in ("eager", "lazy"):
        assert f"monitor, no_wake_word, {device} Echo: the gate would have refused nothing" in faults
        leak = f"voice 3: {voice} bytes reached the cloud and nothing explains them"
        assert f"enforce, no_wake_word, {device} Echo: {leak}" in faults


def test_a_gate_that_refuses_all_does_not_go_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Engine.receive_packet
    refused = decision(PacketClass.APP_DATA, None, Verdict.REFUSE, None, Reason.MUTED)

    def deaf(engine: Engine, packet: bytes, **about: object) -> object:
        answer = honest(engine, packet, **about)  # type: ignore[arg-type]  # handed through
        return refused if answer.packet_class is PacketClass.APP_DATA else answer

    monkeypatch.setattr(Engine, "receive_packet", deaf)
    faults = find_faults(walk("normal_conversation"))
    assert "enforce, normal_conversation, eager Echo: nothing that followed a wake word arrived" in faults


def test_voice_is_paced_as_a_real_one() -> None:
    """50 units a second: an utterance of 1.2 s takes 1.2 s and the quarter of a second of its pre-roll."""
    spoken: list[float] = []

    async def main() -> None:
        household = SimulatedHousehold(period_scale=SCALE)
        loop = asyncio.get_running_loop()
        await household.call("eager", {"do": "start"})
        await asyncio.sleep(1)
        start = loop.time()
        await household.call("eager", {"do": "errand", "errand": Act.VOICE, "item": 1, "seconds": 1.2})
        while not (await household.call("eager", {"do": "report"}))["succeeded"]:
            await asyncio.sleep(0.01)
        spoken.append(loop.time() - start)
        await household.stop()

    virtual_time.run(main())
    assert 1.4 <= spoken[0] <= 1.55


@pytest.mark.parametrize(("late", "answered"), [(0.6, True), (1.5, False)])
def test_voice_waits_for_a_wake_word_that_comes_late_and_not_for_ever(*, late: float, answered: bool) -> None:
    size = frames.get_bytes(frames.utterance(0, 1, seconds=1.2))

    async def main() -> None:
        household = SimulatedHousehold(period_scale=SCALE)
        loop = asyncio.get_running_loop()
        household.publish(AliveEvent(loop.time(), MuteState.UNMUTED))
        await household.call("eager", {"do": "start"})
        await household.set_mode(Mode.ENFORCE)
        await asyncio.sleep(1)
        household.publish(AliveEvent(loop.time(), MuteState.UNMUTED))
        await household.call("eager", {"do": "errand", "errand": Act.VOICE, "item": 1, "seconds": 1.2})
        await asyncio.sleep(late)
        cloud = await household.call("cloud", {"do": "report"})
        assert [row for row in cloud["received"] if row[3] == 1] == []
        if answered:
            household.publish(WakeEvent(loop.time(), "alexa"))
        await asyncio.sleep(1)
        household.publish(AliveEvent(loop.time(), MuteState.UNMUTED))
        await asyncio.sleep(2)
        cloud = await household.call("cloud", {"do": "report"})
        assert sum(row[4] for row in cloud["received"] if row[3] == 1) == (size if answered else 0)
        echo = await household.call("eager", {"do": "report"})
        assert bool(echo["succeeded"]) is answered
        assert bool(echo["resets"]) is not answered
        await household.stop()

    virtual_time.run(main())
