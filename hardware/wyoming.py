"""The Wyoming protocol, as much of it as wake words need: framing, a server's client, a satellite's ear.

A message is one line of JSON (``type``, ``data_length``, ``payload_length``), then that many bytes of JSON,
then of payload. It has neither password nor encryption: loopback, unless the owner says otherwise.
Partial input is an answer (None), damaged input a fault.
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from hardware.audio import RATE, SAMPLE_BYTES
from hardware.detectors import Score
from hardware.errors import DetectorError

MAX_LINE = 8192
MAX_BODY = 1 << 20  # a wake-word server sends a hundred bytes
CONNECT_TIMEOUT_S = 3.0
AUDIO = {"rate": RATE, "width": SAMPLE_BYTES, "channels": 1}


class Message(NamedTuple):
    """One message; ``data`` is its JSON, ``payload`` its audio."""

    type: str
    data: dict[str, Any]
    payload: bytes = b""


def format_message(message: Message) -> bytes:
    """Return the bytes of a message."""
    data = json.dumps(message.data).encode() if message.data else b""
    head: dict[str, Any] = {"type": message.type, "version": "1.5.2"}
    if data:
        head["data_length"] = len(data)
    if message.payload:
        head["payload_length"] = len(message.payload)
    return json.dumps(head).encode() + b"\n" + data + message.payload


class Reader:
    """Cuts a byte stream into messages."""

    def __init__(self) -> None:
        self._bytes = b""

    def receive(self, data: bytes) -> list[Message]:
        """Return the messages that ``data`` completes; DetectorError when the stream is not Wyoming."""
        self._bytes += data
        messages = []
        while (message := self._take()) is not None:
            messages.append(message)
        return messages

    def _take(self) -> Message | None:
        line, newline, rest = self._bytes.partition(b"\n")
        if len(line) > MAX_LINE:
            raise DetectorError("what answers there is no Wyoming server (a line without end)")
        if not newline:
            return None
        try:
            head = json.loads(line)
            kind, data = head["type"], head.get("data") or {}
            sizes = [head.get(key) or 0 for key in ("data_length", "payload_length")]
            if not isinstance(kind, str) or not all(
                isinstance(size, int) and 0 <= size <= MAX_BODY for size in sizes
            ):
                raise ValueError("sizes")
            if len(rest) < sum(sizes):
                return None
            more = json.loads(rest[: sizes[0]]) if sizes[0] else {}
            if not isinstance(data, dict) or not isinstance(more, dict):
                raise ValueError("data")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise DetectorError("what answers there is no Wyoming server (a damaged message)") from None
        self._bytes = rest[sum(sizes) :]
        return Message(kind, {**data, **more}, rest[sizes[0] : sum(sizes)])


def get_word(message: Message) -> str | None:
    """Return the wake word that a ``detection`` names, None for any other message."""
    if message.type != "detection":
        return None
    name = message.data.get("name")
    return name[:64] if isinstance(name, str) and name else "wake"


class WyomingDetector:
    """A Detector that is a wake-word server's client. The audio goes to that server and nowhere else."""

    def __init__(self, host: str, port: int, words: Sequence[str]) -> None:
        self._where = f"{host} port {port}"
        self._words = list(words)
        self._timestamp = 0
        self._reader = Reader()
        try:
            self._socket = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
        except OSError as error:
            raise DetectorError(
                f"no Wyoming server at {self._where} ({error.strerror or error}); start it, or mend "
                "sense.wake.host and sense.wake.port"
            ) from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._start()

    def receive_audio(self, audio: bytes) -> Sequence[Score]:
        """Send ``audio`` and return what the server has found by now."""
        samples = len(audio) // SAMPLE_BYTES
        self._send(Message("audio-chunk", {**AUDIO, "timestamp": self._timestamp * 1000 // RATE}, audio))
        self._timestamp += samples
        scores = []
        for message in self._receive():
            word = get_word(message)
            if word is not None:
                scores.append(Score(word, 1.0))  # the server has a threshold of its own
                self._start()  # it stops at the first detection
        return scores

    def reset(self) -> None:
        """Begin a new stream, and let pass what the server had still to say of the old one."""
        self._receive()
        self._start()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _start(self) -> None:
        self._timestamp = 0
        self._send(Message("detect", {"names": self._words}))
        self._send(Message("audio-start", {**AUDIO, "timestamp": 0}))

    def _send(self, message: Message) -> None:
        try:
            self._socket.sendall(format_message(message))
        except OSError as error:
            raise DetectorError(
                f"the Wyoming server at {self._where} is lost ({error}); start it again"
            ) from None

    def _receive(self) -> list[Message]:
        messages: list[Message] = []
        while select.select([self._socket], [], [], 0)[0]:
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise DetectorError(
                    f"the Wyoming server at {self._where} is lost ({error}); start it again"
                ) from None
            if not data:
                raise DetectorError(f"the Wyoming server at {self._where} hung up; start it again")
            messages += self._reader.receive(data)
        return messages
