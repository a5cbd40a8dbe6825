"""The page on an Echo's traffic says what the captures hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from guard.cli.offline import replay
from tests.conftest import ROOT
from tests.traffic_page.__main__ import PAGE, PICTURES
from tests.traffic_page.idle import read_intervals
from tests.traffic_page.page import write_page
from tests.traffic_page.plots import write_all
from tests.traffic_page.records import find_server_name, read
from tests.traffic_page.uploads import MACS, read_all
from tests.wire import client_hello

ONE = "haipeng_li/alexa_5_30s.pcap.gz"


@pytest.mark.captures
def test_the_page_is_what_the_captures_say(shared_data: Path, tmp_path: Path) -> None:
    sessions, uploads = read_all(shared_data / "vcfp-pcap")
    idle = read_intervals(shared_data / "unisa-2022")
    assert PAGE.read_text(encoding="utf-8") == write_page(sessions, uploads, idle), (
        "run: python -m tests.traffic_page"
    )
    write_all(tmp_path, sessions, uploads, idle)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in PICTURES.glob("alexa-*.png")}
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in drawn)


def test_every_picture_of_the_page_is_there() -> None:
    shown = re.findall(r"\]\((pictures/[a-z-]+\.png)\)", PAGE.read_text(encoding="utf-8"))
    assert len(shown) == 6
    assert all((ROOT / "docs" / name).is_file() for name in shown)


@pytest.mark.captures
def test_the_records_are_those_that_the_replay_prints(shared_data: Path) -> None:
    path = shared_data / "vcfp-pcap" / ONE
    mac = MACS["haipeng_li"]
    lines = CliRunner().invoke(replay, [str(path), "--device", mac, "--format", "jsonl"]).stdout.splitlines()
    told = sorted(record[1] for line in lines for record in json.loads(line)["records"])
    session = read(path, mac)
    assert sorted(r.length for flow in session.flows for r in flow.records if r.up) == told
    assert len(told) > 500


def test_a_server_name_is_found_once_it_is_there() -> None:
    hello = client_hello()[5:]
    name = "alexa.na.gateway.devices.a2z.com"
    assert find_server_name(hello) == name
    assert all(name.startswith(find_server_name(hello[:length])) for length in range(len(hello)))
