"""Cases about TCP: overlaps, order, flags and numbers (Ptacek and Newsham, 1998, and what came after)."""

from __future__ import annotations

from tests import wire
from tests.cases.scene import (
    AGAIN,
    CONDEMNED,
    CONTROL,
    HANDSHAKE,
    HEARTBEAT,
    MALFORMED,
    MISMATCH,
    MODULUS,
    NO_INTERACTION,
    OUT_OF_ORDER,
    SETUP,
    SPLIT,
    VOICE,
    Cases,
    Scene,
    ping,
    voice,
)

AGAIN_CONDEMNED = "retransmit refuse flow condemned"


def overlap_new_data() -> Scene:
    s = Scene("a heartbeat passes, then a voice is put in its place").establish()
    s.up(ping(), HEARTBEAT)
    s.up(voice(41), MISMATCH, at=s.sent - 46)
    return s.expect(ungated=0)


def overlap_lost_heartbeat() -> Scene:
    s = Scene("a heartbeat that dies behind the gate, then a voice in its place").establish()
    s.send(s.ip(ttl=2) / s.tcp(ping()), HEARTBEAT)
    s.up(voice(41), MISMATCH)
    return s.expect(ungated=41)


def overlap_old_data() -> Scene:
    s = Scene("a voice beyond a gap first, then a heartbeat over it, then the voice again").establish()
    s.up(VOICE * 41, OUT_OF_ORDER, at=s.sent + 5)
    s.up(ping(), HEARTBEAT)
    s.up(VOICE * 41, MISMATCH, at=s.sent - 41)
    return s.expect(ungated=0)  # in order wins over what waits


def overlap_partial() -> Scene:
    s = Scene("the second half of a heartbeat is overlapped by what follows it").establish()
    s.up(ping(), HEARTBEAT)
    s.up(VOICE * 20 + voice(), MISMATCH, at=s.sent - 20)
    return s.expect(ungated=353)


def overlap_in_interaction() -> Scene:
    s = Scene("other bytes in an accepted place are refused inside an interaction, too").establish()
    s.wake()
    s.send(s.ip(ttl=2) / s.tcp(wire.app_data(100)), "app_data expected accept interaction")
    s.up(voice(100), "app_data expected refuse flow overlap_mismatch")
    return s.expect(ungated=100)


def tiny_segments() -> Scene:
    s = Scene("a voice one byte at a time").establish()
    record = voice(40)
    for at in range(4):
        s.up(record[at : at + 1], SPLIT)
    s.up(record[4:5], NO_INTERACTION)
    for at in range(5, len(record)):
        s.up(record[at : at + 1], CONDEMNED)
    return s.expect(ungated=40)


def tiny_segments_repeated() -> Scene:
    s = Scene("a header one byte at a time, then each byte again").establish()
    record = voice(40)
    for at in range(4):
        s.up(record[at : at + 1], SPLIT)
    begin = s.sent - 4
    for at in range(4):
        s.up(record[at : at + 1], "retransmit refuse packet split_header", at=begin + at)
    s.up(record[4:], NO_INTERACTION)
    return s.expect(ungated=40)


def records_spanning() -> Scene:
    s = Scene("a heartbeat and the beginning of a voice in one segment").establish()
    record = voice()
    s.up(ping() + record[:100], NO_INTERACTION)
    s.up(record[100:], CONDEMNED)
    return s.expect(ungated=353)


def records_split() -> Scene:
    s = Scene("a heartbeat whose last byte comes with a voice").establish()
    beat = ping()
    s.up(beat[:-1], HEARTBEAT)
    s.up(beat[-1:] + voice(), NO_INTERACTION)
    return s.expect(ungated=353)


def wrong_checksum() -> Scene:
    s = Scene(
        "a heartbeat with a wrong checksum, which the receiver ignores, then a voice in its place",
        rules="conntrack calls the first INVALID and it is dropped before the engine",
    ).establish()
    s.send(s.ip() / s.tcp(ping(), chksum=0x1234), HEARTBEAT)
    s.up(voice(), MISMATCH)
    return s.expect(ungated=353)


def wrong_checksum_voice() -> Scene:
    s = Scene(
        "a voice with a wrong checksum: nobody takes it, and the engine condemns for it",
        rules="conntrack calls it INVALID and it is dropped before the engine",
    ).establish()
    s.send(s.ip() / s.tcp(voice(), chksum=0x1234), NO_INTERACTION)
    return s.expect(ungated=0)


