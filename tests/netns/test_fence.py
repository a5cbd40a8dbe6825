"""Frames that cross a bridge past iptables: real ones, counted where they would arrive."""

from __future__ import annotations

import contextlib
import shutil
import socket
import stat
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from guard.core.verdict import Mode
from guard.errors import NetfilterError
from guard.netfilter import fence, kernel, ruleset
from guard.netfilter.ruleset import DeviceMatch, RulesetSpec
from tests.netns.household import ECHO_MAC, QUEUE, Household, Namespace

pytestmark = pytest.mark.kernel

_ETH_P_ALL = 3
# what stands between the two MACs and the text
STRANGE = {
    "802.1Q": bytes.fromhex("8100000508004500"),
    "802.1p": bytes.fromhex("8100e00008004500"),
    "802.1ad": bytes.fromhex("88a800058100000608004500"),
    "VLAN of IPv6": bytes.fromhex("8100000586dd6000"),
    "PPPoE discovery": bytes.fromhex("8863110900000020"),
    "PPPoE session": bytes.fromhex("8864110000010020"),
    "802.3 LLC": bytes.fromhex("0040aaaa03000000"),
    "802.3 raw": bytes.fromhex("0040ffff"),
    "EAPOL": bytes.fromhex("888e01000020"),
    "LLDP": bytes.fromhex("88cc"),
    "MPLS": bytes.fromhex("8847000141ff"),
    "experimental": bytes.fromhex("88b5"),
}


@pytest.fixture(params=["br0", "lan0"])
def home(request: pytest.FixtureRequest) -> Iterator[tuple[Household, str]]:
    with Household(bridged=True) as built:
        yield built, request.param


class Wire:
    """The Echo's frames to the cloud, and those of others."""

    def __init__(self, home: Household) -> None:
        self.home = home
        self.cloud_mac = get_mac(home.cloud, "eth0")
        self.echo_mac = bytes.fromhex(ECHO_MAC.replace(":", ""))
        self.ears = open_packets(home.cloud)
        self.mouth = open_packets(home.echo)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.ears.close()
        self.mouth.close()

    def hears(self, kinds: dict[str, bytes]) -> set[str]:
        """Send a frame of each kind, then ARP, which passes; return the kinds that came before it."""
        head = self.cloud_mac + self.echo_mac
        for name, content in kinds.items():
            self.mouth.send((head + content + b"<" + name.encode() + b">").ljust(90, b"."))
        arp = struct.pack(
            "!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 2, self.echo_mac, bytes(4), self.cloud_mac, bytes(4)
        )
        self.mouth.send((head + b"\x08\x06" + arp + b"<arp>").ljust(60, b"."))
        heard: set[str] = set()
        while True:
            frame = self.ears.recv(2000)
            if b"<arp>" in frame:
                return heard
            heard |= {name for name in kinds if b"<" + name.encode() + b">" in frame}


def open_packets(namespace: Namespace) -> socket.socket:
    opened = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    opened.bind(("eth0", _ETH_P_ALL))
    return opened


def list_rules(home: Household) -> list[str]:
    return sorted(home.gate.run("nft", "--stateless", "list", "ruleset").splitlines())


def get_mac(namespace: Namespace, interface: str) -> bytes:
    words = namespace.run("ip", "-o", "link", "show", interface).split()
    return bytes.fromhex(words[words.index("link/ether") + 1].replace(":", ""))


def test_only_ip_and_arp_cross_the_bridge(home: tuple[Household, str]) -> None:
    built, lan = home
    spec = built.make_spec(Mode.ENFORCE, lan=lan)
    with Wire(built) as wire, built.gate.enter():
        assert wire.hears(STRANGE) == set(STRANGE), "without the rules they all cross"
        ruleset.apply(spec)
        assert ruleset.check(spec) == ()
        assert wire.hears(STRANGE) == set()
        assert fence.count_dropped() == len(STRANGE)
        ruleset.apply(replace(spec, mode=Mode.MONITOR))
        assert wire.hears(STRANGE) == set(STRANGE)
        ruleset.apply(spec)
        ruleset.remove()
        assert wire.hears(STRANGE) == set(STRANGE)
        assert "wakeguard" not in built.gate.run("nft", "list", "ruleset").lower()


def test_the_frames_of_others_cross() -> None:
    with Household(bridged=True) as built, Wire(built) as wire, built.gate.enter():
        ruleset.apply(built.make_spec(Mode.ENFORCE))
        for name, content in STRANGE.items():
            wire.ears.send(
                (wire.echo_mac + wire.cloud_mac + content + b"<" + name.encode() + b">").ljust(90, b".")
            )
            while b"<" + name.encode() + b">" not in wire.mouth.recv(2000):
                pass
        assert fence.count_dropped() == 0


