"""How the runner talks to the lab's processes: a JSON line in, a JSON line back.

The child's side is ``main``; it ends when its standard input does, so no child outlives the lab. The
parent's side is ``Child``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from guard.errors import LabError

_ANSWER_S = 10.0
_STOP_S = 3.0

Command = dict[str, Any]
Handler = Callable[[Command], Command]


class Child:
    """A process of the lab, seen from the runner."""

    def __init__(
        self,
        name: str,
        process: asyncio.subprocess.Process,
        commands: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
    ) -> None:
        self.name = name
        self._process = process
        self._commands = commands
        self._answers = answers

    @classmethod
    async def start(
        cls, name: str, command: tuple[str, ...], settings: Command, *, environment: dict[str, str]
    ) -> Child:
        """Start ``command`` and hand it its settings as the first line."""
        # A session of its own: Ctrl-C is the runner's to handle, and it takes the children down.
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            env=environment,
        )
        if process.stdin is None or process.stdout is None:
            raise LabError(f"the lab's {name} process has no pipes")
        child = cls(name, process, process.stdin, process.stdout)
        try:
            await child.call(settings)
        except LabError:
            await child.stop()
            raise
        return child

    async def call(self, command: Command) -> Command:
        """Send one command and return its answer. LabError when the process died or hangs."""
        try:
            self._commands.write(json.dumps(command).encode() + b"\n")
            await self._commands.drain()
            async with asyncio.timeout(_ANSWER_S):
                line = await self._answers.readline()
        except (ConnectionError, TimeoutError):
            line = b""
        if not line:
            raise LabError(f"the lab's {self.name} process ended or hangs; its last words are above")
        answer: Command = json.loads(line)
        return answer

    async def stop(self) -> None:
        """End the process, kindly first."""
        self._commands.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


async def serve(start: Callable[[Command], Any]) -> None:
    """Run a child: ``await start(settings)`` gives the handler of every further line."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    handler: Handler | None = None
    while line := await reader.readline():
        command = json.loads(line)
        if handler is None:
            handler = await start(command)
            answer: Command = {}
        else:
            answer = handler(command)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
