"""What was asked for on the command line, put together and run: in real time or accelerated."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from hardware import rehearsal
from hardware.assemble import make_ears, make_sensor, open_alsa
from hardware.audio import Microphone
from hardware.config import NO_PIN, SenseSettings, Setup
from hardware.errors import HardwareError
from hardware.gpio import GpioLamp, Lamp
from hardware.inbox import Inbox, Level
from hardware.listener import Listener
from hardware.privileges import give_up_firewall
from hardware.publish import Publisher, TraceFile
from hardware.satellite import SatelliteListener
from hardware.scripted import DEFAULT_SCRIPT, Action, ScriptedLamp, Step, parse_script
from hardware.sense import Listening, Output, Sense, follow_script, report, stop_on_signals
from hardware.service import ServiceManager
from hardware.wav import WavMicrophone

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Choices:
    """The command line: a trace file, a WAV file or ALSA device, a script, a lamp that the script moves."""

    record: Path | None
    microphone: str | None
    script: str | None
    scripted: bool

    @property
    def wav(self) -> Path | None:
        """Return the WAV file, if ``--microphone`` means one and not an ALSA device."""
        name = self.microphone
        if name is not None and (name.lower().endswith(".wav") or Path(name).is_file()):
            return Path(name)
        return None

    def read_script(self) -> tuple[Step, ...]:
        """Return the steps known at the start; the default ones when there is something to move."""
        if self.script == STDIN:
            return ()
        if self.script is None:
            default = DEFAULT_SCRIPT if self.scripted else (Step(0.0, Action.PLAY),)
            return default if self.scripted or self.wav is not None else ()
        try:
            with Path(self.script).open(encoding="utf-8") as lines:
                return parse_script(lines)
        except OSError as error:
            raise HardwareError(f"script {self.script} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise HardwareError(f"script {self.script} is no text; save it as UTF-8") from None


def run(setup: Setup, choices: Choices) -> None:
    """Sense in real time until a signal."""
    give_up_firewall()
    settings = setup.sense
    script = choices.read_script()
    wav = None if choices.wav is None else WavMicrophone(choices.wav)
    inbox = Inbox()
    outputs: list[Output] = [Publisher(setup.socket, partial(report, "gate")), ServiceManager()]
    if choices.record is not None:
        outputs.append(TraceFile(choices.record, stamped=True))
    sense = Sense(
        make_sensor(settings, scripted=choices.scripted, now=time.monotonic()),
        inbox,
        outputs,
        open_lamp=_choose_lamp(settings, inbox, scripted=choices.scripted),
        listening=_choose_listening(settings, choices, wav, inbox),
        play=None if wav is None else wav.play,
        script=script,
        poll_s=settings.mute_led.poll_s,
    )
    stop_on_signals(inbox)
    if choices.script == STDIN:
        follow_script(sys.stdin, inbox)
    sense.run()


def rehearse(setup: Setup, choices: Choices) -> str:
    """Write what would happen to ``--record`` without waiting, and return a line about it."""
    path = choices.wav
    if choices.record is None or not choices.scripted or path is None or choices.script == STDIN:
        raise HardwareError(
            "--accelerated needs --record FILE, --pin scripted, --microphone FILE.wav and no script on "
            "standard input"
        )
    script = choices.read_script()
    sensor = make_sensor(setup.sense, scripted=True, now=0.0)
    ears = make_ears(setup.sense, partial(WavMicrophone, path), partial(report, "microphone"), from_file=True)
    trace = TraceFile(choices.record, stamped=False)
    try:
        end = rehearsal.rehearse(sensor, ears, script, path, trace.send)
    finally:
        trace.close()
    return f"{end:.2f} s rehearsed, events in {choices.record}"


def _choose_lamp(settings: SenseSettings, inbox: Inbox, *, scripted: bool) -> Callable[[], Lamp] | None:
    if scripted:
        return ScriptedLamp
    if settings.mute_led.pin == NO_PIN:
        report("mute LED", 'sense.mute_led.pin is "none": the Echo counts as unmuted')
        return None
    return lambda: GpioLamp(settings.mute_led, lambda lit, t: inbox.put(Level(lit, t)))


def _choose_listening(
    settings: SenseSettings, choices: Choices, wav: WavMicrophone | None, inbox: Inbox
) -> Listening | None:
    wake = settings.wake
    if wake.source == "none":
        return None
    if wake.source == "satellite":
        return SatelliteListener(wake.host, wake.port, inbox)
    open_microphone: Callable[[], Microphone]
    if wav is not None:
        open_microphone = partial(_open_again, wav)
    else:
        named = settings.microphone
        if choices.microphone is not None:
            named = msgspec.structs.replace(named, device=choices.microphone)
        open_microphone = partial(open_alsa, msgspec.structs.replace(settings, microphone=named))
    ears = make_ears(settings, open_microphone, partial(report, "microphone"), from_file=wav is not None)
    return Listener(ears, inbox)


def _open_again(wav: WavMicrophone) -> Microphone:
    return wav
