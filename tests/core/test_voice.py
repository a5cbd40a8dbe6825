"""What is certain of a voice: its codec's lattice, at its pace, under whatever cipher suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pytest

from guard.core.engine import DeviceSettings, Engine
from guard.core.suite import SUITES, Suite, get_suite
from guard.core.verdict import Mode, Verdict
from guard.core.voice import (
    BURST_S,
    CODECS,
    MAX_GAP_S,
    PAIR,
    RUN,
    SURE_RUN,
    Speech,
    VoiceRun,
    get_pre_roll_lengths,
    get_voice_lengths,
)
from tests import wire
from tests.conversation import DEVICE
from tests.waiting import HELD, Waiting

GCM = get_suite(0x0303, 0xC02F, encrypt_then_mac=False)
CHACHA = get_suite(0x0303, 0xCCA8, encrypt_then_mac=False)
CBC = get_suite(0x0303, 0xC014, encrypt_then_mac=False)
CBC_ETM = get_suite(0x0303, 0xC014, encrypt_then_mac=True)
TLS_1_3 = get_suite(0x0304, 0x1301, encrypt_then_mac=False)
LENGTHS = get_voice_lengths(GCM)


def count_until_voice(
    rows: Sequence[tuple[float, int]], lengths: Mapping[int, Speech] = LENGTHS
) -> int | None:
    """Return after how many records the run is a voice; rows of (seconds, record length)."""
    run = VoiceRun()
    for number, (at, length) in enumerate(rows, 1):
        if length in lengths:
            run.receive(length, lengths[length], at)
        if run.is_voice(at):
            return number
    return None


@pytest.mark.parametrize(
    ("suite", "length"),
    [(GCM, 113), (CHACHA, 105), (CBC, 128), (CBC_ETM, 132), (TLS_1_3, 106), (None, 113), (None, 105)],
)
def test_the_lattice_moves_with_the_suite(suite: Suite | None, length: int) -> None:
    lengths = get_voice_lengths(suite)
    assert lengths[length].seconds == pytest.approx(0.02)
    assert count_until_voice([(0.02 * n, length) for n in range(9)], lengths) == SURE_RUN


@pytest.mark.parametrize("suite", sorted(SUITES, key=repr), ids=str)
def test_every_suite_has_a_lattice_and_a_heartbeat_is_not_on_it(suite: Suite) -> None:
    lengths = get_voice_lengths(suite)
    assert lengths
    assert suite.get_length(4) not in lengths or suite.block  # a block cipher rounds small plaintexts up
    assert not set(lengths) & set(get_pre_roll_lengths(suite)) or suite.block


def test_equal_frames_at_their_pace_are_a_voice_after_three() -> None:
    assert count_until_voice([(0.02 * n, 113) for n in range(9)]) == SURE_RUN
    assert count_until_voice([(0.08 * n, 353) for n in range(9)]) == SURE_RUN  # four frames in a record
    assert count_until_voice([(0.05 * n, 432) for n in range(9)]) == SURE_RUN


def test_frames_of_changing_number_are_one_after_five() -> None:
    lengths = [113, 193, 113, 273, 193, 113]
    assert count_until_voice([(0.02 * n, length) for n, length in enumerate(lengths)]) == RUN


def test_two_different_records_of_a_wide_lattice_are_a_voice() -> None:
    assert count_until_voice([(0.0, 1632), (0.02, 432), (0.022, 3232), (0.05, 432)]) == PAIR
    assert count_until_voice([(0.0, 432), (0.03, 432), (0.06, 1632)]) == SURE_RUN
    assert count_until_voice([(0.0, 193), (0.01, 113)]) is None  # one length in 80 is of the narrow one


def test_two_are_none_where_more_time_passes_than_the_first_is_long() -> None:
    assert count_until_voice([(0.0, 432), (0.08, 1632)]) is None
    assert count_until_voice([(0.0, 3632), (BURST_S + 0.01, 1632)]) is None


def test_a_pre_roll_that_was_cut_tells_with_its_first_frames() -> None:
    assert count_until_voice([(0.0, 4128), (0.02, 432)]) == PAIR
    assert count_until_voice([(0.0, 2032), (0.003, 4128)]) == PAIR


def test_reports_in_buffers_as_long_as_a_cut_pre_rolls_are_no_voice() -> None:
    assert count_until_voice([(0.001 * n, 4128) for n in range(60)]) is None
    assert count_until_voice([(0.001 * n, 4128 if n % 3 else 1475) for n in range(60)]) is None


def test_records_too_rare_to_be_speech_are_none() -> None:
    assert count_until_voice([(0.9 * n, 113) for n in range(50)]) is None
    assert count_until_voice([((MAX_GAP_S + 0.1) * n, 1633) for n in range(50)]) is None


def test_a_stray_of_another_lattice_neither_hastens_nor_delays() -> None:
    lengths = get_voice_lengths(None)
    stray = 113 - 24 + 17  # under TLS 1.3
    rows = [(0.0, stray), (0.01, 113), (0.02, stray), (0.03, 113), (0.05, 113)]
    assert count_until_voice(rows, lengths) == 5
    run = VoiceRun()
    for at, length in rows:
        run.receive(length, lengths[length], at)
    assert (run.began_at, run.count) == (0.01, 5)
    assert run.bytes == 3 * 113


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            [
                (0.3 * n + 0.001 * k, length)
                for n in range(30)
                for k, length in enumerate((365, 1475, 1475, 1396))
            ],
            id="metrics of a muted Echo, 121 kB in 10 s",
        ),
        pytest.param([(0.002 * n, 2072) for n in range(60)], id="metrics of an Echo Plus that boots"),
        pytest.param([(0.002 * n, 2096) for n in range(60)], id="the same under AES-CBC"),
    ],
)
@pytest.mark.parametrize("suite", [None, GCM, CHACHA, TLS_1_3, CBC])
def test_reports_are_no_voice_under_any_suite(rows: list[tuple[float, int]], suite: Suite | None) -> None:
    assert count_until_voice(rows, get_voice_lengths(suite)) is None


def test_two_frames_of_lpcm_are_none_under_cbc() -> None:
    assert CODECS[2].most == 1
    assert CBC is not None
    assert CBC.get_length(9 + 2 * 1024) == 2096
    assert 2096 not in get_voice_lengths(CBC)


def test_a_pre_roll_in_one_record_makes_a_burst() -> None:
    length = 33 + 80 * 71
    assert length in get_pre_roll_lengths(GCM)
    for pre_roll_at, burst, needed in ((0.97, True, 1), (1.0 - 2 * BURST_S, False, SURE_RUN)):
        run = VoiceRun()
        told = [run.receive(113, LENGTHS[113], 1.0 + 0.02 * n, pre_roll_at) for n in range(4)]
        assert told.index(True) + 1 == needed
        assert run.voice
        assert run.burst is burst


def test_several_frames_after_what_may_be_a_pre_roll_may_be_chance() -> None:
    run = VoiceRun()
    assert not run.receive(353, LENGTHS[353], 1.0, 0.97)
    assert not run.receive(193, LENGTHS[193], 1.01, 0.97)


# -- under the balanced policy -----------------------------------------------------------------------


def make_talk(*, missing: bool = False, mode: Mode = Mode.ENFORCE) -> Waiting:
    policy = dataclasses.replace(HELD, voice=None) if missing else HELD
    talk = Waiting(engine=Engine(policy, {DEVICE: DeviceSettings(balanced=True)}, mode=mode))
    talk.establish()
    return talk


def test_five_voice_records_in_one_segment_are_refused() -> None:
    talk = make_talk()
    assert talk.up(b"".join(wire.app_data(113) for _ in range(5))).split()[2] == Verdict.HOLD
    talk.wait(1.0)
    assert talk.take() == ["app_data justified refuse flow voice_like"]
    assert talk.engine.get_status(DEVICE, now=talk.now).voice_leaked_bytes == 0


def test_what_came_before_a_voice_does_not_release_its_first_records() -> None:
    talk = make_talk()
    assert talk.up(wire.app_data(353)) == "app_data justified hold probing"  # a report as long as speech
    talk.wait(0.13)
    for _ in range(20):
        talk.up(wire.app_data(113))
        talk.wait(0.02)
    talk.wait(1.0)
    first, *rest = talk.take()
    assert first == "app_data justified accept control_budget"
    assert rest[0] == "app_data justified refuse flow voice_like"
    assert not [words for words in rest if " accept " in words]


def test_a_probe_lets_go_in_order_and_each_after_its_own_time() -> None:
    talk = make_talk()
    talk.up(wire.app_data(353))
    talk.wait(0.1)
    assert talk.up(wire.app_data(700)) == "app_data justified hold awaiting_wake_word"  # in its turn
    talk.up(wire.app_data(353 + 80))
    talk.up(wire.app_data(700))
    talk.wait(0.06)
    assert talk.take() == ["app_data justified accept control_budget"] * 2
    talk.wait(0.08)
    assert talk.take() == []
    talk.wait(0.02)
    assert talk.take() == ["app_data justified accept control_budget"] * 2
    assert talk.held == (0, 0)
    assert talk.up(wire.app_data(700)) == "app_data justified accept control_budget"


def test_a_pre_roll_in_one_record_waits_for_what_follows() -> None:
    talk = make_talk()
    record = wire.app_data(33 + 80 * 71)
    assert talk.up(record[:1460]) == "app_data justified hold probing"
    for start in range(1460, len(record), 1460):
        talk.up(record[start : start + 1460])
    talk.wait(0.03)
    for _ in range(6):
        talk.up(wire.app_data(113))
        talk.wait(0.025)
    talk.wait(1.0)
    taken = talk.take()
    assert taken[0] == "app_data justified refuse flow voice_like"
    assert not [words for words in taken if " accept " in words]
    assert talk.engine.get_status(DEVICE, now=talk.now).unheard_wakes == 1


def test_without_a_model_balanced_is_as_strict_as_strict() -> None:
    talk = make_talk(missing=True)
    assert talk.engine.get_status(DEVICE, now=talk.now).model is None
    assert talk.up(wire.app_data(700)) == "app_data justified hold model_missing"
    talk.wait(1.0)
    assert talk.take() == ["app_data justified refuse flow model_missing"]
    again = Waiting(engine=talk.engine, port=41_000)
    again.establish()
    again.hear()
    assert again.up(wire.app_data(700)) == "app_data expected accept interaction"


def test_a_model_that_comes_back_is_used() -> None:
    talk = make_talk(missing=True)
    talk.engine.set_policy(HELD, {DEVICE: DeviceSettings(balanced=True)}, now=talk.now)
    assert talk.engine.get_status(DEVICE, now=talk.now).model == "voice-v1"
    again = Waiting(engine=talk.engine, port=41_000)
    again.establish()
    assert again.up(wire.app_data(700)) == "app_data justified accept control_budget"


def test_a_codec_nobody_has_measured_is_refused_and_what_it_sent_is_counted() -> None:
    talk = make_talk()
    record = wire.app_data(250)
    assert 250 not in LENGTHS
    left = 0
    for _ in range(100):
        left += len(record) * (talk.up(record) == "app_data justified accept control_budget")
        talk.ack()
        talk.wait(0.04)
    status = talk.engine.get_status(DEVICE, now=talk.now)
    assert status.voice_refusals == 1
    assert status.voice_leaked_bytes == left <= 4096


@pytest.mark.parametrize("missing", [False, True])
def test_muted_stays_closed(missing: bool) -> None:
    talk = make_talk(missing=missing)
    talk.mute()
    assert talk.up(wire.app_data(700)) == "app_data not_justified refuse flow muted"
