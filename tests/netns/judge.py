"""A tiny gate for the rules' tests: a thread that gives every queued packet a scripted verdict."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from guard.core.verdict import Mode
from guard.netfilter import marks, queue
from tests.netns.household import QUEUE, Namespace

if TYPE_CHECKING:
    from netfilterqueue import Packet

Script = Callable[["Seen"], int]
"""What answers a packet, as ``queue.Receive`` does."""


LOCAL_IN, FORWARD, LOCAL_OUT = 1, 2, 3  # netfilter's hooks


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet as the queue showed it."""

    mark: int
    hook: int
    payload: bytes

    @property
    def upstream(self) -> bool:
        return marks.is_upstream(self.mark)


def accept_all(seen: Seen) -> int:
    return seen.mark & marks.ACCEPT_MASK if seen.upstream else seen.mark


def condemn_text(text: bytes) -> Script:
    """Return a script that condemns what contains ``text`` and, like the engine, the flow's rest."""
    condemned: set[bytes] = set()

    def script(seen: Seen) -> int:
        if not seen.upstream:
            return seen.mark
        header = 20 if seen.payload[0] >> 4 == 4 else 40
        ports, flags = seen.payload[header : header + 4], seen.payload[header + 13]
        if flags & 0x02:
            condemned.discard(ports)
        if text in seen.payload or ports in condemned:
            condemned.add(ports)
            return queue.condemn(seen.mark, seen.hook)
        return accept_all(seen)

    return script


def condemn_packets(text: bytes) -> Script:
    """Return a script that condemns what contains ``text`` and, unlike the engine, nothing else."""

    def script(seen: Seen) -> int:
        if not seen.upstream:
            return seen.mark
        return queue.condemn(seen.mark, seen.hook) if text in seen.payload else accept_all(seen)

    return script


class Judge:
    """Bind the queue inside the gate's namespace and judge until the block ends."""

    def __init__(self, gate: Namespace, *, mode: Mode = Mode.ENFORCE, script: Script = accept_all) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.queue = queue.PacketQueue(QUEUE)
        self._gate = gate
        self._mode = mode
        self._stop, self._stopper = os.pipe()
        self._bound = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Judge:
        self._thread.start()
        self._bound.wait(10)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._stopper, b"x")
        self._thread.join(10)
        os.close(self._stop)
        os.close(self._stopper)
        if self._failure is not None and kind is None:
            raise self._failure

    def _work(self) -> None:
        try:
            with self._gate.enter(), selectors.DefaultSelector() as selector:
                self.queue.bind(self._judge, clock=time.monotonic_ns, mode=self._mode)
                selector.register(self.queue, selectors.EVENT_READ)
                selector.register(self._stop, selectors.EVENT_READ)
                self._bound.set()
                while all(key.fileobj is self.queue for key, _ in selector.select()):
                    self.queue.run()
                self.queue.close()
        except BaseException as error:  # noqa: BLE001 -- carried to the test's own thread
            self._failure = error
            self._bound.set()

    def _judge(self, packet: Packet, mark: int, payload: bytes, _ns: int) -> int:
        seen = Seen(mark, packet.hook, payload)
        self.seen.append(seen)
        return self.script(seen)
