"""The control protocol: one JSON object a line over a unix stream socket, asked and answered.

    -> {"version":1,"command":"mode","mode":"enforce"}
    <- {"version":1,"ok":true,"result":{"mode":"enforce"}}
    <- {"version":1,"ok":false,"error":"..."}

This file knows the lines and the sockets: who may ask (by the kernel's credentials), how long a line
and a client's patience may be. What a command does is the daemon's table. Nothing here waits: a slow,
silent or hostile client costs the gate a buffer of bounded size and is shown the door in time.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from guard.errors import ControlError, WakeguardError
from guard.unix_socket import UnixSocket, get_peer_uid

VERSION: Final = 1
MAX_REQUEST_BYTES: Final = 4096
MAX_CLIENTS: Final = 8
PATIENCE: Final = 5.0  # seconds a client has to ask, and to read its answer


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One question. Which fields a command needs is the command's to say."""

    version: int
    command: str
    mode: str | None = None
    type: str | None = None
    device: str | None = None
    word: str | None = None
    policy: str | None = None
    seconds: float | None = None
    release: bool = False


class Response(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer."""

    version: int
    ok: bool
    result: Any = None
    error: str | None = None


Answer = Callable[[Any], None]
"""Called once with the result, or with the WakeguardError that stood in its way; now or later."""

Command = Callable[[Request, Answer], None]

_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(Request).decode
_decode_response = msgspec.json.Decoder(Response).decode


class ControlServer:
    """The listening socket and its clients, all inside the gate's one loop."""

    def __init__(
        self,
        path: Path,
        *,
        uids: Collection[int],
        listed: bool,
        commands: Mapping[str, Command],
        selector: selectors.BaseSelector,
        clock: Callable[[], float],
    ) -> None:
        """Bind ``path``; ``clock`` gives seconds, for patience alone."""
        self._bound = UnixSocket(path, socket.SOCK_STREAM, key="control.socket", listed=listed)
        self._bound.socket.listen(MAX_CLIENTS)
        self._uids = frozenset(uids)
        self._commands = commands
        self._selector = selector
        self._clock = clock
        self._clients: set[_Client] = set()
        self._selector.register(self._bound.socket, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Give waiting answers one last chance, then close everything and remove the socket's file."""
        for client in list(self._clients):
            client.flush()
            self._drop(client)
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._bound.socket)
        self._bound.close()

    def drop_idle(self) -> None:
        """Close the clients whose time is up; to be called about once a second."""
        now = self._clock()
        for client in [client for client in self._clients if now > client.deadline]:
            self._drop(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._bound.socket.accept()
        except OSError:
            return  # it went away before we came
        connection.settimeout(0)
        if len(self._clients) >= MAX_CLIENTS:
            _refuse(connection, "the gate has too many clients; try again in a moment")
        elif get_peer_uid(connection) not in self._uids:
            _refuse(connection, "your user may not control the gate; use sudo, or list it in control.users")
        else:
            client = _Client(connection, self._clock() + PATIENCE)
            self._clients.add(client)
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._serve(client))

    def _serve(self, client: _Client) -> None:
        if client.output:
            client.flush()
        else:
            line = client.read_line()
            if client.waiting:
                client.closed = True  # it hung up, or spoke before its answer came
            elif line is not None:
                client.waiting = True
                self._execute(line, client)
        self._settle(client)

    def _execute(self, line: bytes, client: _Client) -> None:
        def answer(result: Any) -> None:
            if client not in self._clients:
                return  # it lost patience
            client.waiting = False
            client.deadline = self._clock() + PATIENCE
            client.write(_encode(_respond(result)) + b"\n")
            self._settle(client)

        try:
            request = _decode_request(line)
            command = self._commands.get(request.command)
            if request.version != VERSION:
                raise ControlError(f"the gate speaks version {VERSION}; use the wakeguard it came with")
            if command is None:
                raise ControlError(f'no command "{request.command}"; there are {", ".join(self._commands)}')
            client.deadline = float("inf")  # now it is the client who waits
            command(request, answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            answer(ControlError(f"not a request: {error}"))
        except WakeguardError as error:
            answer(error)

    def _settle(self, client: _Client) -> None:
        """Drop a client that is done for; else wait for what it can do next."""
        if client not in self._clients:
            return
        if client.closed:
            self._drop(client)
            return
        events = selectors.EVENT_WRITE if client.output else selectors.EVENT_READ
        key = self._selector.get_key(client.connection)
        if key.events != events:
            self._selector.modify(client.connection, events, key.data)

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        with contextlib.suppress(KeyError):
            self._selector.unregister(client.connection)
        client.connection.close()


class _Client:
    """One connection's buffers."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.output = b""
        self.closed = False
        self.waiting = False  # a command is under way
        self._input = b""

    def read_line(self) -> bytes | None:
        """Return the request when it is complete; the rest of the input is the next one's."""
        try:
            data = self.connection.recv(MAX_REQUEST_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            self.closed = True
            return None
        self._input += data
        line, newline, rest = self._input.partition(b"\n")
        if newline:
            self._input = b""
            self.closed = bool(rest)  # one question at a time
            return None if rest else line
        if not data or len(self._input) > MAX_REQUEST_BYTES:
            self.closed = True
        return None

    def write(self, data: bytes) -> None:
        """Send what the socket takes now and keep the rest."""
        self.output += data
        self.flush()

    def flush(self) -> None:
        """Send more of what was kept."""
        try:
            sent = self.connection.send(self.output) if self.output else 0
        except BlockingIOError:
            return
        except OSError:
            self.closed = True
            return
        self.output = self.output[sent:]


def ask(path: Path | str, command: str, *, timeout: float = 30.0, **fields: Any) -> Any:
    """Ask the gate that listens on ``path`` and return its result. ControlError names the remedy."""
    request = _encode(Request(version=VERSION, command=command, **fields)) + b"\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise GateAbsentError(
                f"no gate listens on {path}; start it with `wakeguard run`, "
                "or name its configuration with --config"
            ) from None
        except OSError as error:
            raise ControlError(
                f"cannot reach the gate on {path}: {error.strerror or error}; use sudo"
            ) from None
        try:
            with contextlib.suppress(BrokenPipeError):  # a refusal may be waiting to be read
                connection.sendall(request)
            answer = _read_answer(connection)
        except TimeoutError:
            raise ControlError(f"the gate did not answer within {timeout:g} s; look at its log") from None
        except OSError as error:
            raise ControlError(f"the gate hung up ({error.strerror}); look at its log") from None
    return _get_result(answer)


class GateAbsentError(ControlError):
    """No gate is running."""


def _read_answer(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"\n"):
        data = connection.recv(65536)
        if not data:
            raise ControlError("the gate hung up without an answer; look at its log")
        answer += data
    return answer


def _get_result(answer: bytes) -> Any:
    try:
        response = _decode_response(answer)
    except msgspec.DecodeError:
        raise ControlError(
            "what answered is no gate of this version; use the wakeguard it came with"
        ) from None
    if not response.ok:
        raise ControlError(response.error or "the gate gave no reason")
    return response.result


def _respond(result: Any) -> Response:
    if isinstance(result, WakeguardError):
        return Response(version=VERSION, ok=False, error=str(result))
    return Response(version=VERSION, ok=True, result=result)


def _refuse(connection: socket.socket, error: str) -> None:
    with connection, contextlib.suppress(OSError):
        connection.send(_encode(Response(version=VERSION, ok=False, error=error)) + b"\n")
