"""The model of a receiving TCP against the kernel's: the same segments, the same bytes delivered.

Segments are written to the wire one by one (AF_PACKET), so the sender's own TCP has no say in them; its
resets are dropped. A datagram behind them tells when the kernel has taken them all.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests import wire
from tests.model.receiver import ACK, FIN, MODULUS, PSH, RST, SYN, URG, Receiver, Segment
from tests.netns.household import Household, Namespace

pytestmark = pytest.mark.kernel

PORT, BARRIER_PORT = 4433, 4434
ETHERTYPE_IPV4 = 0x0800
RUNS = 60


class Wire:
    """The Echo's end of a cable to the cloud, without a TCP of its own."""

    def __init__(self, home: Household) -> None:
        self.source = home.echo_address[socket.AF_INET]
        self.target = home.cloud_address[socket.AF_INET]
        self._link = self._make_link(home)
        self.raw = home.echo.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE_IPV4))
        self.raw.bind(("eth0", ETHERTYPE_IPV4))
        home.echo.run("iptables", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP")
        self.barrier = home.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.barrier.bind((self.target, BARRIER_PORT))

    @staticmethod
    def _make_link(home: Household) -> bytes:
        """Return the Ethernet header towards the bridge's other side."""
        target = home.cloud.run("cat", "/sys/class/net/eth0/address").strip()
        source = home.echo.run("cat", "/sys/class/net/eth0/address").strip()
        macs = bytes.fromhex((target + source).replace(":", ""))
        return macs + struct.pack("!H", ETHERTYPE_IPV4)

    def close(self) -> None:
        self.raw.close()
        self.barrier.close()

    def write(self, segment: Segment, *, port: int) -> None:
        head = struct.pack(
            "!HHIIBBHHH",
            *(port, PORT, segment.seq, segment.ack, 5 << 4, segment.flags, 0xFFFF, 0, segment.urgent),
        )
        pseudo = socket.inet_aton(self.source) + socket.inet_aton(self.target)
        pseudo += struct.pack("!BBH", 0, wire.TCP, len(head) + len(segment.payload))
        right = wire.checksum(pseudo + head + segment.payload)
        head = head[:16] + struct.pack("!H", right if segment.valid else right ^ 0x5555) + head[18:]
        packet = wire.ipv4(head + segment.payload, source=self.source, target=self.target)
        self.raw.send(self._link + packet)

    def settle(self) -> None:
        """Return when everything written so far has been taken."""
        datagram = wire.udp(b"barrier", target_port=BARRIER_PORT)
        self.raw.send(
            self._link + wire.ipv4(datagram, protocol=wire.UDP, source=self.source, target=self.target)
        )
        assert self.barrier.recv(100) == b"barrier"

    def read_isn(self, port: int) -> int:
        """Return the server's initial sequence number."""
        while True:
            packet = self.raw.recv(2048)[14:]
            if packet[9] == wire.TCP and struct.unpack_from("!HH", packet, 20) == (PORT, port):
                assert packet[33] == SYN | ACK
                return int(struct.unpack_from("!I", packet, 24)[0])


@pytest.fixture(scope="module")
def cable() -> Iterator[tuple[Wire, Namespace]]:
    with Household(bridged=True) as home:
        cable = Wire(home)
        yield cable, home.cloud
        cable.close()


class Connection:
    """One connection, led to the kernel and to the model at once."""

    def __init__(self, cable: Wire, cloud: Namespace, port: int, *, isn: int) -> None:
        self.cable, self.port = cable, port
        self.start = (isn + 1) % MODULUS
        self.listener = cloud.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.listener.bind((cable.target, PORT))
        self.listener.listen()
        self.listener.setblocking(False)
        self.ends: list[socket.socket] = []
        self.got = b""
        self.ack = 0
        self.isn = isn

    def open(self) -> None:
        self.cable.write(Segment(self.isn, SYN), port=self.port)
        server_isn = self.cable.read_isn(self.port)
        self.model = Receiver(isn=server_isn)
        self.model.receive(Segment(self.isn, SYN))
        self.ack = (server_isn + 1) % MODULUS

    def send(
        self,
        offset: int,
        payload: bytes = b"",
        *,
        flags: int = ACK | PSH,
        ack: int = 0,
        urgent: int = 0,
        valid: bool = True,
    ) -> None:
        """Send at ``offset`` from the first byte of the stream, to both; what arrives is read at once."""
        seq = (self.start + offset) % MODULUS
        segment = Segment(seq, flags, payload, (self.ack + ack) % MODULUS, urgent, valid)
        self.cable.write(segment, port=self.port)
        self.model.receive(segment)
        self.cable.settle()
        self.read()

    def read(self) -> None:
        try:
            end, _ = self.listener.accept()
        except BlockingIOError:
            pass
        else:
            end.setblocking(False)
            self.ends.append(end)
        for end in self.ends:
            try:
                while data := end.recv(1 << 16):
                    self.got += data
            except (BlockingIOError, ConnectionResetError):
                continue

    def compare(self) -> None:
        self.read()
        assert self.got == self.model.delivered

    def close(self) -> None:
        for end in self.ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        self.listener.close()


Script = Callable[[Connection], None]


def _overlap_beyond_a_gap(c: Connection) -> None:
    c.send(10, b"A" * 10)
    c.send(15, b"B" * 10)  # the lower sequence number wins
    c.send(0, b"-" * 10)


def _cover_beyond_a_gap(c: Connection) -> None:
    c.send(10, b"A" * 10)
    c.send(5, b"B" * 30)  # covers the older: replaces it
    c.send(0, b"-" * 5)


def _same_place_beyond_a_gap(c: Connection) -> None:
    c.send(10, b"A" * 10)
    c.send(10, b"B" * 10)  # the older stays
    c.send(10, b"C" * 20)  # longer: replaces it
    c.send(0, b"-" * 10)


def _in_order_over_what_waits(c: Connection) -> None:
    c.send(10, b"A" * 10)
    c.send(0, b"B" * 15)


def _old_data(c: Connection) -> None:
    c.send(0, b"A" * 10)
    c.send(0, b"B" * 10)
    c.send(5, b"C" * 10)


def _wrong_checksum(c: Connection) -> None:
    c.send(0, b"A" * 10, valid=False)
    c.send(0, b"B" * 10)


def _beyond_the_window(c: Connection) -> None:
    c.send(1 << 24, b"A" * 10)
    c.send(0, b"B" * 10)


def _before_the_window(c: Connection) -> None:
    c.send(-(1 << 20), b"A" * 10)
    c.send(-10, b"A" * 10)
    c.send(-10, b"A" * 9 + b"BCD")


def _urgent(c: Connection) -> None:
    c.send(0, b"abcdef", flags=ACK | URG, urgent=3)
    c.send(6, b"ghi")


def _urgent_zero(c: Connection) -> None:
    c.send(0, b"abcdef", flags=ACK | URG, urgent=0)


def _reset_exact(c: Connection) -> None:
    c.send(0, b"A" * 10)
    c.send(10, flags=RST)
    c.send(10, b"B" * 10)


def _reset_inexact(c: Connection) -> None:
    c.send(0, b"A" * 10)
    c.send(11, flags=RST)
    c.send(10, b"B" * 10)


def _reset_outside(c: Connection) -> None:
    c.send(0, b"A" * 10)
    c.send(1 << 25, flags=RST)
    c.send(10, b"B" * 10)


def _syn_inside(c: Connection) -> None:
    c.send(0, b"A" * 10)
    c.send(9, flags=SYN)
    c.send(10, b"B" * 10)
    c.send(-500, flags=SYN)
    c.send(20, b"C" * 10)


def _after_fin(c: Connection) -> None:
    c.send(0, b"A" * 10, flags=ACK | FIN)
    c.send(10, b"B" * 10)
    c.send(11, b"C" * 10)


def _fin_beyond_a_gap(c: Connection) -> None:
    c.send(10, b"B" * 10, flags=ACK | FIN)
    c.send(20, b"C" * 10)
    c.send(0, b"A" * 10)


def _no_ack_flag(c: Connection) -> None:
    c.send(0, b"A" * 10, flags=PSH)
    c.send(0, b"B" * 10)


def _acknowledges_too_much(c: Connection) -> None:
    c.send(0, b"A" * 10, ack=1 << 20)
    c.send(0, b"B" * 10)


def _keep_alive(c: Connection) -> None:
    c.send(0, b"A" * 10)
    c.send(9, b"Z")
    c.send(10, b"B" * 10)


SCRIPTS: list[Script] = [
    _overlap_beyond_a_gap,
    _cover_beyond_a_gap,
    _same_place_beyond_a_gap,
    _in_order_over_what_waits,
    _old_data,
    _wrong_checksum,
    _beyond_the_window,
    _before_the_window,
    _urgent,
    _urgent_zero,
    _reset_exact,
    _reset_inexact,
    _reset_outside,
    _syn_inside,
    _after_fin,
    _fin_beyond_a_gap,
    _no_ack_flag,
    _acknowledges_too_much,
    _keep_alive,
]


@dataclass
class _Ports:
    next: int = 20_000

    def take(self) -> int:
        self.next += 1
        return self.next


PORTS = _Ports()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.strip("_"))
def test_scripted(cable: tuple[Wire, Namespace], script: Script) -> None:
    for isn in (1000, MODULUS - 8):  # the second wraps
        connection = Connection(*cable, PORTS.take(), isn=isn)
        try:
            connection.open()
            connection.send(0, flags=ACK)
            script(connection)
            connection.compare()
        finally:
            connection.close()


