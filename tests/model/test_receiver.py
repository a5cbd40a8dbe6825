"""The model by itself: what must hold whatever the kernel does (``tests/netns`` compares the two)."""

from __future__ import annotations

import random

from tests.model.receiver import ACK, FIN, PSH, RST, SYN, Receiver, Segment, State


def connect(isn: int = 1000) -> Receiver:
    receiver = Receiver(isn=5000)
    receiver.receive(Segment(isn, SYN))
    receiver.receive(Segment(isn + 1, ACK, ack=5001))
    assert receiver.state is State.ESTABLISHED
    return receiver


def push(receiver: Receiver, seq: int, payload: bytes, flags: int = ACK | PSH) -> None:
    receiver.receive(Segment(seq, flags, payload, ack=receiver.snd_nxt))


def test_any_order_and_cut_delivers_the_stream() -> None:
    for seed in range(50):
        chance = random.Random(seed)
        stream = chance.randbytes(300)
        cuts = sorted(chance.sample(range(1, 300), 20))
        pieces = list(zip([0, *cuts], [*cuts, 300], strict=True))
        chance.shuffle(pieces)
        receiver = connect()
        for begin, end in [*pieces, *chance.sample(pieces, 5)]:
            push(receiver, 1001 + begin, stream[begin:end])
        assert receiver.delivered == stream


def test_nothing_is_delivered_behind_a_gap() -> None:
    receiver = connect()
    push(receiver, 1002, b"x" * 1000)
    assert receiver.delivered == b""


def test_each_connection_has_its_own_bytes() -> None:
    receiver = connect()
    push(receiver, 1001, b"first")
    push(receiver, 1006, b"", ACK | FIN)
    assert receiver.state.name == "CLOSE_WAIT"
    receiver.receive(Segment(1007, RST))
    assert receiver.state.name == "CLOSED"
    [reply] = receiver.receive(Segment(9000, SYN))
    receiver.receive(Segment(9001, ACK, b"second", ack=(reply.seq + 1)))
    assert [bytes(life.delivered) for life in receiver.lives] == [b"first", b"second"]


def test_a_wrong_acknowledgement_makes_no_connection() -> None:
    receiver = Receiver(isn=5000)
    receiver.receive(Segment(1000, SYN))
    [reply] = receiver.receive(Segment(1001, ACK, b"x", ack=7))
    assert reply.flags == RST
    assert receiver.state is State.SYN_RECEIVED
