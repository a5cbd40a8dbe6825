"""Cases about TLS: what looks like a handshake or a heartbeat and is none."""

from __future__ import annotations

from guard.core.event import MuteState
from tests import wire
from tests.cases.scene import (
    CONDEMNED,
    HANDSHAKE,
    HEARTBEAT,
    NO_INTERACTION,
    VOICE,
    Cases,
    Scene,
    ping,
    voice,
)

CAP = "app_data justified refuse flow handshake_cap"
TOO_SOON = "app_data justified refuse flow heartbeat_too_soon"
OPAQUE = "not_relevant refuse flow opaque_payload"


def _padded_hello(size: int) -> bytes:
    """Return a ClientHello with so many bytes of VOICE in its padding extension."""
    hello = wire.client_hello(padding=size)
    return hello[:-size] + VOICE * size


def hello_huge() -> Scene:
    s = Scene("a ClientHello of 6 kB, most of it padding").open()
    s.up(_padded_hello(6000)[:1400], CAP)
    s.up(_padded_hello(6000)[1400:2800], CONDEMNED)
    return s.expect(ungated=2800 - len(wire.client_hello(padding=1)) + 1)


def hello_padded() -> Scene:
    s = Scene("a voice as the padding of a ClientHello, within its cap", budget="handshake").open()
    s.up(_padded_hello(1000), HANDSHAKE)
    return s.expect(ungated=1000, gated=1000)


def hellos_many() -> Scene:
    s = Scene("one handshake record after the other before the server answers", budget="handshake").open()
    s.up(wire.client_hello(), HANDSHAKE)
    for _ in range(3):
        s.up(wire.record(22, VOICE * 1200), HANDSHAKE)
    s.up(wire.record(22, VOICE * 1200), CAP)
    return s.expect(ungated=4800, gated=3600)


def hellos_out_of_order() -> Scene:
    s = Scene(
        "a padded ClientHello beyond a gap, then the gap: charged as if in order", budget="handshake"
    ).open()
    hello = _padded_hello(1000)
    s.up(hello[6:], "app_data justified refuse packet out_of_order", at=6)
    s.up(hello[:6], HANDSHAKE)
    s.up(hello[6:], "retransmit accept retransmission")
    return s.expect(ungated=1000, gated=1000)


def hello_nonsense() -> Scene:
    s = Scene("a first handshake record that is no ClientHello", budget="handshake").open()
    s.up(wire.record(22, VOICE * 500), HANDSHAKE)  # its header says so, and it is within the cap
    s.up(wire.record(22, VOICE * 500), "app_data justified refuse flow bad_handshake")
    return s.expect(ungated=1000, gated=500)


def retries_many() -> Scene:
    s = Scene("HelloRetryRequests again and again: the cap is doubled once", budget="handshake").open()
    hello = wire.client_hello(versions=(wire.TLS_1_3,))
    s.up(hello, HANDSHAKE)
    for _ in range(3):
        s.down(wire.server_hello(wire.AES_128_GCM_SHA256, retry=True))
        s.up(wire.record(22, VOICE * 1200), HANDSHAKE)
        s.up(wire.record(22, VOICE * 1200), HANDSHAKE)
    s.down(wire.server_hello(wire.AES_128_GCM_SHA256, retry=True))
    s.up(wire.record(22, VOICE * 1200), CAP)
    return s.expect(ungated=8400, gated=7200)


def ccs_flood() -> Scene:
    s = Scene("one change_cipher_spec after the other, and one that is too long").open()
    s.say_hello()
    s.up(wire.CCS, HANDSHAKE)
    s.up(wire.CCS, HANDSHAKE)
    s.up(wire.CCS, CAP)
    s.up(wire.record(20, VOICE * 100), CONDEMNED)
    return s.expect(ungated=100)


def alert_flood() -> Scene:
    s = Scene("alerts: two may pass, none that is longer than an alert").establish()
    s.up(wire.record(21, 26), HANDSHAKE)
    s.up(wire.record(21, 26), HANDSHAKE)
    s.up(wire.record(21, VOICE * 26), CAP)
    return s.expect(ungated=26)


def alert_long() -> Scene:
    s = Scene("a voice in an alert").establish()
    s.up(wire.record(21, VOICE * 353), CAP)
    return s.expect(ungated=353)


def renegotiation() -> Scene:
    s = Scene("a voice in handshake records after the Finished, as a renegotiation").establish()
    s.up(wire.record(22, VOICE * 353), CAP)
    return s.expect(ungated=353)


def empty_records() -> Scene:
    s = Scene("empty handshake records without end: their headers count").open()
    s.up(wire.client_hello(), HANDSHAKE)
    for _ in range(3):
        s.up(wire.record(22, b"") * 260, HANDSHAKE)
    s.up(wire.record(22, b"") * 100, CAP)
    return s.expect(ungated=0)


def before_the_server() -> Scene:
    s = Scene("application data before any ServerHello").open()
    s.say_hello()
    s.up(voice(), NO_INTERACTION)
    return s.expect(ungated=353)