def low_ttl() -> Scene:
    s = Scene("handshake bytes that die behind the gate, then a voice in their place").open()
    hello = wire.client_hello()
    s.send(s.ip(ttl=2) / s.tcp(hello), HANDSHAKE)
    s.up(VOICE * len(hello), MISMATCH)
    return s.expect(ungated=len(wire.client_hello()))


def window_beyond() -> Scene:
    s = Scene(
        "a voice far beyond the window: the receiver ignores it, the gate keeps nothing of it for later",
        rules="conntrack calls it INVALID and it is dropped before the engine",
    ).establish()
    s.up(voice(), OUT_OF_ORDER, at=s.sent + (1 << 24))
    s.up(ping(), HEARTBEAT)
    return s.expect(ungated=0)


def window_before() -> Scene:
    s = Scene("a voice before the first byte of the connection; conntrack lets that pass").establish()
    s.up(voice(), "app_data justified refuse flow midstream", at=-(1 << 20))
    return s.expect(ungated=0)


def gap_then_fill() -> Scene:
    s = Scene("records out of order: the voice first, what comes before it afterwards").establish()
    s.up(voice(), OUT_OF_ORDER, at=s.sent + 46)
    s.up(ping(), HEARTBEAT)
    s.up(voice(), "retransmit refuse flow no_interaction")
    return s.expect(ungated=353)


def sequence_wrap() -> Scene:
    s = Scene("numbers that wrap in the middle of a voice", isn=MODULUS - 400).establish()
    s.up(ping(), HEARTBEAT)
    s.up(voice(), NO_INTERACTION)
    s.up(voice()[200:], AGAIN_CONDEMNED, at=s.sent - 158)
    return s.expect(ungated=353)


def reset_inexact() -> Scene:
    s = Scene("an RST with a wrong number, which the receiver only challenges, then a voice").establish()
    s.up(b"", CONTROL, flags="R", at=s.sent + 100)
    s.up(voice(), NO_INTERACTION)
    return s.expect(ungated=353)


def reset_and_go_on() -> Scene:
    s = Scene("an RST, then a voice on the same connection").establish()
    s.up(b"", CONTROL, flags="R")
    s.up(voice(), NO_INTERACTION)
    return s.expect(ungated=0)


def reset_with_data() -> Scene:
    s = Scene("a voice inside an RST").establish()
    s.up(voice(), "app_data justified refuse packet rst_payload", flags="RA")
    return s.expect(ungated=0)


def syn_inside() -> Scene:
    s = Scene(
        "a SYN with another number inside a condemned connection, which the server only challenges; "
        "in the next interaction the refused bytes again, with the old numbers"
    ).establish()
    s.up(voice(), NO_INTERACTION)
    refused = s.sent - len(voice())
    s.up(b"", SETUP, flags="S", at=refused - 1)
    s.down(ack=refused)
    s.wake()
    s.up(voice(), "app_data expected refuse packet not_connected", at=refused)
    return s.expect(ungated=353)


def syn_inside_by_the_server() -> Scene:
    s = Scene("the same with a SYN ACK, as if the cloud had begun a connection").establish()
    s.up(voice(), NO_INTERACTION)
    refused = s.sent - len(voice())
    s.up(b"", SETUP, flags="SA", at=refused - 1)
    s.down(ack=refused)
    s.wake()
    s.up(voice(), "app_data expected refuse packet not_connected", at=refused)
    return s.expect(ungated=353)


def syn_with_data() -> Scene:
    s = Scene("a voice in the SYN, with and without a fast-open cookie")
    s.send(s.ip() / s.tcp(voice(), flags="S", at=-1), "app_data justified refuse packet syn_payload")
    cookie = [("TFO", (0x1234, 0x5678))]
    s.send(
        s.ip() / s.tcp(voice(), flags="S", at=-1, options=cookie),
        "app_data justified refuse packet syn_payload",
    )
    s.send(s.ip() / s.tcp(flags="S", at=-1), "retransmit accept connection_setup")
    return s.expect(ungated=0)


def urgent() -> Scene:
    s = Scene("urgent data: the receiver takes a byte out, and the records shift").establish()
    s.wake()
    beat = ping()
    s.up(beat[:1] + b"\x17" + beat[2:], "app_data expected refuse flow urgent_data", flags="PAU", urgptr=1)
    return s.expect(ungated=0)


