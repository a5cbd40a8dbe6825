"""What ``sense`` reads of the one TOML file: ``[sense]``, and where the gate's socket is.

Every complaint names the key and the remedy; ``docs/configuration.md`` lists the same keys. The rest of
the file is the gate's and passes unread. ``[sense.device.NAME]`` overrides for one Echo of several.
"""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from hardware.detectors import DEFAULT_DETECTOR, DETECTORS, list_unknown
from hardware.errors import SettingError

DEFAULT_PATH = Path("/etc/wakeguard/wakeguard.toml")
DEFAULT_SOCKET = "/run/wakeguard/sensors.sock"  # as the gate's own default
NO_PIN = "none"


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every table has in common: no key that we do not know."""


class MuteLedSettings(_Table, frozen=True, forbid_unknown_fields=True):
    """The comparator's pin and how its level is read."""

    pin: str = "GPIO27"  # free beside the ReSpeaker HATs; the 2-mic has a button on GPIO17
    active_level: str = "low"
    pull: str = "down"
    debounce_s: float = 0.05
    hold_s: float = 1.5
    poll_s: float = 0.05
    dead_s: float = 1.0


class MicrophoneSettings(_Table, frozen=True, forbid_unknown_fields=True):
    """The ALSA capture device; empty and 0 mean: find out."""

    device: str = ""
    channels: int = 0
    stall_s: float = 1.0


class WakeSettings(_Table, frozen=True, forbid_unknown_fields=True):
    """Who finds the wake word, and when it is believed."""

    source: str = "detector"
    detector: str = DEFAULT_DETECTOR
    words: tuple[str, ...] = ("alexa",)
    threshold: float | None = None
    window: int | None = None
    refractory_s: float = 1.0
    canary_s: float = 600.0
    host: str = "127.0.0.1"
    port: int = 10400
    remote: bool = False


class VoiceSettings(_Table, frozen=True, forbid_unknown_fields=True):
    """Voice activity after a wake word."""

    enabled: bool = True
    silence_s: float = 1.5
    max_s: float = 20.0


class SenseSettings(_Table, frozen=True, forbid_unknown_fields=True):
    """The whole of ``[sense]`` for one Echo."""

    mute_led: MuteLedSettings = MuteLedSettings()
    microphone: MicrophoneSettings = MicrophoneSettings()
    wake: WakeSettings = WakeSettings()
    voice: VoiceSettings = VoiceSettings()


class Setup(_Table, frozen=True, forbid_unknown_fields=True):
    """What one sensing process needs to know: its Echo, the gate's socket for it, its settings."""

    device: str
    socket: Path
    sense: SenseSettings


