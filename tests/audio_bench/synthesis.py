"""Synthesised speech: near words and household talk, by Flite and eSpeak NG (``apt-get install``).

A poor stand-in for people, and said so wherever a figure rests on it. Voices that train are never those
that test. The text is drawn from lists by a seed.
"""

from __future__ import annotations

import io
import shutil
import subprocess

import numpy as np
import soundfile

from hardware.audio import RATE
from tests.audio_bench.clips import Audio, round_up

GRAIN = 64  # samples: how finely lengths are chosen, so that transforms are quick

TRAIN_VOICES = (
    "flite kal16", "flite rms", "espeak en-us", "espeak en-us+f2", "espeak en-us+m3", "espeak en-us+f4",
    "espeak en-gb-scotland", "espeak en-gb-scotland+f3", "espeak en-us+m6",
)  # fmt: skip
TEST_VOICES = (
    "flite awb", "flite slt", "espeak en-gb-x-rp", "espeak en-gb-x-rp+f5", "espeak en-029+m7",
    "espeak en-gb+f1",
)  # fmt: skip

NEAR_WORDS = (
    "Lexa", "Alexis", "a lexus", "election", "Alex", "Alexander", "relax", "a taxi", "electric",
    "a lecture", "Alaska", "Malaysia", "Alyssa", "Alessia", "all eggs are", "elect her", "her legs are",
    "select a", "collects a", "Alexandra", "a lecturer", "unless a", "I'll ask a", "alas", "a leg sir",
    "the lexicon", "reflects a", "a election", "Alexei", "let's say", "a lesson", "electra", "complexion",
    "annexe a", "dyslexia", "Texas",
)  # fmt: skip
CARRIERS = (
    "{}", "I think {} is fine", "we saw {} yesterday", "{} was here", "it was about {} again",
    "so then {} came back", "look at {} over there", "what about {} tomorrow morning",
    "nobody told {} anything", "it is {} or nothing",
)  # fmt: skip

WHO = (
    "my sister", "the neighbour", "our teacher", "the doctor", "a friend of mine", "the man at the shop",
    "grandma", "that company", "the landlord", "your brother", "the woman next door", "everyone at work",
)  # fmt: skip
DOES = (
    "wants to sell the old car", "asked me about the garden", "left the keys on the table",
    "is coming for dinner", "never answers the telephone", "bought a new washing machine",
    "told us a story about the war", "will paint the kitchen yellow", "forgot to pay the electricity bill",
    "said the weather would change", "found a wallet in the street", "has been ill since last week",
    "collects stamps and old maps", "would rather take the early train",
    "complained about the noise upstairs", "is learning to play the piano",
)  # fmt: skip
WHEN = (
    "on Tuesday", "after the holidays", "because of the rain", "when the children were asleep", "as usual",
    "before anyone noticed", "for the third time this year", "and nobody knows why", "which surprised me",
    "while we watched the news", "at a quarter past eight", "if I remember correctly",
)  # fmt: skip


def is_possible() -> bool:
    """Return whether both programs are installed."""
    return shutil.which("flite") is not None and shutil.which("espeak-ng") is not None


def say(text: str, voice: str, *, speed: float = 1.0, pitch: int = 50) -> Audio:
    """Return ``text`` spoken by ``voice`` at 16 kHz; ``pitch`` (0..99) is eSpeak's."""
    program, _, name = voice.partition(" ")
    if program == "flite":
        options = [
            "flite",
            "-voice",
            name,
            "--setf",
            f"duration_stretch={1 / speed:.3f}",
            "-t",
            text,
            "-o",
            "/dev/stdout",
        ]
    else:
        options = ["espeak-ng", "-v", name, "-s", str(round(165 * speed)), "-p", str(pitch), "--stdout", text]
    wav = subprocess.run(options, capture_output=True, check=True).stdout
    audio, rate = soundfile.read(io.BytesIO(mend_header(wav)), dtype="float32")
    return resample(np.asarray(audio, dtype=np.float32), rate)


def mend_header(wav: bytes) -> bytes:
    """Return a WAV written to a pipe with the length that it has."""
    at = wav.index(b"data") + 4
    length = len(wav) - at - 4
    return wav[:at] + length.to_bytes(4, "little") + wav[at + 4 :]


def resample(audio: Audio, rate: float) -> Audio:
    """Return ``audio`` of ``rate`` at 16 kHz, through its spectrum."""
    size = round_up(len(audio))
    spectrum = np.fft.rfft(audio, size)
    resized = round(size * RATE / rate / GRAIN) * GRAIN
    kept = np.zeros(resized // 2 + 1, dtype=spectrum.dtype)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    changed = np.fft.irfft(kept, resized) * (resized / size)
    return np.asarray(changed[: round(len(audio) * RATE / rate)], dtype=np.float32)


def list_sentences(random: np.random.Generator, count: int) -> list[str]:
    """Return ``count`` sentences of household talk without a near word."""
    return [
        ", ".join(f"{_pick(random, WHO)} {_pick(random, DOES)} {_pick(random, WHEN)}" for _ in range(2))
        for _ in range(count)
    ]


def list_near(random: np.random.Generator, count: int) -> list[str]:
    """Return ``count`` near words, each in turn, alone and within a sentence."""
    return [_pick(random, CARRIERS).format(NEAR_WORDS[number % len(NEAR_WORDS)]) for number in range(count)]


def _pick(random: np.random.Generator, rows: tuple[str, ...]) -> str:
    return rows[int(random.integers(len(rows)))]
