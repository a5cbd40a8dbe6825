"""Frames come back as they were sent, and have the shape of a real Echo's on the wire."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from guard.core.verdict import Direction
from guard.lab import frames, virtual_time
from guard.lab.certificate import client_context, make_certificate, server_context
from guard.lab.frames import Frame, FrameReader, Kind
from guard.lab.segments import Endpoint
from guard.lab.session import APPLICATION_DATA, RecordCounter, Session
from guard.lab.simulated_tcp import Connection, Outcome, Settle

FRAMES = [Frame(Kind.PING, 3, 0, 17), Frame(Kind.BEAT, 15, 0, 4), Frame(Kind.VOICE_END, 0, 255, 89)]
STREAM = b"".join(frame.encode() for frame in FRAMES)


def test_frames_come_back_whole() -> None:
    assert FrameReader().receive(STREAM) == FRAMES


def test_frames_come_back_byte_by_byte() -> None:
    reader = FrameReader()
    assert [frame for byte in STREAM for frame in reader.receive(bytes([byte]))] == FRAMES


def test_a_frame_is_kept_until_it_is_whole() -> None:
    reader = FrameReader()
    assert reader.receive(STREAM + FRAMES[0].encode()[:-1]) == FRAMES
    assert reader.receive(b"\0") == [FRAMES[0]]


def test_garbage_is_refused() -> None:
    with pytest.raises(ValueError, match="a frame of 0 bytes"):
        FrameReader().receive(bytes(8))


def test_every_burst_ends_once_and_at_its_end() -> None:
    bursts = (
        frames.telemetry(1, 2),
        frames.state(1, 2),
        frames.utterance(1, 2, seconds=1.0),
        frames.request(1, 2),
        frames.bulk(Kind.SONG, Kind.SONG_END, 1, 2, total=5000),
    )
    for burst in bursts:
        assert [frame.kind.name.endswith("_END") for frame in burst] == [False] * (len(burst) - 1) + [True]
        assert {(frame.phase, frame.item) for frame in burst} == {(1, 2)}
    assert frames.get_bytes(bursts[-1]) == 5600


@pytest.mark.parametrize(
    ("tls", "overhead", "ping", "beat", "unit"), [("1.2", 24, 41, 28, 113), ("1.3", 17, 34, 21, 106)]
)
def test_records_have_the_lengths_measured_on_real_devices(
    tmp_path: Path, tls: str, overhead: int, ping: int, beat: int, unit: int
) -> None:
    sent = [Frame(Kind.PING, 0, 0, 17), Frame(Kind.BEAT, 0, 0, 4), *frames.utterance(0, 1, seconds=0.1)]
    lengths = [
        length for kind, length in _read_records(_exchange(tmp_path, tls, sent)) if kind == APPLICATION_DATA
    ]
    lengths = lengths[-len(sent) :]  # before them, in TLS 1.3, the client's Finished
    assert lengths == [frame.size + overhead for frame in sent]
    assert lengths[:2] == [ping, beat]
    headers, _json, *lattice = lengths[2:]
    assert 283 <= headers <= 355
    assert {(length - overhead - 9) % 80 for length in lattice} == {0}
    assert lattice[-1] == unit
    pre_roll = sum(length for length in lattice if length > unit)
    assert 17_000 <= pre_roll <= 20_000


def _exchange(directory: Path, tls: str, sent: list[Frame]) -> bytes:
    """Return all that a client sends upstream when it sends these frames."""
    certificate, key = make_certificate(directory)
    upstream = bytearray()

    async def main() -> list[Frame]:
        received: list[Frame] = []
        cloud = Session(
            server_context(certificate, key),
            server_side=True,
            on_frame=lambda _, frame: received.append(frame),
        )
        device = Session(
            client_context(certificate, tls),
            server_hostname="gateway.cloud.example",
            on_frame=lambda *_: None,
        )

        def judge(packet: bytes, direction: Direction, _settle: Settle) -> Outcome:
            if direction is Direction.UPSTREAM:
                upstream.extend(packet[20 + (packet[32] >> 4) * 4 :])
            return Outcome.PASS

        connection = Connection(judge, Endpoint("192.0.2.1", 4000), Endpoint("192.0.2.2", 443), sequence=1)
        connection.open(device, cloud)
        await device.ready
        assert device.version == f"TLSv{tls}"
        device.send(sent)
        await asyncio.sleep(1)
        device.close()
        return received

    assert virtual_time.run(main()) == sent
    return bytes(upstream)


def _read_records(stream: bytes) -> list[tuple[int, int]]:
    records = []
    while stream:
        length = int.from_bytes(stream[3:5], "big")
        records.append((stream[0], length))
        stream = stream[5 + length :]
    return records


def _record(kind: int, length: int) -> bytes:
    return bytes([kind, 3, 3]) + length.to_bytes(2, "big") + bytes(length)


def test_the_counter_knows_a_piece_of_application_data_however_it_is_cut() -> None:
    stream = _record(22, 7) + _record(23, 40) + _record(23, 0) + _record(23, 30)[:-4]
    for cuts in itertools.combinations(range(1, len(stream)), 2):
        counter = RecordCounter()
        for start, stop in itertools.pairwise((0, *cuts, len(stream))):
            counter.receive(stream[start:stop])
        assert counter.wire_bytes == len(stream)
        assert counter.cut_bytes == 26


def test_a_piece_of_a_handshake_record_is_no_leak() -> None:
    counter = RecordCounter()
    counter.receive(_record(23, 5) + _record(22, 9)[:-1])
    assert counter.cut_bytes == 0