def test_eapol_reaches_the_access_point_and_nothing_else_does() -> None:
    with Household(bridged=True) as built, Wire(built) as wire:
        gate = get_mac(built.gate, "br0")
        ears = built.gate.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        ears.bind(("br0", _ETH_P_ALL))
        with ears, built.gate.enter():
            ruleset.apply(built.make_spec(Mode.ENFORCE))
            for name in ("PPPoE session", "802.1Q", "EAPOL"):
                wire.mouth.send((gate + wire.echo_mac + STRANGE[name] + name.encode()).ljust(90, b"."))
            heard = b""
            while b"EAPOL" not in heard:
                heard = ears.recv(2000)
                assert b"802.1Q" not in heard
                assert b"PPPoE" not in heard
            assert fence.count_dropped() == 2


def test_a_port_stands_for_a_device_that_is_known_by_addresses() -> None:
    with Household(bridged=True) as built, Wire(built) as wire, built.gate.enter():
        spec = built.make_spec(Mode.ENFORCE, lan="lan0", by_address=True)
        kernel.check_requirements(spec)
        ruleset.apply(spec)
        assert ruleset.check(spec) == ()
        assert wire.hears(STRANGE) == set()
        with pytest.raises(NetfilterError, match=r"give its device\.mac, or the bridge's port"):
            kernel.check_requirements(built.make_spec(Mode.ENFORCE, by_address=True))
        kernel.check_requirements(built.make_spec(Mode.MONITOR, by_address=True))


@pytest.mark.parametrize("lan", ["br0", "lan0"])
def test_enforce_on_a_bridge_needs_a_route_to_the_device(lan: str) -> None:
    with Household(bridged=True) as built, built.gate.enter():
        built.gate.run("ip", "-4", "address", "flush", "dev", "br0")
        with pytest.raises(
            NetfilterError, match=r"no route out of br0 to device kitchen.*give br0 an address"
        ):
            kernel.check_requirements(built.make_spec(Mode.ENFORCE, lan=lan))
        kernel.check_requirements(built.make_spec(Mode.MONITOR, lan=lan))
        elsewhere = DeviceMatch(1, "kitchen", mac=ECHO_MAC, addresses=("192.0.2.7",))
        built.gate.run("ip", "address", "add", "10.77.0.1/24", "dev", "br0")
        with pytest.raises(NetfilterError, match="no route out of br0"):
            kernel.check_requirements(RulesetSpec(Mode.ENFORCE, lan, QUEUE, (elsewhere,)))
        kernel.check_requirements(built.make_spec(Mode.ENFORCE, lan=lan))


def test_a_plain_interface_has_no_fence(routed: Household) -> None:
    with routed.gate.enter():
        ruleset.apply(routed.make_spec(Mode.ENFORCE))
        assert not fence.is_installed()
        routed.gate.run("nft", "add table bridge wakeguard")
        assert any("not ours" in line for line in ruleset.check(routed.make_spec(Mode.ENFORCE)))
        ruleset.remove()
        assert not ruleset.is_installed()


def test_check_sees_what_was_done_to_the_fence() -> None:
    with Household(bridged=True) as built, built.gate.enter():
        spec = built.make_spec(Mode.ENFORCE)
        ruleset.apply(spec)
        built.gate.run("nft", "flush chain bridge wakeguard forward")
        assert ruleset.check(spec) != ()
        ruleset.apply(spec)
        built.gate.run("nft", "insert rule bridge wakeguard forward ip saddr 10.77.0.2 counter accept")
        differences = ruleset.check(spec)
        assert differences == ("bridge: not ours: ip saddr 10.77.0.2 counter accept",)
        ruleset.apply(spec)
        assert ruleset.check(spec) == ()
        built.gate.run("nft", "delete table bridge wakeguard")
        assert ruleset.check(spec) == ("bridge: table wakeguard is missing",)
        with contextlib.suppress(NetfilterError):
            ruleset.remove()
        assert not ruleset.is_installed()


@pytest.mark.parametrize("first", [None, Mode.ENFORCE, Mode.MONITOR])
@pytest.mark.parametrize("broken", ["nft", "ip6tables-restore"])
def test_all_or_none(
    first: Mode | None, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program works until it is asked to commit, then fails once."""
    real = shutil.which(broken)
    script = tmp_path / broken
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *--test*|*--check*|*list*) exec {real} "$@";; esac\n'
        f'if [ -e {tmp_path}/failed ]; then exec {real} "$@"; fi\ntouch {tmp_path}/failed\nexit 1\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    with Household(bridged=True) as built, built.gate.enter():
        if first is not None:
            ruleset.apply(built.make_spec(first))
        before = list_rules(built)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        with pytest.raises(NetfilterError, match=broken):
            ruleset.apply(built.make_spec(Mode.ENFORCE))
        assert list_rules(built) == before


def test_without_nft_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with Household(bridged=True) as built, built.gate.enter():
        which = shutil.which
        monkeypatch.setattr(
            shutil, "which", lambda name, **options: None if name == "nft" else which(name, **options)
        )
        with pytest.raises(NetfilterError, match="nft is not installed: apt install nftables"):
            kernel.check_requirements(built.make_spec(Mode.ENFORCE))
        kernel.check_requirements(built.make_spec(Mode.MONITOR))
