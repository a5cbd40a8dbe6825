"""``wakeguard rules`` as its user meets it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.cli import main
from tests.netns.household import QUEUE, Household

CONFIG = f"""
[[device]]
name = "kitchen"
mac = "02:00:00:00:77:02"

[network]
lan = "lan0"
queue = {QUEUE}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "wakeguard.toml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def inside() -> Iterator[Household]:
    with Household() as home, home.gate.enter():
        yield home


def test_render_prints_both_families_anywhere(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "render", "--config", config, "--mode", "enforce"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("*mangle") == 2
    assert "# ---- ipv6 ----" in printed.out
    assert "bypass" not in "".join(line for line in printed.out.splitlines() if not line.startswith("#"))
    assert '"lan0" is no interface of this machine' in printed.err


@pytest.mark.kernel
def test_apply_check_and_remove(inside: Household, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "check", "--config", config]) == 1
    assert main(["rules", "apply", "--config", config, "--mode", "enforce"]) == 0
    assert "No gate listens on queue 1877 yet" in capsys.readouterr().out
    assert main(["rules", "check", "--config", config]) == 1
    assert capsys.readouterr().out == (
        "The rules for mode enforce are in place, and the file says monitor: --mode enforce.\n"
    )
    assert main(["rules", "check", "--config", config, "--mode", "enforce"]) == 0
    assert main(["rules", "apply", "--config", config]) == 0
    assert main(["rules", "check", "--config", config]) == 0
    assert main(["rules", "remove"]) == 0
    assert "WAKEGUARD" not in inside.gate.run("iptables-save") + inside.gate.run("ip6tables-save")


@pytest.mark.kernel
def test_a_missing_interface_is_one_line_and_nothing_is_touched(
    inside: Household, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(config).write_text(CONFIG.replace("lan0", "wlan7"))
    assert main(["rules", "apply", "--config", config]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "network.lan" in error
    assert "ip link" in error
    assert inside.gate.run("iptables-save") == ""


@pytest.mark.kernel
def test_without_the_right_it_is_one_line(
    inside: Household, config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = Path(config).with_name("status")
    status.write_text("CapEff:\t0000000000000000\n")
    monkeypatch.setattr("guard.netfilter.kernel.check_rights.__kwdefaults__", {"proc": status.parent})
    for command in ("apply", "check", "remove"):
        assert main(["rules", command, "--config", config]) == 2
        assert capsys.readouterr().err == (
            "wakeguard: no right to change the firewall (CAP_NET_ADMIN): run as root (sudo wakeguard ...)\n"
        )
    assert inside.gate.run("iptables-save") == ""
