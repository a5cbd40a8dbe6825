"""The sensing process: one Echo's lamp and microphone on one side, the gate's socket on the other.

The composition root and the only reader of the clock. The loop owns the lamp, the sensor and the outputs;
the listener's thread hands over what it heard. A part that breaks is said once, counted and tried again;
the others go on, and the heartbeat says what is left.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, Protocol

from guard.core.event import Event
from hardware.errors import HardwareError, PinError
from hardware.gpio import Lamp
from hardware.inbox import Frame, Hearing, Inbox, Level, Note, Scored, Stop, Trouble
from hardware.scripted import Action, ScriptedLamp, Step, parse_step
from hardware.sensor import Sensor

REOPEN_S = 2.0  # a pin in use or a chip that was unplugged is tried again so often

_log = logging.getLogger("wakeguard.sense")


class Output(Protocol):
    """Where events go."""

    def send(self, event: Event) -> None:
        """Send one event."""

    def close(self) -> None:
        """Finish."""


class Listening(Protocol):
    """What listens on a thread of its own: a Listener or a SatelliteListener."""

    audio_s: float
    lost: int
    overruns: int

    def run(self) -> None:
        """Listen until stopped."""

    def stop(self) -> None:
        """End ``run`` soon."""


def report(part: str, text: str) -> None:
    """Say a line to the owner: on stderr, which the journal keeps."""
    _log.info("%s: %s", part, text)


def tell(sensor: Sensor, note: Note) -> list[Event]:
    """Let the sensor know of a note; return the events it makes."""
    if isinstance(note, Level):
        return sensor.receive_level(note.lit, now=note.t)
    if isinstance(note, Scored):
        return sensor.receive_score(note.word, note.score, now=note.t, source=note.source)
    if isinstance(note, Frame):
        return sensor.receive_frame(note.speech, now=note.t)
    if isinstance(note, Hearing):
        sensor.hears = note.hears
    return []


class Sense:
    """The loop."""

    def __init__(
        self,
        sensor: Sensor,
        inbox: Inbox,
        outputs: Sequence[Output],
        *,
        open_lamp: Callable[[], Lamp] | None,
        listening: Listening | None,
        play: Callable[[], object] | None = None,
        script: Iterable[Step] = (),
        poll_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``open_lamp`` is called until it gives one; ``play`` is what a script's play does."""
        self._sensor = sensor
        self._inbox = inbox
        self._outputs = outputs
        self._open_lamp = open_lamp
        self._lamp: Lamp | None = None
        self._listening = listening
        self._play = play
        self._poll_s = poll_s
        self._clock = clock
        self._started = clock()
        self._next_poll = self._next_open = self._started
        self._script = sorted(script, key=lambda step: step.t or 0.0)
        self._said: dict[str, str] = {}
        self._running = True
        self.lamp_losses = 0
        self.events = 0

    def run(self) -> None:
        """Sense until a Stop note; then let go of everything."""
        thread = None
        if self._listening is not None:
            thread = threading.Thread(target=self._listening.run, name="listener", daemon=True)
            thread.start()
        try:
            self._look(self._clock())  # a script's first step needs its lamp
            while self._running:
                self.step()
        finally:
            if self._listening is not None and thread is not None:
                self._listening.stop()
                thread.join(timeout=5.0)
            if self._lamp is not None:
                self._lamp.close()
            self._say("sense", self._count())
            for output in self._outputs:
                output.close()

    def step(self) -> None:
        """Wait for the next thing to do and do it."""
        due = [self._sensor.get_timer(), *(self._started + (step.t or 0.0) for step in self._script[:1])]
        if self._open_lamp is not None:
            due.append(self._next_open if self._lamp is None else self._next_poll)
        for note in self._inbox.wait(min(due) - self._clock()):
            self._take(note)
        now = self._clock()
        self._look(now)
        while self._script and self._started + (self._script[0].t or 0.0) <= now:
            self._act(self._script.pop(0).action)
        self._send(self._sensor.handle_timer(now=self._clock()))

    def _take(self, note: Note) -> None:
        if isinstance(note, Stop):
            self._running = False
        elif isinstance(note, Trouble):
            self._say(note.part, note.text)
        elif isinstance(note, Step):
            if note.t is None:
                self._act(note.action)
            else:
                self._script = sorted([*self._script, note], key=lambda step: step.t or 0.0)
        else:
            self._send(tell(self._sensor, note))

    def _act(self, action: Action) -> None:
        if action is Action.PLAY:
            if self._play is not None:
                self._play()
        elif isinstance(self._lamp, ScriptedLamp):
            self._lamp.apply(action)
            self._next_poll = self._clock()

    def _look(self, now: float) -> None:
        """Read the lamp when it is time, and open it when it is not."""
        if self._open_lamp is None:
            return
        if self._lamp is None:
            if now < self._next_open:
                return
            self._next_open = now + REOPEN_S
            try:
                self._lamp = self._open_lamp()
            except PinError as error:
                self._say("mute LED", str(error))
                return
            self._say("mute LED", "its pin is read")
            self._next_poll = now
        if now < self._next_poll:
            return
        self._next_poll = now + self._poll_s
        lit = self._lamp.read()
        self._send(self._sensor.receive_level(lit, now=now))
        if lit is None and not isinstance(self._lamp, ScriptedLamp):
            self.lamp_losses += 1
            self._say("mute LED", "its pin cannot be read any more; it is opened again and again")
            lamp, self._lamp = self._lamp, None
            lamp.close()

    def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            self.events += 1
            for output in self._outputs:
                output.send(event)

    def _say(self, part: str, text: str) -> None:
        if self._said.get(part) != text:
            self._said[part] = text
            report(part, text)

    def _count(self) -> str:
        wake, led, listening = self._sensor.wake_word, self._sensor.mute_led, self._listening
        counts = {
            "events": self.events,
            "wake words": wake.fired,
            "pin lost": self.lamp_losses,
            "flickers": 0 if led is None else led.flickers,
        }
        if listening is not None:
            counts |= {
                "seconds of audio": round(listening.audio_s),
                "microphone lost": listening.lost,
                "overruns": listening.overruns,
            }
        return "ends: " + ", ".join(f"{name} {count}" for name, count in counts.items())


def stop_on_signals(inbox: Inbox) -> None:
    """Let SIGTERM and SIGINT end the loop."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: inbox.put(Stop()))


def follow_script(lines: IO[str], inbox: Inbox) -> None:
    """Hand over a script's steps as its lines come, on a thread of its own."""

    def follow() -> None:
        for line in lines:
            try:
                step = parse_step(line)
            except HardwareError as error:
                inbox.put(Trouble("script", str(error)))
                continue
            if step is not None:
                inbox.put(step)

    threading.Thread(target=follow, name="script", daemon=True).start()
