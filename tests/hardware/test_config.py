"""[sense]: every fault names its key and its remedy, and the documentation lists every key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard.config import parse_config
from hardware.config import REMEDIES, SenseSettings, load_setup, parse_setup
from hardware.errors import SettingError

DOCS = Path(__file__).parent.parent.parent / "docs"
KITCHEN = {"name": "kitchen", "mac": "68:37:e9:00:00:01"}
BEDROOM = {"name": "bedroom", "mac": "68:37:e9:00:00:02"}


def list_keys() -> dict[str, object]:
    """Return each key under [sense] with its default."""
    keys: dict[str, object] = {}
    for table in msgspec.structs.fields(SenseSettings):
        for field in msgspec.structs.fields(table.type):
            keys[f"sense.{table.name}.{field.name}"] = field.default
    return keys


def show(value: object) -> str:
    """Return a default as TOML writes it; None is the detector's own."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("key", list_keys())
def test_every_key_is_documented_with_its_default_and_has_a_remedy(key: str) -> None:
    default = list_keys()[key]
    cell = "the detector's own" if default is None else f"`{show(default)}`"
    assert f"| `{key}` | {cell} |" in (DOCS / "configuration.md").read_text()
    assert key in REMEDIES


def test_the_documentation_lists_no_unknown_key() -> None:
    lines = (DOCS / "configuration.md").read_text().splitlines()
    listed = {line.split("`")[1] for line in lines if line.startswith("| `sense.")}
    assert listed == set(list_keys()) | {"sense.device"}


def test_the_example_loads() -> None:
    setup = load_setup(DOCS / "examples" / "wakeguard.toml", None)
    assert setup.device == "kitchen"


def test_without_sense_everything_has_its_default() -> None:
    setup = parse_setup({"device": [KITCHEN]}, None)
    assert setup.sense == SenseSettings()
    assert setup.socket == Path("/run/wakeguard/sensors.sock")


def test_the_gates_socket_is_found_as_the_gate_finds_it() -> None:
    content = {
        "device": [KITCHEN, BEDROOM],
        "sensors": {"socket": "/run/wakeguard/{device}.sock"},
        "sense": {"mute_led": {"pin": "GPIO4"}},
    }
    paths = parse_config(content).get_sensor_paths()
    for name, path in paths.items():
        assert parse_setup(content, name).socket == path


def test_one_echo_of_several_has_settings_of_its_own() -> None:
    content = {
        "device": [KITCHEN, BEDROOM],
        "sense": {
            "mute_led": {"debounce_s": 0.02},
            "device": {"bedroom": {"mute_led": {"pin": "GPIO22"}, "wake": {"words": ["/etc/computer.npz"]}}},
        },
    }
    kitchen, bedroom = (parse_setup(content, name).sense for name in ("kitchen", "bedroom"))
    assert (kitchen.mute_led.pin, kitchen.wake.words) == ("GPIO27", ("alexa",))
    assert (bedroom.mute_led.pin, bedroom.wake.words) == ("GPIO22", ("/etc/computer.npz",))
    assert kitchen.mute_led.debounce_s == bedroom.mute_led.debounce_s == 0.02


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"led": {}}, "sense.led is no setting", "mute_led"),
    ({"mute_led": {"pins": "GPIO4"}}, "sense.mute_led.pins is no setting", "debounce_s"),
    ({"mute_led": {"pin": 17}}, "sense.mute_led.pin", "GPIO27"),
    ({"mute_led": {"pin": "front"}}, "sense.mute_led.pin", "GPIO27"),
    ({"mute_led": {"active_level": "red"}}, "sense.mute_led.active_level", '"low" or "high"'),
    ({"mute_led": {"pull": "sideways"}}, "sense.mute_led.pull", '"down"'),
    ({"mute_led": {"debounce_s": 5}}, "sense.mute_led.debounce_s is 5", "0.005 to 0.5"),
    ({"mute_led": {"debounce_s": 0.5, "hold_s": 0.4}}, "sense.mute_led.hold_s", "longer than debounce_s"),
    ({"mute_led": {"poll_s": 0.5, "dead_s": 0.3}}, "sense.mute_led.dead_s", "longer than poll_s"),
    ({"mute_led": []}, "sense.mute_led", "table"),
    ({"microphone": {"channels": 99}}, "sense.microphone.channels", "0 (all there are)"),
    ({"microphone": {"device": 1}}, "sense.microphone.device", "arecord -l"),
    ({"wake": {"detector": "magic"}}, "sense.wake.detector", "microwakeword"),
    ({"wake": {"words": ["computer"]}}, "sense.wake.words", "alexa"),
    ({"wake": {"words": []}}, "sense.wake.words", '["alexa"]'),
    ({"wake": {"words": "alexa"}}, "sense.wake.words", '["alexa"]'),
    ({"wake": {"threshold": 0}}, "sense.wake.threshold", "0.05 to 1"),
    ({"wake": {"source": "wyoming", "host": "192.168.4.9"}}, "sense.wake.host", "remote = true"),
    ({"wake": {"source": "satellite", "host": "0.0.0.0"}}, "sense.wake.host", "remote = true"),
    ({"wake": {"canary_s": 1}}, "sense.wake.canary_s", "at the start only"),
    ({"voice": {"max_s": 1e9}}, "sense.voice.max_s", "1 to 60"),
    ({"device": {"attic": {}}}, "sense.device", "no [[device]]"),
    ({"device": {"kitchen": 3}}, "sense.device", "no table"),
]


@pytest.mark.parametrize(("sense", "key", "remedy"), FAULTS)
def test_a_fault_names_its_key_and_its_remedy(sense: dict[str, Any], key: str, remedy: str) -> None:
    with pytest.raises(SettingError) as caught:
        parse_setup({"device": [KITCHEN], "sense": sense}, None)
    text = str(caught.value)
    assert text.startswith(key)
    assert remedy in text
    assert "\n" not in text


def test_another_host_is_the_owners_explicit_choice() -> None:
    wake = {"source": "wyoming", "host": "192.168.4.9", "remote": True}
    assert parse_setup({"device": [KITCHEN], "sense": {"wake": wake}}, None).sense.wake.host == "192.168.4.9"


def test_a_word_of_ones_own_is_a_path() -> None:
    wake = {"words": ["alexa", "/etc/wakeguard/computer.json"]}
    assert len(parse_setup({"device": [KITCHEN], "sense": {"wake": wake}}, None).sense.wake.words) == 2


@pytest.mark.parametrize(
    ("content", "device", "said"),
    [
        ({}, None, "device is missing"),
        ({"device": "kitchen"}, None, "device is missing"),
        ({"device": [KITCHEN, BEDROOM]}, None, "choose one with --device (kitchen, bedroom)"),
        ({"device": [KITCHEN]}, "attic", 'no device "attic"; there is kitchen'),
        ({"device": [KITCHEN], "sensors": {"socket": "here"}}, None, "sensors.socket"),
        ({"device": [KITCHEN], "sense": 1}, None, "sense is no table"),
    ],
)
def test_what_is_not_under_sense_is_checked_too(
    content: dict[str, Any], device: str | None, said: str
) -> None:
    with pytest.raises(SettingError) as caught:
        parse_setup(content, device)
    assert said in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[[device", None])
def test_a_file_that_cannot_be_read_is_one_line(data: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "w.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SettingError, match=str(path)) as caught:
        load_setup(path, None)
    assert "\n" not in str(caught.value)
