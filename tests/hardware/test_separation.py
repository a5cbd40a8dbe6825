"""Two processes: the one that listens cannot touch the firewall, the one that gates never hears."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIST = "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('guard', 'hardware', 'netfilterqueue')))"


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_sensing_process_loads_nothing_of_the_gate_but_the_event_codec() -> None:
    code = f"import sys, hardware.live, hardware.cli; {LIST}"
    modules = run_python(code).stdout.split()
    assert "hardware.sense" in modules
    assert [name for name in modules if not name.startswith("hardware")] == [
        "guard",
        "guard.core",
        "guard.core.event",
    ]


def test_the_gates_process_loads_nothing_of_the_sensing_side() -> None:
    code = f"import sys, guard.daemon, guard.cli, guard.cli.live, guard.cli.firewall; {LIST}"
    modules = run_python(code).stdout.split()
    assert "guard.daemon" in modules
    assert not [name for name in modules if name.startswith("hardware")]


def test_the_codec_alone_is_light() -> None:
    code = "import sys, guard.core.event; print('click' in sys.modules, 'msgspec' in sys.modules)"
    assert run_python(code).stdout.split() == ["False", "False"]


@pytest.mark.kernel
def test_after_giving_it_up_not_even_root_gets_the_firewall_back() -> None:
    code = (
        "import subprocess\n"
        "from hardware.privileges import give_up_firewall\n"
        "try_it = lambda: subprocess.run(['unshare', '-n', 'true']).returncode\n"
        "rules = lambda: subprocess.run(['iptables', '-w', '-S'], capture_output=True).returncode\n"
        "before = rules()\n"
        "give_up_firewall()\n"
        "sets = [line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap')]\n"
        "left = [int(value, 16) >> 12 & 3 for value in sets[:4]]\n"
        "print(before, rules() != 0, left)\n"
    )
    result = run_python(code)
    assert result.stdout.split("\n")[0] == "0 True [0, 0, 0, 0]", result.stderr


def test_giving_up_works_for_a_user_without_any_capability_too() -> None:
    code = (
        "import os\n"
        "from hardware.privileges import give_up_firewall\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "give_up_firewall(); give_up_firewall(); print('done')\n"
    )
    assert run_python(code).stdout.strip() == "done"
