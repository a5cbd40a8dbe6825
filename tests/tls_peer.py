"""Both ends of a real TLS connection in memory: what OpenSSL writes, one flight at a time."""

from __future__ import annotations

import functools
import ssl
import tempfile
from pathlib import Path

from guard.core.verdict import Direction
from guard.lab.certificate import make_certificate, server_context

Flight = tuple[Direction, bytes]
UP, DOWN = Direction.UPSTREAM, Direction.DOWNSTREAM


@functools.cache
def _server_context() -> ssl.SSLContext:
    with tempfile.TemporaryDirectory() as directory:
        return server_context(*make_certificate(Path(directory)))


def _client_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class TlsPeer:
    """A client and a server joined by buffers."""

    def __init__(
        self,
        version: ssl.TLSVersion,
        *,
        session: ssl.SSLSession | None = None,
        ciphers: str | None = None,
        client: ssl.SSLContext | None = None,
        curve: str | None = None,
    ) -> None:
        self.client_context = client or _client_context(version)
        if ciphers:
            self.client_context.set_ciphers(ciphers)
        server = _server_context()
        if curve:  # of the server alone: makes it ask for another key share
            with tempfile.TemporaryDirectory() as directory:
                server = server_context(*make_certificate(Path(directory)))
            server.set_ecdh_curve(curve)
        # each end has its own pair of buffers, so that what passes between them can be seen
        self._ends: list[tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]] = []
        for context, is_server in ((self.client_context, False), (server, True)):
            inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
            name = None if is_server else "echo.test"
            end = context.wrap_bio(
                inbox,
                outbox,
                server_side=is_server,
                server_hostname=name,
                session=None if is_server else session,
            )
            self._ends.append((end, inbox, outbox))
        self.client = self._ends[UP][0]

    def handshake(self) -> list[Flight]:
        """Shake hands; return the flights in order."""
        flights: list[Flight] = []
        done = [False, False]
        while not all(done):
            for direction in (UP, DOWN):
                try:
                    self._ends[direction][0].do_handshake()
                    done[direction] = True
                except ssl.SSLWantReadError:
                    pass
                flights += self._carry(direction)
        return flights

    def write(self, direction: Direction, data: bytes) -> list[Flight]:
        """Send application data; return what goes over the wire."""
        self._ends[direction][0].write(data)
        return self._carry(direction)

    def read(self, direction: Direction) -> bytes:
        """Return what the receiver of that direction got."""
        return self._ends[1 - direction][0].read()

    def _carry(self, direction: Direction) -> list[Flight]:
        data = self._ends[direction][2].read()
        self._ends[1 - direction][1].write(data)
        return [(direction, data)] if data else []
