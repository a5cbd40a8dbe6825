"""Installing, swapping, checking and removing: what is left of the user's rules, and what of ours."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import interface, kernel, programs, queue, ruleset
from guard.netfilter.tables import find_hollow_tables
from tests.netns.household import QUEUE, Household, wait_until
from tests.netns.judge import Judge

pytestmark = pytest.mark.kernel

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; not in Python's socket

USER_RULES = """*mangle
:USER-MANGLE - [0:0]
-A PREROUTING -i lan0 -m comment --comment "not -j WAKEGUARD-FORWARD" -j USER-MANGLE
-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu
COMMIT
*filter
:USER-FILTER - [0:0]
-P INPUT ACCEPT
-A INPUT -i lo -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -j USER-FILTER
-A USER-FILTER -s 192.0.2.0/24 -j DROP
COMMIT
"""
USER_RULES_V6 = USER_RULES.replace("192.0.2.0/24", "2001:db8::/32")


def add_user_rules(home: Household) -> None:
    home.gate.run("iptables-restore", text=USER_RULES.replace("-P INPUT ACCEPT\n", ""))
    home.gate.run("ip6tables-restore", text=USER_RULES_V6.replace("-P INPUT ACCEPT\n", ""))


def saved(home: Household) -> tuple[str, str]:
    """Return both families' tables without the time of printing and the packet counters."""
    return _plain(home.gate.run("iptables-save")), _plain(home.gate.run("ip6tables-save"))


def _plain(text: str) -> str:
    if "(nf_tables)" not in text:
        # iptables-legacy prints each table that was ever looked at: an empty one is none.
        for table, chains in find_hollow_tables(text).items():
            text = re.sub(rf"^\*{table}\n(?::.*\n){{{len(chains)}}}COMMIT\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\[\d+:\d+\]|^#.*\n", "", text, flags=re.MULTILINE)


def test_apply_check_remove_leave_the_users_rules_as_they_were(household: Household) -> None:
    add_user_rules(household)
    before = saved(household)
    with household.gate.enter():
        for mode in (Mode.MONITOR, Mode.ENFORCE, Mode.ENFORCE, Mode.MONITOR):
            spec = household.make_spec(mode)
            ruleset.apply(spec)
            assert ruleset.check(spec) == ()
            assert ruleset.is_installed()
        assert all(user <= now for user, now in zip(_rules(before), _rules(saved(household)), strict=True))
        ruleset.remove()
        assert saved(household) == before
        assert not ruleset.is_installed()
        ruleset.remove()
    assert saved(household) == before


def _rules(texts: tuple[str, str]) -> list[set[str]]:
    return [{line for line in text.splitlines() if line.startswith("-A")} for text in texts]


def test_a_machine_without_rules_has_none_again_afterwards(routed: Household) -> None:
    assert saved(routed) == ("", "")
    with routed.gate.enter():
        ruleset.apply(routed.make_spec(Mode.ENFORCE))
        ruleset.remove()
    assert saved(routed) == ("", "")
    assert "WAKEGUARD" not in routed.gate.run("nft", "list", "ruleset")


def test_a_table_with_a_native_set_of_the_users_is_left_alone(routed: Household) -> None:
    with routed.gate.enter():
        ruleset.apply(routed.make_spec(Mode.ENFORCE))
        routed.gate.run("nft", "add table ip mangle")
        routed.gate.run("nft", "add set ip mangle mine { type ipv4_addr; }")
        ruleset.remove()
    listing = routed.gate.run("nft", "list", "ruleset")
    assert "set mine" in listing
    assert "table ip filter" not in listing


def test_applying_twice_changes_nothing(routed: Household) -> None:
    with routed.gate.enter():
        ruleset.apply(routed.make_spec(Mode.ENFORCE))
        once = saved(routed)
        ruleset.apply(routed.make_spec(Mode.ENFORCE))
    assert saved(routed) == once


def test_jumps_are_put_first_again_and_check_sees_what_moved(routed: Household) -> None:
    spec = routed.make_spec(Mode.ENFORCE)
    with routed.gate.enter():
        ruleset.apply(spec)
        routed.gate.run("iptables", "-I", "FORWARD", "-j", "ACCEPT")
        routed.gate.run("iptables", "-t", "mangle", "-A", "FORWARD", "-j", "WAKEGUARD-FORWARD")
        routed.gate.run("ip6tables", "-t", "mangle", "-D", "WAKEGUARD-POSTROUTING", "1")
        differences = ruleset.check(spec)
        assert "ipv4 filter: FORWARD -j WAKEGUARD-FORWARD is rule 2, not 1" in differences
        assert "ipv4 mangle: FORWARD -j WAKEGUARD-FORWARD is there twice" in differences
        assert any(
            line.startswith("ipv6 mangle: missing: -A WAKEGUARD-POSTROUTING") and line.endswith("-j DROP")
            for line in differences
        )
        assert len(differences) == 3
        ruleset.apply(spec)
        assert ruleset.check(spec) == ()


