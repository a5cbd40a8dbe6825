"""Where records begin and end, what the hellos say, how long a heartbeat is in each suite."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from guard.core.hello import ClientHello, Outcome, ServerHello, parse_client_hello, parse_server_hello
from guard.core.suite import TLS_1_3, get_suite
from guard.core.tls import (
    KIND_APP_DATA,
    KIND_HANDSHAKE,
    KIND_SPLIT,
    KIND_SYN,
    MAX_RECORD_BYTES,
    Framing,
    RecordJudge,
    RecordStream,
    is_record_header,
)
from tests import wire
from tests.tls_peer import TlsPeer

KINDS = {20: KIND_HANDSHAKE, 21: KIND_HANDSHAKE, 22: KIND_HANDSHAKE, 23: KIND_APP_DATA}


class Judge(RecordJudge):
    """Takes a record of a PING's length for one, and goes by the type of the others."""

    def judge_record(self, _stream: RecordStream, content_type: int, length: int, _now: float) -> int:
        return KIND_SYN if length == 41 else KINDS[content_type]


def make(framing: Framing = Framing.START) -> RecordStream:
    return RecordStream(Judge(), framing, [])


def feed(stream: RecordStream, data: bytes) -> int:
    return stream.receive(b"##" + data + b"##", 2, 2 + len(data), 0.0)


# -- framing -----------------------------------------------------------------------------------------

RECORDS = [(22, 200), (20, 1), (22, 40), (23, 41), (23, 353), (23, 0), (21, 26), (23, 5), (22, 4)]
STREAM = b"".join(wire.record(*record) for record in RECORDS)


def test_several_records_in_one_segment() -> None:
    stream = make()
    assert feed(stream, STREAM) == KIND_HANDSHAKE | KIND_SYN | KIND_APP_DATA
    assert stream.records == RECORDS
    assert (stream.framing, stream.remaining, stream.header) == (Framing.FRAMED, 0, b"")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 46, 300])
def test_records_cut_into_pieces(size: int) -> None:
    stream = make()
    for at in range(0, len(STREAM), size):
        feed(stream, STREAM[at : at + size])
    assert stream.records == RECORDS


def test_every_prefix_leaves_what_is_missing() -> None:
    for end in range(1, len(STREAM)):
        stream = make()
        feed(stream, STREAM[:end])
        feed(stream, STREAM[end:])
        assert stream.records == RECORDS


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_header_that_is_not_whole_is_split_until_it_is(size: int) -> None:
    stream = make()
    feed(stream, wire.record(22, 3))
    assert feed(stream, wire.PING_GCM[:size]) == KIND_SPLIT
    assert feed(stream, wire.PING_GCM[size:]) == KIND_SYN
    assert stream.resolved == KIND_SYN


@pytest.mark.parametrize("content_type", [20, 21, 22, 23])
def test_the_first_bytes_of_a_header_prove_nothing(content_type: int) -> None:
    """A record's length decides whether it is handshake: three bytes before it are not known to be."""
    stream = make()
    feed(stream, wire.record(22, 3))
    assert feed(stream, wire.record(content_type, 2)[:3]) & (KIND_SPLIT | KIND_APP_DATA)


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        ((20, 0x0301, 1), True),
        ((23, 0x0304, MAX_RECORD_BYTES), True),
        ((22, 0x0300, 0), True),
        ((19, 0x0303, 1), False),
        ((24, 0x0303, 1), False),
        ((23, 0x0305, 1), False),
        ((23, 0x0203, 1), False),
        ((23, 0x0303, MAX_RECORD_BYTES + 1), False),
    ],
)
def test_what_can_be_a_record_header(header: tuple[int, int, int], valid: bool) -> None:
    assert is_record_header(*header) is valid
    stream = make()
    content_type, version, length = header
    feed(stream, bytes([content_type]) + version.to_bytes(2, "big") + length.to_bytes(2, "big"))
    assert stream.framing is (Framing.FRAMED if valid else Framing.OPAQUE)