# key -> what a good value looks like. Each key of [sense] has its row.
REMEDIES: Mapping[str, str] = {
    "sense": "write a table [sense]",
    "sense.device": "write [sense.device.NAME.mute_led] and its like, NAME being that of a [[device]]",
    "sense.mute_led": "write a table [sense.mute_led]",
    "sense.mute_led.pin": 'use a name such as "GPIO27" or "BOARD13", or "none" without a light sensor',
    "sense.mute_led.active_level": 'use "low" or "high": the level of the pin while the lamp is lit',
    "sense.mute_led.pull": 'use "down", "up" or "none"; "down" with active_level "low" makes '
    "an open wire read muted",
    "sense.mute_led.debounce_s": "use seconds from 0.005 to 0.5, such as 0.05",
    "sense.mute_led.hold_s": "use seconds from 0.2 to 10, longer than debounce_s and than the Echo's "
    "pulse, such as 1.5",
    "sense.mute_led.poll_s": "use seconds from 0.01 to 0.5, such as 0.05",
    "sense.mute_led.dead_s": "use seconds from 0.2 to 3, longer than poll_s, such as 1.0",
    "sense.microphone": "write a table [sense.microphone]",
    "sense.microphone.device": 'use an ALSA device such as "hw:CARD=seeed4micvoicec", or "" to find '
    "one (`arecord -l` lists them)",
    "sense.microphone.channels": "use a number from 0 (all there are) to 16",
    "sense.microphone.stall_s": "use seconds from 0.2 to 10, such as 1.0",
    "sense.wake": "write a table [sense.wake]",
    "sense.wake.source": 'use "detector", "wyoming" (a wake-word server), "satellite" or "none"',
    "sense.wake.detector": f"use one of {', '.join(DETECTORS)}",
    "sense.wake.words": 'list wake words such as ["alexa"]',
    "sense.wake.threshold": "use a number from 0.05 to 1, or leave it out for the detector's own",
    "sense.wake.window": "use a number of scores from 1 to 20, or leave it out for the detector's own",
    "sense.wake.refractory_s": "use seconds from 0.1 to 30, such as 1.0",
    "sense.wake.canary_s": "use seconds from 10 on, such as 600, or 0 to check at the start only",
    "sense.wake.host": 'use an address of this machine such as "127.0.0.1"; another host only with '
    "remote = true, for Wyoming has neither password nor encryption",
    "sense.wake.port": "use a port from 1 to 65535, such as 10400",
    "sense.wake.remote": "use true or false",
    "sense.voice": "write a table [sense.voice]",
    "sense.voice.enabled": "use true or false",
    "sense.voice.silence_s": "use seconds from 0.2 to 10, such as 1.5",
    "sense.voice.max_s": "use seconds from 1 to 60, such as 20",
}

_CHOICES = {
    "mute_led.active_level": ("low", "high"),
    "mute_led.pull": ("down", "up", "none"),
    "wake.source": ("detector", "wyoming", "satellite", "none"),
    "wake.detector": tuple(DETECTORS),
}
_RANGES: Mapping[str, tuple[float, float]] = {
    "mute_led.debounce_s": (0.005, 0.5),
    "mute_led.hold_s": (0.2, 10.0),
    "mute_led.poll_s": (0.01, 0.5),
    "mute_led.dead_s": (0.2, 3.0),
    "microphone.channels": (0, 16),
    "microphone.stall_s": (0.2, 10.0),
    "wake.threshold": (0.05, 1.0),
    "wake.window": (1, 20),
    "wake.refractory_s": (0.1, 30.0),
    "wake.canary_s": (0.0, 86_400.0),
    "wake.port": (1, 65_535),
    "voice.silence_s": (0.2, 10.0),
    "voice.max_s": (1.0, 60.0),
}
_PIN = re.compile(r"(GPIO|BCM|BOARD|WPI|J\d+:)?\d{1,2}")  # what gpiozero takes
_WHERE = re.compile(r"(?:^(?P<text>.*) )?- at `\$\.?(?P<path>.*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")


