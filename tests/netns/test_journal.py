"""The journal of the real gate: what it says is what was done, and no disk keeps a packet waiting."""

from __future__ import annotations

import json
import select
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guard.errors import JournalError
from guard.telemetry.journal import Filter, Journal, Row
from tests.netns.gate import GateProcess, TlsCloud, talks_in_vain
from tests.netns.household import Household, wait_until

pytestmark = pytest.mark.kernel

VOICE = 20_000
QUICK = "[journal]\nflush_s = 1\n"


def journal_path(gate: GateProcess) -> Path:
    return gate.folder / "state" / "journal.sqlite"


def read(path: Path, *kinds: str) -> list[Row]:
    with Journal(path) as journal:
        return journal.read(Filter(kinds=kinds))


def count_refused(gate: GateProcess) -> dict[tuple[str, str, str, str, str], tuple[int, int]]:
    """Return what the gate's own counters say was refused, as the journal names it."""
    sums: dict[tuple[str, str, str, str, str], tuple[int, int]] = {}
    for device in gate.ask("status")["devices"]:
        for row in device["packets"]:
            if row["verdict"] == "refuse":
                key = (
                    device["name"],
                    row["class"] or "",
                    row["justification"] or "",
                    "refuse",
                    row["reason"],
                )
                packets, size = sums.get(key, (0, 0))
                sums[key] = packets + row["packets"], size + row["bytes"]
    return sums


def test_the_journal_counts_what_the_gate_counts_and_tells_why(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        gate.tell("unmute")
        gate.tell("wake")
        with cloud.connect() as stream:
            cloud.deliver(stream, VOICE)
            gate.tell("mute")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        gate.tell("unmute")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)

        def agree() -> bool:
            before = count_refused(gate)
            assert gate.ask("journal")["state"] == "on"
            with Journal(journal_path(gate)) as journal:
                found = journal.count_refusals()
            return bool(before) and found == before == count_refused(gate)

        wait_until(agree)
        shown = gate.call("log")
        assert (shown.returncode, shown.stderr) == (0, "")
        for word in ("started in enforce", '"alexa" heard by manual', "microphone muted", "refused: muted"):
            assert word in shown.stdout
        refused = json.loads(gate.call("log", "--refused", "--device", "kitchen", "--json").stdout)
        assert {row["kind"] for row in refused} == {"refusal"}
        muted = next(row for row in refused if row["reason"] == "muted")
        told = gate.call("why", muted["id"])
        assert (told.returncode, told.stderr) == (0, "")
        for word in ("who", "kitchen", muted["flow"].split()[1], "microphone is muted", "what to do"):
            assert word in " ".join(told.stdout.split())
        flows = json.loads(gate.call("log", "--kind", "flow", "--json").stdout)
        assert "refused" in {row["end"] for row in flows}
        assert any(row["explained"] and row["sent"] >= VOICE for row in flows)
        assert gate.stop() == 0
        (run,) = read(journal_path(gate), "run")
        assert run.fields["ended"] is not None
        assert [row.fields["state"] for row in read(journal_path(gate), "mute")] == [
            "unmuted",
            "muted",
            "unmuted",
        ]
        (interaction,) = read(journal_path(gate), "interaction")
        assert interaction.fields["ended"] >= interaction.began
        assert interaction.fields["sent"] >= VOICE
        assert stat_mode(journal_path(gate)) & 0o007 == 0


