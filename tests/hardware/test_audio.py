"""Frames become channels, and counts of samples become times."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.audio import RATE, REANCHOR_S, Block, SampleClock, split_channels


@given(st.integers(1, 8), st.data())
def test_16_bit_frames_split_into_their_channels(channels: int, data: st.DataObject) -> None:
    frames = data.draw(st.lists(st.tuples(*[st.integers(-32768, 32767)] * channels), max_size=20))
    raw = b"".join(struct.pack(f"<{channels}h", *frame) for frame in frames)
    split = split_channels(raw, channels=channels, sample_bytes=2)
    assert [struct.unpack(f"<{len(frames)}h", samples) for samples in split] == [
        tuple(frame[channel] for frame in frames) for channel in range(channels)
    ]


@given(st.integers(1, 8), st.data())
def test_32_bit_frames_keep_their_upper_half(channels: int, data: st.DataObject) -> None:
    frames = data.draw(st.lists(st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * channels), max_size=20))
    raw = b"".join(struct.pack(f"<{channels}i", *frame) for frame in frames)
    split = split_channels(raw, channels=channels, sample_bytes=4)
    assert [struct.unpack(f"<{len(frames)}h", samples) for samples in split] == [
        tuple(frame[channel] >> 16 for frame in frames) for channel in range(channels)
    ]


def test_a_block_knows_its_length() -> None:
    assert Block((bytes(640), bytes(640)), 1.0).seconds == pytest.approx(0.02)


@given(st.lists(st.floats(0.0, 0.2), min_size=1, max_size=200))
def test_sample_time_is_never_ahead_of_the_clock_and_never_runs_backwards(lateness: list[float]) -> None:
    clock, last = SampleClock(), float("-inf")
    for number, late in enumerate(lateness, start=1):
        now = 100.0 + number * 0.02 + late
        t = clock.receive(320, now=now)
        assert t <= now + 1e-9
        assert t >= 100.0 + number * 0.02 - 1e-9  # what was late cannot make it early
        if late <= min(lateness[:number]):
            assert t == pytest.approx(now)
        last = max(last, t)


def test_a_gap_starts_the_sample_clock_afresh() -> None:
    clock = SampleClock()
    for number in range(1, 50):
        clock.receive(320, now=number * 0.02)
    late = 49 * 0.02 + 0.02 + REANCHOR_S + 1.0
    assert clock.receive(320, now=late) == pytest.approx(late)


def test_a_slow_sound_card_is_followed() -> None:
    clock, error = SampleClock(), 0.0
    for number in range(1, 50 * 600):  # ten minutes at 100 ppm
        now = number * 0.02 * 1.0001
        error = now - clock.receive(320, now=now)
    assert 0.0 <= error < 0.01


def test_the_rate_is_what_detectors_are_trained_on() -> None:
    assert RATE == 16_000
