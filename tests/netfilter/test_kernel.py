"""Reading the kernel's tables from a made-up /proc."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.errors import NetfilterError
from guard.netfilter import kernel


def make_proc(folder: Path, *, queues: str | None = None, capabilities: str = "0000000000001000") -> Path:
    (folder / "net/netfilter").mkdir(parents=True)
    if queues is not None:
        (folder / "net/netfilter/nfnetlink_queue").write_text(queues)
    (folder / "status").write_text(f"Name:\twakeguard\nCapEff:\t{capabilities}\n")
    return folder


def test_statistics_are_the_columns_of_the_queues_own_row(tmp_path: Path) -> None:
    proc = make_proc(
        tmp_path,
        queues="    1   4242     0 2  4016     0     0      100  1\n"
        " 1789 999999     3 2  4016    11    22     3333  1\n",
    )
    statistics = kernel.read_statistics(1789, proc=proc)
    assert statistics == kernel.QueueStatistics(
        number=1789, port=999999, waiting=3, dropped_queue_full=11, dropped_userspace=22, packets=3333
    )
    assert kernel.read_statistics(7, proc=proc) is None
    kernel.check_queue_free(7, proc=proc)
    with pytest.raises(
        NetfilterError, match=r"queue 1789 is in use by another program .netlink port 999999.*network.queue"
    ):
        kernel.check_queue_free(1789, proc=proc)


def test_without_the_module_no_queue_is_bound(tmp_path: Path) -> None:
    assert kernel.read_statistics(1789, proc=make_proc(tmp_path)) is None


@pytest.mark.parametrize(
    ("capabilities", "enough"), [("1000", True), ("000001ffffffffff", True), ("2fff", False)]
)
def test_the_right_is_cap_net_admin(tmp_path: Path, capabilities: str, enough: bool) -> None:
    proc = make_proc(tmp_path, capabilities=capabilities)
    if enough:
        kernel.check_rights(proc=proc)
        return
    with pytest.raises(NetfilterError, match=r"CAP_NET_ADMIN.*run as root"):
        kernel.check_rights(proc=proc)


def test_the_documentation_names_every_requirement(repository: Path) -> None:
    page = (repository / "docs/netfilter.md").read_text(encoding="utf-8")
    for extension in (*kernel.EXTENSIONS, kernel.MAC, kernel.PHYSDEV):
        for option in extension.option.split(" and "):
            assert option in page
    for setting in (*kernel.BRIDGE_SYSCTLS, *kernel.ENFORCE_SYSCTLS):
        assert setting.name in page or setting.name.removeprefix("bridge.bridge-nf-call") in page
