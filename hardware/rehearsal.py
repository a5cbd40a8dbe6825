"""The same sensor, listener and detectors in accelerated time: a WAV file and a script in, events out.

Time is the audio's own, from 0 in steps of 20 ms; nothing waits. The same input gives the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from guard.core.event import Event
from hardware.audio import BLOCK_SECONDS, Block
from hardware.inbox import Inbox
from hardware.listener import Ears, Listener
from hardware.scripted import Action, ScriptedLamp, Step
from hardware.sense import tell
from hardware.sensor import Sensor
from hardware.wav import BLOCK_BYTES, cut_blocks, read_wav

TAIL_S = 3.0  # after the last step and the last sound: a state settles, a detector answers


def rehearse(
    sensor: Sensor, ears: Ears, script: Sequence[Step], path: Path, send: Callable[[Event], object]
) -> float:
    """Run ``script`` with the WAV file at ``path`` from t = 0 and ``send`` each event; return the end (s)."""
    channels = read_wav(path)
    steps = sorted(script, key=lambda step: step.t or 0.0)
    length = len(channels[0]) / BLOCK_BYTES * BLOCK_SECONDS
    end = max(
        ((step.t or 0.0) + (length if step.action is Action.PLAY else 0.0) for step in steps), default=0.0
    )
    inbox = Inbox()
    listener = Listener(ears, inbox)
    listener.open(len(channels), now=0.0)
    sensor.hears = True
    lamp = ScriptedLamp()
    playing: Iterator[Block] = iter(())
    silence = tuple(bytes(BLOCK_BYTES) for _ in channels)
    now = 0.0
    try:
        for number in range(int((end + TAIL_S) / BLOCK_SECONDS) + 1):
            now = number * BLOCK_SECONDS
            while steps and (steps[0].t or 0.0) <= now:
                action = steps.pop(0).action
                lamp.apply(action)
                if action is Action.PLAY:
                    playing = cut_blocks(channels, start=0.0)
            events = []
            while sensor.get_timer() < now:
                events += sensor.handle_timer(now=sensor.get_timer())
            events += sensor.receive_level(lamp.read(), now=now)
            block = next(playing, None)
            pieces = silence if block is None else block.channels
            for note in listener.hear(Block(pieces, now)):
                events += tell(sensor, note)
            events += sensor.handle_timer(now=now)
            for event in events:
                send(event)
    finally:
        listener.close()
        inbox.close()
    return now