def test_garbage_makes_a_connection_opaque_for_good() -> None:
    stream = make()
    assert feed(stream, b"GET / HTTP/1.1\r\n") == KIND_APP_DATA
    assert feed(stream, wire.record(22, 30)) == KIND_APP_DATA
    assert stream.framing is Framing.OPAQUE
    assert stream.records == []
    stream.lose()
    assert stream.framing is Framing.OPAQUE


def test_one_byte_is_enough_to_know_that_no_record_begins() -> None:
    stream = make()
    assert feed(stream, b"G") == KIND_APP_DATA
    assert (stream.framing, stream.header) == (Framing.OPAQUE, b"")
    stream = make(Framing.UNKNOWN)
    feed(stream, wire.PING_GCM + wire.PING_GCM)
    assert feed(stream, b"G") == KIND_APP_DATA
    assert stream.framing is Framing.UNKNOWN


def test_in_mid_stream_the_second_header_confirms_the_first() -> None:
    stream = make(Framing.UNKNOWN)
    steps = []
    for data in (b"the rest of a record", wire.PING_GCM, wire.PING_GCM):
        kinds = feed(stream, data)
        steps.append((kinds, stream.framing))
    assert steps == [
        (KIND_APP_DATA, Framing.UNKNOWN),
        (KIND_APP_DATA, Framing.TENTATIVE),
        (KIND_SYN, Framing.INFERRED),
    ]


def test_in_mid_stream_a_header_that_nothing_confirms_is_thrown_out() -> None:
    stream = make(Framing.UNKNOWN)
    feed(stream, wire.PING_GCM)
    assert feed(stream, b"no record begins here") == KIND_APP_DATA
    assert stream.framing is Framing.UNKNOWN
    assert feed(stream, wire.PING_GCM) == KIND_APP_DATA  # and has to be confirmed anew


def test_losing_bytes_loses_the_boundaries() -> None:
    stream = make()
    feed(stream, wire.record(22, 30)[:20])
    stream.lose()
    assert (stream.framing, stream.remaining, stream.kind) == (Framing.UNKNOWN, 0, KIND_APP_DATA)


# -- the two hellos ----------------------------------------------------------------------------------

CLIENT = wire.client_hello_message(versions=(TLS_1_3, 0x0303))
SERVER = wire.server_hello_message(wire.AES_128_GCM_SHA256)
PARSERS = [(parse_client_hello, CLIENT), (parse_server_hello, SERVER)]


@pytest.mark.parametrize(("parse", "message"), PARSERS)
def test_a_prefix_needs_more_and_what_follows_does_not_matter(
    parse: Callable[[bytes | bytearray], tuple[Outcome, object]], message: bytes
) -> None:
    for end in range(len(message)):
        assert parse(message[:end]) == (Outcome.NEED_MORE, None)
    outcome, hello = parse(message)
    assert outcome is Outcome.PARSED
    assert parse(message + b"trailing") == (outcome, hello)
    assert parse(bytearray(message)) == (outcome, hello)


@pytest.mark.parametrize(("parse", "message"), PARSERS)
def test_a_message_cut_inside_itself_is_malformed(
    parse: Callable[[bytes | bytearray], tuple[Outcome, object]], message: bytes
) -> None:
    optional = 0
    for end in range(4, len(message)):
        cut = message[:1] + (end - 4).to_bytes(3, "big") + message[4:end]
        outcome, hello = parse(cut)
        assert outcome in (Outcome.MALFORMED, Outcome.PARSED)
        assert (hello is None) is (outcome is Outcome.MALFORMED)
        optional += outcome is Outcome.PARSED
    assert optional <= 1  # where the extension block begins: it may be missing


@pytest.mark.parametrize(("parse", "message"), PARSERS)
def test_any_byte_changed_is_an_answer(
    parse: Callable[[bytes | bytearray], tuple[Outcome, object]], message: bytes
) -> None:
    for at in range(len(message)):
        for value in (0, 1, 0x7F, 0xFF):
            outcome, hello = parse(message[:at] + bytes([value]) + message[at + 1 :])
            assert (hello is not None) is (outcome is Outcome.PARSED)


