"""The listener: what it hears, and what it does when something breaks. Detectors and audio are real."""

from __future__ import annotations

import threading
import wave
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from hardware import canary
from hardware.arecord import ArecordMicrophone
from hardware.audio import Block, Microphone
from hardware.detectors import DETECTORS, Detector, Score, make_detector
from hardware.errors import DetectorError, HardwareError, MicrophoneError
from hardware.inbox import Frame, Hearing, Inbox, Note, Scored, Trouble
from hardware.listener import Ears, Listener
from hardware.microphones import Plan
from hardware.speech import make_speech_test
from hardware.wav import BLOCK_BYTES, WavMicrophone, cut_blocks, read_wav
from tests.hardware.alsa import configure
from tests.hardware.wait import wait_until

THRESHOLD = {name: row.threshold for name, row in DETECTORS.items()}
PACKAGED = [name for name in ("microwakeword", "openwakeword") if name in DETECTORS]


def make_ears(open_microphone: Callable[[], Microphone], **changes: object) -> Ears:
    values: dict[str, object] = {
        "open_microphone": open_microphone,
        "make_detector": partial(make_detector, "microwakeword", ["alexa"]),
        "is_speech": None,
        "threshold": 0.7,
        "canary_s": 0.0,
    }
    return Ears(**{**values, **changes})  # type: ignore[arg-type] # a table of arguments


def listen(detector: Detector, channel: bytes, threshold: float) -> list[tuple[float, Score]]:
    """Return the scores over the threshold in ``channel`` and when, with silence around it."""
    found = []
    padded = bytes(32_000) + channel + bytes(16_000)
    for block in cut_blocks((padded,), start=-1.0):
        found += [(block.end, score) for score in detector.receive_audio(block.channels[0])]
    return [(t, score) for t, score in found if score.score >= threshold]


@pytest.mark.parametrize("name", PACKAGED)
def test_a_detector_hears_the_synthesised_word_in_any_cut(name: str) -> None:
    (clip,) = read_wav(canary.CLIP)
    whole = make_detector(name, ["alexa"])
    assert listen(whole, clip, THRESHOLD[name])
    padded = bytes(32_000) + clip + bytes(32_000)
    results = []
    for size in (len(padded), 640, 34):
        detector = make_detector(name, ["alexa"])
        scores: list[Score] = []
        for start in range(0, len(padded), size):
            scores += detector.receive_audio(padded[start : start + size])
        results.append(scores)
        detector.close()
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("name", PACKAGED)
def test_a_detector_that_was_reset_knows_the_word_again(name: str) -> None:
    detector = make_detector(name, ["alexa"])
    for _ in range(3):
        canary.check(detector, threshold=THRESHOLD[name])
    detector.close()


@pytest.mark.audio
@pytest.mark.parametrize("name", PACKAGED)
def test_detectors_on_recordings_of_people(name: str, recordings: Path) -> None:
    detector = make_detector(name, ["alexa"])
    for clip in sorted((recordings / "alexa_unit").glob("pymicro_alexa_*.wav")):
        assert listen(detector, read_wav(clip)[0], THRESHOLD[name]), clip.name
    others = sorted((recordings / "neg_misc").glob("neg_hey_*.wav"))
    assert others
    for clip in others:
        assert not listen(detector, read_wav(clip)[0], THRESHOLD[name]), clip.name
    detector.close()


@pytest.mark.audio
def test_the_word_is_found_once_and_where_it_is(recordings: Path) -> None:
    clip = read_wav(recordings / "alexa_unit" / "multiple_keywords.wav")
    listener = Listener(make_ears(lambda: WavMicrophone(canary.CLIP)), Inbox())
    listener.open(1, now=0.0)
    heard = [note for block in cut_blocks(clip, start=0.0) for note in listener.hear(block)]
    listener.close()
    times = [note.t for note in heard]
    assert times
    assert all(8.0 < t < 9.2 for t in times)


