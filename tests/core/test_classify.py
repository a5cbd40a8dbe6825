"""What a record is, from what the connection said before: handshake, heartbeat or application data."""

from __future__ import annotations

import dataclasses

import pytest

from guard.core.budget import Budget, TokenBucket
from guard.core.classify import Conversation
from guard.core.tls import KIND_APP_DATA, KIND_HANDSHAKE, KIND_SYN, Framing
from guard.core.verdict import Reason
from tests import wire
from tests.conversation import POLICY
from tests.wire import ALERT, CCS, HANDSHAKE, app_data, record

HELLO, HELLO_1_3 = wire.client_hello(), wire.client_hello(versions=(wire.TLS_1_3,))
NAMES = {KIND_HANDSHAKE: "handshake", KIND_SYN: "syn", KIND_APP_DATA: "app_data"}


class Talk:
    """The records of both sides, one at a time, with a clock."""

    def __init__(self, *, from_start: bool = True, beats: float = 1000.0) -> None:
        self.state = Conversation(
            POLICY, TokenBucket(Budget(0.0, beats)), TokenBucket(Budget(0.0, 1e6)), from_start=from_start
        )
        self.now = 100.0

    def up(self, data: bytes) -> str:
        return NAMES[self.state.client.receive(data, 0, len(data), self.now)]

    def down(self, data: bytes) -> Talk:
        self.state.server.receive(data, 0, len(data), self.now)
        return self

    def hello(self, suite: int = wire.AES_128_GCM, *, encrypt_then_mac: bool = False) -> Talk:
        assert self.up(HELLO_1_3 if suite >> 8 == 0x13 else HELLO) == "handshake"
        return self.down(wire.server_hello(suite, encrypt_then_mac=encrypt_then_mac))

    def finish(self, suite: int = wire.AES_128_GCM, *, encrypt_then_mac: bool = False) -> Talk:
        """Shake hands as far as the client's Finished."""
        self.hello(suite, encrypt_then_mac=encrypt_then_mac)
        flight = [app_data(69 if suite == wire.AES_256_GCM_SHA384 else 53)]
        if suite >> 8 != 0x13:
            flight = [wire.CLIENT_KEY_EXCHANGE, CCS, wire.FINISHED_GCM]
        assert [self.up(data) for data in flight] == ["handshake"] * len(flight)
        return self


# -- handshake ---------------------------------------------------------------------------------------


def test_tls_1_2() -> None:
    talk = Talk().finish()
    assert talk.state.finished
    assert talk.up(app_data(353)) == "app_data"
    assert talk.state.reason is None


@pytest.mark.parametrize(("suite", "length"), [(0x1301, 53), (0x1302, 69), (0x1303, 53)])
@pytest.mark.parametrize("ccs", [b"", CCS])
def test_tls_1_3_has_one_finished(suite: int, length: int, ccs: bytes) -> None:
    talk = Talk().hello(suite)
    if ccs:
        assert talk.up(ccs) == "handshake"
    assert talk.up(app_data(length)) == "handshake"
    assert talk.up(app_data(length)) == "app_data"


def test_a_client_certificate_has_an_allowance() -> None:
    talk = Talk().hello(0x1301)
    assert [talk.up(app_data(size)) for size in (1500, 300, 53, 53)] == ["handshake"] * 3 + ["app_data"]
    talk = Talk().hello(0x1301)
    too_large = POLICY.client_certificate_bytes + 1
    assert [talk.up(app_data(size)) for size in (too_large, 53)] == ["app_data", "app_data"]
    talk = Talk().hello(0x1301)
    assert [talk.up(app_data(300)) for _ in range(3)] == ["handshake", "handshake", "app_data"]
    assert talk.state.reason is Reason.HANDSHAKE_CAP
    assert talk.up(app_data(53)) == "app_data"


def test_early_data_makes_everything_before_and_the_finished_application_data() -> None:
    talk = Talk()
    assert talk.up(wire.client_hello(versions=(wire.TLS_1_3,), early_data=True)) == "handshake"
    assert talk.up(CCS) == "handshake"
    assert talk.up(app_data(53)) == "app_data"
    assert talk.state.reason is Reason.EARLY_DATA
    talk.down(wire.server_hello(0x1301))
    assert talk.up(app_data(53)) == "app_data"


