"""Measure what an Echo sends beside its voice: ``python -m tests.control_budget``.

The balanced policy's budget ``control`` is taken from this: application data towards port 443, heartbeats
left out, in captures in which nobody spoke to the Echo. For comparison, what lies outside the commands of
captures with commands, which is more: reports follow a command. Where a capture gives frame lengths alone,
headers count as short as they can be, so that the figures err on the large side.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from guard.capture import Capture
from guard.errors import CaptureError
from guard.limits import load_limits
from guard.replay import Replay
from guard.selector import DeviceSelector
from tests.conftest import data_folder

HOUR = 3600.0
HEADERS = 54  # Ethernet, IPv4 and TCP without options
QUIET = {"syn", "ack", "handshake", "retransmit", "not_relevant"}
HISTORY_COLUMNS = ("date", "length", "dstip", "dstport", "highest_layer", "delta", "class")
MACS = {"haipeng_li": "c4:95:00:e3:93:2f", "sean_kennedy": "4c:ef:c0:03:f2:38"}
BEFORE_S, AFTER_S = 2.0, 15.0  # around a voice upload: its connection's opening, Alexa's answer

Row = tuple[float, int]  # seconds, payload bytes


def read_frames(path: Path) -> tuple[float, list[Row]]:
    """Return the seconds that a table of frames covers, and its control traffic."""
    columns = None if "dataset" in path.parts else HISTORY_COLUMNS
    with path.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file, fieldnames=columns))
    times = [datetime.fromisoformat(row["date"]).timestamp() for row in table]
    rows = [
        (time, int(row["length"]) - HEADERS)
        for time, row in zip(times, table, strict=True)
        if row["dstport"] == "443" and row["class"] not in QUIET and int(row["length"]) > HEADERS
    ]
    return times[-1] - times[0], rows


def read_idle(folder: Path) -> Iterator[tuple[str, float, list[Row]]]:
    """Yield the captures in which nobody spoke to the Echo: name, seconds, control traffic."""
    for path in sorted(folder.rglob("*.csv")):
        if path.parent.name in ("microphone_mute", "no_wake_word", "history"):
            yield f"{path.parent.name}/{path.name}", *read_frames(path)


def read_quiet(folder: Path) -> Iterator[tuple[str, float, list[Row]]]:
    """Yield for each home the seconds outside commands, and what the Echo sent in them."""
    commands: dict[str, list[tuple[float, float]]] = {}
    with (folder / "events_train.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            window = (float(row["start_s"]) - BEFORE_S, float(row["end_s"]) + AFTER_S)
            commands.setdefault(Path(row["file"]).name, []).append(window)
    for home, mac in MACS.items():
        seconds, rows = 0.0, list[Row]()
        for path in sorted((folder / home).glob("*.pcap.gz")):
            windows = commands.get(path.name, [])
            sent = list(replay(path, mac))
            if not sent or not windows:
                continue
            begin, end = sent[0][0], sent[-1][0]
            inside = sum(min(stop, end) - max(start, begin) for start, stop in merge(windows) if start < end)
            for time, size in sent:
                if size and not any(start <= time <= stop for start, stop in windows):
                    rows.append((seconds + time - begin, size))
            seconds += max(0.0, end - begin - inside)
        yield home, seconds, rows


def merge(windows: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the windows without their overlaps."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def replay(path: Path, mac: str) -> Iterator[Row]:
    """Yield time and application data of each packet that the Echo sent (0: none)."""
    written: list[str] = []
    run = Replay(Capture(path), DeviceSelector(mac), load_limits().make_policy(), write=written.append)
    try:
        run.run()
    except CaptureError:
        written.append("")  # what precedes the damage counts
    first: float | None = None
    for line in "".join(written).splitlines():
        row = json.loads(line)
        first = row["time"] if first is None else first
        yield row["time"] - first, row["bytes"] if row["class"] == "app_data" else 0


def most_within(rows: list[Row], seconds: float) -> int:
    """Return the most bytes in any stretch of that length."""
    most = total = begin = 0
    for time, size in rows:
        total += size
        while rows[begin][0] < time - seconds:
            total -= rows[begin][1]
            begin += 1
        most = max(most, total)
    return most


def get_burst(rows: list[Row], per_hour: float) -> float:
    """Return what a budget with this rate must be able to save up, so that all of it passes."""
    need = level = 0.0
    last = rows[0][0] if rows else 0.0
    for time, size in rows:
        level = max(0.0, level - (time - last) * per_hour / HOUR) + size
        need, last = max(need, level), time
    return need


def main() -> None:
    """Print one line a capture and what follows for the budget."""
    folder = data_folder()
    control = load_limits().make_policy().budgets["control"]
    idle = list(read_idle(folder / "unisa-2022"))
    captures = [*idle, *read_quiet(folder / "vcfp-pcap")]
    print(f"{'capture':34} hours  bytes/h  max 1 h  max 10 s  burst at {control.per_hour:,.0f}/h")
    for name, seconds, rows in captures:
        rate = sum(size for _, size in rows) / seconds * HOUR
        hour, burst = most_within(rows, HOUR), most_within(rows, 10.0)
        need = get_burst(rows, control.per_hour)
        print(f"{name:34} {seconds / HOUR:5.2f} {rate:8,.0f} {hour:8,.0f} {burst:9,.0f} {need:9,.0f}")
    hours = [most_within(rows, HOUR) for _, _, rows in idle]
    print(
        f"idle and muted: within an hour median {statistics.median(hours):,.0f}, most {max(hours):,.0f} bytes"
    )


if __name__ == "__main__":
    main()