def has(path: Path, kind: str) -> bool:
    """Tell whether the journal is there and holds such an entry yet."""
    try:
        return bool(read(path, kind))
    except JournalError:
        return False


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_killed_it_has_lost_nothing_that_was_written(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path, extra=QUICK) as gate, TlsCloud(routed) as cloud:
        gate.tell("mute")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, VOICE)
        wait_until(lambda: has(journal_path(gate), "refusal"))
        written = read(journal_path(gate))
        gate.stop(signal.SIGKILL)
        check = sqlite3.connect(journal_path(gate))
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        check.close()
        assert read(journal_path(gate))[: len(written)] == written
        gate.start()
        assert gate.ask("journal")["state"] == "on", (tmp_path / "gate.log").read_text()
        assert len(read(journal_path(gate), "run")) == 2
        assert read(journal_path(gate), "run")[0].fields["ended"] is None


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_costs_neither_verdicts_nor_the_journal(routed: Household, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk:
        extra = f'[journal]\nflush_s = 1\ndirectory = "{disk}"\n'
        with GateProcess(routed, tmp_path, extra=extra) as gate, TlsCloud(routed) as cloud:
            path = disk / "journal.sqlite"
            wait_until(lambda: has(path, "run"))
            ballast = disk / "ballast"
            fill(ballast)
            gate.tell("mute")
            for _ in range(3):
                with cloud.connect() as stream:
                    assert talks_in_vain(stream, VOICE)
            wait_until(lambda: gate.ask("status")["journal"] == "disk_full", seconds=20)
            assert gate.ask("status")["failures"]["journal"] > 0
            assert gate.ask("status")["failures"]["handler_error"] == 0
            with cloud.connect() as stream:
                assert talks_in_vain(stream, VOICE)
            assert cloud.received == 0
            ballast.unlink()
            wait_until(lambda: gate.ask("journal")["state"] == "on", seconds=20)

            def agree() -> bool:
                gate.ask("journal")
                with Journal(path) as journal:
                    return journal.count_refusals() == count_refused(gate)

            wait_until(agree)
            log = (tmp_path / "gate.log").read_text()
            assert log.count('"event": "journal failed"') == 1
            assert log.count("journal written again") == 1


def fill(ballast: Path) -> None:
    """Write until nothing more goes."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return


@pytest.mark.parametrize("fault", ["damaged", "read_only"])
def test_a_journal_that_cannot_be_used_is_named_and_the_gate_goes_on(
    routed: Household, tmp_path: Path, fault: str
) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    path = folder / "journal.sqlite"
    path.write_bytes(b"this is no database, and long enough to be looked at" * 100)
    if fault == "read_only":
        path.unlink()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)], check=True)
    try:
        extra = f'[journal]\nflush_s = 1\ndirectory = "{folder}"\n'
        with GateProcess(routed, tmp_path, extra=extra) as gate, TlsCloud(routed) as cloud:
            gate.tell("mute")
            with cloud.connect() as stream:
                assert talks_in_vain(stream, VOICE)
            wait_until(lambda: gate.ask("status")["failures"]["journal"] > 0)
            if fault == "damaged":  # set aside, and a new one begun
                wait_until(lambda: gate.ask("journal")["state"] == "on")
                assert path.with_name("journal.sqlite.damaged").exists()
                assert read(path, "run")
            else:
                assert gate.ask("status")["journal"] == fault
            log = [json.loads(line) for line in (tmp_path / "gate.log").read_text().splitlines()]
            (told,) = [line for line in log if line["event"] == "journal failed"]
            assert str(path) in told["fault"]
            assert gate.stop() == 0
    finally:
        if fault == "read_only":
            subprocess.run(["umount", str(folder)], check=True)


def test_tail_shows_a_refusal_within_moments(routed: Household, tmp_path: Path) -> None:
    with GateProcess(routed, tmp_path) as gate, TlsCloud(routed) as cloud:
        assert gate.ask("journal")["state"] == "on", (tmp_path / "gate.log").read_text()
        follower = subprocess.Popen(
            gate.command("tail", "--refused", "--json"), stdout=subprocess.PIPE, text=True
        )
        stream_out = follower.stdout
        assert stream_out is not None
        try:
            gate.tell("mute")

            def is_told() -> bool:
                """Have something refused; what came before the follower was there, it does not show."""
                with cloud.connect() as stream:
                    assert talks_in_vain(stream, VOICE)
                return bool(select.select([stream_out], [], [], 1.0)[0])

            wait_until(is_told, seconds=30)
            assert json.loads(stream_out.readline())["reason"] == "muted"
            follower.send_signal(signal.SIGINT)
            assert follower.wait(timeout=10) == 130
        finally:
            follower.kill()
            follower.communicate()
