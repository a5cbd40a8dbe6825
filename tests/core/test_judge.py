"""What is no TLS: datagrams, other protocols, endpoints, each within its budget."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_address, ip_network

import pytest

from guard.core.budget import Budget, TokenBucket
from guard.core.judge import is_local
from guard.core.policy import REFUSALS, Endpoint
from guard.core.verdict import Decision, PacketClass, Verdict
from tests import wire
from tests.conversation import PAYLOADS, POLICY, Conversation, describe, make_engine
from tests.wire import ICMP, ICMPV6, IGMP, UDP

WITHIN = "not_relevant accept within_budget"
NEIGHBOUR = "not_relevant accept neighbour_discovery"


def datagram(port: int, size: int = 100, *, target: str = wire.CLOUD, source_port: int = 40000) -> bytes:
    segment = wire.udp(bytes(size), source_port=source_port, target_port=port)
    return wire.ipv4(segment, protocol=UDP, target=target)


def ask(packet: bytes, *steps: str) -> str:
    return describe(Conversation().play("\n".join(steps)).receive(packet))


# -- services ----------------------------------------------------------------------------------------

SERVICES = {
    "dns": datagram(53),
    "ntp": datagram(123),
    "dhcp": datagram(67, target="255.255.255.255"),
    "mdns": datagram(5353, target="224.0.0.251"),
    "ssdp": datagram(1900, target="239.255.255.250"),
    "icmp": wire.ipv4(b"\x08" + bytes(99), protocol=ICMP),
    "igmp": wire.ipv4(bytes(100), protocol=IGMP, target="224.0.0.22"),
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_passes_within_its_budget_and_not_beyond(name: str) -> None:
    talk = Conversation().play("mute")
    size = 100
    answers = [describe(talk.receive(SERVICES[name])) for _ in range(1000)]
    passed = answers.count(WITHIN)
    assert answers == [WITHIN] * passed + [answers[-1]] * (1000 - passed)
    assert passed == POLICY.budgets[name].burst // size
    assert answers[-1] == "app_data not_justified refuse packet budget_exhausted"
    talk.wait(3600)
    answers = [describe(talk.receive(SERVICES[name])) for _ in range(1000)]
    assert answers.count(WITHIN) <= POLICY.budgets[name].burst // size


@pytest.mark.parametrize("name", SERVICES)
def test_the_bound_of_a_budget_holds_for_any_hour(name: str) -> None:
    talk = Conversation()
    passed = 0
    for _ in range(3600):
        talk.now += 1.0
        passed += sum(talk.receive(SERVICES[name]).verdict is Verdict.ACCEPT for _ in range(4))
    assert passed * 100 <= POLICY.budgets[name].get_bound(3600)


@pytest.mark.parametrize("name", ["dhcp", "mdns", "ssdp"])
def test_services_of_the_home_do_not_leave_it(name: str) -> None:
    port = {"dhcp": 67, "mdns": 5353, "ssdp": 1900}[name]
    assert ask(datagram(port)) == "app_data justified refuse packet opaque_datagram"
    assert ask(datagram(port, target="192.168.1.7")) == WITHIN


def test_a_multicast_service_answers_from_its_port() -> None:
    assert ask(datagram(50123, source_port=5353, target="192.168.1.7")) == WITHIN
    assert ask(datagram(50123, source_port=53)) == "app_data justified refuse packet opaque_datagram"


@pytest.mark.parametrize("port", [443, 3478, 50000, 4070])
def test_any_other_datagram_may_be_a_voice(port: int) -> None:
    packet = datagram(port)
    assert ask(packet) == "app_data justified refuse packet opaque_datagram"
    assert ask(packet, "mute") == "app_data not_justified refuse packet opaque_datagram"
    assert ask(packet, "wake") == "app_data expected accept interaction"


def test_an_empty_datagram_is_counted_like_an_acknowledgement() -> None:
    assert ask(datagram(443, 0), "mute") == WITHIN


def test_other_protocols() -> None:
    packet = wire.ipv4(bytes(50), protocol=47)
    assert ask(packet) == "app_data justified refuse packet opaque_protocol"
    assert ask(packet, "wake") == "app_data expected accept interaction"


@pytest.mark.parametrize("kind", range(133, 138))
@pytest.mark.parametrize("target", ["fe80::1", "ff02::1", "fd00::1"])
def test_neighbour_discovery_is_never_charged(kind: int, target: str) -> None:
    packet = wire.ipv6(bytes([kind]) + bytes(31), protocol=ICMPV6, target=target, hop_limit=255)
    talk = Conversation().play("mute")
    assert {describe(talk.receive(packet)) for _ in range(2000)} == {NEIGHBOUR}


@pytest.mark.parametrize(
    ("kind", "hop_limit", "target"),
    [(135, 254, "fe80::1"), (128, 255, "fe80::1"), (135, 255, wire.CLOUD6), (138, 255, "fe80::1")],
)
def test_what_only_looks_like_neighbour_discovery_is_charged(kind: int, hop_limit: int, target: str) -> None:
    packet = wire.ipv6(bytes([kind]) + bytes(99), protocol=ICMPV6, target=target, hop_limit=hop_limit)
    talk = Conversation()
    answers = [describe(talk.receive(packet)) for _ in range(100)]
    assert answers[0] == WITHIN
    assert answers[-1] == "app_data justified refuse packet budget_exhausted"


# -- acknowledgements --------------------------------------------------------------------------------


def test_acknowledgements_have_a_rate() -> None:
    talk = Conversation().establish().play("mute")
    burst = int(POLICY.budgets["ack"].burst)
    answers = [describe(talk.send()) for _ in range(burst + 10)]
    assert answers[0] == "ack accept tcp_control"
    assert answers[-1] == "ack refuse packet budget_exhausted"
    talk.wait(1.0)
    assert describe(talk.send()) == "ack accept tcp_control"


# -- handshakes --------------------------------------------------------------------------------------


def test_handshakes_have_a_budget_over_all_connections() -> None:
    engine = make_engine()
    hello = wire.client_hello(padding=3000)
    passed = 0
    answer = ""
    for number in range(3600):
        talk = Conversation(engine, port=1024 + number, now=100.0 + number)
        talk.send(flags=wire.SYN)
        answer = talk.up(hello)
        passed += len(hello) * (answer == "handshake accept handshake")
    assert passed <= POLICY.budgets["handshake"].get_bound(3600)
    assert answer.startswith("app_data justified refuse ")


# -- opaque TCP --------------------------------------------------------------------------------------


def spotify(per_hour: float = 0.0, burst: float = 1000.0) -> Conversation:
    row = Endpoint(4070, ip_network("52.4.0.0/16"), Budget(per_hour, burst))
    engine = make_engine(policy=dataclasses.replace(POLICY, endpoints=(row,)))
    return Conversation(engine, peer_port=4070).open()


def test_tcp_that_is_not_tls_is_refused() -> None:
    talk = Conversation(peer_port=80).open()
    assert talk.up(b"GET / HTTP/1.1\r\n\r\n") == "not_relevant refuse flow opaque_payload"
    talk = Conversation(peer_port=80).open().play("wake")
    assert talk.up(b"GET / HTTP/1.1\r\n\r\n") == "not_relevant accept interaction"


def test_an_endpoint_may_have_it_within_its_budget() -> None:
    talk = spotify()
    answers = [talk.up(b"11 bytes...") for _ in range(100)]
    assert answers[:90] == ["not_relevant accept allowed_endpoint"] * 90
    assert answers[90] == "not_relevant refuse flow opaque_payload"


def test_what_an_endpoint_lost_it_may_have_again() -> None:
    talk = spotify()
    at = talk.seq
    talk.up(b"11 bytes...")
    assert describe(talk.send(b"11 bytes...", at=at)) == "retransmit accept allowed_endpoint"
    assert talk.up(b"11 bytes...") == "not_relevant accept allowed_endpoint"


def test_an_endpoint_gets_nothing_while_muted_and_others_get_nothing() -> None:
    talk = spotify().play("mute")
    assert talk.up(b"11 bytes...") == "not_relevant refuse flow opaque_payload"
    row = Endpoint(4070, ip_network("52.5.0.0/16"), Budget(0, 1000))
    engine = make_engine(policy=dataclasses.replace(POLICY, endpoints=(row,)))
    talk = Conversation(engine, peer_port=4070).open()
    assert talk.up(b"11 bytes...") == "not_relevant refuse flow opaque_payload"


def test_an_endpoint_gets_no_tls_for_free() -> None:
    talk = spotify()
    assert talk.up(wire.client_hello()) == "handshake accept handshake"
    assert talk.up(PAYLOADS["voice"]) == "app_data justified refuse flow no_interaction"


# -- what is local -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("10.255.0.1", True),
        ("172.15.0.1", False),
        ("172.16.0.1", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("192.168.0.1", True),
        ("192.169.0.1", False),
        ("169.254.9.9", True),
        ("224.0.0.251", True),
        ("255.255.255.255", True),
        ("8.8.8.8", False),
        ("fe80::1", True),
        ("fec0::1", False),
        ("fd00::1", True),
        ("fc00::1", True),
        ("fe00::1", False),
        ("ff02::fb", True),
        ("2600::1", False),
    ],
)
def test_what_stays_in_the_home(address: str, local: bool) -> None:
    assert is_local(ip_address(address).packed) is local


# -- buckets -----------------------------------------------------------------------------------------


def test_a_bucket_fills_steadily_up_to_its_burst() -> None:
    bucket = TokenBucket(Budget(3600.0, 10.0))
    assert [bucket.take(5, 0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(5, 4.0), bucket.take(5, 5.0)] == [False, True]
    assert [bucket.take(11, 1e6), bucket.take(10, 1e6), bucket.take(1, 1e6)] == [False, True, False]


def test_every_refusal_has_a_scope_and_each_answer_is_one_object() -> None:
    assert all(refusal.scope is not None for refusal in REFUSALS.values())
    talk = Conversation().establish()
    first: Decision = talk.receive(datagram(443))
    assert talk.receive(datagram(443)) is first
    assert first.packet_class is PacketClass.APP_DATA