def early_data() -> Scene:
    s = Scene("TLS 1.3 early data, as long as a Finished").open()
    s.up(wire.client_hello(versions=(wire.TLS_1_3,), early_data=True), HANDSHAKE)
    s.up(wire.CCS, HANDSHAKE)
    s.up(voice(53), "app_data justified refuse flow early_data")
    return s.expect(ungated=53)


def finished_twice() -> Scene:
    s = Scene("a second record as long as a Finished").establish_1_3()
    s.up(wire.CCS + wire.app_data(53), HANDSHAKE)
    s.up(voice(53), NO_INTERACTION)
    return s.expect(ungated=53)


def finished_first() -> Scene:
    s = Scene("a record as long as a Finished before the ServerHello").open()
    s.say_hello(wire.client_hello(versions=(wire.TLS_1_3,)))
    s.up(voice(53), NO_INTERACTION)
    return s.expect(ungated=53)


def certificates() -> Scene:
    s = Scene(
        "a voice as a client certificate: two records within the allowance", budget="handshake"
    ).establish_1_3()
    s.up(voice(1000), HANDSHAKE)
    s.up(voice(1000), HANDSHAKE)
    s.up(voice(1000), CAP)
    return s.expect(ungated=3000, gated=2000)


def certificate_huge() -> Scene:
    s = Scene("a client certificate beyond the allowance").establish_1_3()
    s.up(voice(5000)[:1400], CAP)
    return s.expect(ungated=1395)


def muted_certificate() -> Scene:
    s = Scene("the same while muted: handshakes pass, within their budget", budget="handshake")
    s.mute()
    s.wait(0.01)
    s.establish_1_3()
    s.up(voice(100), HANDSHAKE)
    s.up(wire.app_data(53), HANDSHAKE)
    s.up(voice(100), "app_data not_justified refuse flow muted")
    return s.expect(ungated=200, gated=100)


def heartbeats_fast() -> Scene:
    s = Scene("a voice in records as long as a PING", budget="heartbeat").establish()
    s.up(voice(41), HEARTBEAT)
    for answer in (TOO_SOON, CONDEMNED, CONDEMNED):
        s.wait(0.5)
        s.up(voice(41), answer)
    return s.expect(ungated=164, gated=41)


def heartbeats_short() -> Scene:
    s = Scene("a voice in records as long as the 91 s beat", budget="heartbeat").establish()
    s.up(voice(28), HEARTBEAT)
    for answer in (TOO_SOON, CONDEMNED, CONDEMNED):
        s.wait(20)
        s.up(voice(28), answer)
    return s.expect(ungated=112, gated=28)


def heartbeats_together() -> Scene:
    s = Scene("several heartbeats in one segment").establish()
    s.up(voice(28) + voice(41) + voice(41), TOO_SOON)
    return s.expect(ungated=110)


def ping_replies() -> Scene:
    s = Scene("replies to PINGs that nobody sent, and more than were sent", budget="heartbeat").establish()
    s.down(ping())
    s.up(voice(41), "syn accept heartbeat_reply")
    s.up(voice(41), HEARTBEAT)
    s.up(voice(41), TOO_SOON)
    return s.expect(ungated=123, gated=82)


def versions() -> Scene:
    s = Scene("record versions that there are not: no TLS from there on").establish()
    s.up(b"\x16\x05\x07" + (353).to_bytes(2, "big") + VOICE * 353, OPAQUE)
    s.up(wire.record(22, VOICE * 100), "not_relevant refuse flow condemned")
    return s.expect(ungated=453)


def suite_unknown() -> Scene:
    s = Scene("the server chooses a suite that nobody knows: no length is a heartbeat's").open()
    s.say_hello()
    s.down(wire.server_hello(0xFFFF) + wire.SERVER_FLIGHT_1_2)
    s.up(wire.CLIENT_KEY_EXCHANGE + wire.CCS + wire.FINISHED_GCM, HANDSHAKE)
    s.up(voice(41), NO_INTERACTION)
    return s.expect(ungated=41)


def no_tls() -> Scene:
    s = Scene("a voice without TLS").open()
    s.up(VOICE * 353, OPAQUE)
    return s.expect(ungated=353)


def long_record() -> Scene:
    s = Scene("a record longer than TLS allows, behind a handshake").establish()
    s.up(b"\x17\x03\x03\xff\xff" + VOICE * 353, OPAQUE)
    return s.expect(ungated=353)


def muted() -> Scene:
    s = Scene("a voice while muted, after unmuting, and on a new connection").establish()
    s.mute()
    s.wait(0.01)
    s.up(voice(), "app_data not_justified refuse flow muted")
    s.mute(MuteState.UNMUTED)
    s.wait(0.01)
    s.up(voice(), CONDEMNED)
    return s.expect(ungated=706)


def muted_in_the_middle() -> Scene:
    s = Scene("muted in the middle of a voice record of an interaction", budget="interaction").establish()
    s.wake()
    record = voice(1000)
    s.up(record[:505], "app_data expected accept interaction")
    s.down()
    s.mute()
    s.wait(0.01)
    s.up(record[505:], "app_data not_justified refuse flow muted")
    return s.expect(ungated=1000, gated=500)


CASES: Cases = {
    f"tls-{name.replace('_', '-')}": case
    for name, case in list(globals().items())
    if getattr(case, "__module__", None) == __name__ and not name.startswith("_")
}
