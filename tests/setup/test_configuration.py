"""The configuration that setup writes: commented, taken by the gate, and never over the owner's own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from guard import cli
from guard.config import load_config, parse_config, ruleset_spec
from guard.core.verdict import Mode
from guard.errors import SetupError
from guard.netfilter import ruleset
from guard.setup.configuration import Choices, check_devices, make_config, parse_device
from guard.setup.placement import Placement
from guard.setup.places import CONFIG, MARKER, Places
from guard.setup.plan import make_plan
from guard.setup.program import Program
from hardware.config import parse_setup
from tests.conftest import ROOT

KITCHEN, BATH = ("kitchen", "68:37:e9:00:00:01"), ("bath", "68:37:e9:00:00:02")
EXAMPLES = sorted((ROOT / "packaging" / "examples").glob("*.toml"))
PROGRAM = Program("/opt/wakeguard/bin/wakeguard", in_home=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_a_configuration_that_makes_rules(path: Path) -> None:
    config = load_config(path)
    assert config.mode is Mode.MONITOR
    for mode in Mode:
        rendered = ruleset.render(ruleset_spec(config, mode))
        for text in rendered.values():
            assert f"--mac-source {config.device[0].mac}" in text
            assert f"-i {config.network.lan} " in text


def test_there_is_an_example_for_each_placement() -> None:
    assert {path.stem for path in EXAMPLES} == {placement.value for placement in Placement}


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize("devices", [(KITCHEN,), (KITCHEN, BATH)], ids=["one", "several"])
@pytest.mark.parametrize("sense", [False, True])
def test_what_is_written_says_what_was_chosen(
    placement: Placement, devices: tuple[tuple[str, str], ...], sense: bool
) -> None:
    text = make_config(Choices(devices, "lan7", placement, sense))
    content = tomllib.loads(text)
    config = parse_config(content)
    assert tuple((device.name, device.mac) for device in config.device) == devices
    assert (config.network.lan, config.mode, config.policy) == ("lan7", Mode.MONITOR, "strict")
    assert text.count("#") >= 6, "it keeps its comments"
    if not sense:
        assert config.sensors is None
        return
    assert config.sensors is not None
    assert config.sensors.users == ("wakeguard-sense",)
    paths = config.get_sensor_paths()
    for name, _mac in devices:
        assert parse_setup(content, name).socket == paths[name], "both sides meet at the same socket"


@pytest.mark.parametrize(
    "text", ["kitchen", "=68:37:e9:00:00:01", "kitchen=", "kitchen=192.168.4.20", "a=b=c"]
)
def test_a_device_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="use such as --device kitchen=68:37:e9:00:00:01"):
        parse_device(text)


@pytest.mark.parametrize(
    ("devices", "complaint"),
    [
        ((), "no Echo was found"),
        ((KITCHEN, KITCHEN), "is that of device"),
        ((("living room", BATH[1]),), "is no name"),
        ((("a", "68:37:e9"),), "is no MAC address"),
    ],
)
def test_devices_that_no_gate_takes_are_refused(devices: tuple[tuple[str, str], ...], complaint: str) -> None:
    with pytest.raises(SetupError, match=complaint):
        check_devices(devices)


def apply(root: Path, *, force: bool = False, **changes: object) -> list[str]:
    """Set up the tree at ``root`` and return what was done."""
    choices = Choices(**{"devices": (KITCHEN,), "lan": "wlan0", "placement": Placement.BRIDGE, **changes})  # type: ignore[arg-type]  # what a test changes
    plan = make_plan(choices, Places(root), force=force, program=PROGRAM, managed=True)
    return list(plan.apply())


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "lib/systemd/system").mkdir(parents=True)
    (tmp_path / "lib/systemd/system/hostapd.service").touch()
    assert len(apply(tmp_path)) == 6
    files = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size}
    assert apply(tmp_path) == []
    assert files == {path: path.read_text() for path in files}
    for path, text in files.items():
        assert text.startswith(MARKER) is (path.name != "wakeguard.toml")


def test_the_owners_file_is_kept_and_another_wish_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CONFIG.lstrip("/")
    apply(tmp_path)
    mine = path.read_text() + "\n# mine\n"
    path.write_text(mine)
    apply(tmp_path)
    assert path.read_text() == mine
    for changes in ({"devices": (BATH,)}, {"lan": "eth7"}, {"sense": True}):
        with pytest.raises(SetupError, match="--force"):
            apply(tmp_path, **changes)
    assert path.read_text() == mine

    apply(tmp_path, force=True, devices=(BATH,))
    assert load_config(path).get_device_names() == ("bath",)
    (backup,) = path.parent.glob("*.bak")
    assert backup.read_text() == mine


def test_what_is_not_needed_any_more_goes(tmp_path: Path) -> None:
    units = tmp_path / "etc/systemd/system"
    apply(tmp_path, placement=Placement.ACCESS_POINT, sense=True)
    assert {path.name for path in units.iterdir()} == {
        "wakeguard.service",
        "wakeguard-rules.service",
        "wakeguard-forwarding.service",
        "wakeguard-sense@.service",
    }
    apply(tmp_path, placement=Placement.BRIDGE, force=True)
    assert {path.name for path in units.iterdir()} == {"wakeguard.service", "wakeguard-rules.service"}


def test_a_foreign_unit_is_not_overwritten(tmp_path: Path) -> None:
    unit = tmp_path / "etc/systemd/system/wakeguard.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    with pytest.raises(SetupError, match="is not of our making"):
        apply(tmp_path)
    assert unit.read_text() == "[Service]\n"
    assert not (tmp_path / CONFIG.lstrip("/")).exists(), "nothing at all was written"


def test_setup_for_an_image_and_its_removal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path), "--yes"]
    wish = ["setup", "--device", "kitchen=68:37:e9:00:00:01", "--lan", "wlan0", "--placement", "access-point"]
    assert cli.main([*wish, *arguments, "--dry-run"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "[[device]]" in capsys.readouterr().out
    assert cli.main([*wish, *arguments]) == 0
    assert (tmp_path / "etc/systemd/system/wakeguard.service").exists()
    assert cli.main(["uninstall", *arguments, "--keep-config"]) == 0
    assert (tmp_path / CONFIG.lstrip("/")).exists()
    assert cli.main(["uninstall", *arguments]) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "etc/wakeguard").exists()
    capsys.readouterr()
    assert cli.main(["uninstall", *arguments]) == 0
    assert "Nothing of Wakeguard is here" in capsys.readouterr().out


def test_an_image_without_a_place_is_asked_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wish = [
        "setup",
        "--device",
        "kitchen=68:37:e9:00:00:01",
        "--lan",
        "wlan0",
        "--root",
        str(tmp_path),
        "--yes",
    ]
    assert cli.main(wish) == 2
    assert "--placement" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
