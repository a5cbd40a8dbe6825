"""The columns of the tables: names, types, units, meaning.

One row here is a column of a CSV or Parquet file; ``docs/datasets.md`` lists them, a test compares. Knows no
packet and no library.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Kind(StrEnum):
    """The type of a column; ``tables`` knows what Parquet calls it."""

    TEXT = "text"
    INT = "int"
    FLOAT = "float"


class Column(NamedTuple):
    """One column; an empty ``unit`` means that it has none."""

    name: str
    kind: Kind
    unit: str
    meaning: str


_INT, _FLOAT, _TEXT = Kind.INT, Kind.FLOAT, Kind.TEXT

# As the paper has them, in its order: `class` is what the paper would call the packet.
PAPER: Final = (
    Column("date", _TEXT, "", "when it was captured, microseconds; UTC (the paper's: local time)"),
    Column("length", _INT, "bytes", "the frame on the wire, as the capture's link layer counts it"),
    Column("dstip", _TEXT, "", "the address it was sent to"),
    Column("dstport", _INT, "", "the port it was sent to; empty where the protocol has none"),
    Column(
        "highest_layer",
        _INT,
        "",
        "0 a TLS record begins in it, 1 TCP alone, 2 other payload, 3 HTTP in clear",
    ),
    Column("delta", _INT, "ms", "since the Echo's last packet of the same stream; 0 for the first"),
    Column("ack_flag", _INT, "", "1 when the TCP ACK flag is set"),
    Column("microphone", _INT, "", "1 on, 0 muted or unknown"),
    Column("content_type", _INT, "", "of the first TLS record that begins in it (20 to 23), else empty"),
    Column("synchronized", _INT, "", "1 throughout, as in all the paper's files: it does not say what for"),
    Column(
        "class",
        _TEXT,
        "",
        "the paper's label; of application data: by --condition where one was given, else our justification",
    ),
)

# What Wakeguard knows besides.
OURS: Final = (
    Column("capture", _TEXT, "", "which capture it is from"),
    Column("frame", _INT, "", "number in that capture, from 1"),
    Column("time", _FLOAT, "s", "Unix time"),
    Column("condition", _TEXT, "", "how it was captured, where that was said"),
    Column("protocol", _TEXT, "", "tcp, udp, icmp ..."),
    Column(
        "stream",
        _INT,
        "",
        "which connection of that capture, from 0: TLS state and `delta` are kept for each",
    ),
    Column("payload", _INT, "bytes", "transport payload by the IP length"),
    Column("records", _TEXT, "", "TLS records that begin in it: `type:length`, with blanks between"),
    Column("packet_class", _TEXT, "", "our class, see policy.md"),
    Column("justification", _TEXT, "", "of `app_data`: not_justified, justified, expected"),
    Column("verdict", _TEXT, "", "what strict would do, once any waiting is over: accept, refuse"),
    Column("scope", _TEXT, "", "of a refusal: packet, flow"),
    Column("reason", _TEXT, "", "why, see policy.md"),
    Column("held_ms", _FLOAT, "ms", "how long it waited for a wake word; empty when it did not"),
    Column("after_virtual_reset", _INT, "", "1 when enforce would have cut its connection before"),
)

PACKET_COLUMNS: Final = PAPER + OURS
