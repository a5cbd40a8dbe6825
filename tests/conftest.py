"""What every test may ask for, and the only place that skips one.

A test says by its marker what it needs; the need is probed once, by trying it, and a test whose need
is not met skips with the reason printed. ``SKIP_REASONS`` is the whole list and README has each.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SKIP_REASONS = {
    "root": "not root: namespaces and NFQUEUE need it",
    "programs": "iptables and ip are not installed",
    "namespaces": "network namespaces cannot be made here",
    "nfqueue": "the kernel has no NFQUEUE target for iptables",
    "queue": "a netfilter queue cannot be bound here",
    "tshark": "tshark is not installed",
    "captures": "the research captures are absent: put them in ../shared/data or set WAKEGUARD_DATA",
}

_TRY_RULE = "iptables -w -t mangle -A FORWARD -j NFQUEUE --queue-num 1 --queue-bypass"
_TRY_VETH = "ip link add wgtry0 type veth peer name wgtry1"
_TRY_QUEUE = "from netfilterqueue import NetfilterQueue as Q; q = Q(); q.bind(1, print); q.unbind()"


@functools.cache
def missing_for_kernel() -> str | None:
    """Return why kernel tests cannot run here; None when they can."""
    if os.geteuid() != 0:
        return SKIP_REASONS["root"]
    if not (shutil.which("iptables") and shutil.which("ip") and shutil.which("unshare")):
        return SKIP_REASONS["programs"]
    if not _works("unshare", "--net", "sh", "-c", _TRY_VETH) or not _works(*_named_namespace()):
        return SKIP_REASONS["namespaces"]
    if not _works("unshare", "--net", "sh", "-c", _TRY_RULE):
        return SKIP_REASONS["nfqueue"]
    if not _works("unshare", "--net", sys.executable, "-c", _TRY_QUEUE):
        return SKIP_REASONS["queue"]
    return None


@functools.cache
def missing_for_tshark() -> str | None:
    """Return why tshark tests cannot run here; None when they can."""
    return None if shutil.which("tshark") else SKIP_REASONS["tshark"]


@functools.cache
def missing_for_captures() -> str | None:
    """Return why tests on the research captures cannot run here; None when they can."""
    return None if (data_folder() / "vcfp-pcap").is_dir() else SKIP_REASONS["captures"]


def data_folder() -> Path:
    """Return where the research captures would be."""
    override = os.environ.get("WAKEGUARD_DATA")
    return Path(override) if override else ROOT.parent / "shared" / "data"


_NEEDS = {
    "kernel": missing_for_kernel,
    "tshark": missing_for_tshark,
    "captures": missing_for_captures,
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, missing in _NEEDS.items():
        if item.get_closest_marker(marker) is not None and (reason := missing()) is not None:
            pytest.skip(reason)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of the research captures."""
    if (reason := missing_for_captures()) is not None:
        pytest.skip(reason)
    return data_folder()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the top of the checkout."""
    return ROOT


def _named_namespace() -> tuple[str, ...]:
    name = f"wgtry-{os.getpid()}"
    return "sh", "-c", f"ip netns add {name} && ip netns delete {name}"


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
