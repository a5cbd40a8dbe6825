"""What must and must not stand in the rules; no kernel is asked."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter.marks import MARK_MASK
from guard.netfilter.ruleset import DeviceMatch, RulesetSpec, render
from guard.netfilter.tables import parse_tables

KITCHEN = DeviceMatch(1, "kitchen", mac="68:37:E9:00:00:01")
ATTIC = DeviceMatch(2, "attic", addresses=("192.168.4.20", "fd00::20"))
SPEC = RulesetSpec(Mode.ENFORCE, "wlan0", 1789, (KITCHEN, ATTIC))
BOTH = [(mode, family) for mode in Mode for family in ("ipv4", "ipv6")]


def rules(mode: Mode, family: str, spec: RulesetSpec = SPEC) -> list[str]:
    text = dict(render(replace(spec, mode=mode)))[family]  # type: ignore[index]  # keyed by plain text
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize(("mode", "family"), BOTH)
def test_every_write_of_a_mark_is_masked_to_our_bits(mode: Mode, family: str) -> None:
    written = [line for line in rules(mode, family) if re.search(r"-j (CONN)?MARK", line)]
    assert len(written) >= 6
    for line in written:
        target = re.split(r"-j (?:CONN)?MARK ", line)[1]
        masks = re.findall(r"--(?:nf|ct)mask (0x[0-9a-f]+)|--set-xmark 0x[0-9a-f]+/(0x[0-9a-f]+)", target)
        assert masks, line
        for mask in masks:
            assert int(mask[0] or mask[1], 16) & ~MARK_MASK == 0, line


@pytest.mark.parametrize(("mode", "family"), BOTH)
def test_every_match_of_a_mark_is_masked(mode: Mode, family: str) -> None:
    for line in rules(mode, family):
        for value in re.findall(r"--mark (\S+)", line):
            assert "/" in value, line


@pytest.mark.parametrize(("mode", "family"), BOTH)
def test_only_own_chains_are_declared_and_only_jumps_stand_in_the_users(mode: Mode, family: str) -> None:
    for line in rules(mode, family):
        if line.startswith(":"):
            assert line.startswith(":WAKEGUARD-")
        elif line.startswith("-I"):
            assert re.fullmatch(r"-I ([A-Z]+) 1 -j WAKEGUARD-\1", line)
        elif line.startswith("-"):
            assert line.startswith("-A WAKEGUARD-")


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_enforce_has_no_bypass_and_the_last_word(family: str) -> None:
    lines = rules(Mode.ENFORCE, family)
    assert not any("bypass" in line for line in lines)
    queues = [line for line in lines if "NFQUEUE" in line]
    assert queues == ["-A WAKEGUARD-QUEUE -m mark ! --mark 0x0/0x3f000000 -j NFQUEUE --queue-num 1789"]
    assert "-A WAKEGUARD-POSTROUTING -m mark ! --mark 0x0/0xc0000000 -j DROP" in lines
    assert "-A WAKEGUARD-CONDEMNED -p tcp -j REJECT --reject-with tcp-reset" in lines


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_monitor_drops_rejects_and_condemns_nothing(family: str) -> None:
    lines = rules(Mode.MONITOR, family)
    targets = {match[1] for line in lines if (match := re.search(r"-j (\S+)", line))}
    assert not targets & {"DROP", "REJECT"}
    assert "*filter" not in lines
    assert all("--queue-bypass" in line for line in lines if "NFQUEUE" in line)


def test_each_family_has_its_own_addresses_and_macs_are_in_both() -> None:
    four, six = "\n".join(rules(Mode.ENFORCE, "ipv4")), "\n".join(rules(Mode.ENFORCE, "ipv6"))
    assert "-s 192.168.4.20/32 -i wlan0 -j MARK --set-xmark 0x82000000/0xff000000" in four
    assert "-s fd00::20/128 -i wlan0 -j MARK --set-xmark 0x82000000/0xff000000" in six
    assert "fd00" not in four
    assert "192.168" not in six
    for text in (four, six):
        assert (
            "-i wlan0 -m mac --mac-source 68:37:e9:00:00:01 -j MARK --set-xmark 0x81000000/0xff000000" in text
        )


def test_a_bridge_port_is_matched_by_physdev() -> None:
    text = "\n".join(rules(Mode.ENFORCE, "ipv4", replace(SPEC, bridge_port=True)))
    assert "-m physdev --physdev-in wlan0 -m mac --mac-source 68:37:e9:00:00:01 -j MARK" in text
    assert "-s 192.168.4.20/32 -m physdev --physdev-in wlan0 -j MARK" in text
    assert " -i wlan0" not in text


def test_a_device_known_in_one_family_only_leaves_the_other_valid() -> None:
    spec = replace(SPEC, devices=(DeviceMatch(1, "attic", addresses=("192.168.4.20",)),))
    assert parse_tables(dict(render(spec))["ipv6"])["mangle"].rules


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"lan": "wlan0 -j ACCEPT"}, "no interface name"),
        ({"lan": "wlan+"}, "no interface name"),
        ({"lan": ""}, "no interface name"),
        ({"lan": "wlan0\n-A"}, "no interface name"),
        ({"queue": 65536}, "outside 0 to 65535"),
        ({"devices": ()}, "there must be 1 to 63"),
        ({"devices": (KITCHEN, replace(ATTIC, number=1))}, "same number"),
        ({"devices": (replace(KITCHEN, number=64),)}, "outside 1..63"),
        ({"devices": (replace(KITCHEN, mac=None),)}, "neither a MAC nor an address"),
        ({"devices": (replace(KITCHEN, mac="68:37:e9:00:00:01\n-A"),)}, "no MAC address"),
        ({"devices": (replace(ATTIC, addresses=("10.0.0.0/8",)),)}, "attic"),
    ],
)
def test_nothing_but_plain_values_gets_into_a_rule(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(NetfilterError, match=re.escape(complaint)):
        render(replace(SPEC, **change))  # type: ignore[arg-type]  # wrong on purpose
