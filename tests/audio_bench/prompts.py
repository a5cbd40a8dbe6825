"""Hours of other speech: the prompts of a telephone exchange, read by five people in five languages.

From Debian's ``asterisk-core-sounds-*-g722`` (16 kHz, CC BY-SA 3.0 and CC BY 3.0), fetched once through apt
and kept under ``build/prompts``. Nothing of them is in the repository. One reader is one fold, so that a head
trained without a fold has never heard that voice nor that language.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hardware.audio import RATE
from tests.audio_bench.clips import Audio, Clip
from tests.bench.report import ROOT

FOLDER = ROOT / "build" / "prompts"
LANGUAGES = ("en", "es", "fr", "it", "ru")  # in the order of the folds
READERS = {"en": "en_US_f_*", "es": "es_MX_f_*", "fr": "fr_CA_f_*", "it": "it_IT_m_*", "ru": "ru_RU_f_*"}
BIT_RATE = 64000  # of G.722 in these files
PAUSE_S = 0.5  # between two prompts
STRETCH_S = 60.0  # of prompts in a row


def fetch(language: str) -> Path:
    """Return the unpacked package of a language; SystemExit says what stands in the way."""
    folder = FOLDER / language
    if folder.is_dir():
        return folder
    work = FOLDER / f"fetching-{language}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    package = f"asterisk-core-sounds-{language}-g722"
    try:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=work, check=True, capture_output=True)
        (archive,) = work.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, "root"], cwd=work, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        detail = getattr(error, "stderr", b"") or str(error).encode()
        raise SystemExit(
            f"Debian's package {package} cannot be fetched: {detail.decode(errors='replace').strip()}; "
            "run apt-get update, or see whether the machine has a Debian mirror"
        ) from None
    (work / "root").rename(folder)
    shutil.rmtree(work)
    return folder


def load_prompts() -> list[Clip]:
    """Return every prompt (of some 3 s), in the order of the files."""
    from G722 import G722

    made = []
    for fold, language in enumerate(LANGUAGES):
        (home,) = fetch(language).glob(f"usr/share/asterisk/sounds/{READERS[language]}")
        for path in sorted(home.rglob("*.g722")):
            if path.parent.name == "silence":
                continue
            samples: Audio = np.asarray(G722(RATE, BIT_RATE).decode(path.read_bytes()), dtype=np.float32)
            if len(samples):  # some files are empty
                made.append(Clip(f"{language}/{path.stem}", samples / np.float32(32768), fold))
    return made


def string_together(clips: Sequence[Clip]) -> list[Audio]:
    """Return the clips after another, with pauses, in stretches of about a minute."""
    pause = np.zeros(int(PAUSE_S * RATE), dtype=np.float32)
    stretches: list[Audio] = []
    pieces: list[Audio] = []
    length = 0
    for clip in clips:
        pieces += [clip.audio, pause]
        length += len(clip.audio) + len(pause)
        if length >= STRETCH_S * RATE:
            stretches.append(np.concatenate(pieces))
            pieces, length = [], 0
    if pieces:
        stretches.append(np.concatenate(pieces))
    return stretches
