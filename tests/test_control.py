"""The control socket: asked by a real client, and by clumsy, slow and hostile ones."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guard.control import (
    MAX_CLIENTS,
    MAX_REQUEST_BYTES,
    PATIENCE,
    Answer,
    ControlServer,
    GateAbsentError,
    Request,
    ask,
)
from guard.errors import ControlError

ME = os.geteuid()
BIG = "x" * 3_000_000


class Bench:
    """A server in a selector loop that turns when the test says so."""

    def __init__(self, path: Path, uids: tuple[int, ...] = (ME,)) -> None:
        self.path = path
        self.now = 100.0
        self.later: list[Answer] = []
        self.selector = selectors.DefaultSelector()
        self.server = ControlServer(
            path,
            uids=uids,
            listed=False,
            commands={
                "echo": lambda request, answer: answer({"word": request.word}),
                "big": lambda _request, answer: answer(BIG),
                "later": lambda _request, answer: self.later.append(answer),
                "fail": self.fail,
            },
            selector=self.selector,
            clock=lambda: self.now,
        )

    @staticmethod
    def fail(request: Request, answer: Answer) -> None:
        raise ControlError("no; do something else")

    def turn(self) -> int:
        """Give everybody who is ready a turn; return how many were."""
        ready = self.selector.select(0)
        for key, _ in ready:
            key.data()
        return len(ready)

    def settle(self) -> None:
        """Turn until nobody is ready."""
        while self.turn():
            pass

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.settimeout(5)
        client.connect(str(self.path))
        self.settle()
        return client

    def ask(self, command: str, **fields: Any) -> Any:
        """Ask as the command line does, from another thread."""
        return self.in_thread(lambda: ask(self.path, command, timeout=5, **fields))

    def in_thread(self, function: Callable[[], Any]) -> Any:
        results: list[Any] = []

        def work() -> None:
            try:
                results.append(function())
            except ControlError as error:
                results.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            for key, _ in self.selector.select(0.01):
                key.data()
        if isinstance(results[0], ControlError):
            raise results[0]
        return results[0]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "control.sock")
    yield made
    made.server.close()
    assert list(tmp_path.iterdir()) == []


def test_a_command_is_answered(bench: Bench) -> None:
    assert bench.ask("echo", word="alexa") == {"word": "alexa"}


def test_a_large_answer_arrives_whole(bench: Bench) -> None:
    assert bench.ask("big") == BIG


def test_a_refused_command_says_why(bench: Bench) -> None:
    with pytest.raises(ControlError, match="no; do something else"):
        bench.ask("fail")


def test_an_unknown_command_lists_the_known(bench: Bench) -> None:
    with pytest.raises(ControlError, match="echo, big, later, fail"):
        bench.ask("open")


def test_the_protocol_is_lines_of_json_with_a_version(bench: Bench) -> None:
    client = bench.connect()
    for request in (b'{"version":1,"command":"echo","word":"a"}\n', b'{"version":1,"command":"echo"}\n'):
        client.sendall(request)
        bench.settle()
        answer = json.loads(client.recv(4096))
        assert answer["version"] == 1
        assert answer["ok"] is True
    client.sendall(b'{"version":2,"command":"echo"}\n')
    bench.settle()
    answer = json.loads(client.recv(4096))
    assert answer["ok"] is False
    assert "version 1" in answer["error"]
    client.close()


def test_a_line_may_come_in_pieces(bench: Bench) -> None:
    client = bench.connect()
    for byte in b'{"version":1,"command":"echo","word":"a"}\n':
        client.send(bytes([byte]))
        bench.settle()
    assert json.loads(client.recv(4096))["result"] == {"word": "a"}
    client.close()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"hello\n",
        b"\xff\n",
        b"[]\n",
        b'{"version":1}\n',
        b'{"version":1,"command":"echo","rm":"-rf"}\n',
        b'{"version":"1","command":"echo"}\n',
        b'{"version":1,"command":["echo"]}\n',
        b"[" * 4000 + b"\n",
    ],
)
def test_what_is_no_request_is_an_error_and_no_more(bench: Bench, line: bytes) -> None:
    client = bench.connect()
    client.sendall(line)
    bench.settle()
    assert json.loads(client.recv(4096))["ok"] is False
    client.close()
    assert bench.ask("echo") == {"word": None}


def test_an_endless_line_is_cut_off(bench: Bench) -> None:
    client = bench.connect()
    client.sendall(b"x" * (2 * MAX_REQUEST_BYTES))
    bench.settle()
    with client, contextlib.suppress(ConnectionResetError):  # a reset when bytes were left unread
        assert client.recv(1) == b""
    assert bench.ask("echo") == {"word": None}


def test_two_questions_at_once_are_one_too_many(bench: Bench) -> None:
    client = bench.connect()
    client.sendall(b'{"version":1,"command":"echo"}\n{"version":1,"command":"echo"}\n')
    bench.settle()
    assert client.recv(4096) == b""
    client.close()


def test_a_silent_client_is_shown_the_door(bench: Bench) -> None:
    client = bench.connect()
    bench.now += PATIENCE / 2
    bench.server.drop_idle()
    bench.now += PATIENCE
    bench.server.drop_idle()
    assert client.recv(1) == b""
    client.close()


def test_a_client_that_does_not_read_costs_a_buffer_and_then_the_door(bench: Bench) -> None:
    client = bench.connect()
    client.sendall(b'{"version":1,"command":"big"}\n')
    bench.settle()  # ends: the server waits for the client to read, and does not spin
    bench.now += 2 * PATIENCE
    bench.server.drop_idle()
    received = 0
    while data := client.recv(1 << 20):
        received += len(data)
    assert received < len(BIG)
    client.close()


def test_a_late_answer_waits_as_long_as_it_takes(bench: Bench) -> None:
    client = bench.connect()
    client.sendall(b'{"version":1,"command":"later"}\n')
    bench.settle()
    bench.now += 100 * PATIENCE
    bench.server.drop_idle()
    bench.later[0]({"done": True})
    assert json.loads(client.recv(4096))["result"] == {"done": True}
    client.close()


def test_a_client_that_left_before_its_answer_does_no_harm(bench: Bench) -> None:
    client = bench.connect()
    client.sendall(b'{"version":1,"command":"later"}\n')
    bench.settle()
    client.close()
    bench.settle()
    bench.later[0]({"done": True})
    assert bench.ask("echo") == {"word": None}


def test_a_client_too_many_is_told_so(bench: Bench) -> None:
    clients = [bench.connect() for _ in range(MAX_CLIENTS)]
    late = bench.connect()
    assert "too many clients" in json.loads(late.recv(4096))["error"]
    assert late.recv(1) == b""
    for client in (*clients, late):
        client.close()
    bench.settle()
    assert bench.ask("echo") == {"word": None}


def test_a_user_who_may_not_is_told_the_key(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "control.sock", uids=(ME + 1,))
    try:
        with pytest.raises(ControlError, match=r"control\.users"):
            bench.ask("echo")
    finally:
        bench.server.close()


def test_closing_hands_out_the_answers_that_wait(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "control.sock")
    client = bench.connect()
    client.sendall(b'{"version":1,"command":"later"}\n')
    bench.settle()
    bench.later[0]({"stopped": True})
    bench.server.close()
    assert json.loads(client.recv(4096))["ok"] is True
    assert client.recv(1) == b""
    client.close()


def test_no_gate_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(GateAbsentError, match="wakeguard run"):
        ask(tmp_path / "control.sock", "status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "control.sock"))
    with pytest.raises(GateAbsentError, match="wakeguard run"):
        ask(tmp_path / "control.sock", "status")


@pytest.mark.parametrize("answer", [b"hello\n", b'{"version":1}\n', b"", b'{"version":1,"ok":true'])
def test_an_answer_that_is_none_is_one_clear_line(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ControlError) as caught:
            ask(tmp_path / "control.sock", "status", timeout=5)
        thread.join()
    assert "\n" not in str(caught.value)


def test_every_command_is_documented() -> None:
    from guard.cli import COMMANDS
    from guard.commands import Commands

    text = (Path(__file__).parent.parent / "docs" / "control.md").read_text()
    for name, row in COMMANDS.items():
        if row.target.startswith("guard.cli.live:"):
            assert f"| `wakeguard {name}` |" in text
    nothing: Any = None
    commands = Commands(
        nothing,
        nothing,
        nothing,
        pauses=nothing,
        policies=nothing,
        get_journalist=nothing,
        call=nothing,
        reload=nothing,
        stop=nothing,
    )
    for command in commands.table:
        assert f"| `{command}` |" in text