def test_any_channel_is_heard_and_says_which_it_was() -> None:
    (clip,) = read_wav(canary.CLIP)
    padded = bytes(32_000) + clip + bytes(32_000)
    silence = bytes(len(padded))
    listener = Listener(make_ears(lambda: WavMicrophone(canary.CLIP)), Inbox())
    listener.open(4, now=0.0)
    heard = [
        note
        for block in cut_blocks((silence, silence, padded, silence), start=0.0)
        for note in listener.hear(block)
    ]
    listener.close()
    assert {note.source for note in heard if isinstance(note, Scored)} == {"microphone 3"}


def test_voice_is_followed_after_a_wake_word_only() -> None:
    (clip,) = read_wav(canary.CLIP)
    ears = make_ears(lambda: WavMicrophone(canary.CLIP), is_speech=make_speech_test(), voice_s=2.0)
    listener = Listener(ears, Inbox())
    listener.open(1, now=0.0)
    before = [note for block in cut_blocks((bytes(32_000),), start=0.0) for note in listener.hear(block)]
    speech = clip + bytes(16_000) + clip + bytes(160_000)
    after = [note for block in cut_blocks((speech,), start=1.0) for note in listener.hear(block)]
    listener.close()
    assert before == []
    frames = [note for note in after if isinstance(note, Frame)]
    assert any(frame.speech for frame in frames)
    assert not frames[-1].speech
    assert frames[-1].t < max(note.t for note in after if isinstance(note, Scored)) + 2.1


class DeafDetector:
    """Answers for ever that there is nothing."""

    def receive_audio(self, audio: bytes) -> Sequence[Score]:
        return [Score("alexa", 0.001)]

    def reset(self) -> None:
        """Nothing to forget."""

    def close(self) -> None:
        """Nothing to free."""


def test_a_dead_detector_is_not_mistaken_for_a_quiet_room() -> None:
    with pytest.raises(DetectorError, match="does not know a recorded"):
        canary.check(DeafDetector(), threshold=0.5)


class BrokenMicrophone:
    """Gives what it is told to, and then breaks."""

    def __init__(self, blocks: Iterator[Block], *, overruns: int = 0) -> None:
        self.name = "test"
        self.overruns = overruns
        self._blocks = blocks

    def read(self) -> Block | None:
        block = next(self._blocks, None)
        if block is None:
            raise MicrophoneError("the microphone test has gone; plug it in again")
        return block

    def interrupt(self) -> None:
        """It never waits."""

    def close(self) -> None:
        """Nothing to close."""


