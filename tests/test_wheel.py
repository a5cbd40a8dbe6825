"""The built wheel, installed elsewhere and run from there."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from guard import __version__
from tests.built import build_wheel
from tests.conftest import ROOT

pytestmark = pytest.mark.wheel

DEPENDENCIES = (
    "click",
    "msgspec",
    "mypy_extensions",
    "netfilterqueue",
    "prometheus_client",
    "rich",
    "tomlkit",
)
DEVICE = "44:65:0d:00:00:01"


@pytest.fixture(scope="session")
def wheel() -> Path:
    return build_wheel().wheel


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an environment of its own; its dependencies are those already here."""
    environment = tmp_path_factory.mktemp("elsewhere") / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    run(*pip)
    (packages,) = environment.glob("lib/python*/site-packages")
    folders = {home_of(dependency) for dependency in DEPENDENCIES}
    (packages / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in sorted(folders)))
    return environment


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Write a capture of one DNS query and one connection whose first payload is not TLS."""
    router = "44:65:0d:00:00:02"
    up = Ether(src=DEVICE, dst=router) / IP(src="192.0.2.10", dst="198.51.100.1")
    down = Ether(src=router, dst=DEVICE) / IP(src="198.51.100.1", dst="192.0.2.10")
    packets = [
        up / TCP(sport=40000, dport=443, flags="S", seq=1000),
        down / TCP(sport=443, dport=40000, flags="SA", seq=5000, ack=1001),
        up / TCP(sport=40000, dport=443, flags="A", seq=1001, ack=5001),
        up / TCP(sport=40000, dport=443, flags="PA", seq=1001, ack=5001) / (b"\0" * 100),
        up / UDP(sport=50000, dport=50001) / (b"\0" * 200),
    ]
    for number, packet in enumerate(packets):
        packet.time = 1_700_000_000 + number
    path = tmp_path / "small.pcap"
    wrpcap(str(path), packets)
    return path


def home_of(dependency: str) -> Path:
    spec = importlib.util.find_spec(dependency)
    assert spec is not None
    assert spec.origin is not None
    origin = Path(spec.origin)
    return origin.parent.parent if origin.name == "__init__.py" else origin.parent


def run(*command: str, cwd: Path | None = None) -> str:
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"}
    result = subprocess.run(
        command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_carries_code_and_data_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("rules", "models", "packaging/systemd", "packaging/examples"):
        shipped = {
            f"guard/_data/{path.relative_to(ROOT).as_posix()}"
            for path in (ROOT / folder).rglob("*")
            if path.is_file()
        }
        assert shipped
        assert shipped <= names
    assert {name.partition("/")[0] for name in names} == {
        "guard",
        "hardware",
        f"wakeguard-{__version__}.dist-info",
    }
    assert not [name for name in names if "__pycache__" in name]


def test_it_runs_from_elsewhere(installed: Path, tmp_path: Path) -> None:
    command = str(installed / "bin" / "wakeguard")
    assert run(command, "--version", cwd=tmp_path) == f"wakeguard {__version__}\n"
    assert "replay" in run(command, "--help", cwd=tmp_path)


def test_it_finds_its_own_rules_and_models(installed: Path, tmp_path: Path) -> None:
    code = (
        "from guard import rules; rules.load_policy(); print(rules.rules_path()); print(rules.models_path())"
    )
    folders = run(str(installed / "bin" / "python"), "-c", code, cwd=tmp_path).splitlines()
    assert len(folders) == 2
    for folder in folders:
        assert Path(folder).is_relative_to(installed.resolve())


def test_it_replays_a_capture_by_its_own_rules(installed: Path, capture: Path, tmp_path: Path) -> None:
    command = [str(installed / "bin" / "wakeguard"), "replay", capture.name, "--device", DEVICE]
    rows = [json.loads(line) for line in run(*command, "--format", "jsonl", cwd=tmp_path).splitlines()]
    assert [(row["frame"], row["class"], row["verdict"]) for row in rows] == [
        (1, "handshake", "accept"),
        (3, "ack", "accept"),
        (4, "not_relevant", "refuse"),
        (5, "app_data", "refuse"),
    ]
