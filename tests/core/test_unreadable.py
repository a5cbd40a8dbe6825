"""Payload that no receiver reads for certain, and the exceptions that the policy makes."""

from __future__ import annotations

import dataclasses

import pytest

from guard.core.policy import Action
from guard.core.verdict import Reason
from tests import wire
from tests.conversation import DOWN, PAYLOADS, POLICY, Conversation, describe, make_engine
from tests.wire import ACK, FIN, RST, SYN, URG


@pytest.mark.parametrize(
    ("flags", "reason", "scope"), [(URG | ACK, "urgent_data", "flow"), (RST | ACK, "rst_payload", "packet")]
)
def test_urgent_bytes_and_bytes_in_a_reset(flags: int, reason: str, scope: str) -> None:
    for state, justification in (("wake", "expected"), ("mute", "not_justified"), ("ack", "justified")):
        talk = Conversation().establish().play(state)
        answer = describe(talk.send(PAYLOADS["ping"], flags=flags))
        assert answer == f"app_data {justification} refuse {scope} {reason}"


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "malformed"),
        (b"\x45" + bytes(19), "malformed"),
        (wire.ipv4(wire.tcp(b"voice", flags=SYN | FIN)), "malformed"),
        (wire.ipv4(wire.tcp(b"voice"), fragment=0x2000), "fragment"),
        (wire.ipv6(wire.tcp(b"voice"), extensions=[(wire.FRAGMENT, wire.extension())]), "fragment"),
        (wire.ipv4(wire.tcp(b"voice"))[:-1], "truncated"),
        (wire.ipv4(wire.udp(b"voice"), protocol=wire.UDP)[:-1], "truncated"),
    ],
)
def test_what_cannot_be_read_is_refused_inside_an_interaction_too(packet: bytes, reason: str) -> None:
    talk = Conversation()
    assert describe(talk.receive(packet)) == f"app_data justified refuse packet {reason}"
    talk.wake()
    assert describe(talk.receive(packet)) == f"app_data expected refuse packet {reason}"
    talk.mute()
    assert describe(talk.receive(packet)) == f"app_data not_justified refuse packet {reason}"
    assert describe(talk.receive(packet, DOWN)) == "accept downstream"


EXCEPTIONS = {
    Reason.MALFORMED: b"\x45" + bytes(30),
    Reason.FRAGMENT: wire.ipv4(wire.tcp(b"voice"), fragment=1),
    Reason.TRUNCATED: wire.ipv4(wire.tcp(b"voice"))[:-1],
    Reason.MIDSTREAM: wire.ipv4(wire.tcp(b"voice")),
}


@pytest.mark.parametrize("reason", EXCEPTIONS)
@pytest.mark.parametrize("action", Action)
def test_an_exception_does_what_the_policy_says_and_never_opens_the_gate_while_muted(
    reason: Reason, action: Action
) -> None:
    policy = dataclasses.replace(POLICY, exceptions={**POLICY.exceptions, reason: action})
    talk = Conversation(make_engine(policy=policy))
    answer = describe(talk.receive(EXCEPTIONS[reason]))
    if action is Action.ACCEPT:
        assert answer == "app_data justified accept exception_accepted"
    else:
        scope = "flow" if action is Action.DROP_FLOW else "packet"
        assert answer == f"app_data justified refuse {scope} {reason}"
    talk = Conversation(make_engine(policy=policy)).play("mute")
    assert talk.receive(EXCEPTIONS[reason]).verdict == "refuse"