def test_check_names_both_modes_differences(routed: Household) -> None:
    with routed.gate.enter():
        assert ruleset.check(routed.make_spec(Mode.ENFORCE)) == (
            "ipv4 nothing of Wakeguard is installed",
            "ipv6 nothing of Wakeguard is installed",
        )
        ruleset.apply(routed.make_spec(Mode.MONITOR))
        differences = ruleset.check(routed.make_spec(Mode.ENFORCE))
    assert any("--queue-bypass" in line and "not ours" in line for line in differences)


@pytest.mark.parametrize("users", [True, False], ids=["users", "bare"])
@pytest.mark.parametrize("first", [None, Mode.ENFORCE, Mode.MONITOR])
def test_a_failing_second_family_puts_the_first_back(
    routed: Household, first: Mode | None, users: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real ip6tables-restore, made to fail at its second table, when mangle is committed already."""
    if users:
        add_user_rules(routed)
    with routed.gate.enter():
        if first is not None:
            ruleset.apply(routed.make_spec(first))
        # A former jump that stood elsewhere goes back to where it stood.
        before = saved(routed)
        real = shutil.which("ip6tables-restore")
        broken = tmp_path / "ip6tables-restore"
        broken.write_text(
            f'#!/bin/sh\ncase "$*" in *--test*) exec {real} "$@";; esac\n'
            f'if [ -e {tmp_path}/failed ]; then exec {real} "$@"; fi\ntouch {tmp_path}/failed\n'
            f'sed -e "s/-j REJECT.*/-j NOSUCHTARGET/" -e "s/--queue-num 1877/--queue-num x/" | {real} "$@"\n'
        )
        broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        for mode in (Mode.ENFORCE, Mode.MONITOR):
            (tmp_path / "failed").unlink(missing_ok=True)
            with pytest.raises(NetfilterError, match="ip6tables-restore"):
                ruleset.apply(routed.make_spec(mode))
            assert saved(routed) == before


@pytest.mark.parametrize(
    "damage", ["-t mangle -F", "-F WAKEGUARD-FORWARD", "-D FORWARD 1", "-t mangle -D INPUT 1"]
)
def test_remove_works_on_what_is_left(routed: Household, damage: str) -> None:
    routed.gate.run("iptables-restore", text=USER_RULES.replace("-P INPUT ACCEPT\n", ""))
    with routed.gate.enter():
        ruleset.apply(routed.make_spec(Mode.ENFORCE))
        routed.gate.run("iptables", *damage.split())
        routed.gate.run("ip6tables", "-t", "mangle", "-F")
        routed.gate.run("ip6tables", "-t", "mangle", "-X")
        ruleset.remove()
        assert not ruleset.is_installed()
        assert ":WAKEGUARD" not in "".join(saved(routed))
        ruleset.apply(routed.make_spec(Mode.ENFORCE))
        assert ruleset.check(routed.make_spec(Mode.ENFORCE)) == ()


def test_the_templates_are_accepted_as_they_are_rendered(routed: Household) -> None:
    with routed.gate.enter():
        for mode in Mode:
            for family, text in ruleset.render(routed.make_spec(mode, by_address=True)).items():
                programs.test(family, text)
                programs.restore(family, text)
            assert ruleset.check(routed.make_spec(mode, by_address=True)) == ()
            ruleset.remove()


def test_sixty_three_devices(routed: Household) -> None:
    devices = tuple(
        ruleset.DeviceMatch(number, f"echo-{number}", mac=f"02:00:00:00:00:{number:02X}")
        for number in range(1, 64)
    )
    spec = ruleset.RulesetSpec(Mode.ENFORCE, "lan0", QUEUE, devices)
    with routed.gate.enter():
        ruleset.apply(spec)
        assert ruleset.check(spec) == ()
    assert "0xbf000000/0xff000000" in saved(routed)[0]


def test_no_datagram_escapes_while_the_mode_is_switched(routed: Household) -> None:
    """Each one that the cloud gets was accepted by the gate; none went around it."""
    with routed.gate.enter():
        ruleset.apply(routed.make_spec(Mode.MONITOR))
    target = (routed.cloud_address[socket.AF_INET], 9999)
    sent, stop = [0], threading.Event()
    with (
        Judge(routed.gate, mode=Mode.ENFORCE) as judge,
        routed.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        routed.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 64 * 1024 * 1024)
        server.bind(target)

        def send() -> None:
            while not stop.is_set():
                client.sendto(b"%8d" % sent[0], target)
                sent[0] += 1
                stop.wait(0.0005)  # a pace that the queue keeps up with

        sender = threading.Thread(target=send)
        sender.start()
        try:
            with routed.gate.enter():
                for mode in (Mode.ENFORCE, Mode.MONITOR) * 5:
                    ruleset.apply(routed.make_spec(mode))
        finally:
            stop.set()
            sender.join()
        client.sendto(b"    last", target)
        received: set[bytes] = set()
        while b"    last" not in received:
            received.add(server.recv(100))
        judged = {seen.payload[-8:] for seen in judge.seen if seen.upstream}
    assert len(received) > 50
    assert received - judged == set()


def test_requirements_are_met_here(household: Household) -> None:
    with household.gate.enter():
        for mode in Mode:
            kernel.check_requirements(household.make_spec(mode))


@pytest.mark.parametrize("name", ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"])
@pytest.mark.parametrize("lan", ["br0", "lan0"])
def test_enforce_on_a_bridge_needs_bridge_netfilter(name: str, lan: str) -> None:
    with Household(bridged=True) as home, home.gate.enter():
        home.gate.run("sysctl", "-qw", f"net.bridge.{name}=0")
        with pytest.raises(NetfilterError, match=rf"sysctl -w net\.bridge\.{name}=1$"):
            kernel.check_requirements(home.make_spec(Mode.ENFORCE, lan=lan))
        kernel.check_requirements(home.make_spec(Mode.MONITOR, lan=lan))


def test_enforce_needs_checksums_to_be_checked(routed: Household) -> None:
    with routed.gate.enter():
        routed.gate.run("sysctl", "-qw", "net.netfilter.nf_conntrack_checksum=0")
        with pytest.raises(NetfilterError, match=r"sysctl -w net\.netfilter\.nf_conntrack_checksum=1$"):
            kernel.check_requirements(routed.make_spec(Mode.ENFORCE))


def test_a_missing_interface_is_named(routed: Household) -> None:
    with routed.gate.enter(), pytest.raises(NetfilterError, match=r'network\.lan "wlan7" is no interface'):
        kernel.check_requirements(routed.make_spec(Mode.MONITOR, lan="wlan7"))


def test_kinds_of_interface() -> None:
    with Household(bridged=True) as home, home.gate.enter():
        assert interface.get_kind("br0") is interface.Kind.BRIDGE
        assert interface.get_kind("lan0") is interface.Kind.BRIDGE_PORT
        assert interface.get_kind("lo") is interface.Kind.PLAIN


def test_a_missing_kernel_feature_is_named(routed: Household, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = kernel.Extension("target", "NFWARP", 0, "CONFIG_NFWARP")
    monkeypatch.setattr(kernel, "EXTENSIONS", (*kernel.EXTENSIONS, lacking))
    with routed.gate.enter(), pytest.raises(NetfilterError, match=r"no ipv4 target NFWARP.*CONFIG_NFWARP"):
        kernel.check_requirements(routed.make_spec(Mode.MONITOR))


def test_a_busy_queue_names_its_owner(routed: Household) -> None:
    with Judge(routed.gate), routed.gate.enter():
        statistics = kernel.read_statistics(QUEUE)
        assert statistics is not None
        assert statistics.port == os.getpid()
        second = queue.PacketQueue(QUEUE)
        with pytest.raises(
            NetfilterError, match=rf"queue {QUEUE} is in use by process {os.getpid()} \(.*network\.queue"
        ):
            second.bind(lambda *_: queue.DROP, clock=time.monotonic_ns, mode=Mode.ENFORCE)
        second.close()
    with routed.gate.enter():
        assert kernel.read_statistics(QUEUE) is None
        kernel.check_queue_free(QUEUE)


@pytest.mark.parametrize(
    ("mode", "arrived"),
    [(Mode.MONITOR, "beyond"), (Mode.ENFORCE, "nothing")],
)
def test_a_full_queue_is_open_in_monitor_and_closed_in_enforce(
    routed: Household, mode: Mode, arrived: str
) -> None:
    """A gate that is stopped: it holds the queue and reads nothing."""
    target = (routed.cloud_address[socket.AF_INET], 9999)
    stalled = queue.PacketQueue(QUEUE)
    with (
        routed.cloud.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        routed.echo.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(target)
        client.sendto(b"before", target)  # neighbours are known now
        assert server.recv(100) == b"before"
        with routed.gate.enter():
            ruleset.apply(routed.make_spec(mode))
            stalled.bind(lambda *_: queue.DROP, clock=time.monotonic_ns, mode=mode, maximum_length=4)
        try:
            for number in range(10):
                client.sendto(b"%d" % number, target)
            if arrived == "beyond":
                assert [server.recv(100) for _ in range(6)] == [b"%d" % number for number in range(4, 10)]
            else:
                wait_until(lambda: _statistics(routed).dropped_queue_full == 6)
            assert _statistics(routed).waiting == 4
            # The switch of a running gate, both ways. The flag alone opens nothing: the rules do.
            other = Mode.ENFORCE if mode is Mode.MONITOR else Mode.MONITOR
            with routed.gate.enter():
                stalled.set_mode(other)
                ruleset.apply(routed.make_spec(other))
            dropped = _statistics(routed).dropped_queue_full
            client.sendto(b"switched", target)
            if mode is Mode.ENFORCE:
                assert server.recv(100) == b"switched"
            else:
                wait_until(lambda: _statistics(routed).dropped_queue_full == dropped + 1)
            server.settimeout(0)
            with pytest.raises(BlockingIOError):
                server.recv(100)
        finally:
            stalled.close()
            stalled.close()


def _statistics(home: Household) -> kernel.QueueStatistics:
    with home.gate.enter():
        statistics = kernel.read_statistics(QUEUE)
    assert statistics is not None
    return statistics
