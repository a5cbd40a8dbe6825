"""Finding a microphone, asking it and agreeing with it; then recording through ALSA itself."""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path

import pytest

from hardware.arecord import ArecordMicrophone
from hardware.config import MicrophoneSettings
from hardware.errors import MicrophoneError
from hardware.microphones import (
    Offer,
    Plan,
    agree,
    ask_device,
    choose_plan,
    explain,
    list_capture_devices,
    parse_offer,
)
from tests.hardware.alsa import SYSTEM, configure

REPORT = """Recording raw data 'stdin' : Signed 16 bit Little Endian, Rate 16000 Hz, Mono
HW Params of device "hw:1":
--------------------
ACCESS:  MMAP_INTERLEAVED RW_INTERLEAVED
FORMAT:  {formats}
SUBFORMAT:  STD
CHANNELS: {channels}
RATE: {rates}
PERIOD_TIME: (0 4294967295]
--------------------
arecord: set_params:1343: Sample format non available
"""

# What sound cards offer, and what is agreed.
CARDS = {
    "ReSpeaker 4-mic": (("S32_LE", "4", "[8000 48000]"), Plan("hw:1", "S32_LE", 4)),
    "ReSpeaker 2-mic": (("S16_LE S24_LE S32_LE", "[1 2]", "[8000 48000]"), Plan("hw:1", "S16_LE", 2)),
    "linear array": (("S32_LE", "8", "16000"), Plan("hw:1", "S32_LE", 8)),
    "USB array": (("S16_LE", "6", "16000"), Plan("hw:1", "S16_LE", 6)),
    "USB webcam": (("S16_LE", "1", "48000"), Plan("plughw:1", "S16_LE", 1)),
    "24 bits in 3 bytes": (("S24_3LE", "2", "[44100 48000]"), Plan("plughw:1", "S16_LE", 2)),
    "anything goes": (("S16_LE S32_LE", "[1 10000]", "[4000 4294967295)"), Plan("hw:1", "S16_LE", 1)),
}


@pytest.mark.parametrize("card", CARDS)
def test_the_cards_offer_decides(card: str) -> None:
    (formats, channels, rates), plan = CARDS[card]
    offer = parse_offer(REPORT.format(formats=formats, channels=channels, rates=rates))
    assert offer is not None
    assert agree("hw:1", offer, 0) == plan


def test_a_report_without_an_offer_is_none() -> None:
    assert parse_offer("arecord: main:831: audio open error: No such file or directory\n") is None


def test_a_wrong_channel_count_is_named_with_the_right_one() -> None:
    with pytest.raises(
        MicrophoneError, match=r"hw:1 has 1 to 2 channels, not 4; set sense\.microphone\.channels"
    ):
        agree("hw:1", Offer(("S16_LE",), (1, 2), (16000, 16000)), 4)


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("arecord: main:831: audio open error: No such file or directory", "arecord -l"),
        ("arecord: main:831: audio open error: Device or resource busy", "another process"),
        ("arecord: main:831: audio open error: Permission denied", "group audio"),
        ("arecord: pcm_read:2178: read error: No such device", "has gone"),
        ("arecord: main:1: anything else", r"arecord said: arecord: main:1: anything else"),
        ("", "arecord said: nothing"),
    ],
)
def test_what_arecord_says_gets_its_remedy(said: str, remedy: str) -> None:
    text = str(explain("hw:1", said))
    assert remedy in text
    assert "\n" not in text


def test_devices_are_found_by_the_cards_id(tmp_path: Path) -> None:
    (tmp_path / "pcm").write_text(
        "00-00: bcm2835 Headphones : bcm2835 Headphones : playback 8\n"
        "01-00: bcm2835-i2s-ac10x : : playback 1 : capture 1\n"
        "02-03: USB Audio : USB Audio : capture 1\n"
    )
    for number, name in ((1, "seeed4micvoicec"), (2, "ArrayUAC10")):
        (tmp_path / f"card{number}").mkdir()
        (tmp_path / f"card{number}" / "id").write_text(name + "\n")
    assert list_capture_devices(tmp_path) == ["hw:CARD=seeed4micvoicec,DEV=0", "hw:CARD=ArrayUAC10,DEV=3"]


def test_without_any_microphone_the_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(MicrophoneError, match="no microphone is found; plug one in"):
        choose_plan(MicrophoneSettings(), proc=tmp_path)


def read_on(microphone: ArecordMicrophone) -> None:
    """Read until the audio ends, or until a fault."""
    while microphone.read() is not None:
        pass


def make_frames(channels: int, count: int) -> bytes:
    """Return frames in which every sample says its channel and number."""
    return b"".join(
        struct.pack("<h", (channel << 12) + number % 4096)
        for number in range(count)
        for channel in range(channels)
    )


