"""Traffic that never stops, and what of it arrives: name queries, which may, and voice, which may not."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time

from tests.block import ForABlock
from tests.netns.gate import TlsCloud
from tests.netns.household import Household, wait_until

PACE = 0.02  # seconds between two queries
QUERY_BYTES = 8  # 400 bytes a second: the name budget lasts for more than 20 s
VOICE_BYTES = 1000


class Probe(ForABlock):
    """Echo and cloud, busy from ``with`` to its end."""

    def __init__(self, home: Household) -> None:
        self.arrivals: list[float] = []
        self._home = home
        self._cloud = TlsCloud(home)
        self._stopping = threading.Event()
        self._ears = home.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ears.bind((home.cloud_address[socket.AF_INET], 53))
        self._ears.settimeout(0.1)
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._hear, self._talk)]

    @property
    def voice(self) -> int:
        """Application bytes that TLS delivered to the cloud."""
        return self._cloud.received

    def close(self) -> None:
        """Let both fall silent."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._cloud.__exit__(None, None, None)
        self._ears.close()

    def wait_for_service(self, queries: int = 20) -> None:
        """Wait until so many more queries have arrived."""
        seen = len(self.arrivals)
        wait_until(lambda: len(self.arrivals) >= seen + queries, seconds=30)

    def get_gap(self, since: float) -> float:
        """Return the longest time without an arrival, from the last one before ``since`` on."""
        first = max((index for index, at in enumerate(self.arrivals) if at < since), default=0)
        times = self.arrivals[first:]
        return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)

    def _build(self) -> None:
        for thread in self._threads:
            thread.start()
        self.wait_for_service()

    def _ask(self) -> None:
        target = (self._home.cloud_address[socket.AF_INET], 53)
        with self._home.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._stopping.wait(PACE):
                with contextlib.suppress(OSError):
                    sender.sendto(b"q" * QUERY_BYTES, target)

    def _hear(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                self._ears.recv(100)
                self.arrivals.append(time.monotonic())

    def _talk(self) -> None:
        while not self._stopping.wait(0.4):
            with contextlib.suppress(OSError), self._cloud.connect(seconds=1.0) as stream:
                while not self._stopping.wait(0.02):
                    stream.sendall(b"v" * VOICE_BYTES)
