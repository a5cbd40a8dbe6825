"""Where our class of a packet differs from the paper's, and why it may.

Knows: each difference that the design's rules allow, as a row: the paper's class, ours, what else must be
true of the packet, the reason. Refuses to know: how either came about. The same table translates our classes
into the paper's vocabulary, so that the two can be scored against one another. A difference without a row is
a fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from guard.core.verdict import PacketClass, Reason
from guard.learning.columns import PACKET_COLUMNS
from guard.learning.paper_table import LAYER_HTTP, LAYER_TCP, LAYER_TLS

APP_DATA_LABELS = frozenset({"expected", "justified", "not_justified"})
SPOTIFY_PORT = 4070
_NAMES = [column.name for column in PACKET_COLUMNS]
_OPAQUE_PORTS = (80, SPOTIFY_PORT)
_HEARTBEATS = ("23:41", "23:28", "23:33")  # the record lengths of heartbeats where the suite is unknown

Packet = dict[str, Any]  # a row of the per-packet table, by column
_APP, _HANDSHAKE, _RETRANSMIT, _SYN, _NOT_RELEVANT = (
    PacketClass.APP_DATA,
    PacketClass.HANDSHAKE,
    PacketClass.RETRANSMIT,
    PacketClass.SYN,
    PacketClass.NOT_RELEVANT,
)


class Difference(NamedTuple):
    """One allowed difference. ``translates``: our word there always means the paper's."""

    paper: str
    ours: PacketClass
    where: Callable[[Packet], bool]
    why: str
    translates: bool


def is_opening(packet: Packet) -> bool:
    """Say whether it is a TCP SYN."""
    return bool(packet["reason"] == Reason.CONNECTION_SETUP)


def is_opaque(packet: Packet) -> bool:
    """Say whether it is payload of a connection that does not speak TLS."""
    return packet["highest_layer"] != LAYER_TLS and (
        packet["dstport"] in _OPAQUE_PORTS or packet["reason"] == Reason.OPAQUE_PAYLOAD
    )


def is_hidden(packet: Packet) -> bool:
    """Say whether it carries payload of a TLS connection in which Wireshark sees no TLS layer."""
    return packet["highest_layer"] == LAYER_TCP and packet["dstport"] == 443 and bool(packet["payload"])


DIFFERENCES = (
    Difference(
        "retransmit",
        _HANDSHAKE,
        is_opening,
        "a TCP SYN opens a connection; the paper calls any TCP packet without the ACK flag a retransmission",
        translates=True,
    ),
    Difference(
        "retransmit",
        PacketClass.ACK,
        lambda packet: packet["length"] == 54,
        "TCP without payload that is no SYN: an ACK or a reset, nothing sent again",
        translates=False,
    ),
    Difference(
        "syn",
        _APP,
        lambda packet: is_opaque(packet) and packet["dstport"] == SPOTIFY_PORT,
        "Spotify's port 4070: whatever its length, it can carry anything, and the capture begins in the"
        " middle of the connection, so it is not even known that it is no TLS",
        translates=True,
    ),
    Difference(
        "syn",
        _NOT_RELEVANT,
        lambda packet: is_opaque(packet) and packet["payload"] == 11,
        "the same beat of 11 bytes to Spotify on port 443: TCP that is not TLS",
        translates=True,
    ),
    Difference(
        "not_relevant",
        _APP,
        lambda packet: packet["highest_layer"] == LAYER_HTTP and packet["dstport"] == 80,
        "HTTP on a connection that began before the capture: not known to be anything but a stream of bytes",
        translates=True,
    ),
    Difference(
        "not_relevant",
        _APP,
        is_hidden,
        "the middle of a TLS record: Wireshark shows no TLS layer there; a packet is judged by the record"
        " that its bytes belong to",
        translates=True,
    ),
    Difference(
        "not_relevant",
        _RETRANSMIT,
        is_hidden,
        "sent again: Wireshark shows no TLS layer in a retransmission, and the paper's retransmit is a SYN",
        translates=True,
    ),
    Difference(
        "handshake",
        _RETRANSMIT,
        lambda packet: packet["content_type"] in (20, 22),
        "a handshake record sent again",
        translates=True,
    ),
    Difference(
        "handshake",
        _APP,
        lambda packet: packet["content_type"] == 21 and packet["midstream"],
        "an alert on a connection whose beginning was not captured: inferred framing never makes a handshake",
        translates=False,
    ),
    Difference(
        "syn",
        _APP,
        lambda packet: packet["midstream"] and packet["first_payload"],
        "the first record of a connection that began before the capture: the next header has to confirm it",
        translates=False,
    ),
    Difference(
        "syn",
        _APP,
        lambda packet: packet["reason"] == Reason.HEARTBEAT_TOO_SOON,
        "as long as a heartbeat, but sooner than its period allows: the paper goes by the length alone",
        translates=False,
    ),
    Difference(
        "app_data",
        _SYN,
        lambda packet: packet["records"] in _HEARTBEATS and packet["midstream"],
        "as long as a heartbeat and no sooner than one, where the suite is unknown: the paper knows 41 and 28"
        " bytes, ours 33 as well, the PING under ChaCha20",
        translates=False,
    ),
)


def describe(rows: Iterable[Sequence[Any]]) -> Iterator[Packet]:
    """Yield the rows of one capture as packets, with two facts more that only their order tells.

    ``midstream``: the capture does not hold the beginning of its connection; ``first_payload``: nothing of
    that connection came before it but empty segments.
    """
    begun: dict[int, bool] = {}  # stream -> its first packet was a SYN
    filled: set[int] = set()
    for row in rows:
        packet = dict(zip(_NAMES, row, strict=True))
        stream = packet["stream"]
        begun.setdefault(stream, is_opening(packet))
        packet["midstream"] = not begun[stream]
        packet["first_payload"] = packet["payload"] > 0 and stream not in filled
        if packet["payload"]:
            filled.add(stream)
        yield packet


def find_difference(packet: Packet) -> Difference | None:
    """Return the row that allows the packet's difference; None where no row does."""
    label = "app_data" if packet["class"] in APP_DATA_LABELS else packet["class"]
    for difference in DIFFERENCES:
        if (difference.paper, difference.ours) == (label, packet["packet_class"]) and difference.where(
            packet
        ):
            return difference
    return None


def is_same(packet: Packet) -> bool:
    """Say whether our class is the paper's; the justification is not compared."""
    label: str = packet["class"]
    ours: str = packet["packet_class"]
    return ours == (PacketClass.APP_DATA if label in APP_DATA_LABELS else label)


def translate(packet: Packet) -> str:
    """Return what the paper would call a packet of which we say what we say."""
    for difference in DIFFERENCES:
        if difference.translates and packet["packet_class"] == difference.ours and difference.where(packet):
            return difference.paper
    return str(packet["justification"] or packet["packet_class"])
