"""Inside the guest: six channels through a sound card of the kernel's, in order.

snd-aloop is a card whose playback comes back as capture. ``aplay`` plays a tone of its own on each
channel; what is heard is told by its strongest tone, since the loop is not exact to the bit.
"""

from __future__ import annotations

import math
import subprocess
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.arecord import ArecordMicrophone
from hardware.audio import RATE
from hardware.config import MicrophoneSettings
from hardware.errors import MicrophoneError
from hardware.microphones import Plan, choose_plan, list_capture_devices
from tests.netns.household import wait_until

PLAYBACK, CAPTURE = "hw:CARD=Loopback,DEV=0", "hw:CARD=Loopback,DEV=1"
TONES = (300, 500, 800, 1300, 2100, 3400)  # Hz, one a channel; none is a harmonic of another
PLAYED_S = 60
HEARD = 1600  # samples: 0.1 s, whole periods of each tone
STALL_S = 10.0
LOUD = 1000


@pytest.fixture
def playing(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Play the tones until the end of the test."""
    frames = array("h")
    for sample in range(RATE // 10):
        frames.extend(round(8000 * math.sin(math.tau * tone * sample / RATE)) for tone in TONES)
    file = tmp_path / "tones.raw"
    file.write_bytes(frames.tobytes() * (10 * PLAYED_S))
    command = ("aplay", "-q", "-D", PLAYBACK, "-t", "raw", "-f", "S16_LE", "-r", str(RATE))
    process = subprocess.Popen((*command, "-c", str(len(TONES)), str(file)), stderr=subprocess.PIPE)
    wait_until(lambda: "RUNNING" in Path("/proc/asound/Loopback/pcm0p/sub0/status").read_text(), seconds=30)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def plan(playing: subprocess.Popen[bytes]) -> Plan:
    return choose_plan(MicrophoneSettings(device=CAPTURE, channels=len(TONES)))


def hear(microphone: ArecordMicrophone) -> list[list[int]]:
    """Return 0.1 s of each channel, from where there is sound on."""
    heard: list[list[int]] = [[] for _ in TONES]
    while len(heard[0]) < HEARD:
        block = microphone.read()
        assert block is not None
        channels = [array("h", channel) for channel in block.channels]
        assert len(channels) == len(TONES)
        if heard[0] or max(channels[0]) > LOUD:
            for samples, channel in zip(heard, channels, strict=True):
                samples.extend(channel)
    return [samples[:HEARD] for samples in heard]


def get_power(samples: list[int], tone: int) -> float:
    """Return the power of ``samples`` at ``tone`` Hz (Goertzel)."""
    factor = 2 * math.cos(math.tau * tone / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + factor * last - before
    return before * before + last * last - factor * before * last


def test_six_channels_come_in_order(plan: Plan) -> None:
    microphone = ArecordMicrophone(plan, stall_s=STALL_S)
    try:
        heard = hear(microphone)
    finally:
        microphone.close()
    loudest = [max(TONES, key=lambda tone, samples=samples: get_power(samples, tone)) for samples in heard]  # type: ignore[misc]  # bound now
    assert loudest == list(TONES)


def test_the_card_is_found_and_one_in_use_is_a_fault_with_a_remedy(plan: Plan) -> None:
    assert CAPTURE in list_capture_devices()
    microphone = ArecordMicrophone(plan, stall_s=STALL_S)
    try:
        assert microphone.read() is not None
        with pytest.raises(MicrophoneError, match="in use by another process"):
            choose_plan(MicrophoneSettings(device=f"{CAPTURE},SUBDEV=0", channels=len(TONES)))
    finally:
        microphone.close()
