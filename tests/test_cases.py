"""The evasion cases: what each packet gets, and what a Linux receiver delivers of it.

A case is a folder (``tests/cases``); ``tests/cases/make.py`` writes them, and ``docs/evasion.md`` lists them.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guard.capture import Capture
from guard.core.verdict import Mode
from guard.replay import Replay
from guard.rules import load_policy
from guard.selector import DeviceSelector
from guard.trace import read_trace
from tests.cases.make import CASES, main
from tests.cases.scene import CLOUD_ISN, ECHO_MAC, VOICE
from tests.evasion_page import PAGE, write_page
from tests.model.network import Host

FOLDER = Path(__file__).parent / "cases"
NAMES = sorted(folder.name for folder in FOLDER.iterdir() if (folder / "expect.toml").exists())
POLICY = replace(load_policy(), hold_s=0.0)  # each packet has its answer at once
MAC = bytes.fromhex(ECHO_MAC.replace(":", ""))
WORDS = ("class", "justification", "verdict", "scope", "reason")

cases = pytest.mark.parametrize("name", NAMES)


def read_expectation(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / name / "expect.toml").read_text(encoding="utf-8"))


def replay(name: str, mode: Mode) -> list[str]:
    """Return what each packet of the Echo gets, in words."""
    folder = FOLDER / name
    events = folder / "events.jsonl"
    lines: list[str] = []
    Replay(
        Capture(folder / "capture.pcap"),
        DeviceSelector(ECHO_MAC),
        POLICY,
        mode=mode,
        trace=read_trace(events) if events.exists() else None,
        write=lines.append,
    ).run()
    answers = []
    for line in "".join(lines).splitlines():
        fields = json.loads(line)
        words = [fields[word] for word in WORDS if fields[word] is not None]
        answers.append(" ".join(words + (["after_virtual_reset"] if fields["after_virtual_reset"] else [])))
    return answers


def deliver(name: str, answers: list[str] | None) -> int:
    """Return how many bytes of VOICE a Linux host delivers; of what passes when ``answers`` are given."""
    host = Host(isn=CLOUD_ISN)
    number = 0
    for _, _, _, frame, _, _ in Capture(FOLDER / name / "capture.pcap"):
        packet = frame[18:] if frame[12:14] == b"\x81\x00" else frame[14:]
        if frame[6:12] != MAC:
            host.note_answer(packet)
            continue
        if answers is None or " accept " in answers[number]:
            host.receive(packet)
        number += 1
    return host.delivered.count(VOICE)


@cases
def test_each_packet_gets_what_is_written(name: str) -> None:
    expected = read_expectation(name)
    assert replay(name, Mode.ENFORCE) == expected["enforce"]


@cases
def test_a_linux_receiver_delivers_what_is_written(name: str) -> None:
    """Without the gate the case has teeth, with it nothing arrives that no budget covers."""
    expected = read_expectation(name)
    assert deliver(name, None) == expected["delivered"]["ungated"]
    assert deliver(name, replay(name, Mode.ENFORCE)) == expected["delivered"]["gated"]
    assert bool(expected["delivered"]["gated"]) <= ("budget" in expected)


@cases
def test_monitor_says_what_enforce_does(name: str) -> None:
    """The first refusal is the same; what enforce condemns, monitor flags as after the virtual reset."""
    expected = read_expectation(name)["enforce"]
    got = replay(name, Mode.MONITOR)
    cut = next((at for at, answer in enumerate(expected) if answer.endswith(" condemned")), len(expected))
    assert got[:cut] == expected[:cut]
    for answer, monitored in zip(expected, got, strict=True):
        if answer.endswith(" condemned") and "interaction" not in monitored:
            assert monitored.endswith("after_virtual_reset")


def test_the_folders_are_what_the_script_writes(tmp_path: Path) -> None:
    main(tmp_path)
    assert sorted(CASES) == NAMES
    for name in NAMES:
        written = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        assert written == {path.name: path.read_bytes() for path in (FOLDER / name).iterdir()}, name


def test_the_page_lists_every_case() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_page(), "run: python -m tests.evasion_page"
