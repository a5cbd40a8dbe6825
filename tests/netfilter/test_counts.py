"""Counters of rules that come and go: what is counted, of whom, and never twice."""

from __future__ import annotations

import pytest

from guard.core.segment import TCP_CONTROL
from guard.errors import NetfilterError
from guard.netfilter import counts, programs
from guard.netfilter.counts import REFUSED_ACK, REFUSED_DATA, KernelCounts, parse_counters

DEVICES = ("kitchen", "bath")


def show(number: int, passed: int, refused_bare: int = 0, refused: int = 0) -> str:
    """Return what iptables-save prints of one device, 100 bytes a packet."""
    mark = f"-m mark --mark {0x80000000 + (number << 24):#x}/0xbf000000"
    bpf = '-m bpf --bytecode "1,6 0 0 0"'
    quiet = "-m connmark --mark 0x80000000/0xc0000000"
    limit = "-m limit --limit 500/sec --limit-burst 5000"
    return "\n".join(
        [
            f"[{passed}:{100 * passed}] -A WAKEGUARD-QUEUE {mark} {quiet} {bpf} {limit} -j WAKEGUARD-PASS",
            "[7:700] -A WAKEGUARD-QUEUE -m mark --mark 0x80000000/0x80000000 -j CONNMARK",
            f"[9:900] -A WAKEGUARD-REFUSE {mark} -m limit --limit 10/sec --limit-burst 50 -j RETURN",
            f"[{refused_bare}:{100 * refused_bare}] -A WAKEGUARD-REFUSE {mark} {bpf} -j WAKEGUARD-REFUSED",
            f"[{refused}:{100 * refused}] -A WAKEGUARD-REFUSE {mark} -j WAKEGUARD-REFUSED",
            "[5:500] -A WAKEGUARD-REFUSED -j ACCEPT",
        ]
    )


class Rules:
    """The rules of both families, which a test may change."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.text: dict[str, str] = {"ipv4": "", "ipv6": ""}
        self.fault: NetfilterError | None = None
        monkeypatch.setattr(programs, "save", self._save)

    def _save(self, family: str, *, counters: bool) -> str:
        assert counters
        if self.fault is not None:
            raise self.fault
        return self.text[family]


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Rules:
    return Rules(monkeypatch)


def start(rules: Rules) -> KernelCounts:
    """Return the counts of a gate that has put its rules in place."""
    kernel = KernelCounts(DEVICES)
    with kernel.replacing():
        rules.text = dict.fromkeys(rules.text, "")
    return kernel


def test_each_rule_is_counted_as_what_the_gate_would_have_said() -> None:
    found = parse_counters("\n".join((show(1, 10, 20, 30), show(2, 1, 2, 3))))
    assert found == {
        (1, TCP_CONTROL): (10, 1000),
        (1, REFUSED_ACK): (20, 2000),
        (1, REFUSED_DATA): (30, 3000),
        (2, TCP_CONTROL): (1, 100),
        (2, REFUSED_ACK): (2, 200),
        (2, REFUSED_DATA): (3, 300),
    }


def test_both_families_are_one_count(rules: Rules) -> None:
    kernel = start(rules)
    assert kernel.get("kitchen") == {}
    rules.text = {"ipv4": show(1, 1, 2, 3), "ipv6": show(1, 10, 20, 30)}
    kernel.read()
    assert kernel.get("kitchen") == {
        TCP_CONTROL: (11, 1100),
        REFUSED_ACK: (22, 2200),
        REFUSED_DATA: (33, 3300),
    }
    assert kernel.get("bath") == {}


def test_what_an_earlier_gates_rules_counted_is_not_ours(rules: Rules) -> None:
    rules.text["ipv4"] = show(1, 1000)
    kernel = start(rules)
    kernel.read()
    assert kernel.get("kitchen") == {}


def test_counts_go_on_over_rules_that_are_replaced(rules: Rules) -> None:
    kernel = start(rules)
    rules.text["ipv4"] = show(1, 5)
    with kernel.replacing():
        rules.text["ipv4"] = show(1, 8)  # more than the old ones, before anybody has looked
    assert kernel.get("kitchen")[TCP_CONTROL] == (5, 500)
    kernel.read()
    assert kernel.get("kitchen")[TCP_CONTROL] == (13, 1300)
    kernel.read()
    assert kernel.get("kitchen")[TCP_CONTROL] == (13, 1300)


def test_a_replacement_that_failed_counts_nothing_twice(rules: Rules) -> None:
    kernel = start(rules)
    rules.text["ipv4"] = show(1, 5)
    with pytest.raises(NetfilterError, match="no room"), kernel.replacing():
        raise NetfilterError("no room")
    kernel.read()
    assert kernel.get("kitchen")[TCP_CONTROL] == (5, 500)
    rules.text["ipv4"] = show(1, 2)  # put back as they were, with counters at 0
    kernel.read()
    assert kernel.get("kitchen")[TCP_CONTROL] == (7, 700)


def test_it_is_read_in_the_background_now_and_then(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    class Now:
        """A thread that has done its work when it is started."""

        def __init__(self, *, target: object, name: str, daemon: bool) -> None:
            assert daemon  # nobody waits for it
            self._target = target

        def start(self) -> None:
            assert callable(self._target)
            self._target()

    monkeypatch.setattr(counts, "Thread", Now)
    kernel = start(rules)
    for now, packets, seen in ((100.0, 1, 1), (104.9, 2, 1), (105.0, 3, 3)):
        rules.text["ipv4"] = show(1, packets)
        kernel.read_in_background(now=now)
        assert kernel.get("kitchen")[TCP_CONTROL][0] == seen
    rules.fault = NetfilterError("busy")
    kernel.read_in_background(now=110.0)
    assert kernel.get("kitchen")[TCP_CONTROL][0] == 3
