"""The units as they come out for a machine: the program's own path, its home, its network."""

from __future__ import annotations

import configparser
import shutil
import sys
from pathlib import Path

import pytest

from guard.errors import SetupError
from guard.setup import program, units
from guard.setup.places import MARKER
from guard.setup.program import Program, check_reachable, quote

HERE = Program("/opt/wakeguard/bin/wakeguard", in_home=False)
HOME = Program('"/home/my env/bin/wakeguard"', in_home=True)
LONG_LIVED = (units.GATE, units.SENSE)


def read(name: str, made: Program = HERE, **options: str) -> configparser.SectionProxy:
    text = units.make_unit(name, made, **options)
    assert text.startswith(MARKER)
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    unit.read_string(text)
    return unit["Service"]


@pytest.mark.parametrize("name", [name for name in units.UNITS if name != units.FORWARDING])
def test_the_program_that_runs_now_is_started(name: str) -> None:
    assert read(name)["ExecStart"].split()[0] == "/opt/wakeguard/bin/wakeguard"
    assert read(name)["ProtectHome"] == "yes"
    assert read(name, HOME)["ExecStart"].startswith('"/home/my env/bin/wakeguard" ')
    assert read(name, HOME)["ProtectHome"] == "read-only"


@pytest.mark.parametrize("name", units.UNITS)
def test_no_unit_is_root_or_keeps_more_than_it_needs(name: str) -> None:
    service = read(name)
    assert service["User"] == ("wakeguard-sense" if name == units.SENSE else "wakeguard")
    allowed = {"CAP_NET_ADMIN", "CAP_NET_RAW"} if name != units.SENSE else set()
    assert set(service["CapabilityBoundingSet"].split()) <= allowed
    for key, value in (
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("PrivateTmp", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
    ):
        assert service[key] == value


@pytest.mark.parametrize("name", LONG_LIVED)
def test_what_runs_on_is_watched_and_started_anew(name: str) -> None:
    service = read(name)
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 1
    assert service["Restart"] == "on-failure"


def test_rules_that_are_left_out_are_no_rules_in_place() -> None:
    """A unit that a Condition leaves out counts as started: forwarding and access point would follow it."""
    assert "\nCondition" not in units.make_unit(units.RULES, HERE)
    for text in (units.make_unit(units.FORWARDING, HERE), units.make_hostapd_drop_in()):
        assert f"\nRequires={units.RULES}\nAfter={units.RULES}" in text


@pytest.mark.parametrize("source", ["detector", "none"])
def test_what_hears_has_no_network(source: str) -> None:
    service = read(units.SENSE, source=source)
    assert (service["PrivateNetwork"], service["RestrictAddressFamilies"]) == ("yes", "AF_UNIX")


@pytest.mark.parametrize("source", units.REMOTE_SOURCES)
def test_only_a_remote_wake_word_gets_the_network(source: str) -> None:
    service = read(units.SENSE, source=source)
    assert "PrivateNetwork" not in service
    assert service["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"


def test_a_path_is_one_word_for_systemd() -> None:
    assert quote("/opt/wakeguard/bin/wakeguard") == "/opt/wakeguard/bin/wakeguard"
    assert quote("/a b") == '"/a b"'
    assert quote('/50%/$x"') == '"/50%%/$$x\\""'


def test_a_program_that_no_service_could_start_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="temporary folder, which services do not see"):
        check_reachable(Path("/tmp/environment/bin/wakeguard"))
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "PRIVATE", ())
        with pytest.raises(SetupError, match="is closed to other users"):
            check_reachable(closed / "wakeguard")
    check_reachable(Path(shutil.which("sh") or "/bin/sh"))


def test_the_program_is_found_beside_its_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "wakeguard"
    script.parent.mkdir()
    script.touch()
    monkeypatch.setattr(program, "check_reachable", lambda _path: None)
    monkeypatch.setattr(sys, "executable", str(script.with_name("python3")))
    assert program.find_program().command == str(script)
    script.unlink()
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert program.find_program().command == f"{script.with_name('python3')} -m guard"