def test_application_data_before_a_server_hello() -> None:
    talk = Talk()
    assert talk.up(app_data(53)) == "app_data"
    talk = Talk()
    talk.up(HELLO)
    assert talk.up(app_data(41)) == "app_data"
    talk = Talk().hello()  # TLS 1.2: before the Finished
    assert talk.up(app_data(41)) == "app_data"


def test_hello_retry_request() -> None:
    talk = Talk()
    assert talk.up(HELLO_1_3) == "handshake"
    talk.down(wire.server_hello(0x1301, retry=True) + CCS)
    assert [talk.up(data) for data in (CCS, HELLO_1_3)] == ["handshake", "handshake"]
    talk.down(wire.server_hello(0x1301))
    assert [talk.up(app_data(53)) for _ in range(2)] == ["handshake", "app_data"]


def test_a_retry_doubles_the_cap_on_hellos_once() -> None:
    big = record(HANDSHAKE, wire.client_hello_message(padding=3500))
    talk = Talk()
    assert [talk.up(big), talk.up(big)] == ["handshake", "app_data"]
    talk = Talk()
    assert talk.up(big) == "handshake"
    talk.down(wire.server_hello(0x1301, retry=True))
    assert talk.up(big) == "handshake"
    talk.down(wire.server_hello(0x1301, retry=True))
    assert talk.up(big) == "app_data"


def test_caps_on_handshake_records() -> None:
    assert Talk().up(record(HANDSHAKE, POLICY.hello_bytes)) == "app_data"
    talk = Talk().hello()
    assert talk.up(record(HANDSHAKE, POLICY.flight_bytes)) == "app_data"
    assert talk.state.reason is Reason.HANDSHAKE_CAP
    talk = Talk().hello()
    talk.up(CCS)
    assert talk.up(record(HANDSHAKE, POLICY.finished_bytes + 1)) == "app_data"
    talk = Talk().hello(0x1301)
    assert talk.up(record(HANDSHAKE, 40)) == "app_data"  # all of it is encrypted by now


@pytest.mark.parametrize("answered", [False, True])
def test_empty_records_are_not_free(answered: bool) -> None:
    talk = Talk().hello() if answered else Talk()
    kinds = [talk.up(record(HANDSHAKE, 0)) for _ in range(3000)]
    assert kinds[0] == "handshake"
    assert kinds[-1] == "app_data"
    assert 5 * kinds.count("handshake") <= max(POLICY.flight_bytes, POLICY.hello_bytes)


def test_no_handshake_after_the_finished() -> None:
    talk = Talk().finish()
    assert talk.up(record(HANDSHAKE, 200)) == "app_data"  # renegotiation
    assert talk.state.reason is Reason.HANDSHAKE_CAP
    assert talk.up(CCS) == "app_data"


def test_change_cipher_specs() -> None:
    assert Talk().hello().up(record(20, b"\x01\x01")) == "app_data"
    talk = Talk().hello(0x1301)
    assert [talk.up(CCS) for _ in range(3)] == ["handshake", "handshake", "app_data"]


def test_alerts() -> None:
    talk = Talk().hello()
    assert [talk.up(record(ALERT, 2)) for _ in range(3)] == ["handshake", "handshake", "app_data"]
    assert Talk().hello().up(record(ALERT, 3)) == "app_data"
    assert Talk().finish().up(record(ALERT, 26)) == "handshake"  # close_notify, AES-GCM
    assert Talk().finish().up(record(ALERT, 27)) == "app_data"


def test_what_is_no_client_hello() -> None:
    talk = Talk()
    talk.up(record(HANDSHAKE, b"\x01\x00\x00\x02\xff\xff"))
    assert talk.up(record(HANDSHAKE, 30)) == "app_data"
    assert talk.state.reason is Reason.BAD_HANDSHAKE
    assert talk.up(record(ALERT, 2)) == "app_data"


def test_the_cloud_is_not_seen() -> None:
    talk = Talk()
    assert [talk.up(data) for data in (HELLO, CCS, wire.FINISHED_GCM)] == ["handshake"] * 3
    assert [talk.up(app_data(length)) for length in (41, 28, 42)] == ["syn", "syn", "app_data"]
    talk = Talk()
    assert [talk.up(data) for data in (HELLO_1_3, CCS, app_data(53))] == [
        "handshake",
        "handshake",
        "app_data",
    ]


def test_a_suite_that_is_not_known_has_no_heartbeats() -> None:
    talk = Talk().hello(0xC0FF)
    for data in (wire.CLIENT_KEY_EXCHANGE, CCS, record(HANDSHAKE, 40)):
        assert talk.up(data) == "handshake"
    assert [talk.up(app_data(length)) for length in (41, 33, 28)] == ["app_data"] * 3


