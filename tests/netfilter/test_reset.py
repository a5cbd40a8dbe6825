"""Resets as bytes, and how many of them leave; no kernel is asked."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt

from guard.core.packet import parse_packet
from guard.netfilter import reset
from guard.netfilter.marks import RESET_MARK
from guard.netfilter.reset import MAX_REMEMBERED, RATE, Resetter, make_reset

MARK = 0x81ABCDEF
V4 = IP(src="10.0.0.2", dst="52.4.1.9")
V6 = IPv6(src="fd00::2", dst="2001:db8::9")
SEGMENT = TCP(sport=40_000, dport=443, seq=1000, ack=2000, flags="PA") / b"secret"


class Wire:
    """A raw socket that keeps what is sent, or fails."""

    def __init__(self, fault: OSError | None = None) -> None:
        self.sent: list[tuple[bytes, Any]] = []
        self.marks: list[bytes] = []
        self.fault = fault

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_MARK)
        self.marks.append(value)

    def sendto(self, content: bytes, address: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append((content, address))

    def close(self) -> None:
        pass


def make(
    monkeypatch: pytest.MonkeyPatch, fault: OSError | None = None
) -> tuple[Resetter, Wire, list[OSError]]:
    wire = Wire(fault)
    monkeypatch.setattr(reset, "_open", lambda family: wire)
    faults: list[OSError] = []
    return Resetter(on_failure=faults.append), wire, faults


def send(resetter: Resetter, packet: Any, *, now: float = 10.0, hook: int = 2, **facts: Any) -> None:
    resetter.reset(bytes(packet), mark=MARK, hook=hook, interface=5, now=now, **facts)


@pytest.mark.parametrize("header", [V4, V6, V6 / IPv6ExtHdrDestOpt()], ids=["ipv4", "ipv6", "extension"])
@pytest.mark.parametrize("seq", [0, 1000, 0xFFFFFFFF])
def test_a_reset_is_two_bare_headers_with_right_checksums(header: Any, seq: int) -> None:
    packet = bytes(header / SEGMENT)
    made, family, target = make_reset(parse_packet(packet)[1], seq)
    outer = IP if family == socket.AF_INET else IPv6
    read = outer(made)
    assert len(made) == (40 if outer is IP else 60)
    assert (read.src, read.dst, target) == (header.src, header.dst, header.dst)
    assert (read[TCP].sport, read[TCP].dport, read[TCP].seq, str(read[TCP].flags)) == (40_000, 443, seq, "R")
    again = outer(made)
    del again[TCP].chksum
    if outer is IP:
        del again.chksum
    assert bytes(again) == made


def test_the_users_bits_of_the_mark_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    resetter, wire, _ = make(monkeypatch)
    send(resetter, V4 / SEGMENT)
    send(resetter, V6 / SEGMENT)
    assert {int.from_bytes(mark, "little") for mark in wire.marks} == {RESET_MARK | 0xABCDEF}
    assert [address for _, address in wire.sent] == [("52.4.1.9", 0), ("2001:db8::9", 0, 0, 0)]


def test_on_input_both_ends_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    resetter, wire, _ = make(monkeypatch)
    header = IPv6(src="fe80::2", dst="fe80::1")
    send(resetter, header / SEGMENT, hook=1)
    ends = [(IPv6(content).dst, IPv6(content)[TCP].seq, address[3]) for content, address in wire.sent]
    assert ends == [("fe80::1", 1000, 5), ("fe80::2", 2000, 5)]
    assert resetter.sent == 2


@pytest.mark.parametrize(("expected", "seq"), [(None, 1000), (900, 1000), (1000, 1000), (1400, 1400)])
def test_the_number_is_the_one_that_the_receiver_expects(
    monkeypatch: pytest.MonkeyPatch, expected: int | None, seq: int
) -> None:
    resetter, wire, _ = make(monkeypatch)
    send(resetter, V4 / SEGMENT, expected=expected)
    assert IP(wire.sent[0][0])[TCP].seq == seq


@pytest.mark.parametrize(
    "packet",
    [
        V4 / TCP(flags="S") / b"data",
        V4 / TCP(flags="SA"),
        V4 / TCP(flags="R") / b"data",
        V4 / UDP() / b"data",
        V4 / ICMP() / b"data",
        bytes(V4 / SEGMENT)[:30],
        bytes(V4 / SEGMENT)[:-1],
        b"",
    ],
    ids=["syn", "syn-ack", "rst", "udp", "icmp", "cut", "short", "empty"],
)
def test_nobody_is_reset_who_has_no_connection(monkeypatch: pytest.MonkeyPatch, packet: Any) -> None:
    resetter, wire, _ = make(monkeypatch)
    send(resetter, packet)
    assert wire.sent == []


def test_a_connection_is_reset_once_a_second_and_each_of_its_lives_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resetter, wire, _ = make(monkeypatch)
    for now in (10.0, 10.5, 10.999, 11.0, 11.5):
        send(resetter, V4 / SEGMENT, now=now)
    assert len(wire.sent) == 2
    send(resetter, V4 / SEGMENT, now=11.5, life=1)
    assert len(wire.sent) == 3
    assert resetter.limited == 0


def test_a_flood_is_bounded_in_resets_and_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    resetter, wire, _ = make(monkeypatch)
    packet = bytearray(bytes(V4 / SEGMENT))
    seconds, count = 2.0, 30_000
    for number in range(count):
        packet[20:22] = (number % 60_000 + 1).to_bytes(2)
        send(resetter, packet, now=10.0 + seconds * number / count)
    assert RATE.burst < len(wire.sent) <= RATE.get_bound(seconds) + 1
    assert resetter.sent + resetter.limited == count
    assert len(resetter._told) <= MAX_REMEMBERED


def test_a_failure_is_counted_and_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resetter, _, faults = make(monkeypatch, OSError(errno.ENETUNREACH, "no route"))
    for life in range(3):
        send(resetter, V4 / SEGMENT, life=life)
    assert (resetter.sent, resetter.failed) == (0, 3)
    assert [fault.errno for fault in faults] == [errno.ENETUNREACH]


def test_without_the_right_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: int) -> socket.socket:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(reset, "_open", refuse)
    faults: list[OSError] = []
    resetter = Resetter(on_failure=faults.append)
    assert faults == [], "monitor needs no reset and hears no complaint"
    send(resetter, V4 / SEGMENT)
    assert (resetter.failed, len(faults)) == (1, 1)
    resetter.close()
