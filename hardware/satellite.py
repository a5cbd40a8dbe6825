"""Wake words from a Wyoming satellite that has a microphone of its own.

``wyoming-satellite --event-uri tcp://HOST:PORT`` connects to us and tells what it hears; we take its
``detection`` events and nothing else. No audio comes this way.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

from hardware.errors import DetectorError, HardwareError
from hardware.inbox import Hearing, Inbox, Scored, Trouble
from hardware.wyoming import Reader, get_word

MAX_SATELLITES = 8
RETRY_S = 5.0


class SatelliteListener:
    """Listens for satellites until ``stop``; ``run`` is the thread's whole life."""

    def __init__(
        self, host: str, port: int, inbox: Inbox, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = (host, port)
        self._inbox = inbox
        self._clock = clock
        self._stop = threading.Event()
        self._stopping, self._stopper = socket.socketpair()
        self._readers: dict[socket.socket, Reader] = {}
        self.microphone = None  # it has none of ours
        self.audio_s = 0.0
        self.lost = 0  # satellites that hung up or spoke nonsense
        self.overruns = 0
        self.port = port  # the real one once it listens

    def run(self) -> None:
        """Accept satellites and take their events; until stopped."""
        while not self._stop.is_set():
            try:
                self._serve()
            except HardwareError as error:
                self._inbox.put(Trouble("satellite", str(error)))
                self._stop.wait(RETRY_S)
        self._stopping.close()
        self._stopper.close()

    def stop(self) -> None:
        """End ``run`` soon; from another thread."""
        self._stop.set()
        with contextlib.suppress(OSError):  # it has ended already
            self._stopper.send(b"\0")

    def _serve(self) -> None:
        try:
            server = socket.create_server(self._address)
        except OSError as error:
            raise DetectorError(
                f"cannot listen for satellites at {self._address[0]} port {self._address[1]} "
                f"({error.strerror}); mend sense.wake.host and sense.wake.port"
            ) from None
        self.port = server.getsockname()[1]
        with server, selectors.DefaultSelector() as selector:
            selector.register(server, selectors.EVENT_READ)
            selector.register(self._stopping, selectors.EVENT_READ)
            self._inbox.put(
                Trouble("satellite", f"waits for satellites at {self._address[0]} port {self.port}")
            )
            while not self._stop.is_set():
                for key, _events in selector.select():
                    if key.fileobj is server:
                        self._accept(server, selector)
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj is not self._stopping:
                        self._read(key.fileobj, selector)
            for connection in self._readers:
                connection.close()
            self._readers.clear()

    def _accept(self, server: socket.socket, selector: selectors.BaseSelector) -> None:
        connection, _address = server.accept()
        if len(self._readers) >= MAX_SATELLITES:
            connection.close()
            return
        connection.setblocking(False)
        self._readers[connection] = Reader()
        selector.register(connection, selectors.EVENT_READ)
        self._inbox.put(Hearing(True))

    def _read(self, connection: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            data = connection.recv(65536)
            messages = self._readers[connection].receive(data)
        except (OSError, DetectorError):
            data, messages = b"", []
        now = self._clock()
        for message in messages:
            word = get_word(message)
            if word is not None:
                self._inbox.put(Scored(word, 1.0, now, "satellite"))
        if not data:
            selector.unregister(connection)
            connection.close()
            del self._readers[connection]
            self.lost += 1
            if not self._readers:
                self._inbox.put(Hearing(False), Trouble("satellite", "no satellite is connected any more"))
