"""Wyoming framing whole, byte by byte, with trailing data and with garbage; then a server and a satellite."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware import canary
from hardware.errors import DetectorError
from hardware.inbox import Hearing, Inbox, Note, Scored
from hardware.satellite import SatelliteListener
from hardware.wyoming import Message, Reader, WyomingDetector, format_message, get_word
from tests.hardware.wait import wait_until

DETECTION = Message("detection", {"name": "alexa", "timestamp": 1234})
CONVERSATION = [
    Message("detect", {"names": ["alexa"]}),
    Message("audio-chunk", {"rate": 16000}, bytes(range(256))),
    DETECTION,
    Message("not-detected", {}),
]
WIRE = b"".join(map(format_message, CONVERSATION))


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_messages_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    reader, messages = Reader(), []
    edges = [0, *sorted(cuts), len(WIRE)]
    for start, end in itertools.pairwise(edges):
        messages += reader.receive(WIRE[start:end])
    assert messages == CONVERSATION


def test_byte_by_byte_each_message_comes_with_its_last_byte() -> None:
    reader = Reader()
    counts = [len(reader.receive(bytes([byte]))) for byte in WIRE]
    assert sum(counts) == len(CONVERSATION)
    assert max(counts) == 1


def test_data_in_the_first_line_counts_too() -> None:
    line = b'{"type":"detection","data":{"name":"alexa"}}\n'
    assert Reader().receive(line) == [Message("detection", {"name": "alexa"})]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xff\n",
        b"[]\n",
        b"{}\n",
        b'{"type":1}\n',
        b'{"type":"x","data_length":-1}\n',
        b'{"type":"x","payload_length":99999999999}\n',
        b'{"type":"x","data_length":"3"}\n',
        b'{"type":"x","data_length":2}\n[]',
        b'{"type":"x","data":3}\n',
        b"[" * 5000 + b"\n",
        b"a" * 9000,
    ],
)
def test_garbage_is_a_fault_of_one_line(garbage: bytes) -> None:
    with pytest.raises(DetectorError, match="no Wyoming server"):
        Reader().receive(garbage)


@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_more_to_come_or_a_fault(data: bytes) -> None:
    try:
        for message in Reader().receive(data):
            assert isinstance(message, Message)
    except DetectorError:
        pass


def test_only_a_detection_names_a_word() -> None:
    assert [get_word(message) for message in CONVERSATION] == [None, None, "alexa", None]
    assert get_word(Message("detection", {"name": None})) == "wake"
    assert get_word(Message("detection", {"name": "x" * 999})) == "x" * 64


class Server:
    """A wake-word server: answers ``detection`` after ``after`` bytes of audio that are not silence."""

    def __init__(self, *, deaf: bool) -> None:
        self._deaf = deaf
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.seen: list[Message] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        reader, listening, loud = Reader(), False, 0
        with connection:
            while data := connection.recv(65536):
                for message in reader.receive(data):
                    self.seen.append(message)
                    if message.type == "detect":
                        listening, loud = True, 0
                    loud += len(message.payload.strip(b"\0"))
                    if listening and loud > 10_000 and not self._deaf:
                        listening = False  # as the real ones do: once a request
                        connection.sendall(format_message(DETECTION))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(deaf=False)
    yield made
    made.close()


def test_a_server_is_a_detector_like_any_other(server: Server) -> None:
    detector = WyomingDetector("127.0.0.1", server.port, ["alexa"])
    pauses = threading.Event()
    for _ in range(2):
        canary.check(detector, threshold=0.5, wait=pauses.wait)
    detector.close()
    assert server.seen[0] == Message("detect", {"names": ["alexa"]})
    chunk = next(message for message in server.seen if message.type == "audio-chunk")
    assert chunk.data == {"rate": 16000, "width": 2, "channels": 1, "timestamp": 0}
    json.dumps(chunk.data)


def test_a_server_that_goes_on_answering_nothing_is_found_dead() -> None:
    server = Server(deaf=True)
    detector = WyomingDetector("127.0.0.1", server.port, ["alexa"])
    with pytest.raises(DetectorError, match="does not know"):
        canary.check(detector, threshold=0.5, wait=lambda _seconds: None)
    detector.close()
    server.close()


def test_a_server_that_is_not_there_says_which_keys_to_mend() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DetectorError, match=r"no Wyoming server at 127\.0\.0\.1 port .*sense\.wake\.host"):
        WyomingDetector("127.0.0.1", port, ["alexa"])


def test_a_satellites_detections_become_notes() -> None:
    inbox = Inbox()
    listener = SatelliteListener("127.0.0.1", 0, inbox, clock=lambda: 7.0)
    thread = threading.Thread(target=listener.run)
    thread.start()
    notes: list[Note] = []

    def has(note: Note) -> bool:
        notes.extend(inbox.wait(0.0))
        return note in notes

    wait_until(lambda: listener.port)
    with socket.create_connection(("127.0.0.1", listener.port)) as satellite:
        for byte in WIRE:
            satellite.send(bytes([byte]))
        wait_until(lambda: has(Scored("alexa", 1.0, 7.0, "satellite")))
        assert Hearing(True) in notes
    wait_until(lambda: has(Hearing(False)))
    with socket.create_connection(("127.0.0.1", listener.port)) as liar:
        liar.send(b"GET / HTTP/1.1\r\n\r\n")
        wait_until(lambda: inbox.wait(0.0) is not None and listener.lost == 2)
    listener.stop()
    thread.join(timeout=5.0)
    assert not thread.is_alive()
    inbox.close()
