"""Wireshark agrees on every TLS record that a device sent."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from guard.lab.certificate import make_certificate, server_context
from tests.capture_files import CLOUD, ECHO, ECHO_MAC, EPOCH_NS, GATEWAY_MAC, ethernet, pcap, tcp
from tests.tshark_agreement import PAGE, compare, compare_households, format_page

pytestmark = pytest.mark.tshark
SYN, ACK, PUSH_ACK, FIN_ACK = 0x02, 0x10, 0x18, 0x11


@pytest.mark.captures
@pytest.mark.slow
def test_tshark_lists_the_same_records_in_every_capture(shared_data: Path) -> None:
    households = compare_households(shared_data / "vcfp-pcap")
    for name, household in households.items():
        assert household.faults == [], name
        assert household.equal == household.clean > 0
        assert household.clean + household.subsequences == household.streams
    assert format_page(households) == PAGE.read_text(encoding="utf-8"), (
        "run: python -m tests.tshark_agreement"
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("seed", range(4))
def test_tshark_lists_the_same_records_of_real_connections(
    tmp_path: Path, version: ssl.TLSVersion, seed: int
) -> None:
    path = tmp_path / "session.pcap"
    path.write_bytes(pcap(make_session(tmp_path, version, Random(seed))))
    (stream,) = compare(path, ECHO_MAC.hex(":")).values()
    assert stream.clean
    assert len(stream.reference) > 30
    assert [record for _frame, record in stream.ours] == stream.reference
    kinds = {kind for kind, _length in stream.reference}
    assert kinds == {20, 21, 22, 23} if version is ssl.TLSVersion.TLSv1_2 else kinds == {20, 22, 23}


def make_session(folder: Path, version: ssl.TLSVersion, random: Random) -> Iterator[tuple[int, bytes]]:
    """Yield the frames of a TLS session between OpenSSL and itself, cut into segments at random."""
    client, server, to_server, to_client = _connect(folder, version)
    seqs = [random.getrandbits(32), random.getrandbits(32)]
    time_ns = EPOCH_NS

    def frame(side: int, payload: bytes, flags: int) -> tuple[int, bytes]:
        nonlocal time_ns
        time_ns += 1_000_000
        ends = (ECHO, CLOUD) if side == 0 else (CLOUD, ECHO)
        ports = (46619, 443) if side == 0 else (443, 46619)
        macs = (ECHO_MAC, GATEWAY_MAC) if side == 0 else (GATEWAY_MAC, ECHO_MAC)
        packet = tcp(
            payload,
            seq=seqs[side],
            ack=seqs[1 - side] if flags & ACK else 0,
            flags=flags,
            ports=ports,
            source=ends[0],
            destination=ends[1],
        )
        seqs[side] = (seqs[side] + len(payload) + (flags & 3 != 0)) & 0xFFFFFFFF
        return time_ns, ethernet(packet, source=macs[0], destination=macs[1])

    def send(side: int, bio: ssl.MemoryBIO) -> Iterator[tuple[int, bytes]]:
        data = bio.read()
        while data:
            size = random.choice((1, 3, 4, 5, 6, 100, 1460, 1460))
            yield frame(side, data[:size], PUSH_ACK)
            data = data[size:]
            yield frame(1 - side, b"", ACK)

    yield frame(0, b"", SYN)
    yield frame(1, b"", SYN | ACK)
    yield frame(0, b"", ACK)
    for _ in range(4):
        _handshake(client)
        sent = to_server.read()
        to_server.write(sent)
        yield from send(0, _copy(sent))
        _handshake(server)
        sent = to_client.read()
        to_client.write(sent)
        yield from send(1, _copy(sent))
    for _ in range(40):
        for _ in range(random.randint(1, 3)):
            client.write(bytes(random.choice((17, 89, 400, 2000, 20000))))
        yield from send(0, to_server)
    with pytest.raises(ssl.SSLWantReadError):
        client.unwrap()  # close_notify
    yield from send(0, to_server)
    yield frame(0, b"", FIN_ACK)


def _connect(
    folder: Path, version: ssl.TLSVersion
) -> tuple[ssl.SSLObject, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    accepting = server_context(*make_certificate(folder))
    connecting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    connecting.check_hostname = False
    connecting.verify_mode = ssl.CERT_NONE
    connecting.minimum_version = connecting.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connecting.wrap_bio(to_client, to_server)
    server = accepting.wrap_bio(to_server, to_client, server_side=True)
    return client, server, to_server, to_client


def _handshake(side: ssl.SSLObject) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return


def _copy(data: bytes) -> ssl.MemoryBIO:
    bio = ssl.MemoryBIO()
    bio.write(data)
    return bio
