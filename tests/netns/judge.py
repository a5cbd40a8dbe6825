"""A tiny gate for the rules' tests: a thread that gives every queued packet a scripted verdict."""

from __future__ import annotations

import os
import selectors
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from guard.core.verdict import Mode
from guard.netfilter import marks, queue
from tests.netns.household import QUEUE, Namespace

if TYPE_CHECKING:
    from netfilterqueue import Packet

Verdict = Callable[["Packet"], None]
Script = Callable[["Seen"], Verdict]


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


def accept_all(seen: Seen) -> Verdict:
    return queue.accept if seen.upstream else queue.pass_downstream


def condemn_text(text: bytes) -> Script:
    """Return a script that condemns what contains ``text`` and, like the engine, the flow's rest."""
    condemned: set[bytes] = set()

    def script(seen: Seen) -> Verdict:
        if not seen.upstream:
            return queue.pass_downstream
        header = 20 if seen.payload[0] >> 4 == 4 else 40
        ports, flags = seen.payload[header : header + 4], seen.payload[header + 13]
        if flags & 0x02:
            condemned.discard(ports)
        if text in seen.payload or ports in condemned:
            condemned.add(ports)
            return queue.condemn
        return queue.accept

    return script


def condemn_packets(text: bytes) -> Script:
    """Return a script that condemns what contains ``text`` and, unlike the engine, nothing else."""

    def script(seen: Seen) -> Verdict:
        if not seen.upstream:
            return queue.pass_downstream
        return queue.condemn if text in seen.payload else queue.accept

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
                self.queue.bind(self._judge, mode=self._mode)
                selector.register(self.queue, selectors.EVENT_READ)
                selector.register(self._stop, selectors.EVENT_READ)
                self._bound.set()
                while all(key.fileobj is self.queue for key, _ in selector.select()):
                    self.queue.run()
                self.queue.close()
        except BaseException as error:  # noqa: BLE001 -- carried to the test's own thread
            self._failure = error
            self._bound.set()

    def _judge(self, packet: Packet) -> None:
        seen = Seen(packet.get_mark(), packet.hook, packet.get_payload())
        self.seen.append(seen)
        self.script(seen)(packet)
