"""The bridge's table as text; no kernel is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guard.core.verdict import Mode
from guard.netfilter import fence
from guard.netfilter.ruleset import DeviceMatch, RulesetSpec

KITCHEN = DeviceMatch(1, "kitchen", mac="68:37:E9:00:00:01")
ATTIC = DeviceMatch(2, "attic", addresses=("192.168.4.20", "fd00::20"))
SPEC = RulesetSpec(Mode.ENFORCE, "br0", 1789, (KITCHEN, ATTIC), bridge=True)
STRANGE = "ether type != ip ether type != ip6 ether type != arp counter drop"


def rules(spec: RulesetSpec) -> list[str]:
    lines = [line.strip() for line in fence.render(spec).splitlines()]
    return [line for line in lines if line.endswith("drop")]


@pytest.mark.parametrize("spec", [replace(SPEC, bridge=False), replace(SPEC, mode=Mode.MONITOR)])
def test_there_is_none_where_none_belongs(spec: RulesetSpec) -> None:
    assert fence.render(spec) == ""


def test_a_device_is_known_by_its_mac_and_eapol_may_come_in() -> None:
    assert rules(SPEC) == [
        f"ether saddr 68:37:e9:00:00:01 {STRANGE}",
        "ether saddr 68:37:e9:00:00:01 " + STRANGE.replace("counter", "ether type != 0x888e counter"),
    ]


def test_a_port_stands_for_an_unknown_mac() -> None:
    assert f'iifname "wlan0" {STRANGE}' in rules(replace(SPEC, lan="wlan0", bridge_port=True))


def test_at_boot_nothing_of_a_device_crosses_any_bridge() -> None:
    assert rules(replace(SPEC, bridge=False, boot=True))[:3] == [
        "ether saddr 68:37:e9:00:00:01 counter drop",
        "ip saddr 192.168.4.20 counter drop",
        "ip6 saddr fd00::20 counter drop",
    ]


def test_comparing_names_what_differs() -> None:
    wanted = fence.render(SPEC)
    assert fence.compare(wanted, wanted) == []
    assert fence.compare("", "") == []
    assert fence.compare("", wanted) == ["bridge: table wakeguard is missing"]
    lines = wanted.splitlines()
    rule = next(line for line in lines if line.endswith("drop"))
    assert fence.compare(wanted.replace(rule + "\n", "", 1), wanted) == [f"bridge: missing: {rule.strip()}"]
    assert "another order" in fence.compare(wanted + rule, wanted)[0]
