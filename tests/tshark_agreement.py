"""Compare the TLS records that replay lists with those that Wireshark's dissector finds.

``python -m tests.tshark_agreement`` writes ``docs/tshark-agreement.md`` from the research captures.

The reference is tshark with default preferences, upstream only: ``tls.record.content_type`` and
``tls.record.opaque_type`` merged, with ``tls.record.length``, grouped by ``tcp.stream``. tshark puts a
record on the frame that completes it, replay on the one that completes its header: only the sequence of
each stream can be compared.
"""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from guard.capture import Capture
from guard.replay import Replay
from guard.rules import load_policy
from guard.selector import DeviceSelector
from tests.conftest import ROOT, data_folder

PAGE = ROOT / "docs" / "tshark-agreement.md"
DEVICES = {"haipeng_li": "c4:95:00:e3:93:2f", "sean_kennedy": "4c:ef:c0:03:f2:38"}
PARALLEL = 2

FLAGS = ("lost_segment", "out_of_order", "retransmission", "fast_retransmission", "spurious_retransmission")
FIELDS = (
    "frame.number",
    "tcp.stream",
    "tls.record.content_type",
    "tls.record.opaque_type",
    "tls.record.length",
    *(f"tcp.analysis.{flag}" for flag in FLAGS),
)

HEAD = (
    "| household | captures | streams | clean | equal | records in clean | others | subsequence"
    " | tshark's records, all | Wakeguard's | extra |"
)

Record = tuple[int, int]


@dataclass(slots=True)
class Stream:
    """One ``tcp.stream`` of one capture, the device's records only."""

    clean: bool = True  # tshark flags nothing, in either direction
    upstream: bool = False
    reference: list[Record] = field(default_factory=list)
    ours: list[tuple[int, Record]] = field(default_factory=list)  # with their frames

    def find_extras(self) -> list[tuple[int, Record]] | None:
        """Return our records that tshark has not; None when tshark's are no subsequence of ours."""
        extras = []
        wanted = iter(self.reference)
        next_wanted = next(wanted, None)
        for frame, record in self.ours:
            if record == next_wanted:
                next_wanted = next(wanted, None)
            else:
                extras.append((frame, record))
        return extras if next_wanted is None else None


@dataclass(slots=True)
class Household:
    """The totals of one household's captures."""

    captures: int = 0
    streams: int = 0
    clean: int = 0
    equal: int = 0
    clean_records: int = 0
    records: int = 0
    ours: int = 0
    subsequences: int = 0
    extras: list[tuple[str, int, Record]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, streams: dict[int, Stream]) -> None:
        self.captures += 1
        for number, stream in streams.items():
            if not stream.upstream:
                continue
            self.streams += 1
            self.records += len(stream.reference)
            self.ours += len(stream.ours)
            extras = stream.find_extras()
            if stream.clean:
                self.clean += 1
                self.clean_records += len(stream.reference)
                if extras == []:
                    self.equal += 1
                else:
                    self.faults.append(f"{name} tcp.stream {number}: differs though nothing was lost")
            elif extras is None:
                self.faults.append(f"{name} tcp.stream {number}: tshark has a record that replay has not")
            else:
                self.subsequences += 1
                self.extras += [(name, frame, record) for frame, record in extras]


def run_tshark(capture: Path) -> list[list[str]]:
    """Return tshark's FIELDS for each TCP frame."""
    command = ["tshark", "-n", "-r", str(capture), "-Y", "tcp", "-T", "fields"]
    for name in FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def run_replay(capture: Path, device: str) -> dict[int, list[Record]]:
    """Return the records that replay lists, by frame; every upstream frame has an entry."""
    lines: list[str] = []
    Replay(Capture(capture), DeviceSelector(device), load_policy(), write=lines.append).run()
    found = {}
    for line in "".join(lines).splitlines():
        packet = json.loads(line)
        found[packet["frame"]] = [(kind, length) for kind, length in packet["records"]]
    return found


def compare(capture: Path, device: str) -> dict[int, Stream]:
    """Return both sides' records by ``tcp.stream``."""
    ours = run_replay(capture, device)
    streams: dict[int, Stream] = defaultdict(Stream)
    for frame_text, stream_text, content, opaque, lengths, *flags in run_tshark(capture):
        frame = int(frame_text)
        stream = streams[int(stream_text)]
        if any(flags):
            stream.clean = False
        if frame not in ours:
            continue
        stream.upstream = True
        # A record has one type or the other; TLS 1.3's opaque ones follow the plain ones in a frame.
        kinds = [int(kind) for kind in (content.split(",") + opaque.split(",")) if kind]
        sizes = [int(size) for size in lengths.split(",") if size]
        stream.reference += zip(kinds, sizes, strict=True)
        stream.ours += [(frame, record) for record in ours[frame]]
    return streams


def compare_households(folder: Path) -> dict[str, Household]:
    """Compare every capture under ``folder``, a household in each of its folders."""
    households: dict[str, Household] = {}
    with ThreadPoolExecutor(PARALLEL) as pool:
        for name, device in DEVICES.items():
            captures = sorted((folder / name).glob("*.pcap.gz"))
            results = pool.map(compare, captures, [device] * len(captures))
            household = households[name] = Household()
            for capture, streams in zip(captures, results, strict=True):
                household.add(capture.name.removesuffix(".pcap.gz"), streams)
    return households


def format_page(households: dict[str, Household]) -> str:
    """Return the committed page."""
    lines = [
        "# Wireshark agrees",
        "",
        "Made by `python -m tests.tshark_agreement`; a test fails when it no longer holds. The reference is",
        "tshark with default preferences. Compared are the TLS records that the Echo sent, as sequences of",
        "(type, length) for each `tcp.stream`. A stream is clean when tshark flags no lost, out-of-order or",
        "retransmitted segment in it, in either direction: there both sequences are equal. In the others",
        "tshark's sequence is a subsequence of Wakeguard's, which reassembles what came out of order.",
        "",
        HEAD,
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, total in households.items():
        lines.append(
            f"| {name} | {total.captures} | {total.streams} | {total.clean} | {total.equal}"
            f" | {total.clean_records} | {total.streams - total.clean} | {total.subsequences}"
            f" | {total.records} | {total.ours} | {len(total.extras)} |"
        )
    for name, total in households.items():
        lines += ["", f"## Extra records: {name}", ""]
        lines += _format_extras(total.extras) or ["None."]
    return "\n".join(lines) + "\n"


def _format_extras(extras: Iterable[tuple[str, int, Record]]) -> list[str]:
    """Return one row for each capture: frame of the header's last byte, then type/length."""
    rows: dict[str, list[str]] = defaultdict(list)
    for name, frame, (kind, length) in extras:
        rows[name].append(f"{frame}: {kind}/{length}")
    if not rows:
        return []
    head = ["| capture | frame: type/length |", "|---|---|"]
    return head + [f"| {name} | {', '.join(texts)} |" for name, texts in rows.items()]


if __name__ == "__main__":
    found = compare_households(data_folder() / "vcfp-pcap")
    PAGE.write_text(format_page(found), encoding="utf-8")
    for household in found.values():
        for fault in household.faults:
            print(fault)
