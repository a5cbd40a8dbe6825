"""The four situations are the paper's, and what they call explained is explained."""

from __future__ import annotations

import pytest

from guard.core.verdict import Mode
from guard.lab.frames import MAX_PHASES
from guard.lab.runner import make_phases
from guard.lab.scenario import (
    EVENTS,
    HELD_S,
    LATE_S,
    SITUATIONS,
    SPOKEN_WORD,
    Act,
    Situation,
    Step,
    get_items,
)
from guard.rules import load_policy


def test_the_situations_are_those_of_the_paper_in_its_order() -> None:
    assert list(SITUATIONS) == ["microphone_mute", "no_wake_word", "normal_conversation", "music_stream"]


def test_a_walk_in_both_modes_fits_the_frames_and_two_minutes() -> None:
    phases = make_phases([*SITUATIONS.values(), SPOKEN_WORD], list(Mode))
    assert len(phases) <= MAX_PHASES
    assert [phase.mode for phase in phases] == [Mode.MONITOR] * 4 + [Mode.ENFORCE] * 5
    assert phases[-1].situation is SPOKEN_WORD  # once: real ears hear the same in both modes
    assert sum(phase.situation.length for phase in phases) < 100


@pytest.mark.parametrize("situation", [*SITUATIONS.values(), SPOKEN_WORD], ids=lambda one: one.name)
def test_a_script_is_in_order_begins_with_the_mute_state_and_ends_in_time(situation: Situation) -> None:
    times = [step.t for step in situation.steps]
    assert times == sorted(times)
    assert situation.steps[0].t == 0.0
    assert situation.steps[0].act in {Act.MUTE, Act.UNMUTE}
    assert max(step.t + step.seconds for step in situation.steps) + 1.0 <= situation.length
    assert len(set(situation.steps)) == len(situation.steps)  # the runner finds an item by its step


def test_nothing_is_explained_while_muted_or_without_a_wake_word() -> None:
    for name in ("microphone_mute", "no_wake_word"):
        items = list(get_items(SITUATIONS[name]))
        assert {item.step.act for item in items} == {Act.TELEMETRY, Act.STATE, Act.VOICE}
        assert not any(item.explained for item in items)


def test_of_the_conversation_only_what_follows_the_wake_word_is_explained() -> None:
    items = list(get_items(SITUATIONS["normal_conversation"]))
    assert [(item.step.act, item.explained) for item in items] == [
        (Act.TELEMETRY, False),
        (Act.STATE, False),
        (Act.VOICE, True),
        (Act.VOICE, True),
        (Act.VOICE, True),
    ]


def test_muting_ends_the_excuse_and_unmuting_does_not_bring_it_back() -> None:
    acts = (
        Act.WAKE,
        Act.VOICE,
        Act.MUTE,
        Act.VOICE,
        Act.WAKE,
        Act.VOICE,
        Act.UNMUTE,
        Act.VOICE,
        Act.WAKE,
        Act.VOICE,
    )
    steps = tuple(Step(float(t), act) for t, act in enumerate(acts))
    items = get_items(Situation("made up", "", 20.0, steps))
    assert [item.explained for item in items] == [True, False, False, False, True]


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_our_own_microphone_hears_the_word_after_the_first_audio_packet(situation: Situation) -> None:
    explained = {item.step for item in get_items(situation) if item.explained and item.step.act is Act.VOICE}
    for step, after in zip(situation.steps, situation.steps[1:], strict=False):
        if step in explained:
            assert after.act is Act.WAKE
            assert after.t - step.t == pytest.approx(LATE_S)


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_what_nothing_explains_is_far_from_any_wake_word_that_counts(situation: Situation) -> None:
    if situation.steps[0].act is Act.MUTE:
        return
    words = [step.t for step in situation.steps if step.act is Act.WAKE]
    for item in get_items(situation):
        assert item.explained or all(abs(word - item.step.t) >= 1.5 for word in words)


def test_what_is_held_when_the_word_is_heard_is_explained() -> None:
    def explained(*steps: Step) -> bool:
        (item,) = get_items(Situation("made up", "", 20.0, steps))
        return item.explained

    unmute, voice = Step(0.0, Act.UNMUTE), Step(2.0, Act.VOICE)
    assert explained(unmute, voice, Step(2.7, Act.WAKE))
    assert not explained(unmute, voice, Step(2.9, Act.WAKE))
    assert not explained(unmute, voice, Step(2.2, Act.MUTE), Step(2.7, Act.WAKE))
    assert not explained(unmute, Step(1.0, Act.WAKE), Step(1.5, Act.MUTE), Step(1.8, Act.UNMUTE), voice)


def test_the_lab_waits_as_long_as_the_policy() -> None:
    policy = load_policy()
    assert policy.hold_s == policy.pre_roll_s == HELD_S > LATE_S


@pytest.mark.parametrize("situation", SITUATIONS.values(), ids=SITUATIONS)
def test_items_are_numbered_from_one(situation: Situation) -> None:
    errands = [step for step in situation.steps if step.act not in EVENTS]
    assert [(item.number, item.step) for item in get_items(situation)] == list(enumerate(errands, start=1))
