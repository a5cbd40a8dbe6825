"""Which microphone, and how it is recorded from: found, asked, and agreed with.

Sound cards differ: one HAT gives four channels of 32 bits, another two of 16, a USB array six. The card's
own offer decides (``arecord --dump-hw-params``), never its name. Where a card cannot give 16 kHz in 16 or
32 bits, ALSA's plug layer converts.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hardware.audio import RATE
from hardware.config import MicrophoneSettings
from hardware.errors import MicrophoneError

PROC_ASOUND = Path("/proc/asound")
PROBE_TIMEOUT_S = 5.0
MAX_CHANNELS = 16  # a wider range is a plug device that converts anything
SAMPLE_BYTES = {"S16_LE": 2, "S32_LE": 4}  # what split_channels takes, the cheaper first

# what arecord says -> what the owner can do; first match. {device} is the one asked for.
_REMEDIES = (
    ("No such file or directory", "does not exist; `arecord -l` lists those there are"),
    ("No such device", "has gone; plug it in again (`arecord -l` lists those there are)"),
    (
        "Device or resource busy",
        "is in use by another process; stop that one (`fuser -v /dev/snd/*` names it)",
    ),
    ("Permission denied", "may not be opened; add the user to the group audio"),
    ("Unknown PCM", "is not known to ALSA; `arecord -L` lists the names there are"),
    ("Invalid argument", "is no capture device; `arecord -l` lists those there are"),
)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a device can do; ranges are inclusive."""

    formats: tuple[str, ...]
    channels: tuple[int, int]
    rates: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is recorded from."""

    device: str
    format: str
    channels: int


def list_capture_devices(proc: Path = PROC_ASOUND) -> list[str]:
    """Return the ALSA names of the sound cards' capture devices, by card id since numbers change."""
    try:
        lines = (proc / "pcm").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    devices = []
    for line in lines:
        match = re.match(r"(\d+)-(\d+):", line)
        if match is None or not re.search(r":\s*capture \d", line):
            continue
        card = int(match[1])
        try:
            name = (proc / f"card{card}" / "id").read_text(encoding="utf-8").strip()
        except OSError:
            name = str(card)
        devices.append(f"hw:CARD={name},DEV={int(match[2])}")
    return devices


def choose_plan(settings: MicrophoneSettings, *, proc: Path = PROC_ASOUND) -> Plan:
    """Return how to record from the configured device, or from the one with most channels."""
    if settings.device:
        return _agree(settings.device, ask_device(settings.device), settings.channels)
    devices = list_capture_devices(proc)
    if not devices:
        raise MicrophoneError("no microphone is found; plug one in, or name it in sense.microphone.device")
    plans, faults = [], []
    for device in devices:
        try:
            plans.append(_agree(device, ask_device(device), settings.channels))
        except MicrophoneError as error:
            faults.append(error)
    if not plans:
        raise faults[0]
    return max(plans, key=lambda plan: plan.channels)


def ask_device(device: str) -> Offer:
    """Return what ``device`` offers; MicrophoneError when it cannot be opened."""
    report = run_arecord(device, "--dump-hw-params", "-t", "raw", "-s", "1")
    offer = parse_offer(report)
    if offer is None:
        raise explain(device, report)
    return offer


def parse_offer(report: str) -> Offer | None:
    """Return the offer in ``arecord --dump-hw-params``' report; None when there is none."""
    values = dict(re.findall(r"^(FORMAT|CHANNELS|RATE): +(.+)$", report, flags=re.MULTILINE))
    if len(values) < 3:
        return None
    ranges = []
    for key in ("CHANNELS", "RATE"):
        numbers = [int(number) for number in re.findall(r"\d+", values[key])]
        if not numbers:
            return None
        ranges.append((numbers[0], numbers[-1]))
    return Offer(tuple(values["FORMAT"].split()), ranges[0], ranges[1])


def agree(device: str, offer: Offer, channels: int) -> Plan:
    """Return the plan for ``channels`` (0: all there are) of ``device``; MicrophoneError if impossible."""
    low, high = offer.channels
    if channels and not low <= channels <= high:
        raise MicrophoneError(
            f"the microphone {device} has {_count(low, high)}, not {channels}; "
            "set sense.microphone.channels to that, or to 0"
        )
    wanted = channels or (high if high <= MAX_CHANNELS else max(1, low))
    if offer.rates[0] <= RATE <= offer.rates[1]:
        for name in SAMPLE_BYTES:
            if name in offer.formats:
                return Plan(device, name, wanted)
    return Plan(get_converting(device), "S16_LE", wanted)


def get_converting(device: str) -> str:
    """Return the name of ``device`` behind ALSA's converter."""
    return (
        device
        if device.startswith(("plug", "default"))
        else f"plug{device}"
        if device.startswith("hw:")
        else (f'plug:"{device}"')
    )


def run_arecord(device: str, *options: str) -> str:
    """Run arecord on ``device`` for a moment, throw the audio away and return what it said."""
    command = ["arecord", "-D", device, *options]
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=get_environment(),
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise MicrophoneError("arecord is not installed; sudo apt install alsa-utils") from None
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace")
        if parse_offer(said) is None:
            raise MicrophoneError(
                f"the microphone {device} does not answer; unplug it and plug it in"
            ) from None
        return said
    return result.stderr.decode(errors="replace")


def explain(device: str, report: str) -> MicrophoneError:
    """Return the fault in what arecord said about ``device``."""
    for words, remedy in _REMEDIES:
        if words in report:
            return MicrophoneError(f"the microphone {device} {remedy}")
    lines = [line for line in report.splitlines() if line.startswith("arecord:")] or report.splitlines()
    last = lines[-1] if lines else "nothing"
    return MicrophoneError(
        f"the microphone {device} cannot be used (arecord said: {last}); try `arecord -D {device}`"
    )


def get_environment() -> dict[str, str]:
    """Return arecord's environment: its messages in English, for we read them."""
    return {**os.environ, "LC_ALL": "C"}


def _agree(device: str, offer: Offer, channels: int) -> Plan:
    plan = agree(device, offer, channels)
    if plan.device == device and "not accurate" in run_arecord(device, *get_options(plan), "-s", "1"):
        return Plan(get_converting(device), "S16_LE", plan.channels)
    return plan


def get_options(plan: Plan) -> Sequence[str]:
    """Return arecord's options for ``plan``."""
    return ("-t", "raw", "-f", plan.format, "-c", str(plan.channels), "-r", str(RATE))


def _count(low: int, high: int) -> str:
    return f"{low} channels" if low == high else f"{low} to {high} channels"
