"""Finding Echos: by their network cards, by what they told a DHCP server, by the names they answer to."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.setup.discovery import Host, find_hosts, propose_names
from guard.setup.leases import Lease, parse_dnsmasq, parse_isc, parse_kea, parse_networkd, read_leases
from guard.setup.mdns import GROUP, ask_names, make_query, parse_pointers
from tests.netns.household import Household

ECHO, PHONE = "68:37:e9:00:00:01", "b8:27:eb:00:00:02"
NEIGHBOURS = [
    {"dst": "192.168.4.20", "dev": "wlan0", "lladdr": ECHO, "state": ["REACHABLE"]},
    {"dst": "fe80::1", "dev": "wlan0", "lladdr": ECHO.upper(), "state": ["STALE"]},
    {"dst": "192.168.4.21", "dev": "wlan0", "lladdr": PHONE, "state": ["STALE"]},
    {"dst": "192.168.4.99", "dev": "wlan0", "state": ["FAILED"]},
    {"dst": "192.168.4.98", "dev": "wlan0", "lladdr": "68:37:e9:00:00:98", "state": ["FAILED"]},
]
REVERSE = "20.4.168.192.in-addr.arpa"


def answer(name: str, target: str, *, count: int = 1) -> bytes:
    """Return an mDNS answer with the target compressed against the name, as responders write it."""
    question = make_query(name)[12:-4]
    data = bytes((len(target),)) + target.encode() + b"\x05local\0"
    record = b"\xc0\x0c" + struct.pack("!2HIH", 12, 0x8001, 120, len(data)) + data
    # The question is repeated, as RFC 6762 has it for those who ask from another port.
    return struct.pack("!6H", 0, 0x8400, 1, count, 0, 0) + question + struct.pack("!2H", 12, 1) + record


def test_echos_come_first_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    leases = tmp_path / "var/lib/misc/dnsmasq.leases"
    leases.parent.mkdir(parents=True)
    leases.write_text(
        f"1700000000 {PHONE} 192.168.4.21 phone *\n1700000000 {ECHO} 192.168.4.20 amazon-0123 01:{ECHO}\n"
        "1700000000 02:00:00:00:00:07 192.168.4.30 amazon-deadbeef *\nduid 00:01\n"
    )
    asked: list[tuple[list[str], str]] = []

    def ask(addresses: list[str], *, interface: str) -> dict[str, str]:
        asked.append((addresses, interface))
        return {"192.168.4.20": "Kitchen-Echo"}

    hosts = find_hosts(tmp_path, read_neighbours=lambda: json.dumps(NEIGHBOURS), ask=ask)
    assert hosts == [
        Host("02:00:00:00:00:07", "", ["192.168.4.30"], "amazon-deadbeef"),
        Host(ECHO, "wlan0", ["192.168.4.20", "fe80::1"], "Kitchen-Echo"),
        Host(PHONE, "wlan0", ["192.168.4.21"], "phone"),
    ]
    assert [host.is_echo for host in hosts] == [True, True, False]
    assert asked == [(["192.168.4.20", "fe80::1"], "wlan0")], "nobody else is asked"


def test_names_are_such_as_the_configuration_takes() -> None:
    hosts = [
        Host("a", name="Kitchen Echo.lan"),
        Host("b", name="Kitchen Echo"),
        Host("c"),
        Host("d", name="-_-"),
    ]
    assert list(propose_names(hosts).values()) == ["Kitchen-Echo", "echo-2", "echo-3", "echo-4"]


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        pytest.param(parse_dnsmasq, f"1700000000 {ECHO} 10.0.0.5 echo *\n1 2\n\n", id="dnsmasq"),
        pytest.param(
            parse_isc,
            f"lease 10.0.0.5 {{\n  hardware ethernet {ECHO.upper()};\n"
            '  client-hostname "echo";\n}\nlease 10.0.0.6 {\n  binding state free;\n}\n',
            id="isc",
        ),
        pytest.param(parse_kea, f"address,hwaddr,hostname\n10.0.0.5,{ECHO},echo.\n10.0.0.6,,\n", id="kea"),
        pytest.param(
            parse_networkd,
            json.dumps(
                {
                    "Leases": [
                        {
                            "HardwareAddress": list(bytes.fromhex(ECHO.replace(":", ""))),
                            "Address": [10, 0, 0, 5],
                            "Hostname": "echo",
                        },
                        {"Address": [10, 0, 0, 6]},
                        {"HardwareAddress": "strange", "Address": [1]},
                    ]
                }
            ),
            id="networkd",
        ),
    ],
)
def test_a_lease_is_read_and_what_is_none_is_passed_over(parse, text: str) -> None:  # type: ignore[no-untyped-def]  # four functions of one form
    assert list(parse(text)) == [Lease(ECHO, "10.0.0.5", "echo")]
    assert list(parse("")) == []
    assert list(parse("\x00 {[ nonsense")) == []


def test_leases_that_cannot_be_read_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dnsmasq/strange.leases").mkdir(parents=True)
    assert read_leases(tmp_path) == []


def test_an_answer_is_read_and_a_strange_one_is_not() -> None:
    whole = answer(REVERSE, "Kitchen-Echo")
    assert parse_pointers(whole) == [(REVERSE, "Kitchen-Echo.local")]
    for length in range(len(whole)):
        assert parse_pointers(whole[:length]) == []
    loop = struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0) + b"\xc0\x0c"
    assert parse_pointers(loop) == [], "a name that leads to itself ends"
    assert parse_pointers(answer(REVERSE, "x", count=9)) == []


@pytest.fixture
def home() -> Iterator[Household]:
    with Household() as made:
        yield made


@pytest.mark.kernel
def test_an_echo_on_the_network_tells_its_name(home: Household) -> None:
    index = home.echo.run("cat", "/sys/class/net/eth0/ifindex").strip()
    ears = home.echo.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ears.bind(("", 5353))
    group = struct.pack("@4s4si", socket.inet_aton(GROUP), b"\0" * 4, int(index))
    with home.echo.enter():
        ears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    address = home.echo_address[socket.AF_INET]
    reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa"

    def respond() -> None:
        question, asker = ears.recvfrom(9000)
        assert question == make_query(reverse)
        ears.sendto(b"noise", asker)
        ears.sendto(answer("9.9.9.9.in-addr.arpa", "Somebody-Else"), asker)
        ears.sendto(answer(reverse, "Kitchen-Echo"), asker)

    thread = threading.Thread(target=respond, daemon=True)
    thread.start()
    with ears, home.gate.enter():
        assert ask_names([address, "fe80::1"], interface="lan0") == {address: "Kitchen-Echo"}
        thread.join(timeout=5)
        assert ask_names([address], interface="lan0", patience=0.01) == {}
        assert ask_names([address], interface="wlan7") == {}
