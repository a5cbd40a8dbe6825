"""One connection of the lab: TLS over any asyncio transport, one frame a record.

asyncio's own TLS joins and cuts what is written as it likes. The lab needs each frame to be one
record, a burst of records to leave in one write, and the receiver to see what the kernel's TCP
delivered even when no whole record came of it; hence TLS on memory buffers. The transport may be the
kernel's (``echo``, ``cloud``) or the simulation's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from typing import cast

from guard.lab.frames import Frame, FrameReader

APPLICATION_DATA = 23
_READ_BYTES = 65536


class SessionLostError(ConnectionError):
    """The connection went away while it was needed."""


class RecordCounter:
    """Count the bytes of application-data records in a TLS stream as TCP delivers them."""

    def __init__(self) -> None:
        self.wire_bytes = 0  # all of the stream
        self.cut_bytes = 0  # of the record that is not complete yet, when it is application data
        self._header = bytearray()
        self._left = 0

    def receive(self, data: bytes) -> None:
        """Take the stream's next bytes."""
        self.wire_bytes += len(data)
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
                if self._header[0] == APPLICATION_DATA:
                    self.cut_bytes += step
                if not self._left:
                    self._next()
            else:
                self._header.append(data[position])
                position += 1
                if len(self._header) == 5:
                    self._left = int.from_bytes(self._header[3:5], "big")
                    if not self._left:
                        self._next()

    def _next(self) -> None:
        self._header.clear()
        self.cut_bytes = 0


class Session(asyncio.Protocol):
    """One end of a connection. ``ready`` and ``lost`` are futures; frames go to ``on_frame``."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        on_frame: Callable[[Session, Frame], None],
        server_side: bool = False,
        server_hostname: str | None = None,
        on_open: Callable[[Session], None] | None = None,
        on_lost: Callable[[Session], None] | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.was_reset = False
        self.received = RecordCounter()
        self.peer: tuple[str, int] = ("", 0)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._server_side = server_side
        self._reader = FrameReader()
        self._on_frame = on_frame
        self._on_open = on_open
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None

    @property
    def version(self) -> str | None:
        """The TLS version agreed on, None before the handshake is done."""
        return self._tls.version()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin TLS when this is the client's end."""
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")  # None when the connection was reset meanwhile
        if name is not None:
            self.peer = name[:2]
        if self._on_open is not None:
            self._on_open(self)
        if not self._server_side:
            self._advance()

    def data_received(self, data: bytes) -> None:
        """Take what TCP delivered."""
        self.received.receive(data)
        self._incoming.write(data)
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self.was_reset = isinstance(exc, ConnectionError)
        if not self.lost.done():
            self.lost.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(SessionLostError("the connection was lost before TLS was ready"))
            self.ready.exception()  # asked for here, so that nobody has to
        if self._on_lost is not None:
            self._on_lost(self)

    def send(self, frames: Iterable[Frame]) -> None:
        """Send each frame as one record, all of them in one write. SessionLostError when it is gone."""
        if self._transport is None or self.lost.done() or self._transport.is_closing():
            raise SessionLostError("the connection was lost")
        for frame in frames:
            self._tls.write(frame.encode())
        self._flush()

    def close(self) -> None:
        """Close the connection with FIN, without a TLS alert (it would be one more record)."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection with RST."""
        if self._transport is not None:
            self._transport.abort()

    def _advance(self) -> None:
        try:
            if not self.ready.done():
                self._tls.do_handshake()
                self._flush()
                self.ready.set_result(None)
            while data := self._tls.read(_READ_BYTES):
                for frame in self._reader.receive(data):
                    self._on_frame(self, frame)
        except ssl.SSLWantReadError:
            self._flush()
        except (ssl.SSLError, ValueError):
            self._flush()
            self.abort()

    def _flush(self) -> None:
        if self._transport is not None and (data := self._outgoing.read()):
            self._transport.write(data)