# -- heartbeats --------------------------------------------------------------------------------------

PINGS = {
    (wire.AES_128_GCM, False): (41, 28),
    (wire.CHACHA20, False): (33, 20),
    (wire.AES_128_CBC_SHA, False): (64, 48),
    (wire.AES_128_CBC_SHA, True): (68, 52),
    (wire.AES_128_GCM_SHA256, False): (34, 21),
    (wire.AES_256_GCM_SHA384, False): (34, 21),
}


@pytest.mark.parametrize("shape", PINGS)
def test_heartbeats_have_the_length_that_the_suite_gives(shape: tuple[int, bool]) -> None:
    for expected in PINGS[shape]:
        for length in range(16, 120):
            talk = Talk().finish(shape[0], encrypt_then_mac=shape[1])
            kind = "syn" if length in PINGS[shape] else "app_data"
            assert talk.up(app_data(length)) == kind, (length, expected)


@pytest.mark.parametrize(("length", "period"), [(41, 30.0), (28, 91.0)])
def test_heartbeats_have_a_schedule(length: int, period: float) -> None:
    talk = Talk().finish()
    assert talk.up(app_data(length)) == "syn"
    talk.now += period * 0.9 - 0.01
    assert talk.up(app_data(length)) == "app_data"
    assert talk.state.reason is Reason.HEARTBEAT_TOO_SOON
    talk.now += 0.02
    assert talk.up(app_data(length)) == "syn"


def test_each_ping_of_the_server_is_owed_one_reply() -> None:
    talk = Talk().finish()
    assert talk.up(app_data(41)) == "syn"
    talk.down(app_data(41))  # the answer to ours
    assert talk.up(app_data(41)) == "app_data"
    talk = Talk().finish()
    talk.down(app_data(41) + app_data(41))
    kinds = [(talk.up(app_data(41)), talk.state.heartbeat_reply) for _ in range(4)]
    assert kinds == [("syn", True), ("syn", True), ("syn", False), ("app_data", False)]


def test_a_server_is_not_owed_any_number_of_replies() -> None:
    talk = Talk().finish().down(app_data(41) * 1000)
    kinds = [talk.up(app_data(41)) for _ in range(20)]
    assert 2 <= kinds.count("syn") <= 5


def test_other_frames_of_the_server_are_owed_nothing() -> None:
    talk = Talk().finish().down(app_data(40) + app_data(28) + app_data(1000))
    assert [talk.up(app_data(41)) for _ in range(2)] == ["syn", "app_data"]


def test_heartbeats_share_a_budget() -> None:
    talk = Talk(beats=1.0).finish()
    assert [talk.up(app_data(41)), talk.up(app_data(28))] == ["syn", "app_data"]
    assert talk.state.reason is Reason.HEARTBEAT_BUDGET
    talk.now += 30  # a refused beat does not delay the next
    assert talk.up(app_data(41)) == "app_data"


def test_in_mid_stream_there_are_heartbeats_and_no_handshake() -> None:
    talk = Talk(from_start=False)
    assert talk.up(app_data(200)) == "app_data"
    kinds = [talk.up(app_data(length)) for length in (41, 33, 28, 41, 53, 69)]
    assert kinds == ["syn", "syn", "syn", "app_data", "app_data", "app_data"]
    assert talk.up(record(HANDSHAKE, 100)) == "app_data"
    assert talk.up(CCS) == "app_data"


def test_after_a_gap_the_suite_is_still_known() -> None:
    talk = Talk().finish(wire.CHACHA20)
    talk.state.client.lose()
    assert talk.up(app_data(200)) == "app_data"
    assert talk.state.client.framing is Framing.TENTATIVE
    assert [talk.up(app_data(length)) for length in (33, 41)] == ["syn", "app_data"]


def test_a_faster_schedule_for_the_lab() -> None:
    fast = POLICY.scaled(0.1)
    assert [beat.period_s for beat in fast.heartbeats] == pytest.approx([3.0, 9.1])
    assert fast.budgets["heartbeat"].per_hour == pytest.approx(POLICY.budgets["heartbeat"].per_hour * 10)
    unscaled = dataclasses.replace(fast, heartbeats=POLICY.heartbeats, budgets=POLICY.budgets)
    assert unscaled == POLICY
