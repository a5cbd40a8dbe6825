"""Connections of a household's Echo, both ends in hand: neither says a word that a test did not ask for."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.netns.household import Household

PORT = 4433


@contextlib.contextmanager
def listening(
    home: Household, family: socket.AddressFamily, *, at_gate: bool = False
) -> Iterator[socket.socket]:
    """Yield a socket that listens in the cloud, or on the gate itself."""
    space, addresses = (home.gate, home.gate_address) if at_gate else (home.cloud, home.cloud_address)
    with space.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((addresses[family], PORT))
        listener.listen()
        yield listener


@contextlib.contextmanager
def connected(
    home: Household, family: socket.AddressFamily, *, port: int = 0, at_gate: bool = False
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Yield the Echo's end, which has this port, and the server's end of a new connection."""
    with (
        listening(home, family, at_gate=at_gate) as listener,
        home.echo.socket(family, socket.SOCK_STREAM) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((home.echo_address[family], port))
        client.connect(listener.getsockname()[:2])
        end, _ = listener.accept()
        end.settimeout(5)
        with end:
            yield client, end


def connects(home: Household, family: socket.AddressFamily, seconds: float = 0.3) -> bool:
    """Tell whether a connection comes about in time."""
    with listening(home, family) as listener, home.echo.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(seconds)
        try:
            client.connect(listener.getsockname()[:2])
        except TimeoutError:
            return False
        return True


def download(home: Household, family: socket.AddressFamily, size: int) -> None:
    """Have the cloud send ``size`` bytes to the Echo, which says nothing but that it got them."""
    with listening(home, family) as listener, home.echo.socket(family, socket.SOCK_STREAM) as client:

        def serve() -> None:
            end, _ = listener.accept()
            with end:
                end.sendall(bytes(size))

        thread = threading.Thread(target=serve)
        thread.start()
        client.connect(listener.getsockname()[:2])
        received = 0
        while chunk := client.recv(65536):
            received += len(chunk)
        thread.join()
    assert received == size
