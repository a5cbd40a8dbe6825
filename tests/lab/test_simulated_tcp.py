"""The simulation's TCP keeps what decides a gate's worth, and its packets are real ones."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from guard.core.verdict import Direction
from guard.lab import virtual_time
from guard.lab.certificate import client_context, make_certificate, server_context
from guard.lab.frames import Frame, Kind
from guard.lab.segments import Endpoint, Flags, build_packet
from guard.lab.session import Session, SessionLostError
from guard.lab.simulated_tcp import Connection, Outcome, Settle

V4 = Endpoint("192.0.2.1", 4000), Endpoint("198.51.100.7", 443)
V6 = Endpoint("2001:db8::1", 4000), Endpoint("2001:db8::2", 443)
PING = Frame(Kind.PING, 0, 0, 17)


def _sum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_checksums_are_right_in_ipv4(payload: bytes) -> None:
    packet = build_packet(*V4, Flags.SYN, seq=7, ack=9, payload=payload)
    assert _sum(packet[:20]) == 0xFFFF
    assert _sum(packet[12:20] + struct.pack(">HH", 6, len(packet) - 20) + packet[20:]) == 0xFFFF
    assert int.from_bytes(packet[2:4], "big") == len(packet)


@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_checksums_are_right_in_ipv6(payload: bytes) -> None:
    packet = build_packet(*V6, Flags.ACK, seq=7, ack=9, payload=payload)
    assert _sum(packet[8:40] + struct.pack(">II", len(packet) - 40, 6) + packet[40:]) == 0xFFFF
    assert int.from_bytes(packet[4:6], "big") == len(packet) - 40


class _Scene:
    """A connection whose judge can be changed; what the cloud received."""

    def __init__(self, directory: Path) -> None:
        certificate, key = make_certificate(directory)
        self.received: list[Frame] = []
        self.shown: list[bytes] = []
        self.outcome: Callable[[bytes], Outcome] = lambda _packet: Outcome.PASS
        self._server, self._client = server_context(certificate, key), client_context(certificate, "1.2")

    async def connect(self) -> Session:
        cloud = Session(self._server, server_side=True, on_frame=lambda _, frame: self.received.append(frame))
        device = Session(self._client, server_hostname="a.cloud.example", on_frame=lambda *_: None)
        Connection(self._judge, *V4, sequence=0xFFFFFFF0).open(device, cloud)
        await device.ready
        return device

    def _judge(self, packet: bytes, direction: Direction, _settle: Settle) -> Outcome:
        if direction is Direction.DOWNSTREAM:
            return Outcome.PASS
        self.shown.append(packet)
        return self.outcome(packet)


def test_a_dropped_segment_is_offered_again_with_the_same_bytes(tmp_path: Path) -> None:
    async def main() -> None:
        scene = _Scene(tmp_path)
        device = await scene.connect()
        scene.shown.clear()
        scene.outcome = lambda _packet: Outcome.DROP if len(scene.shown) < 3 else Outcome.PASS
        device.send([PING])
        await asyncio.sleep(5)
        assert scene.received == [PING]
        assert len(scene.shown) == 3
        assert len(set(scene.shown)) == 1

    virtual_time.run(main())


def test_a_drop_without_end_loses_the_connection(tmp_path: Path) -> None:
    async def main() -> None:
        scene = _Scene(tmp_path)
        device = await scene.connect()
        scene.outcome = lambda _packet: Outcome.DROP
        device.send([PING])
        await device.lost
        assert not device.was_reset
        assert scene.received == []

    virtual_time.run(main())


def test_a_reset_ends_both_sides_and_nothing_arrives(tmp_path: Path) -> None:
    async def main() -> None:
        scene = _Scene(tmp_path)
        device = await scene.connect()
        scene.outcome = lambda _packet: Outcome.RESET
        device.send([PING])
        await device.lost
        assert device.was_reset
        assert scene.received == []
        with pytest.raises(SessionLostError):
            device.send([PING])

    virtual_time.run(main())


def test_a_handshake_that_does_not_pass_is_a_refused_connection(tmp_path: Path) -> None:
    async def main() -> None:
        scene = _Scene(tmp_path)
        scene.outcome = lambda _packet: Outcome.DROP
        with pytest.raises(ConnectionRefusedError):
            await scene.connect()

    virtual_time.run(main())


def test_waiting_takes_no_time_and_follows_the_clock() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.sleep(86_400)
        return loop.time() - start

    assert virtual_time.run(main()) == pytest.approx(86_400)


def test_a_connection_that_was_reset_before_its_beginning_is_simply_lost(tmp_path: Path) -> None:
    class Gone(asyncio.Transport):
        """A transport without a peer."""

        def is_closing(self) -> bool:
            return True

        def write(self, data: object) -> None:
            pass

    async def main() -> None:
        certificate, _key = make_certificate(tmp_path)
        context = client_context(certificate, "1.3")
        session = Session(context, server_hostname="a.cloud.example", on_frame=lambda *_: None)
        session.connection_made(Gone())
        session.connection_lost(ConnectionResetError())
        assert session.was_reset
        with pytest.raises(SessionLostError):
            await session.ready
        with pytest.raises(SessionLostError):
            session.send([PING])

    virtual_time.run(main())
