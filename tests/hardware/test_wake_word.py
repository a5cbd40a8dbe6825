"""When scores become a wake event, and how long voice extends it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from guard.core.event import VoiceEvent, WakeEvent
from hardware.voice import Voice, VoiceTimes
from hardware.wake_word import WakeWord

MICROPHONE = "microphone 1"


def test_a_score_below_the_threshold_is_nothing() -> None:
    wake = WakeWord(0.7, 1.0)
    assert wake.receive_score("alexa", 0.69, now=1.0, source=MICROPHONE) is None
    assert wake.fired == 0


def test_a_word_fires_once_whatever_channels_heard_it() -> None:
    wake = WakeWord(0.7, 1.0)
    assert wake.receive_score("alexa", 0.9, now=1.0, source="microphone 3") == WakeEvent(
        1.0, "alexa", 0.9, "microphone 3"
    )
    assert wake.receive_score("alexa", 0.99, now=1.02, source="microphone 1") is None
    assert (wake.fired, wake.suppressed) == (1, 1)


def test_it_fires_again_after_the_refractory_time() -> None:
    wake = WakeWord(0.7, 1.0)
    wake.receive_score("alexa", 0.9, now=1.0, source=MICROPHONE)
    assert wake.receive_score("alexa", 0.9, now=2.0, source=MICROPHONE) is not None


def test_another_word_has_a_refractory_time_of_its_own() -> None:
    wake = WakeWord(0.7, 1.0)
    wake.receive_score("alexa", 0.9, now=1.0, source=MICROPHONE)
    assert wake.receive_score("computer", 0.9, now=1.1, source=MICROPHONE) is not None


def test_a_detector_stuck_at_yes_fires_once() -> None:
    wake = WakeWord(0.7, 1.0)
    fired = [wake.receive_score("alexa", 1.0, now=tick * 0.03, source=MICROPHONE) for tick in range(10_000)]
    assert sum(event is not None for event in fired) == 1


def test_a_score_above_one_is_still_an_event_that_the_gate_takes() -> None:
    event = WakeWord(0.7, 1.0).receive_score("alexa", 1.0000001, now=1.0, source=MICROPHONE)
    assert event is not None
    assert event.score == 1.0


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 1), st.sampled_from(["1", "2", "3"])), max_size=100)
)
def test_two_wake_events_are_never_closer_than_the_refractory_time(
    scores: list[tuple[float, float, str]],
) -> None:
    wake = WakeWord(0.7, 1.0)
    now, fired = 0.0, []
    for pause, score, source in scores:
        now += pause
        if wake.receive_score("alexa", score, now=now, source=source) is not None:
            assert score >= 0.7
            fired.append(now)
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(fired))


def speak(voice: Voice, pattern: str, *, start: float) -> list[VoiceEvent]:
    """Feed "SECONDS speech|silence, ..." in frames of 20 ms; return the events."""
    events, now = [], start
    for spell in pattern.split(","):
        seconds, what = spell.split()
        for _ in range(round(float(seconds) / 0.02)):
            now += 0.02
            event = voice.receive_frame(what == "speech", now=now)
            if event is not None:
                events.append(event)
    return events


def test_speech_without_a_wake_word_means_nothing() -> None:
    assert speak(Voice(VoiceTimes()), "10 speech", start=0.0) == []


def test_speech_after_a_wake_word_is_told_twice_a_second() -> None:
    voice = Voice(VoiceTimes())
    voice.receive_wake(now=5.0)
    events = speak(voice, "3 speech", start=5.0)
    assert 5 <= len(events) <= 6
    assert all(5.0 < event.t <= 8.01 for event in events)


def test_after_silence_speech_is_somebody_elses() -> None:
    voice = Voice(VoiceTimes(silence_s=1.5))
    voice.receive_wake(now=0.0)
    events = speak(voice, "1 speech, 2 silence, 5 speech", start=0.0)
    assert events
    assert max(event.t for event in events) < 1.5


def test_a_pause_for_breath_is_no_silence() -> None:
    voice = Voice(VoiceTimes(silence_s=1.5))
    voice.receive_wake(now=0.0)
    assert max(event.t for event in speak(voice, "1 speech, 1 silence, 1 speech", start=0.0)) > 2.0


def test_a_television_extends_nothing_beyond_the_maximum() -> None:
    voice = Voice(VoiceTimes(max_s=20.0))
    voice.receive_wake(now=0.0)
    events = speak(voice, "60 speech", start=0.0)
    assert 19.0 < max(event.t for event in events) < 20.0


def test_a_click_is_no_speech() -> None:
    voice = Voice(VoiceTimes())
    voice.receive_wake(now=0.0)
    assert speak(voice, "0.6 silence, 0.06 speech, 0.6 silence", start=0.0) == []
