"""The fast path's rules: only where they are asked for, no wider than they must be; no kernel is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guard.core.verdict import Mode
from guard.netfilter.ruleset import DeviceMatch, RulesetSpec, render

DEVICES = tuple(DeviceMatch(number, f"echo-{number}", mac=f"02:00:00:00:00:0{number}") for number in (1, 2))
SPEC = RulesetSpec(Mode.ENFORCE, "wlan0", 1789, DEVICES)
FAMILIES = ("ipv4", "ipv6")


def rules(spec: RulesetSpec, family: str, word: str) -> list[str]:
    text = dict(render(spec))[family]  # type: ignore[index]  # keyed by plain text
    return [line for line in text.splitlines() if word in line]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", Mode)
def test_each_part_is_there_by_its_own_switch_alone(mode: Mode, family: str) -> None:
    plain = replace(SPEC, mode=mode)
    assert rules(plain, family, "bpf") == []
    quiet = replace(plain, pass_quiet=True)
    assert len(rules(quiet, family, "-j WAKEGUARD-PASS")) == len(DEVICES)
    assert rules(quiet, family, "WAKEGUARD-REFUSE") == []
    condemned = replace(plain, refuse_condemned=True)
    assert rules(condemned, family, "WAKEGUARD-PASS") == []
    assert bool(rules(condemned, family, "WAKEGUARD-REFUSE")) is (mode is Mode.ENFORCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_condemned_connections_are_refused_on_forward_before_the_queue(family: str) -> None:
    lines = rules(replace(SPEC, refuse_condemned=True), family, "-A WAKEGUARD-")
    (into,) = (line for line in lines if line.endswith("-j WAKEGUARD-REFUSE"))
    assert into.startswith("-A WAKEGUARD-FORWARD -p tcp ")
    assert "--tcp-flags SYN,RST NONE" in into
    assert "-m mark --mark 0x80000000/0x80000000 -m connmark --mark 0x40000000/0x40000000" in into
    marked = lines.index("-A WAKEGUARD-FORWARD -j WAKEGUARD-MARK")
    assert marked < lines.index(into) < lines.index("-A WAKEGUARD-FORWARD -j WAKEGUARD-QUEUE")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_judge_sees_the_first_of_each_device(family: str) -> None:
    lines = rules(replace(SPEC, refuse_condemned=True), family, "-A WAKEGUARD-REFUSE -m mark")
    assert len(lines) == 3 * len(DEVICES)
    for number in range(len(DEVICES)):
        judged, bare, rest = lines[3 * number : 3 * number + 3]
        device = f"-A WAKEGUARD-REFUSE -m mark --mark {0x81000000 + (number << 24):#x}/0xbf000000 "
        assert judged == f"{device}-m limit --limit 10/sec --limit-burst 50 -j RETURN"
        assert bare.startswith(f'{device}-m bpf --bytecode "')
        assert rest == f"{device}-j WAKEGUARD-REFUSED"
