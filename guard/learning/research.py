"""The public captures that the shipped model was trained on.

Knows: how their folder is laid out, and which Echo is in which. Refuses to know: what is in a capture. Where
they come from and under which licence: ``models/voice-v1/CARD.md``.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from guard.errors import DatasetError
from guard.learning.examples import SILENT_CONDITIONS
from guard.learning.gather import Request, gather
from guard.learning.source import Source, Upload

# household -> MAC address of its Echo
MACS = {"haipeng_li": "c4:95:00:e3:93:2f", "sean_kennedy": "4c:ef:c0:03:f2:38"}


def gather_research(folder: Path) -> list[Source]:
    """Return the labelled sources under ``folder``, which holds ``vcfp-pcap`` and ``unisa-2022``."""
    captures, tables = folder / "vcfp-pcap", folder / "unisa-2022"
    if not (captures / "events_train.csv").is_file() or not tables.is_dir():
        raise DatasetError(
            f"{folder} holds no vcfp-pcap and unisa-2022: name the folder of the research data"
        )
    uploads = _read_uploads(captures / "events_train.csv")
    sources = [
        replace(source, uploads=tuple(uploads.get((household, source.path.name), ())))
        for household, mac in MACS.items()
        for source in gather(Request([captures / household], mac))
    ]
    return sources + [
        source for source in gather(Request([tables], None)) if source.condition in SILENT_CONDITIONS
    ]


def find_traces(folder: Path) -> Path | None:
    """Return the archive of published traces under ``folder``, where there is one."""
    archive = folder / "vcfp-csv.tar.gz"
    return archive if archive.is_file() else None


def _read_uploads(path: Path) -> dict[tuple[str, str], list[Upload]]:
    """Return (household, file) -> its uploads: files of the two homes have the same names."""
    found: dict[tuple[str, str], list[Upload]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            upload = Upload(
                float(row["start_s"]), float(row["end_s"]), row["server_ip"], int(row["client_port"])
            )
            found.setdefault((row["household"], row["file"]), []).append(upload)
    return found
