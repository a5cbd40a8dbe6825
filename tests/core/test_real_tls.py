"""Handshakes, heartbeats and resumptions of a real TLS stack."""

from __future__ import annotations

import ssl

import pytest

from tests.conversation import DOWN, NO_INTERACTION, UP, Conversation
from tests.tls_peer import TlsPeer


def shake_hands(talk: Conversation, peer: TlsPeer, *, cut: int = 1400) -> list[str]:
    """Play a real handshake in segments of ``cut`` bytes; return what the device's segments were."""
    answers = []
    for direction, data in peer.handshake():
        for at in range(0, len(data), cut):
            if direction is UP:
                answers.append(talk.up(data[at : at + cut]))
            else:
                talk.down(data[at : at + cut])
    return answers


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ip", [4, 6])
def test_a_real_handshake_is_handshake_and_the_first_record_is_not(version: ssl.TLSVersion, ip: int) -> None:
    talk, peer = Conversation(version=ip).open(), TlsPeer(version)
    assert set(shake_hands(talk, peer)) == {"handshake accept handshake"}
    [(_, ping)] = peer.write(UP, bytes(17))
    assert talk.up(ping) == "syn accept heartbeat"
    [(_, answer)] = peer.write(DOWN, bytes(17))
    talk.down(answer)
    [(_, voice)] = peer.write(UP, bytes(89))
    assert talk.up(voice) == NO_INTERACTION


@pytest.mark.parametrize("ciphers", ["ECDHE+AESGCM", "ECDHE+CHACHA20", "ECDHE-ECDSA-AES128-SHA256"])
def test_the_heartbeats_of_real_suites(ciphers: str) -> None:
    talk = Conversation().open()
    peer = TlsPeer(ssl.TLSVersion.TLSv1_2, ciphers=f"{ciphers}:@SECLEVEL=0")
    assert set(shake_hands(talk, peer)) == {"handshake accept handshake"}
    for plaintext, answer in (
        (17, "syn accept heartbeat"),
        (4, "syn accept heartbeat"),
        (89, NO_INTERACTION),
    ):
        [(_, record)] = peer.write(UP, bytes(plaintext))
        assert talk.up(record) == answer
        talk.ack()


def test_a_real_hello_retry_request() -> None:
    talk = Conversation().open()
    peer = TlsPeer(ssl.TLSVersion.TLSv1_3, curve="secp521r1")
    flights = len(shake_hands(talk, peer))
    assert flights >= 3  # hello, hello again, Finished
    [(_, voice)] = peer.write(UP, bytes(89))
    assert talk.up(voice) == NO_INTERACTION


@pytest.mark.parametrize("version", VERSIONS)
def test_a_real_resumption(version: ssl.TLSVersion) -> None:
    first = TlsPeer(version)
    first.handshake()
    first.write(DOWN, b"ticket")
    first.read(DOWN)
    talk = Conversation().open()
    peer = TlsPeer(version, client=first.client_context, session=first.client.session)
    assert set(shake_hands(talk, peer)) == {"handshake accept handshake"}
    [(_, voice)] = peer.write(UP, bytes(89))
    assert talk.up(voice) == NO_INTERACTION