def test_data_in_the_syn(cable: tuple[Wire, Namespace]) -> None:
    connection = Connection(*cable, PORTS.take(), isn=5000)
    try:
        connection.cable.write(Segment(5000, SYN, b"early"), port=connection.port)
        connection.model = Receiver(isn=connection.cable.read_isn(connection.port))
        connection.model.receive(Segment(5000, SYN, b"early"))
        connection.ack = connection.model.snd_nxt
        connection.send(0, b"later", flags=ACK | PSH)
        connection.compare()
        assert connection.got == b"later"
    finally:
        connection.close()


@pytest.mark.parametrize("seed", range(RUNS))
def test_random(cable: tuple[Wire, Namespace], seed: int) -> None:
    chance = random.Random(seed)
    connection = Connection(*cable, PORTS.take(), isn=chance.choice([7, MODULUS - 40, 1 << 31]))
    try:
        connection.open()
        connection.send(0, flags=ACK)
        first = seed % 2  # every other run keeps a gap open until all the others are there
        for step in range(chance.randrange(5, 25)):
            _send_something(connection, chance, b"%c" % (65 + step), first)
        connection.send(0, b"-")
        connection.send(0, b"-" * 200)
        connection.compare()
        assert connection.got
    finally:
        connection.close()


def _send_something(connection: Connection, chance: random.Random, letter: bytes, first: int) -> None:
    offset = chance.randrange(first, 150)
    payload = letter * chance.choice([1, 2, 5, 17, 40])
    match chance.randrange(12):
        case 0:
            connection.send(offset, payload, valid=False)
        case 1:
            connection.send(offset + (1 << 24), payload)
        case 2:
            connection.send(offset - (1 << 22), payload)
        case 3:
            connection.send(offset - 20 * (1 - first), payload)
        case 4:
            connection.send(offset + 1, flags=RST | ACK)
        case 5:
            connection.send(offset, payload, flags=PSH)
        case 6:
            connection.send(offset, flags=SYN)
        case _:
            connection.send(offset, payload)
