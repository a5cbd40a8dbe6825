"""A room with a real ear in it: ``wakeguard sense``, one for each Echo, on a lamp and a sound of the lab's.

What is played is a recorded clip and the lamp is a line of text. What hears it is the same program, with
the same detector, that runs beside a real Echo, and it writes to the gate's own sensor socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from guard.lab.namespaces import DEVICES
from guard.lab.scenario import Act

_READY_S: Final = 15.0
_STOP_S: Final = 5.0
_LINES: Final = {Act.MUTE: b"lit\n", Act.UNMUTE: b"unlit\n", Act.WAKE: b"play\n"}
_PREFIX: Final = "wakeguard sense: microphone: "
_LISTENS: Final = "listens to "

Wrap = Callable[..., tuple[str, ...]]


class Room:
    """The sensing processes. ``wrap`` turns a command into one that dies with the lab."""

    def __init__(self, config: Path, *, wrap: Wrap, environment: dict[str, str]) -> None:
        self._config = config
        self._wrap = wrap
        self._environment = environment
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> str | None:
        """Start to listen; return why nobody listens, None when all do."""
        sound = _find_sound()
        if sound is None:
            return "the sensing program is not installed here"
        for device in DEVICES:
            self._processes.append(await self._spawn(device.name, sound))
        troubles = await asyncio.gather(*(_await_ear(process) for process in self._processes))
        trouble = next((trouble for trouble in troubles if trouble is not None), None)
        if trouble is not None:
            await self.stop()
        return trouble

    def act(self, act: Act) -> None:
        """Let something happen in the room; the detectors and the decoder make of it what they will."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.write(_LINES[act])

    async def stop(self) -> None:
        """End the sensing processes. Twice does no harm."""
        while self._processes:
            process = self._processes.pop()
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.communicate()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _spawn(self, device: str, sound: Path) -> asyncio.subprocess.Process:
        options = ("--config", str(self._config), "--device", device, "--script", "-")
        room = ("--pin", "scripted", "--microphone", str(sound))
        return await asyncio.create_subprocess_exec(
            *self._wrap(sys.executable, "-m", "guard", "sense", *options, *room),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=self._environment,
        )


async def _await_ear(process: asyncio.subprocess.Process) -> str | None:
    """Read what a process says until it listens; return why it does not."""
    last = "it said nothing"
    if process.stderr is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_S):
                while line := (await process.stderr.readline()).decode(errors="replace").strip():
                    last = line.removeprefix(_PREFIX)
                    if last.startswith(_LISTENS):
                        return None
                    if last != line:  # the microphone's line, and it is none of success
                        break
    return last


def _find_sound() -> Path | None:
    """Return the clip of somebody who says "Alexa"; it lies with the sensing program."""
    package = importlib.util.find_spec("hardware")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        clip = Path(folder) / "sounds" / "alexa.wav"
        if clip.is_file():
            return clip
    return None
