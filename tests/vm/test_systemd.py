"""From setup to uninstall on a machine with a real systemd: what runs, as whom, what is left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.netns.gate import TlsCloud, talks_in_vain
from tests.netns.household import ECHO_MAC, Household, wait_until
from tests.vm.container import Container

pytestmark = [pytest.mark.kernel, pytest.mark.systemd]

SETUP = ("wakeguard", "setup", "--device", f"kitchen={ECHO_MAC}", "--lan", "lan0", "--yes")
GATE, RULES, FORWARDING = "wakeguard.service", "wakeguard-rules.service", "wakeguard-forwarding.service"
SENSE = "wakeguard-sense@kitchen.service"
NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
OURS = "find /etc /usr /var/lib /run /boot -xdev -not -path '/run/log/*' -not -path '*__pycache__*' -print"
BYSTANDERS = re.compile(
    r"^/(run|var/lib)/(systemd|udev|dbus|user|lock)|^/etc/(group|passwd|g?shadow|sub[ug]id)-?$"
)


@pytest.fixture
def home() -> Iterator[Household]:
    with Household() as made:
        yield made


@pytest.fixture
def machine(home: Household, tmp_path: Path) -> Iterator[Container]:
    with Container(tmp_path / "machine", home.gate) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Return a machine for all tests that must leave it as it is."""
    folder = tmp_path_factory.mktemp("untouched")
    with Household() as home, Container(folder / "machine", home.gate) as made:
        yield made


def list_files(machine: Container) -> set[str]:
    return {line for line in machine.call("sh", "-c", OURS).splitlines() if not BYSTANDERS.match(line)}


