"""The paper's own tables, read row by row.

Knows the two layouts that were published: with a header (``dataset/CONDITION/NN.csv``) and the older one
without (``history/``: date, length, address, port, layer, delta, class), and that the condition of a capture
stands in its folder's or file's name. Refuses to know what a row means (``paper_frames``, ``paper``).

A row is one TCP packet that the Echo sent. There are no record lengths, no client ports and no packets of the
cloud. Dates are local time without a zone; they are read as if they were UTC.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from guard.errors import DatasetError

PAPER_COLUMNS = (
    "date",
    "length",
    "dstip",
    "dstport",
    "highest_layer",
    "delta",
    "ack_flag",
    "microphone",
    "content_type",
    "synchronized",
    "class",
)
CONDITIONS = {  # how application data is labelled there, and whether the microphone is on
    "microphone_mute": ("not_justified", 0),
    "no_wake_word": ("justified", 1),
    "normal_conversation": ("expected", 1),
    "music_stream": ("justified", 1),
}
PAPER_CLASSES = (
    "handshake",
    "syn",
    "ack",
    "retransmit",
    "not_relevant",
    "not_justified",
    "justified",
    "expected",
)
LAYER_TLS, LAYER_TCP, LAYER_DATA, LAYER_HTTP = range(4)

_HISTORY_LAYERS = {"SSL": LAYER_TLS, "TCP": LAYER_TCP, "DATA": LAYER_DATA, "HTTP": LAYER_HTTP}
_HISTORY_CONDITIONS = {"mute": "microphone_mute", "nowake": "no_wake_word"}
_HISTORY_FIELDS = 7
# The older tables' words for what the newer ones call not_relevant; "illegitimate_packet" is application
# data.
_HISTORY_CLASSES = {"http_request": "not_relevant", "TCP Data": "not_relevant"}
_HISTORY_APP_DATA = "illegitimate_packet"
# frame length -> record type: a ChangeCipherSpec, alone or before the Finished, and an encrypted alert, each
# without and with TCP timestamps
_HISTORY_TYPES = {60: 20, 72: 20, 105: 20, 117: 20, 85: 21, 97: 21}
_HANDSHAKE_TYPE = 22
_APPLICATION_DATA_TYPE = 23
_SYN_LENGTH = 74  # Ethernet, IPv4, TCP with the options of a Linux SYN: the older layout has no flags
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND_NS = 1000


class PaperRow(NamedTuple):
    """One packet of the Echo as the paper wrote it down.

    ``time_ns``: the date as if it were UTC; ``length``: frame bytes; ``delta``: ms since the stream's last
    packet; ``content_type``: of the TLS record, None without one; ``label``: the paper's class, one of
    PAPER_CLASSES.
    """

    date: str
    time_ns: int
    length: int
    dstip: str
    dstport: int
    highest_layer: int
    delta: int
    ack_flag: int
    microphone: int
    content_type: int | None
    synchronized: int
    label: str


def is_paper_table(path: Path) -> bool:
    """Say whether the file is to be read as one of the paper's tables."""
    return path.suffix == ".csv"


def guess_condition(path: Path) -> str | None:
    """Return the condition that the folder's or, in the older layout, the file's name tells."""
    if path.parent.name in CONDITIONS:
        return path.parent.name
    return _HISTORY_CONDITIONS.get(path.name.partition("_")[0])


def read_paper_table(path: Path, condition: str | None = None) -> Iterator[PaperRow]:
    """Yield the rows in the file's order; DatasetError names the line that is wrong.

    ``condition`` overrides what the name tells; the older layout cannot be read without one, as it has
    neither the microphone's state nor the three justifications.
    """
    condition = condition or guess_condition(path)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, fields in enumerate(csv.reader(file), start=1):
                try:
                    if fields == list(PAPER_COLUMNS):
                        continue
                    if len(fields) == len(PAPER_COLUMNS):
                        yield _read_row(fields)
                    elif len(fields) == _HISTORY_FIELDS:
                        yield _read_history(fields, condition)
                    else:
                        raise ValueError(f"{len(fields)} fields, the paper's tables have 11 or 7")
                except ValueError as error:
                    raise DatasetError(
                        f"{path} line {number} is no row of the paper's table: {error}"
                    ) from None
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not text at byte {error.start}") from None
    except csv.Error as error:
        raise DatasetError(f"{path} is not a CSV file: {error}") from None


def _read_row(fields: Sequence[str]) -> PaperRow:
    date, length, dstip, dstport, layer, delta, ack, microphone, content_type, synchronized, label = fields
    if not label:
        raise ValueError("its class is empty")
    if label not in PAPER_CLASSES:
        raise ValueError(f"class {label!r} is none of {', '.join(PAPER_CLASSES)}")
    return PaperRow(
        date,
        _read_time(date),
        int(length),
        dstip,
        int(dstport),
        int(float(layer)),
        int(delta),
        int(ack),
        int(microphone),
        int(float(content_type)) if content_type else None,
        int(synchronized),
        label,
    )


def _read_history(fields: Sequence[str], condition: str | None) -> PaperRow:
    date, length, dstip, dstport, layer, delta, label = fields
    if condition is None:
        raise ValueError("it has no header, so --condition must say how it was captured")
    app_data, microphone = CONDITIONS[condition]
    if layer.upper() not in _HISTORY_LAYERS:
        raise ValueError(f"layer {layer!r} is unknown")
    highest_layer = _HISTORY_LAYERS[layer.upper()]
    is_syn = highest_layer == LAYER_TCP and int(length) == _SYN_LENGTH
    content_type = None
    if highest_layer == LAYER_TLS:  # it tells no record types: a handshake is one because its label says so
        content_type = _APPLICATION_DATA_TYPE
        if label == "handshake":
            content_type = _HISTORY_TYPES.get(int(length), _HANDSHAKE_TYPE)
    label = app_data if label == _HISTORY_APP_DATA else _HISTORY_CLASSES.get(label, label)
    if label not in PAPER_CLASSES:
        raise ValueError(f"class {label!r} is unknown")
    return PaperRow(
        date,
        _read_time(date),
        int(length),
        dstip,
        int(dstport),
        highest_layer,
        int(delta),
        int(not is_syn),
        microphone,
        content_type,
        1,
        label,
    )


def _read_time(text: str) -> int:
    date = datetime.fromisoformat(text).replace(tzinfo=UTC)
    since = date - _EPOCH
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds) * _MICROSECOND_NS
