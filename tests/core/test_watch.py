"""What the owner is told of voices: each once, those that a wake word explains not at all."""

from __future__ import annotations

import dataclasses
import math

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.event import WakeEvent
from guard.core.notice import MAX_NOTICES, Notice, NoticeKind, Notices
from guard.core.verdict import Mode
from guard.core.voice import LEAK_BOUNDS
from tests import wire
from tests.conversation import DEVICE, POLICY
from tests.waiting import HELD, Waiting

VOICE = wire.app_data(353)  # four frames of 20 ms
SIZE = len(VOICE)


def speak(talk: Waiting, seconds: float, *, pace: float = 1.0) -> None:
    """Send speech, ``pace`` times as fast as it was spoken."""
    for _ in range(round(seconds / 0.08)):
        talk.up(VOICE)
        talk.ack()
        talk.wait(0.08 / pace)


def take(talk: Waiting) -> list[tuple[str, int]]:
    return [(notice.kind, notice.bytes) for notice in talk.engine.take_notices()]


@pytest.mark.parametrize("mode", Mode)
def test_a_burst_that_no_wake_word_explains_is_told_of_once(mode: Mode) -> None:
    talk = Waiting(mode=mode)
    talk.establish()
    speak(talk, 2.0, pace=40)
    speak(talk, 1.0)
    notices = talk.engine.take_notices()
    assert [notice.kind for notice in notices] == [NoticeKind.VOICE_REFUSED, NoticeKind.UNHEARD_WAKE]
    refused, unheard = notices
    assert refused.device == unheard.device == DEVICE
    assert refused.flow == unheard.flow == talk.engine.get_flow_name()
    assert refused.bytes == 0
    assert unheard.bytes > 2.0 / 0.08 * 353
    status = talk.engine.get_status(DEVICE, now=talk.now)
    assert (status.unheard_wakes, status.voice_refusals, status.voice_leaked_bytes) == (1, 1, 0)
    assert status.voice_leaked == (1, *[0] * (len(LEAK_BOUNDS) - 1))
    assert take(talk) == []


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_a_wake_word_explains_the_burst(late: float) -> None:
    talk = Waiting()
    talk.establish()
    if not late:
        talk.hear()
    speak(talk, 2.0, pace=40)
    talk.wait(late)
    if late:
        talk.hear(late=late)
    speak(talk, 3.0)
    assert take(talk) == []
    assert talk.engine.get_status(DEVICE, now=talk.now).unheard_wakes == 0


def test_a_word_that_is_too_late_to_explain_the_burst_does_not() -> None:
    talk = Waiting()
    talk.establish()
    speak(talk, 2.0, pace=40)
    talk.wait(0.6)
    talk.engine.receive_event(WakeEvent(talk.now + 1.0, "alexa"), device=DEVICE, now=talk.now)
    talk.wait(0.5)
    # heard now, and it explains the last 0.8 s; the burst began before
    kinds = [kind for kind, _ in take(talk)]
    assert kinds == []
    other = Waiting(engine=talk.engine, port=40_001)
    other.now = talk.now + 20.0
    other.establish()
    speak(other, 2.0, pace=40)
    other.wait(2.0)
    assert NoticeKind.UNHEARD_WAKE in [kind for kind, _ in take(other)]


def test_speech_at_its_own_pace_is_a_voice_but_no_wake() -> None:
    talk = Waiting()
    talk.establish()
    speak(talk, 3.0)
    assert take(talk) == [(NoticeKind.VOICE_REFUSED, 0)]


def test_an_echo_that_dials_again_and_repeats_itself_has_woken_once() -> None:
    talk = Waiting()
    for attempt in range(3):
        again = Waiting(engine=talk.engine, port=41_000 + attempt)
        again.now = talk.now
        again.establish()
        speak(again, 2.0, pace=40)
        again.wait(1.0)
        talk.now = again.now
    assert [kind for kind, _ in take(talk)].count(NoticeKind.UNHEARD_WAKE) == 1
    status = talk.engine.get_status(DEVICE, now=talk.now)
    assert (status.unheard_wakes, status.voice_refusals) == (1, 3)


