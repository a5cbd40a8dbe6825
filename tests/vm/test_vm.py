"""A machine with a gpiochip and a sound card, both simulated by its kernel: what no mock can vouch for."""

from __future__ import annotations

import shlex
import subprocess
import sys
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

from tests.conftest import ROOT
from tests.vm.kernel import SUITE, get_sources, parse_release
from tests.vm.machine import run_in_machine

CACHE = ROOT / "build" / "vm"
SECONDS = 480.0
REVISION = "c03115"  # a Raspberry Pi 4 B: gpiozero asks for it before it opens anything
# A process each: gpiozero keeps the lines that it once had, so `wakeguard sense` could not open the pin.
RUNS = (("guest_gate", "guest_microphones"), ("test_pin",))
# Only the plug-ins in use: in an emulator each import counts.
ENVIRONMENT = (
    "PYTHONDONTWRITEBYTECODE=1 WAKEGUARD_GPIO_SIM=1 WAKEGUARD_PATIENCE=10 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1"
)
MODULES = "gpio-sim snd-aloop veth xt_NFQUEUE nfnetlink_queue"


class Report(NamedTuple):
    """What became of each test in the guest, by file: names and what is wrong ("" when nothing is)."""

    cases: dict[str, dict[str, str]]
    text: str


def make_script() -> str:
    """Return what the guest does: become a Raspberry Pi with a sound card, and run its tests."""
    options = "-p pytest_timeout -p no:cacheprovider -v --tb=short --durations=0 -o junit_family=xunit1"
    lines = (
        f"cd {shlex.quote(str(ROOT))}",
        f"(cat /proc/cpuinfo; printf 'Revision\\t: {REVISION}\\n') >/run/cpuinfo",
        "mount --bind /run/cpuinfo /proc/cpuinfo",
        f"modprobe -a {MODULES} || exit 90",
        "mount -t configfs configfs /sys/kernel/config",
        f"export {ENVIRONMENT}",
        *(
            f"{shlex.quote(sys.executable)} -m pytest {options} --junitxml=/run/share/report-{names[0]}.xml "
            + " ".join(f"tests/vm/{name}.py" for name in names)
            for names in RUNS
        ),
    )
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Run the machine, once for all tests here."""
    share = tmp_path_factory.mktemp("vm")
    outcome = run_in_machine(make_script(), cache=CACHE, share=share, seconds=SECONDS)
    cases: dict[str, dict[str, str]] = {}
    trees = [ET.parse(path) for path in share.glob("report-*.xml")]  # noqa: S314 - we wrote them
    for case in (case for tree in trees for case in tree.iter("testcase")):
        wrong = [child.tag for child in case if child.tag in {"failure", "error", "skipped"}]
        file = case.get("classname", "").rpartition(".")[2]
        cases.setdefault(file, {})[case.get("name", "")] = " ".join(wrong)
        for measured in case.iter("property"):
            print(f"measured in the guest: {measured.get('name')}: {measured.get('value')}")
    return Report(cases, str(outcome))


@pytest.mark.vm
@pytest.mark.timeout(900)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "count"),
    [
        pytest.param("test_pin", 9, id="the same tests of the pin on a real gpiochip"),
        pytest.param("guest_gate", 1, id="the pin turns the gate's verdict"),
        pytest.param("guest_microphones", 2, id="six channels of a sound card"),
    ],
)
def test_in_the_machine(report: Report, file: str, count: int) -> None:
    cases = report.cases.get(file, {})
    assert not {name: wrong for name, wrong in cases.items() if wrong}, report.text
    assert len(cases) == count, report.text


def test_the_kernel_is_the_one_the_metapackage_points_at() -> None:
    text = (
        "Package: linux-image-amd64\n"
        "Depends: linux-base-amd64 (= 7.3.4-1~bpo13+1), linux-image-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)\n"
    )
    assert parse_release(text) == "7.3.4+deb13-amd64"
    assert parse_release("Package: linux-image-amd64\nDepends: linux-base\n") is None
    assert parse_release("") is None
    assert get_sources("http://mirror.test/debian").endswith(f" http://mirror.test/debian {SUITE} main\n")


def test_the_scripts_of_the_guest_are_shell() -> None:
    result = subprocess.run(("sh", "-n"), input=make_script(), text=True, capture_output=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