def after_fin() -> Scene:
    s = Scene("a voice behind the FIN, and in its place").establish()
    s.up(b"", CONTROL, flags="FA")
    s.up(voice(), "app_data justified refuse flow no_interaction", at=s.sent + 1)
    s.up(voice(), AGAIN_CONDEMNED.replace("retransmit", "app_data justified"), at=s.sent)
    return s.expect(ungated=0)


def keep_alive() -> Scene:
    s = Scene("a byte of garbage before the next one due, as keep-alives have, and two").establish()
    s.down()
    s.up(VOICE, AGAIN, at=s.sent - 1)
    s.up(VOICE * 2, MISMATCH, at=s.sent - 2)
    return s.expect(ungated=0)


def window_probe() -> Scene:
    s = Scene("a probe of a closed window carries the next byte").establish()
    s.down(window=0)
    s.up(voice()[:1], SPLIT, at=s.sent)
    s.up(voice(), NO_INTERACTION)
    return s.expect(ungated=353)


def forgotten_bytes() -> Scene:
    s = Scene(
        "other bytes in a place acknowledged long ago: nothing is left to compare, the receiver ignores them",
        budget="retransmit",
    ).establish()
    place = s.sent
    s.up(ping(), HEARTBEAT)
    s.down()
    for _ in range(8):
        s.wait(30)
        s.up(ping(), HEARTBEAT)
        s.down()
    s.up(VOICE * 46, AGAIN, at=place)
    s.mute()
    s.wait(0.1)
    s.up(VOICE * 46, "retransmit refuse packet budget_exhausted", at=place)
    return s.expect(ungated=0)


def acknowledged_unseen() -> Scene:
    s = Scene("the cloud acknowledges a voice that it cannot have, then the Echo sends it").establish()
    s.down(ack=s.sent + len(voice()))
    s.up(voice(), "app_data justified refuse flow stream_gap")
    return s.expect(ungated=353)


def acknowledged_wildly() -> Scene:
    s = Scene("a flood of acknowledgements of what nobody sent yet, then heartbeats and a voice").establish()
    for step in range(1, 6):
        s.down(ack=s.sent + step * 100_000)
    s.up(ping(), "app_data justified refuse flow stream_gap")
    s.up(voice(), CONDEMNED)
    return s.expect(ungated=353)


def without_ack() -> Scene:
    s = Scene("flags that no TCP sends: none, SYN FIN, FIN RST, only PSH").establish()
    for flags in ("", "SF", "FR", "P", "FPU"):
        s.up(voice(), MALFORMED, flags=flags, at=s.sent)
    return s.expect(ungated=0)


def midstream() -> Scene:
    s = Scene("a connection without a beginning, and record headers that promise a handshake")
    s.up(
        wire.record(22, VOICE * 60) + wire.record(22, VOICE * 60), "app_data justified refuse flow midstream"
    )
    s.up(wire.record(21, VOICE * 2), "app_data justified refuse flow condemned")
    return s.expect(ungated=0)


def midstream_heartbeats() -> Scene:
    s = Scene("a connection without a beginning that sends nothing but what is as long as a heartbeat")
    s.up(wire.record(23, VOICE * 41), "app_data justified refuse flow midstream")
    s.up(wire.record(23, VOICE * 41), "syn refuse flow condemned")
    return s.expect(ungated=0)


def header_too_short() -> Scene:
    s = Scene("a data offset that points into the header, and one behind the end").establish()
    s.up(voice(), MALFORMED, dataofs=4, at=s.sent)
    s.send(s.ip() / s.tcp(b"", flags="A", dataofs=15), MALFORMED)
    return s.expect(ungated=0)


def retransmitted_while_muted() -> Scene:
    s = Scene("sent in an interaction and lost; sent again after muting").establish()
    s.wake()
    s.send(s.ip(ttl=2) / s.tcp(voice()), "app_data expected accept interaction")
    s.mute()
    s.wait(0.05)
    s.up(voice(), "retransmit refuse flow condemned")
    return s.expect(ungated=353)


def refused_and_sent_later() -> Scene:
    s = Scene("refused without a wake word, sent again on the connection once there is one").establish()
    s.up(voice(), NO_INTERACTION)
    s.wake()
    s.wait(0.05)
    s.up(voice(), "retransmit refuse flow condemned", at=s.sent - len(voice()))
    return s.expect(ungated=353)


CASES: Cases = {
    name.replace("_", "-"): case
    for name, case in list(globals().items())
    if getattr(case, "__module__", None) == __name__
}