def test_a_muted_echo_that_sends_a_voice_is_told_of() -> None:
    talk = Waiting(mode=Mode.MONITOR)
    talk.mute()
    talk.establish()
    speak(talk, 2.0, pace=40)
    talk.wait(1.0)
    assert [kind for kind, _ in take(talk)] == [NoticeKind.VOICE_REFUSED, NoticeKind.UNHEARD_WAKE]


@pytest.mark.parametrize("balanced", [False, True])
def test_control_traffic_is_told_of_never(balanced: bool) -> None:
    talk = Waiting(balanced=balanced)
    talk.establish()
    for _ in range(30):
        for length in (365, 1475, 1475, 1396):
            talk.up(wire.app_data(length))
            talk.ack()
        talk.wait(0.3)
    assert take(talk) == []


def test_a_refusal_long_after_a_command_is_no_refused_voice() -> None:
    talk = Waiting()
    talk.establish()
    talk.hear()
    speak(talk, 3.0)
    talk.wait(30.0)
    talk.up(wire.app_data(700))
    talk.wait(1.0)
    assert talk.take()[-1] == "app_data justified refuse flow no_interaction"
    assert take(talk) == []


def test_what_left_before_the_refusal_is_counted() -> None:
    talk = Waiting(balanced=True)
    talk.establish()
    assert talk.up(VOICE) == "app_data justified hold probing"
    talk.wait(0.2)  # the probe finds no voice
    assert talk.take() == ["app_data justified accept control_budget"]
    talk.ack()
    speak(talk, 1.0)
    talk.wait(1.0)
    ((kind, left),) = take(talk)
    assert kind == NoticeKind.VOICE_REFUSED
    assert SIZE <= left <= 3 * SIZE
    status = talk.engine.get_status(DEVICE, now=talk.now)
    bounds = [bound for bound, count in zip(LEAK_BOUNDS, status.voice_leaked, strict=True) if count]
    assert bounds == [min(bound for bound in LEAK_BOUNDS if bound >= left)]
    assert status.voice_leaked_bytes == left


def test_budgets_say_what_they_have_left() -> None:
    talk = Waiting(balanced=True)
    talk.establish()
    before = talk.engine.get_status(DEVICE, now=talk.now).budgets["control"]
    assert before == HELD.budgets["control"].burst
    talk.up(wire.app_data(1400))
    after = talk.engine.get_status(DEVICE, now=talk.now).budgets["control"]
    assert after == before - 1405
    hour = talk.engine.get_status(DEVICE, now=talk.now + 3600.0).budgets
    assert hour["control"] == before
    assert set(hour) == set(HELD.budgets)


def test_without_a_hold_the_burst_is_told_of_all_the_same() -> None:
    policy = dataclasses.replace(POLICY, hold_s=0.0)
    talk = Waiting(policy=policy, mode=Mode.MONITOR)
    talk.establish()
    speak(talk, 2.0, pace=40)
    talk.wait(0.3)
    assert [kind for kind, _ in take(talk)] == [NoticeKind.VOICE_REFUSED, NoticeKind.UNHEARD_WAKE]


def test_notices_that_nobody_takes_are_bounded_and_none_is_told_twice() -> None:
    notices = Notices()
    assert notices.take() is notices.take()
    for number in range(MAX_NOTICES + 5):
        notices.put(Notice(DEVICE, NoticeKind.VOICE_REFUSED, "tcp", float(number), 0))
    assert [notice.now for notice in notices.take()] == [float(number) for number in range(MAX_NOTICES)]
    assert notices.take() == []


def test_every_number_of_bytes_has_a_class() -> None:
    assert list(LEAK_BOUNDS) == sorted(LEAK_BOUNDS)
    assert LEAK_BOUNDS[0] == 0.0
    assert LEAK_BOUNDS[-1] == math.inf


def test_notices_of_all_devices_come_from_one_engine() -> None:
    engine = Engine(HELD, {"kitchen": DeviceSettings(), "bedroom": DeviceSettings()}, mode=Mode.ENFORCE)
    talk = Waiting(engine=engine)
    talk.device = "bedroom"
    talk.establish()
    speak(talk, 2.0)
    talk.wait(1.0)
    assert {notice.device for notice in engine.take_notices()} == {"bedroom"}
    assert engine.get_status("kitchen", now=talk.now).voice_refusals == 0
