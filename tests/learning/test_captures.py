"""The shipped gate on the research captures themselves: commands are voices, silence is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guard.capture import Capture
from guard.core.verdict import Mode, Reason
from guard.learning.paper_frames import DEVICE, PaperFrames
from guard.learning.research import MACS
from guard.replay import Replay
from guard.rules import load_policy
from guard.selector import DeviceSelector

pytestmark = pytest.mark.captures

SILENT = (
    "dataset/microphone_mute/01.csv",
    "dataset/no_wake_word/01.csv",
    "dataset/no_wake_word/02.csv",
    "history/mute_13_01.csv",
    "history/nowake_12_01.csv",
    "history/nowake_13_01.csv",
    "history/nowake_13_01_02.csv",
)
SPOKEN = ("haipeng_li/alexa_5_30s.pcap.gz", "sean_kennedy/do_dogs_dream_5.pcap.gz")


def run(frames: Capture | PaperFrames, device: str, mode: Mode) -> Replay:
    replay = Replay(frames, DeviceSelector(device), load_policy(), mode=mode, balanced=True)
    replay.run()
    return replay


@pytest.mark.parametrize("name", SILENT)
def test_nothing_is_a_voice_where_nobody_spoke_to_it(name: str, shared_data: Path) -> None:
    replay = run(PaperFrames(shared_data / "unisa-2022" / name, None), DEVICE, Mode.MONITOR)
    status = replay.engine.get_status(replay.device, now=1e6)
    assert (status.voice_refusals, status.unheard_wakes) == (0, 0)
    assert not [row for row in replay.engine.counters(replay.device) if row[1].reason is Reason.VOICE_LIKE]
    assert replay.totals.upstream > 100


@pytest.mark.parametrize("name", SPOKEN)
def test_each_command_is_refused_and_told_of(name: str, shared_data: Path) -> None:
    path = shared_data / "vcfp-pcap" / name
    replay = run(Capture(path), MACS[path.parent.name], Mode.MONITOR)
    status = replay.engine.get_status(replay.device, now=1e6)
    assert status.voice_refusals == status.unheard_wakes == 5
    # in one of the ten a report as long as speech passed right before: its 590 bytes are counted as well
    assert status.voice_leaked_bytes <= 590


def test_without_the_model_measured_codecs_are_known_all_the_same(shared_data: Path) -> None:
    path = shared_data / "vcfp-pcap" / SPOKEN[0]
    policy = replace(load_policy(), voice=None)
    replay = Replay(
        Capture(path), DeviceSelector(MACS["haipeng_li"]), policy, mode=Mode.MONITOR, balanced=True
    )
    replay.run()
    reasons = {row[1].reason for row in replay.engine.counters(replay.device) if row[2]}
    assert Reason.MODEL_MISSING in reasons
    assert Reason.CONTROL_BUDGET not in reasons
    assert replay.engine.get_status(replay.device, now=1e6).voice_refusals == 5