@pytest.mark.parametrize(("parse", "message"), PARSERS)
def test_another_message_is_malformed(
    parse: Callable[[bytes | bytearray], tuple[Outcome, object]], message: bytes
) -> None:
    assert parse(b"\x0b" + message[1:])[0] is Outcome.MALFORMED
    assert parse(message[:1] + b"\xff\xff\xff" + message[4:])[0] is Outcome.MALFORMED


def test_what_a_client_hello_says() -> None:
    assert parse_client_hello(CLIENT)[1] == ClientHello(
        "alexa.na.gateway.devices.a2z.com", (TLS_1_3, 0x0303), early_data=False
    )
    bare = wire.client_hello_message(extensions=False)
    assert parse_client_hello(bare)[1] == ClientHello(None, (0x0303,), early_data=False)
    eager = parse_client_hello(wire.client_hello_message(name=None, early_data=True))[1]
    assert eager == ClientHello(None, (0x0303,), early_data=True)


def test_what_a_server_hello_says() -> None:
    assert parse_server_hello(SERVER)[1] == ServerHello(TLS_1_3, 0x1301, encrypt_then_mac=False, retry=False)
    old = wire.server_hello_message(wire.AES_128_CBC_SHA, encrypt_then_mac=True)
    assert parse_server_hello(old)[1] == ServerHello(0x0303, 0xC013, encrypt_then_mac=True, retry=False)
    bare = wire.server_hello_message(extensions=False)
    assert parse_server_hello(bare)[1] == ServerHello(0x0303, 0xC02F, encrypt_then_mac=False, retry=False)
    again = wire.server_hello_message(wire.AES_128_GCM_SHA256, retry=True)
    assert parse_server_hello(again)[1] == ServerHello(TLS_1_3, 0x1301, encrypt_then_mac=False, retry=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_hellos_of_a_real_stack(version: ssl.TLSVersion) -> None:
    peer = TlsPeer(version)
    (_, hello), (_, answer) = peer.handshake()[:2]
    outcome, client_hello = parse_client_hello(hello[5:])
    assert outcome is Outcome.PARSED
    assert client_hello is not None
    assert client_hello.server_name == "echo.test"
    assert int(version) in client_hello.versions
    assert not client_hello.early_data
    outcome, server_hello = parse_server_hello(answer[5:])
    assert outcome is Outcome.PARSED
    assert server_hello is not None
    assert server_hello.version == int(version)
    assert get_suite(server_hello.version, server_hello.cipher_suite, encrypt_then_mac=False) is not None


# -- lengths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "suite", "encrypt_then_mac", "lengths"),
    [
        (0x0303, wire.AES_128_GCM, False, (41, 33, 113)),
        (0x0303, wire.CHACHA20, False, (33, 25, 105)),
        (0x0303, wire.AES_128_CBC_SHA, True, (68, 52, 132)),
        (0x0303, wire.AES_128_CBC_SHA, False, (64, 48, 128)),
        (0x0303, wire.AES_128_CBC_SHA256, False, (80, 64, 144)),
        (0x0303, wire.AES_256_CBC_SHA384, False, (96, 80, 160)),
        (TLS_1_3, wire.AES_128_GCM_SHA256, False, (34, 26, 106)),
        (TLS_1_3, wire.AES_256_GCM_SHA384, False, (34, 26, 106)),
    ],
)
def test_record_lengths_of_a_ping_a_settings_ack_and_voice(
    version: int, suite: int, encrypt_then_mac: bool, lengths: tuple[int, ...]
) -> None:
    known = get_suite(version, suite, encrypt_then_mac=encrypt_then_mac)
    assert known is not None
    assert tuple(known.get_length(plaintext) for plaintext in (17, 9, 89)) == lengths


def test_finished_lengths() -> None:
    for suite, length in ((0x1301, 53), (0x1302, 69), (0x1303, 53)):
        known = get_suite(TLS_1_3, suite, encrypt_then_mac=False)
        assert known is not None
        assert known.finished_length == length


def test_a_suite_that_is_not_known_has_no_lengths() -> None:
    assert get_suite(0x0303, 0x1301, encrypt_then_mac=False) is None
    assert get_suite(TLS_1_3, wire.AES_128_GCM, encrypt_then_mac=False) is None
    assert get_suite(0x0301, wire.AES_128_CBC_SHA, encrypt_then_mac=False) is None