@pytest.mark.alsa
@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_channels_come_through_alsa_in_order(
    channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configure(tmp_path, raw=make_frames(channels, 4096))))
    plan = choose_plan(MicrophoneSettings(device="array", channels=channels))
    assert plan == Plan("array", "S16_LE", channels)
    microphone = ArecordMicrophone(plan, stall_s=5.0)
    try:
        block = microphone.read()
    finally:
        microphone.close()
    assert block is not None
    assert len(block.channels) == channels
    for channel, samples in enumerate(block.channels):
        values = struct.unpack(f"<{len(samples) // 2}h", samples)
        assert values == tuple((channel << 12) + number % 4096 for number in range(len(values)))


@pytest.mark.alsa
def test_32_bit_frames_come_as_16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = b"".join(struct.pack("<ii", number << 16, -number << 16) for number in range(4096))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configure(tmp_path, raw=raw)))
    microphone = ArecordMicrophone(Plan("array", "S32_LE", 2), stall_s=5.0)
    try:
        block = microphone.read()
    finally:
        microphone.close()
    assert block is not None
    assert struct.unpack("<4h", block.channels[0][:8]) == (0, 1, 2, 3)
    assert struct.unpack("<4h", block.channels[1][:8]) == (0, -1, -2, -3)


@pytest.mark.alsa
def test_another_rate_is_converted_by_alsa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card of 48 kHz and two channels only: the tone that comes out has the pitch that went in."""
    import math

    tone = [round(9000 * math.sin(2 * math.pi * 500 * number / 48000)) for number in range(48000)]
    raw = b"".join(struct.pack("<hh", value, value) for value in tone)
    fixed = "pcm.fixed { type hooks; slave.pcm array }\n"
    config = configure(tmp_path, raw=raw, extra=fixed)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    config.write_text(
        config.read_text()
        + "pcm.converted { type plug; slave { pcm array; rate 48000; channels 2; format S16_LE } }\n"
    )
    microphone = ArecordMicrophone(Plan("converted", "S16_LE", 1), stall_s=5.0)
    samples = b""
    try:
        while len(samples) < 2 * 16000:
            block = microphone.read()
            assert block is not None
            samples += block.channels[0]
    finally:
        microphone.close()
    values = struct.unpack(f"<{len(samples) // 2}h", samples)[1600:14400]
    crossings = sum(a < 0 <= b for a, b in itertools.pairwise(values))
    assert crossings == pytest.approx(500 * len(values) / 16000, rel=0.02)


@pytest.mark.alsa
def test_a_device_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configure(tmp_path, raw=b"")))
    with pytest.raises(MicrophoneError, match=r"no-such-thing .*`arecord -[lL]`"):
        ask_device("no-such-thing")
    with pytest.raises(MicrophoneError, match=r"hw:31 does not exist; `arecord -l`"):
        ask_device("hw:31")


@pytest.mark.alsa
def test_a_stalled_device_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "asound.conf"
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    config.write_text(
        SYSTEM + f"pcm.stalled {{ type file; slave.pcm null; file /dev/null; infile {fifo}; format raw }}\n"
    )
    holder = os.open(fifo, os.O_RDWR)  # somebody is there, and never says anything
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    microphone = ArecordMicrophone(Plan("stalled", "S16_LE", 1), stall_s=0.3)
    try:
        with pytest.raises(MicrophoneError, match="stalled"):
            read_on(microphone)
    finally:
        microphone.close()
        os.close(holder)


@pytest.mark.alsa
def test_a_device_that_vanishes_is_explained_and_a_waiting_read_can_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configure(tmp_path, raw=make_frames(1, 4096))))
    microphone = ArecordMicrophone(Plan("array", "S16_LE", 1), stall_s=5.0)
    microphone._process.kill()
    with pytest.raises(MicrophoneError, match="array cannot be used"):
        read_on(microphone)
    microphone.close()
    second = ArecordMicrophone(Plan("array", "S16_LE", 1), stall_s=5.0)
    second.interrupt()
    read_on(second)
    second.close()


def test_an_overrun_is_counted_and_the_clock_starts_afresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is a script here: no file-fed PCM can be made to overrun."""
    program = tmp_path / "arecord"
    program.write_text(
        "#!/bin/sh\nhead -c 6400 /dev/zero\n"
        "echo 'overrun!!! (at least 1.234 ms long)' >&2\nhead -c 6400 /dev/zero\nexec sleep 60\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    microphone = ArecordMicrophone(Plan("hw:1", "S16_LE", 1), stall_s=5.0)
    total = 0
    while total < 12_800:
        block = microphone.read()
        assert block is not None
        total += len(block.channels[0])
    microphone.close()
    assert microphone.overruns == 1


def test_without_arecord_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MicrophoneError, match="apt install alsa-utils"):
        ask_device("hw:0")
    with pytest.raises(MicrophoneError, match="apt install alsa-utils"):
        ArecordMicrophone(Plan("hw:0", "S16_LE", 1), stall_s=1.0)
