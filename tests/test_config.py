"""The configuration file: every fault names its key and its remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from guard import config as config_module
from guard.config import (
    Config,
    check_interfaces,
    load_config,
    parse_config,
    ruleset_spec,
)
from guard.core import policy as policy_module
from guard.core.budget import Budget
from guard.core.policy import Action
from guard.core.verdict import Mode, Reason
from guard.errors import ConfigError
from guard.limits import HELD_PACKETS, Limits
from guard.remedies import REMEDIES
from guard.rules import load_policy
from guard.unix_socket import get_uids

DOCS = Path(__file__).parent.parent / "docs"
MAC = "68:37:e9:00:00:01"
KITCHEN = {"name": "kitchen", "mac": MAC}


def get_keys() -> list[str]:
    """Return every key of the file, dotted."""
    keys = []
    for field in msgspec.structs.fields(Config):
        table = config_module._TABLES.get(field.name)
        if table is None:
            keys.append(field.name)
        else:
            keys += [f"{field.name}.{inner}" for inner in table.__struct_fields__]
    return keys


def test_example_loads() -> None:
    config = load_config(DOCS / "examples" / "wakeguard.toml")
    assert config.mode is Mode.MONITOR
    assert config.get_device_names() == ("kitchen",)
    assert config.sensors is not None


def test_defaults() -> None:
    config = parse_config({"device": [KITCHEN]})
    assert config == Config(device=config.device)
    assert config.sensors is None
    assert config.get_sensor_paths() == {}
    assert config.metrics.address == "127.0.0.1"
    assert config.lab.period_scale == 1.0


@pytest.mark.parametrize("key", get_keys())
def test_every_key_is_documented_and_has_a_remedy(key: str) -> None:
    assert f"| `{key}` |" in (DOCS / "configuration.md").read_text()
    assert key in REMEDIES


def test_documented_defaults_are_the_real_ones() -> None:
    text = (DOCS / "configuration.md").read_text()
    for name, table in config_module._TABLES.items():
        for field in msgspec.structs.fields(table):
            if field.default is not msgspec.NODEFAULT and field.default is not None:
                value = field.default
                shown = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
                shown = shown or (f'"{value}"' if isinstance(value, str) else str(value))
                shown = "[]" if value == () else shown
                assert f"| `{name}.{field.name}` | `{shown}` |" in text


def test_documentation_lists_no_unknown_key() -> None:
    lines = (DOCS / "configuration.md").read_text().splitlines()
    listed = [line.split("`")[1] for line in lines if line.startswith("| `")]
    listed = [key for key in listed if not key.startswith("sense.")]  # the sensing side's: tests/hardware
    assert sorted(listed) == sorted(get_keys())


FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "device is missing", "[[device]]"),
    ({"device": []}, "device is empty", "[[device]]"),
    ({"device": {"name": "x"}}, "device is wrong", "[[device]]"),
    ({"device": [{"mac": MAC}]}, "device[1].name is missing", "letters"),
    ({"device": [{"name": "kitchen"}]}, "device[1].mac is missing", "68:37"),
    ({"device": [{"name": "my kitchen", "mac": MAC}]}, "device[1].name", "letters"),
    ({"device": [{"name": "../x", "mac": MAC}]}, "device[1].name", "letters"),
    ({"device": [{"name": "a", "mac": "68:37:e9:00:00"}]}, "device[1].mac", "68:37"),
    ({"device": [{"name": "a", "mac": "01:00:5e:00:00:01"}]}, "device[1].mac", "single device"),
    ({"device": [{"name": "a", "addresses": ["192.168.4.300"]}]}, "device[1].addresses", "192.168.4.20"),
    ({"device": [{"name": "a", "addresses": ["ff02::1"]}]}, "device[1].addresses", "single device"),
    ({"device": [{**KITCHEN, "addresses": ["10.0.0.2"]}]}, "device[1].addresses", "keep one"),
    ({"device": [KITCHEN, {"name": "kitchen", "addresses": ["10.0.0.2"]}]}, "device[2].name", "once"),
    ({"device": [KITCHEN, {"name": "b", "mac": MAC.upper()}]}, "device[2].mac", "device[1]"),
    ({"device": [KITCHEN], "mod": "monitor"}, "mod is not a key", 'did you mean "mode"'),
    ({"device": [KITCHEN], "network": {"lann": "x"}}, "network.lann", 'did you mean "lan"'),
    ({"device": [{**KITCHEN, "macc": 1}]}, "device[1].macc", 'did you mean "mac"'),
    ({"device": [KITCHEN], "control": {"zzz": 1}}, "control.zzz", "known here: socket, users"),
    ({"device": [KITCHEN], "mode": "inforce"}, "mode is wrong", '"enforce"'),
    ({"device": [KITCHEN], "policy": "lax"}, "policy", '"strict"'),
    ({"device": [{**KITCHEN, "policy": "lax"}]}, "device[1].policy", '"balanced"'),
    ({"device": [KITCHEN], "network": {"queue": "1789"}}, "network.queue is wrong", "1789"),
    ({"device": [KITCHEN], "network": {"queue": 65536}}, "network.queue", "65535"),
    ({"device": [KITCHEN], "network": {"lan": "wlan0 -j ACCEPT"}}, "network.lan", "ip link"),
    ({"device": [KITCHEN], "network": 3}, "network is wrong", "[network]"),
    ({"device": [KITCHEN], "fast_path": True}, "fast_path is wrong", "[fast_path]"),
    (
        {"device": [KITCHEN], "fast_path": {"condemned": "yes"}},
        "fast_path.condemned is wrong",
        "true or false",
    ),
    ({"device": [KITCHEN], "fast_path": {"acks": True}}, "fast_path.acks", "acknowledgements"),
    ({"device": [KITCHEN], "metrics": {"port": 0}}, "metrics.port", "65535"),
    ({"device": [KITCHEN], "metrics": {"address": "localhost"}}, "metrics.address", "127.0.0.1"),
    ({"device": [KITCHEN], "metrics": {"enabled": 1}}, "metrics.enabled", "true or false"),
    ({"device": [KITCHEN], "control": {"socket": "control.sock"}}, "control.socket", "absolute"),
    ({"device": [KITCHEN], "control": {"socket": "/" + "x" * 107}}, "control.socket", "107"),
    ({"device": [KITCHEN], "control": {"users": "pi"}}, "control.users", '["pi"]'),
    ({"device": [KITCHEN], "control": {"users": [7]}}, "control.users", '["pi"]'),
    ({"device": [KITCHEN], "state": {"directory": ""}}, "state.directory", "absolute"),
    ({"device": [KITCHEN], "lab": {"period_scale": 0}}, "lab.period_scale", "0.001"),
    ({"device": [KITCHEN], "lab": {"period_scale": float("nan")}}, "lab.period_scale", "0.001"),
    ({"device": [KITCHEN], "sensors": {"max_per_second": 1}}, "sensors.max_per_second", "50"),
    (
        {"device": [KITCHEN, {"name": "b", "addresses": ["10.0.0.2"]}], "sensors": {}},
        "sensors.socket",
        "{device}",
    ),
    (
        {"device": [KITCHEN], "sensors": {"socket": "/run/wakeguard/control.sock"}},
        "sensors.socket",
        "control",
    ),
]

ENDPOINT = {"name": "music", "port": 4070, "per_hour": 4096, "burst": 1024}


def limits(table: str, **values: object) -> dict[str, Any]:
    return {"device": [KITCHEN], "limits": {table: values}}


FAULTS += [
    ({"device": [KITCHEN], "endpoint": [{**ENDPOINT, "port": 0}]}, "endpoint[1].port", "4070"),
    ({"device": [KITCHEN], "endpoint": [{**ENDPOINT, "prot": 1}]}, "endpoint[1].prot", '"port"'),
    (
        {"device": [KITCHEN], "endpoint": [{"name": "x", "port": 1}]},
        "endpoint[1].per_hour is missing",
        "4096",
    ),
    (
        {"device": [KITCHEN], "endpoint": [{**ENDPOINT, "network": "10.0.0.1/8"}]},
        "endpoint[1].network",
        "/24",
    ),
    ({"device": [KITCHEN], "endpoint": [{**ENDPOINT, "burst": -1}]}, "endpoint[1].burst", "1024"),
    (
        {"device": [KITCHEN], "endpoint": [{**ENDPOINT, "per_hour": float("inf")}]},
        "endpoint[1].per_hour",
        "4096",
    ),
    ({"device": [KITCHEN], "limits": {"interactions": {}}}, "limits.interactions", '"interaction"'),
    ({"device": [KITCHEN], "limits": {"hold": 3}}, "limits.hold is 3", "[limits.hold]"),
    ({"device": [KITCHEN], "limits": []}, "limits is wrong", "[limits.interaction]"),
    (limits("interaction", listn_s=3), "limits.interaction.listn_s", 'did you mean "listen_s"'),
    (limits("interaction", listen_s="10"), 'limits.interaction.listen_s is "10"', "such as 8.0, the default"),
    (limits("interaction", listen_s=-1), "limits.interaction.listen_s is -1", "at least 0"),
    (limits("interaction", listen_s=61), "limits.interaction.listen_s is 61", "at most 60"),
    (limits("interaction", max_s=True), "limits.interaction.max_s", "a number"),
    (limits("hold", hold_s=6), "limits.hold.hold_s is 6", "at most 5"),
    (limits("hold", hold_s=float("nan")), "limits.hold.hold_s is nan", "a number"),
    (limits("sensor", alive_timeout_s=1), "limits.sensor.alive_timeout_s is 1", "at least 1.5"),
    (limits("flows", sweep_s=0), "limits.flows.sweep_s is 0", "at least 1"),
    (limits("exceptions", midstream="drop"), "limits.exceptions.midstream", 'did you mean "drop-'),
    (limits("exceptions", midstream=3), "limits.exceptions.midstream", "drop-flow"),
    (limits("exceptions", midstraem="accept"), "limits.exceptions.midstraem", '"midstream"'),
    (limits("budgets", dns=3), "limits.budgets.dns is 3", "[limits.budgets.dns]"),
    (limits("budgets", dnss={}), "limits.budgets.dnss", '"dns"'),
    (limits("budgets", dns={"per_huor": 1}), "limits.budgets.dns.per_huor", '"per_hour"'),
    (limits("heartbeats", slack=2), "limits.heartbeats.slack is 2", "at most 1"),
    (limits("heartbeats", schedule=[]), "limits.heartbeats.inferred_lengths", "schedule"),
    (limits("heartbeats", schedule={}), "limits.heartbeats.schedule", "[[limits.heartbeats.schedule]]"),
    (limits("heartbeats", schedule=[3]), "limits.heartbeats.schedule[1]", "[[limits.heartbeats.schedule]]"),
    (limits("heartbeats", schedule=[{"plaintext": 1}]), "limits.heartbeats.schedule[1].period_s", "missing"),
    (
        limits("heartbeats", schedule=[{"plaintext": 17, "period_s": 0, "ping": True}]),
        "limits.heartbeats.schedule[1].period_s is 0",
        "at least 0.1",
    ),
    (
        limits("heartbeats", schedule=[{"plaintext": 17, "period_s": 30, "png": True}]),
        "limits.heartbeats.schedule[1].png",
        '"ping"',
    ),
    (limits("heartbeats", inferred_lengths={"x": 0}), "limits.heartbeats.inferred_lengths", "41 = 0"),
    (limits("heartbeats", inferred_lengths={"41": 7}), "limits.heartbeats.inferred_lengths", "row"),
]


@pytest.mark.parametrize(("content", "key", "remedy"), FAULTS)
def test_a_fault_names_key_and_remedy(content: dict[str, Any], key: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(content)
    message = str(caught.value)
    assert message.startswith(key)
    assert remedy in message
    assert "\n" not in message


def test_sense_is_accepted_unread() -> None:
    config = parse_config({"device": [KITCHEN], "sense": {"anything": {"at": ["all"]}}})
    assert config.sense == {"anything": {"at": ["all"]}}


def test_several_devices_have_their_own_sensor_sockets() -> None:
    config = parse_config(
        {
            "device": [KITCHEN, {"name": "bath", "addresses": ["10.0.0.2", "fe80::2"]}],
            "sensors": {"socket": "/run/wakeguard/{device}.sock"},
        }
    )
    assert config.get_sensor_paths() == {
        "kitchen": Path("/run/wakeguard/kitchen.sock"),
        "bath": Path("/run/wakeguard/bath.sock"),
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"mode = ", "not TOML"), (b"mode = '\xff'", "not UTF-8"), (b"", "device is missing")],
)
def test_an_unreadable_file_is_one_clear_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "wakeguard.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="--config"):
        load_config(tmp_path)


def test_a_missing_interface_lists_those_there_are() -> None:
    config = parse_config({"device": [KITCHEN], "network": {"lan": "wlan7"}})
    with pytest.raises(ConfigError, match=r"network\.lan .*eth0, wlan0"):
        check_interfaces(config, ["lo", "wlan0", "eth0"])
    check_interfaces(config, ["lo", "wlan7"])


def test_an_unknown_user_names_the_key() -> None:
    assert get_uids(["root"], key="control.users") == {0}
    with pytest.raises(ConfigError, match=r"control\.users .*no-such-user"):
        get_uids(["no-such-user"], key="control.users")


def test_ruleset_spec_numbers_the_devices() -> None:
    config = parse_config(
        {"device": [KITCHEN, {"name": "bath", "addresses": ["10.0.0.2"]}], "network": {"lan": "br0"}}
    )
    spec = ruleset_spec(config, Mode.ENFORCE)
    assert (spec.mode, spec.lan, spec.queue) == (Mode.ENFORCE, "br0", 1789)
    assert [(device.number, device.name, device.mac) for device in spec.devices] == [
        (1, "kitchen", MAC),
        (2, "bath", None),
    ]
    assert spec.devices[1].addresses == ("10.0.0.2",)


def test_the_owners_limits_lie_over_the_shipped_ones() -> None:
    shipped = parse_config({"device": [KITCHEN]}).load_limits().make_policy()
    assert shipped == load_policy()
    config = parse_config(
        {
            "device": [KITCHEN],
            "limits": {
                "interaction": {"listen_s": 10},
                "exceptions": {"midstream": "drop-packet"},
                "budgets": {"dns": {"per_hour": 1}},
                "heartbeats": {
                    "schedule": [{"plaintext": 17, "period_s": 60}],
                    "inferred_lengths": {"41": 0},
                },
            },
            "endpoint": [{**ENDPOINT, "network": "2001:db8::/32"}],
            "lab": {"period_scale": 0.5},
        }
    )
    policy = config.load_limits().make_policy()
    assert policy.listen_s == 10
    assert policy.max_s == shipped.max_s
    assert policy.exceptions[Reason.MIDSTREAM] is Action.DROP_PACKET
    assert policy.exceptions[Reason.MALFORMED] is shipped.exceptions[Reason.MALFORMED]
    assert policy.budgets["dns"] == Budget(1, shipped.budgets["dns"].burst)
    assert [beat.period_s for beat in policy.heartbeats] == [30.0]
    assert [(row.port, str(row.network)) for row in policy.endpoints] == [(4070, "2001:db8::/32")]
    assert load_policy() == shipped


@pytest.mark.parametrize("key", [f"{table}.{key}" for table, key in policy_module._SCALARS.values()])
def test_every_number_of_the_policy_can_be_set(key: str) -> None:
    table, _, name = key.partition(".")
    parse_config(
        limits(table, **{name: 1.5 if name == "alive_timeout_s" else 1})
        if name != "max_s"
        else limits(table, max_s=8)
    )


def test_limits_survive_a_recording() -> None:
    config = parse_config(
        {**limits("hold", hold_s=0.8), "endpoint": [ENDPOINT], "lab": {"period_scale": 0.1}}
    )
    made = config.load_limits()
    again = Limits.from_mapping(json.loads(json.dumps(made.to_mapping())))
    assert again.make_policy() == made.make_policy()


def test_many_devices_share_the_room_for_packets_that_wait() -> None:
    devices = [{"name": f"echo-{number}", "addresses": [f"10.0.0.{number}"]} for number in range(1, 33)]
    policy = parse_config({"device": devices}).load_limits().make_policy()
    assert policy.hold_device_packets == HELD_PACKETS // 32


def test_a_device_may_have_a_policy_of_its_own() -> None:
    bath = {"name": "bath", "addresses": ["10.0.0.2"], "policy": "balanced"}
    assert parse_config({"device": [KITCHEN, bath]}).get_policies() == {
        "kitchen": "strict",
        "bath": "balanced",
    }
    assert parse_config({"device": [KITCHEN], "policy": "balanced"}).get_policies() == {"kitchen": "balanced"}