def noise(seconds: float, *, start: float = 0.0) -> Iterator[Block]:
    count = round(seconds / 0.02)
    return (Block((b"\1\0" * (BLOCK_BYTES // 2),), start + number * 0.02) for number in range(count))


def run_until(ears: Ears, condition: Callable[[list[Note]], object]) -> tuple[Listener, list[Note]]:
    """Run a listener until ``condition`` holds of the notes so far."""
    inbox = Inbox()
    listener = Listener(ears, inbox)
    thread = threading.Thread(target=listener.run)
    thread.start()
    notes: list[Note] = []

    def look() -> object:
        notes.extend(inbox.wait(0.0))
        return condition(notes)

    try:
        wait_until(look)
    finally:
        listener.stop()
        thread.join(timeout=10.0)
    assert not thread.is_alive()
    notes.extend(inbox.wait(0.0))
    return listener, notes


def test_a_microphone_that_goes_is_announced_and_found_again() -> None:
    opened = []

    def open_microphone() -> Microphone:
        opened.append(1)
        if len(opened) == 2:
            raise MicrophoneError("the microphone test does not exist; `arecord -l` lists those there are")
        return BrokenMicrophone(noise(1.0), overruns=3 if len(opened) == 1 else 0)

    listener, notes = run_until(make_ears(open_microphone), lambda notes: notes.count(Hearing(True)) >= 2)
    hearing = [note.hears for note in notes if isinstance(note, Hearing)]
    assert hearing[:3] == [True, False, True]
    assert listener.lost >= 2
    assert listener.overruns == 3
    said = [note.text for note in notes if isinstance(note, Trouble)]
    assert any("has gone" in text for text in said)
    assert any("3 overruns" in text for text in said)


def test_nothing_but_zeros_is_a_broken_microphone() -> None:
    def say_zeros(notes: list[Note]) -> bool:
        return any(isinstance(note, Trouble) and "zeros" in note.text for note in notes)

    silent = partial(BrokenMicrophone, (Block((bytes(BLOCK_BYTES),), n * 0.02) for n in range(1000)))
    _, notes = run_until(make_ears(silent, zeros_s=5.0), say_zeros)
    assert Hearing(False) in notes


def test_a_detector_that_dies_later_is_found_out_by_the_next_check() -> None:
    alive = [True]

    class Dying(DeafDetector):
        def receive_audio(self, audio: bytes) -> Sequence[Score]:
            return [Score("alexa", 0.9 if alive[0] and audio.strip(b"\0\1") else 0.0)]

    def blocks() -> Iterator[Block]:
        for block in noise(30.0):
            alive[0] = block.end < 15.0
            yield block

    def open_microphone() -> Microphone:
        return BrokenMicrophone(blocks())

    _, notes = run_until(
        make_ears(open_microphone, make_detector=Dying, canary_s=10.0),
        lambda notes: any("does not know" in getattr(note, "text", "") for note in notes),
    )
    assert [note.hears for note in notes if isinstance(note, Hearing)][:2] == [True, False]


def test_a_detector_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pymicro_wakeword", None)
    with pytest.raises(DetectorError, match=r"pip install 'wakeguard\[sense\]'"):
        make_detector("microwakeword", ["alexa"])


def test_no_note_holds_audio() -> None:
    for kind in (Scored, Frame, Hearing, Trouble):
        assert not {"bytes", bytes} & set(kind.__annotations__.values())


@pytest.mark.alsa
def test_a_word_is_heard_through_alsa_on_any_of_four_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a four-channel ALSA device to the note: the clip is on the third channel, hiss on the others."""
    import random
    import struct

    (clip,) = read_wav(canary.CLIP)
    hiss = random.Random(4)
    samples = [0] * 16_000 + list(struct.unpack(f"<{len(clip) // 2}h", clip)) + [0] * 16_000
    raw = b"".join(struct.pack("<4h", *(hiss.randint(-3, 3) for _ in "12"), value, 1) for value in samples)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(configure(tmp_path, raw=raw)))
    ears = make_ears(lambda: ArecordMicrophone(Plan("array", "S16_LE", 4), stall_s=5.0))
    _, notes = run_until(ears, lambda notes: any(isinstance(note, Scored) for note in notes))
    assert {note.source for note in notes if isinstance(note, Scored)} == {"microphone 3"}


@pytest.mark.parametrize(
    ("rate", "width", "remedy"), [(48_000, 2, "48000 Hz and 16 bits"), (16_000, 1, "16000 Hz and 8 bits")]
)
def test_a_wav_file_of_another_kind_says_how_to_convert_it(
    rate: int, width: int, remedy: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(bytes(1000))
    with pytest.raises(MicrophoneError, match=f"{remedy}.*convert it: sox"):
        read_wav(path)


def test_a_corrupt_wav_file_is_one_line(tmp_path: Path) -> None:
    good = canary.CLIP.read_bytes()
    path = tmp_path / "x.wav"
    for size in [*range(60), 1000, len(good) - 1]:
        path.write_bytes(good[:size])
        with pytest.raises(HardwareError) as caught:
            read_wav(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(MicrophoneError, match="cannot be read"):
        read_wav(tmp_path / "none.wav")