def list_users(machine: Container) -> str:
    return machine.call("cat", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")


def read_status(machine: Container) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(machine.call("wakeguard", "status", "--json"))
    return status


def read_process(machine: Container, unit: str) -> dict[str, str]:
    """Return /proc/PID/status of a unit's main process."""
    text = machine.call("cat", f"/proc/{machine.get(unit, 'MainPID')}/status")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def get_starts(machine: Container, unit: str) -> int:
    return int(machine.get(unit, "NRestarts"))


def has_rules(machine: Container) -> bool:
    saved = machine.call("iptables-save") + machine.call("ip6tables-save")
    return "WAKEGUARD" in saved


def test_from_setup_to_a_second_boot_and_off_again(home: Household, machine: Container) -> None:
    files, users = list_files(machine), list_users(machine)
    home.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=0")

    machine.call(*SETUP, "--placement", "access-point")
    assert read_status(machine)["mode"] == "monitor"
    assert {machine.get(unit, "UnitFileState") for unit in (GATE, RULES, FORWARDING)} == {"enabled"}
    assert home.gate.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
    process = read_process(machine, GATE)
    assert process["Uid"].split()[0] != "0"
    assert int(process["CapEff"], 16) == int(process["CapBnd"], 16) == NET_ADMIN | NET_RAW
    assert (process["NoNewPrivs"], process["Seccomp"]) == ("1", "2")

    again = machine.call(*SETUP, "--placement", "access-point")
    assert "done:" not in again, "the second time there is nothing to do"
    with TlsCloud(home) as cloud:
        with cloud.connect() as stream:
            cloud.deliver(stream, 20_000)
        machine.call("wakeguard", "mode", "enforce")
        with cloud.connect() as stream:
            assert talks_in_vain(stream, 20_000)
        assert cloud.received == 20_000

        for family in ("iptables", "ip6tables"):  # a machine that was off knows of no rule
            for table in ("mangle", "filter"):
                machine.call(family, "-t", table, "-F")
        home.gate.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
        machine.reboot()
        wait_until(lambda: machine.get(GATE, "ActiveState") == "active", seconds=30)
        assert read_status(machine)["mode"] == "enforce", "the mode set last"
        assert machine.call("wakeguard", "rules", "check", "--mode", "enforce")
        assert home.gate.run("cat", "/proc/sys/net/ipv4/ip_forward").strip() == "1"
        order = [
            int(machine.get(unit, "ExecMainStartTimestampMonotonic")) for unit in (RULES, FORWARDING, GATE)
        ]
        assert order == sorted(order), "rules, then forwarding, then the gate"
        with cloud.connect() as stream:
            assert talks_in_vain(stream, 20_000)
        assert cloud.received == 20_000

    machine.call("wakeguard", "uninstall", "--yes")
    assert list_files(machine) == files
    assert list_users(machine) == users
    assert not has_rules(machine)
    assert machine.call("systemctl", "list-units", "--all", "--plain", "--no-legend", "wakeguard*") == ""
    assert "Nothing of Wakeguard" in machine.call("wakeguard", "uninstall", "--yes")


def test_on_a_bridge_frames_come_by_too(tmp_path: Path) -> None:
    with Household(bridged=True) as home, Container(tmp_path / "machine", home.gate) as machine:
        files = list_files(machine)
        said = machine.call(*(word.replace("lan0", "br0") for word in SETUP))
        assert "Place: bridge" in said
        machine.call("wakeguard", "mode", "enforce")
        assert "All is well." in machine.call("wakeguard", "doctor")
        with TlsCloud(home) as cloud:
            with cloud.connect() as stream:
                assert talks_in_vain(stream, 20_000)
            assert cloud.received == 0
            assert "wakeguard" in machine.call("nft", "list", "ruleset")
            machine.call("wakeguard", "uninstall", "--yes")
            assert "wakeguard" not in machine.call("nft", "list", "ruleset").lower()
            assert list_files(machine) == files
            with cloud.connect() as stream:
                cloud.deliver(stream, 20_000)


def test_a_gate_that_stands_still_or_dies_is_started_anew(machine: Container) -> None:
    machine.call(*SETUP)
    first = read_status(machine)["pid"]
    machine.call("systemctl", "kill", "--signal=STOP", GATE)
    wait_until(lambda: get_starts(machine, GATE) == 1, seconds=30)
    wait_until(lambda: machine.get(GATE, "ActiveState") == "active", seconds=30)
    second = read_status(machine)["pid"]
    assert second != first
    assert "watchdog" in machine.read_journal(GATE).lower()

    machine.call("systemctl", "kill", "--signal=KILL", GATE)
    wait_until(lambda: get_starts(machine, GATE) == 2, seconds=30)
    wait_until(lambda: machine.get(GATE, "ActiveState") == "active", seconds=30)
    assert read_status(machine)["pid"] != second

    machine.call("wakeguard", "off")
    wait_until(lambda: machine.get(GATE, "ActiveState") == "inactive", seconds=30)
    assert get_starts(machine, GATE) == 2, "`off` is no failure"


def test_a_state_that_root_left_is_taken_over(machine: Container) -> None:
    machine.call(*SETUP)
    stored = 'umask 077; echo \'{"version": 1, "mode": "enforce"}\' >/var/lib/wakeguard/mode.json'
    machine.call("sh", "-c", stored)
    machine.call("systemctl", "restart", GATE)
    assert read_status(machine)["mode"] == "enforce"


def test_the_sensors_hear_without_network_and_without_a_right(machine: Container) -> None:
    machine.call(*SETUP, "--sense")
    assert machine.get(SENSE, "ActiveState") == "active"
    # No microphone here: the recorded word, through the detector itself, under the unit's own restrictions.
    words = "--pin scripted --microphone /opt/checkout/hardware/sounds/alexa.wav"
    drop_in = (
        f"[Service]\nExecStart=\nExecStart=/opt/wakeguard/bin/wakeguard sense --device kitchen {words}\n"
    )
    machine.call("mkdir", f"/etc/systemd/system/{SENSE}.d")
    machine.run("tee", f"/etc/systemd/system/{SENSE}.d/words.conf", text=drop_in)
    machine.call("systemctl", "daemon-reload")
    machine.call("systemctl", "restart", SENSE)
    wait_until(lambda: read_status(machine)["devices"][0]["interactions"] > 0, seconds=60)
    device = read_status(machine)["devices"][0]
    assert device["sensor"]["hears"] is True
    assert device["mute"] == "unmuted"

    process = read_process(machine, SENSE)
    assert int(process["CapEff"], 16) == int(process["CapBnd"], 16) == 0
    pid = machine.get(SENSE, "MainPID")
    assert machine.call("readlink", f"/proc/{pid}/ns/net") != machine.call("readlink", "/proc/1/ns/net")
    machine.call("systemctl", "kill", "--signal=STOP", SENSE)
    wait_until(lambda: get_starts(machine, SENSE) == 1, seconds=30)


def test_what_is_half_made_goes_and_what_is_others_stays(machine: Container) -> None:
    machine.call(*SETUP, "--sense")
    foreign = "/etc/systemd/system/wakeguard-forwarding.service"
    machine.run("tee", foreign, text="[Service]\nExecStart=/bin/true\n")
    machine.run("tee", "/etc/wakeguard/wakeguard.toml", text="[[device\n")
    machine.run("tee", "/etc/wakeguard/notes.txt", text="mine\n")
    machine.call("rm", "/etc/systemd/system/wakeguard-rules.service")
    machine.call("useradd", "--system", "wakeguard-guest")

    said = machine.call("wakeguard", "uninstall", "--yes")
    assert f"stays: {foreign}" in said
    assert machine.call("cat", foreign) == "[Service]\nExecStart=/bin/true\n"
    assert machine.call("ls", "/etc/wakeguard") == "notes.txt\n"
    assert machine.run("id", "wakeguard").returncode != 0
    assert machine.run("id", "wakeguard-sense").returncode != 0
    assert machine.run("id", "wakeguard-guest").returncode == 0
    assert not has_rules(machine)
    assert machine.run("ls", "/etc/systemd/system/wakeguard.service", "/var/lib/wakeguard").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        pytest.param(("--device", "kitchen", "--lan", "lan0"), "is not NAME=MAC", id="no MAC"),
        pytest.param(
            ("--device", "kitchen=01:00:5e:00:00:01", "--lan", "lan0"), "no single device", id="multicast"
        ),
        pytest.param(("--device", f"kitchen={ECHO_MAC}", "--lan", "wlan7"), "no interface", id="interface"),
        pytest.param(("--lan", "lan0"), "no Echo was found", id="nothing found"),
        pytest.param(("--device", "kitchen=02:00:00:00:00:99"), "give it with --lan", id="not met"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    untouched: Container, arguments: tuple[str, ...], complaint: str
) -> None:
    files, users = list_files(untouched), list_users(untouched)
    done = untouched.run("wakeguard", "setup", "--yes", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert list_files(untouched) == files
    assert list_users(untouched) == users


def test_what_the_machine_does_to_its_devices_is_its_own_affair(untouched: Container) -> None:
    nodes = [f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty")]
    before = [Path(node).stat() for node in nodes]
    untouched.call("chmod", "600", *nodes, "/dev/console")
    after = [Path(node).stat() for node in nodes]
    untouched.call("chmod", "666", *nodes, "/dev/console")
    assert [one.st_mode for one in after] == [one.st_mode for one in before]


def test_there_is_no_access_point_without_rules(machine: Container) -> None:
    hostapd = "[Service]\nExecStart=/bin/sleep infinity\n"
    machine.run("tee", "/etc/systemd/system/hostapd.service", text=hostapd)
    files = list_files(machine)
    machine.call(*SETUP, "--placement", "access-point")
    machine.call("systemctl", "start", "hostapd")
    machine.call("systemctl", "stop", "hostapd", RULES)
    machine.run("tee", "-a", "/etc/wakeguard/wakeguard.toml", text="[netwrok]\n")
    assert machine.run("systemctl", "start", "hostapd").returncode != 0
    assert machine.get("hostapd", "ActiveState") == "inactive"
    assert "netwrok" in machine.read_journal(RULES)
    machine.call("systemctl", "reset-failed", RULES)
    machine.call("mv", "/etc/wakeguard/wakeguard.toml", "/etc/away.toml")
    assert machine.run("systemctl", "start", "hostapd").returncode != 0
    machine.call("rm", "/etc/away.toml")
    machine.call("wakeguard", "uninstall", "--yes")
    assert list_files(machine) == files
    machine.call("systemctl", "start", "hostapd")


def test_without_systemd_the_rest_is_said(machine: Container) -> None:
    def run(*words: str) -> str:
        hide = 'mount -t tmpfs none /run/systemd && exec "$@"'
        return machine.call("unshare", "--mount", "sh", "-c", hide, "sh", *words)

    files, users = list_files(machine), list_users(machine)
    said = run(*SETUP)
    assert "There is no systemd here" in said
    assert "wakeguard rules apply --boot" in said
    assert list_files(machine) - files == {"/etc/wakeguard", "/etc/wakeguard/wakeguard.toml"}
    assert list_users(machine) == users
    assert machine.run("wakeguard", "rules", "apply", "--boot").returncode == 0
    assert has_rules(machine)
    run("wakeguard", "uninstall", "--yes")
    assert not has_rules(machine)
    assert list_files(machine) == files


def test_a_start_that_fails_says_why_and_can_be_tried_again(machine: Container) -> None:
    machine.run("mkdir", "/etc/wakeguard")
    text = f'[[device]]\nname = "kitchen"\nmac = "{ECHO_MAC}"\n[network]\nlan = "lan0"\n'
    bad = text + '[metrics]\naddress = "192.0.2.77"\n'
    machine.run("tee", "/etc/wakeguard/wakeguard.toml", text=bad)
    done = machine.run(*SETUP)
    assert done.returncode == 2
    assert "wakeguard.service does not start" in done.stderr
    assert "192.0.2.77" in done.stderr
    machine.run("tee", "/etc/wakeguard/wakeguard.toml", text=text)
    assert "done: start" in machine.call(*SETUP)
    assert read_status(machine)["mode"] == "monitor"


def test_systemd_finds_no_fault_and_little_exposure(machine: Container) -> None:
    machine.call(*SETUP, "--sense", "--placement", "access-point")
    verified = machine.run("systemd-analyze", "verify", GATE, RULES, FORWARDING, SENSE)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(wakeguard[\w@-]*\.service)` .*\| (\d\.\d) \|$", page, re.MULTILINE))
    assert set(stated) == {GATE, RULES, FORWARDING, "wakeguard-sense@.service"}
    for name, score in stated.items():
        unit = name.replace("@.", "@kitchen.")
        allowed = str(round(10 * float(score)))
        done = machine.run("systemd-analyze", "security", "--no-pager", f"--threshold={allowed}", unit)
        assert done.returncode == 0, f"{name}: {done.stdout.splitlines()[-1]}"