def load_setup(path: Path, device: str | None) -> Setup:
    """Return the setup for ``device`` (the only one when None) from the file at ``path``."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(
            f"cannot read {path}: {error.strerror}; `sudo wakeguard setup` writes one, "
            "--config FILE names another"
        ) from None
    except UnicodeDecodeError:
        raise SettingError(f"{path}: not UTF-8 text; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path}: not TOML: {error}; mend that line") from None
    try:
        return parse_setup(content, device)
    except SettingError as error:
        raise SettingError(f"{path}: {error}") from None


def parse_setup(content: Mapping[str, Any], device: str | None) -> Setup:
    """Return the setup for ``device`` in decoded TOML. SettingError names the key and the remedy."""
    names = _read_names(content)
    if device is None and len(names) > 1:
        raise SettingError(f"there are several devices; choose one with --device ({', '.join(names)})")
    if device is not None and device not in names:
        raise SettingError(f'no device "{device}"; there is {", ".join(names)}')
    name = device or names[0]
    sensors = content.get("sensors", {})
    socket = sensors.get("socket", DEFAULT_SOCKET) if isinstance(sensors, dict) else None
    if not isinstance(socket, str) or not socket.startswith("/"):
        raise SettingError(f'sensors.socket must be an absolute path such as "{DEFAULT_SOCKET}"')
    return Setup(
        device=name, socket=Path(socket.replace("{device}", name)), sense=_read_sense(content, name, names)
    )


def _read_names(content: Mapping[str, Any]) -> list[str]:
    rows = content.get("device")
    found = [row.get("name") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    names = [name for name in found if isinstance(name, str) and name]
    if not names or len(names) < len(found):
        raise SettingError('device is missing; write one [[device]] with name = "kitchen" for each Echo')
    return names


def _read_sense(content: Mapping[str, Any], name: str, names: list[str]) -> SenseSettings:
    table = content.get("sense", {})
    if not isinstance(table, dict):
        raise _fault("sense", "is no table")
    overrides = table.get("device", {})
    if not isinstance(overrides, dict):
        raise _fault("sense.device", "is no table")
    for key in overrides:
        if key not in names:
            raise _fault("sense.device", f'has "{key}", which is no [[device]]')
    merged = {key: value for key, value in table.items() if key != "device"}
    own = overrides.get(name, {})
    if not isinstance(own, dict):
        raise _fault("sense.device", f'has "{name}", which is no table')
    for key, value in own.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = {**merged[key], **value} if both else value
    try:
        settings = msgspec.convert(merged, SenseSettings)
    except msgspec.ValidationError as error:
        raise _translate(str(error)) from None
    _check(settings)
    return settings


def _check(settings: SenseSettings) -> None:
    for key, choices in _CHOICES.items():
        value = _get(settings, key)
        if value not in choices:
            raise _fault(f"sense.{key}", f'is "{value}"')
    for key, (low, high) in _RANGES.items():
        value = _get(settings, key)
        if value is not None and not low <= value <= high:
            raise _fault(f"sense.{key}", f"is {value}, outside {low} to {high}")
    led, wake = settings.mute_led, settings.wake
    if led.pin != NO_PIN and not _PIN.fullmatch(led.pin):
        raise _fault("sense.mute_led.pin", f'is "{led.pin}", no pin of a Raspberry Pi')
    if led.hold_s <= led.debounce_s:
        raise _fault("sense.mute_led.hold_s", "is not longer than debounce_s")
    if led.dead_s <= led.poll_s:
        raise _fault("sense.mute_led.dead_s", "is not longer than poll_s")
    if not wake.words or not all(wake.words):
        raise _fault("sense.wake.words", "holds no word")
    unknown = list_unknown(wake.detector, wake.words) if wake.source == "detector" else []
    if unknown:
        known = ", ".join(DETECTORS[wake.detector].words)
        raise _fault(
            "sense.wake.words",
            f'has "{unknown[0]}", for which {wake.detector} has no model '
            f"(it has {known}, or give the path of a model file)",
        )
    if 0 < wake.canary_s < 10:  # the remedy says the same number
        raise _fault("sense.wake.canary_s", f"is {wake.canary_s}")
    if wake.source in ("wyoming", "satellite") and not wake.remote and not _is_loopback(wake.host):
        raise _fault("sense.wake.host", f'is "{wake.host}", which is not this machine')


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _get(settings: SenseSettings, key: str) -> Any:
    table, _, name = key.partition(".")
    return getattr(getattr(settings, table), name)


def _fault(key: str, what: str) -> SettingError:
    return SettingError(f"{key} {what}; {REMEDIES[key]}")


def _translate(text: str) -> SettingError:
    where = _WHERE.match(text)
    path = where["path"] if where else ""
    what = (where["text"] or "") if where else text
    unknown = _UNKNOWN.search(what)
    key = ".".join(part for part in ("sense", re.sub(r"\[.*?\]", "", path)) if part)
    if unknown:
        known = [name[len(key) + 1 :] for name in REMEDIES if name.startswith(f"{key}.")]
        keys = ", ".join(name for name in known if "." not in name)
        return SettingError(f"{key}.{unknown['key']} is no setting; {key} has {keys}")
    return SettingError(f"{key}: {what[:1].lower()}{what[1:]}; {REMEDIES.get(key, REMEDIES['sense'])}")
