"""What the balanced policy promises, and that its page is right about the rest."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from guard.core.verdict import Mode
from guard.rules import load_policy
from tests.balanced.__main__ import PAGE, PICTURE
from tests.balanced.life import converse, speak_unexplained
from tests.balanced.page import DAY, OTHERS, SECONDS, UNEXPLAINED, read_rows
from tests.balanced.play import Play, play
from tests.balanced.senders import GCM, MEASURED, ODD, Sender, Temper
from tests.balanced.stream import EVERY_S, HASTY_S, REQUEST_BYTES, stream
from tests.balanced.uploads import play_uploads
from tests.conversations.director import direct
from tests.traffic_page.uploads import read_all

POLICY = load_policy()
CONTROL = POLICY.budgets["control"]
MOST_RECORDS = 5  # of a voice before it is known for one: what can be left of an utterance that went on


def name(sender: Sender) -> str:
    return sender.name


@pytest.mark.parametrize("temper", [Temper.GIVES_UP, Temper.REPEATS])
@pytest.mark.parametrize("sender", MEASURED, ids=name)
def test_of_a_voice_as_measured_nothing_leaves(sender: Sender, temper: Temper) -> None:
    outcome = play(sender, POLICY, seconds=SECONDS, temper=temper)
    assert outcome.left == 0
    assert outcome.refused >= 10  # each utterance was cut
    assert outcome.other > 0  # and the reports before it were not


@pytest.mark.parametrize("sender", MEASURED, ids=name)
def test_one_that_goes_on_gets_no_more_than_the_tail_of_an_utterance_through(sender: Sender) -> None:
    outcome = play(sender, POLICY, seconds=SECONDS, temper=Temper.GOES_ON)
    longest = max(sent.plaintext for utterance in sender.speak(1, SECONDS) for sent in utterance[-50:])
    utterances = sum(1 for _ in sender.speak(1, SECONDS))
    assert outcome.left <= utterances * MOST_RECORDS * (longest + 64)


@pytest.mark.parametrize("sender", [*MEASURED, *ODD], ids=name)
def test_muted_nothing_of_any_sender_leaves(sender: Sender) -> None:
    outcome = play(sender, POLICY, seconds=SECONDS, temper=Temper.GOES_ON, muted=True)
    assert (outcome.left, outcome.other) == (0, 0)
    assert outcome.sent > 0


@pytest.mark.parametrize("sender", ODD, ids=name)
def test_under_strict_nothing_of_any_other_leaves(sender: Sender) -> None:
    stage = Play(POLICY, muted=False, balanced=False)
    outcome = stage.run(sender, seconds=SECONDS, temper=Temper.GOES_ON)
    assert (outcome.left, outcome.other) == (0, 0)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("sender", ODD, ids=name)
def test_of_any_other_no_more_leaves_than_the_budget(sender: Sender, seed: int) -> None:
    seconds = 10 * SECONDS
    outcome = play(sender, POLICY, seconds=seconds, temper=Temper.GOES_ON, seed=seed)
    assert outcome.left + outcome.other <= CONTROL.get_bound(seconds)


@pytest.mark.captures
def test_the_uploads_of_the_captures_are_refused(shared_data: Path) -> None:
    _, uploads = read_all(shared_data / "vcfp-pcap")
    leaks = play_uploads(uploads, POLICY)
    assert len(leaks) == 735
    assert all(leak.outcome.refused for leak in leaks)
    dirty = [leak for leak in leaks if leak.outcome.left]
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"- {leak.name}: {leak.outcome.left:,} of" in page for leak in dirty), [
        (leak.name, leak.outcome.left) for leak in dirty
    ]
    assert len(dirty) <= 2


def test_conversations_fare_as_without_a_gate() -> None:
    live = partial(converse, talks=12, seed=11, song_s=20.0)
    without = direct(live, kernel=False, mode=Mode.MONITOR)
    balanced = direct(live, kernel=False, balanced=True)
    for device, tally in balanced.items():
        assert (tally.answered, tally.followed, tally.played) == (12, 4, 2)
        assert tally.resets == 0
        assert without[device].answered == tally.answered


@pytest.mark.parametrize("muted", [False, True])
@pytest.mark.parametrize("balanced", [False, True])
def test_of_a_voice_that_nothing_explains_no_byte_arrives(*, balanced: bool, muted: bool) -> None:
    speak = partial(speak_unexplained, times=6, seed=11, muted=muted)
    silence = direct(speak, kernel=False, balanced=balanced)
    assert silence.speech == {"eager": 0, "lazy": 0}
    passes = balanced and not muted
    assert (silence.opening["eager"] > 0) is passes


@pytest.mark.kernel
@pytest.mark.parametrize("muted", [False, True])
def test_on_the_kernel_no_byte_of_it_arrives_either(*, muted: bool) -> None:
    speak = partial(speak_unexplained, times=2, seed=11, muted=muted, seconds=1.0)
    assert direct(speak, kernel=True, balanced=True).speech == {"eager": 0, "lazy": 0}


@pytest.mark.parametrize("every", [2.2, EVERY_S])
@pytest.mark.parametrize("balanced", [False, True])
def test_a_song_at_the_measured_pace_plays_for_hours(*, balanced: bool, every: float) -> None:
    assert stream(POLICY, balanced=balanced, seconds=3 * 3600.0, every=every).whole


@pytest.mark.parametrize("balanced", [False, True])
def test_a_hasty_player_is_taken_for_no_voice_and_its_budget_ends(*, balanced: bool) -> None:
    lineage = POLICY.budgets["lineage"]
    streamed = stream(POLICY, balanced=balanced, seconds=3600.0, every=HASTY_S)
    assert not streamed.whole
    record = 5 + GCM.suite.get_length(REQUEST_BYTES)
    assert streamed.seconds / HASTY_S * record >= lineage.get_bound(streamed.seconds) - 2 * record


def test_no_sender_gets_more_through_than_the_page_says() -> None:
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in read_rows(PAGE.read_text())[OTHERS]
    ]
    told = {row[0]: int(row[2].replace(",", "")) for row in rows}
    assert set(told) == {sender.name for sender in ODD}
    for sender in ODD:
        outcome = play(sender, POLICY, seconds=SECONDS, temper=Temper.GOES_ON)
        assert outcome.left <= told[sender.name], f"{sender.name}: run python -m tests.balanced --senders"
    assert PICTURE.is_file()


def test_the_pages_conversations_were_as_good_as_without_a_gate() -> None:
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in read_rows(PAGE.read_text())[DAY]]
    for where in ("simulation", "kernel"):
        without, balanced = (
            [row[3:6] for row in rows if row[:2] == [gate, where]] for gate in ("none", "balanced")
        )
        assert len(without) == 2
        assert without == balanced
    silences = read_rows(PAGE.read_text())[UNEXPLAINED]
    assert len(silences) == 16
    assert all(row.strip("|").split("|")[5].strip() == "0" for row in silences)
