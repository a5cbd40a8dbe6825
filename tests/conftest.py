"""What every test may ask for, and the only place that skips one.

A test says by its marker what it needs; the need is probed once, by trying it, and a test whose need
is not met skips with the reason printed. ``SKIP_REASONS`` is the whole list and README has each.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path

import pytest

from guard.lab.requirements import find_missing

ROOT = Path(__file__).resolve().parent.parent

# Prometheus' programs may have been unpacked beside this Python: see tools/setup.sh.
os.environ["PATH"] = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))

SKIP_REASONS = {
    "kernel": "the kernel household needs root, network namespaces and NFQUEUE; missing here",
    "alsa": "arecord is not installed (Debian: alsa-utils)",
    "audio": "the recordings are absent: put them in ../shared/data or set WAKEGUARD_DATA",
    "promtool": "promtool is not installed",
    "prometheus": "prometheus is not installed",
    "amtool": "amtool is not installed",
    "grafana": "Grafana's types cannot be had",
    "tshark": "tshark is not installed",
    "captures": "the research captures are absent: put them in ../shared/data or set WAKEGUARD_DATA",
    "vm": "the machine with a simulated gpiochip cannot be had",
    "systemd": "a machine with systemd cannot be had",
}


@functools.cache
def missing_for_kernel() -> str | None:
    """Return why kernel tests cannot run here; None when they can."""
    missing = find_missing()
    return None if missing is None else f"{SKIP_REASONS['kernel']}: {missing}"


@functools.cache
def missing_for_alsa() -> str | None:
    """Return why nothing can be recorded through ALSA here; None when it can."""
    return None if shutil.which("arecord") else SKIP_REASONS["alsa"]


@functools.cache
def missing_for_audio() -> str | None:
    """Return why detectors cannot be tried on recordings here; None when they can."""
    return None if (data_folder() / "audio").is_dir() else SKIP_REASONS["audio"]


@functools.cache
def missing_for_promtool() -> str | None:
    """Return why tests with Prometheus' own tool cannot run here; None when they can."""
    return None if shutil.which("promtool") else SKIP_REASONS["promtool"]


@functools.cache
def missing_for_prometheus() -> str | None:
    """Return why no real Prometheus can look on here; None when one can."""
    return None if shutil.which("prometheus") else SKIP_REASONS["prometheus"]


@functools.cache
def missing_for_amtool() -> str | None:
    """Return why Alertmanager's own tool cannot be asked here; None when it can."""
    return None if shutil.which("amtool") else SKIP_REASONS["amtool"]


@functools.cache
def missing_for_grafana() -> str | None:
    """Return why Grafana's types cannot be asked here; None when they can. Fetches them if need be."""
    from tests.monitoring.schema import NoSchemaError, fetch

    try:
        fetch()
    except NoSchemaError as error:
        return f"{SKIP_REASONS['grafana']}: {error}"
    return None


@functools.cache
def missing_for_tshark() -> str | None:
    """Return why tshark tests cannot run here; None when they can."""
    return None if shutil.which("tshark") else SKIP_REASONS["tshark"]


@functools.cache
def missing_for_captures() -> str | None:
    """Return why tests on the research captures cannot run here; None when they can."""
    return None if (data_folder() / "vcfp-pcap").is_dir() else SKIP_REASONS["captures"]


@functools.cache
def missing_for_vm() -> str | None:
    """Return why the virtual machine cannot be had here; None when it can. Fetches its kernel if need be."""
    from hardware.errors import PinError
    from hardware.gpio import check_lgpio
    from tests.vm.kernel import KernelError
    from tests.vm.machine import prepare

    try:
        check_lgpio()
        prepare(ROOT / "build" / "vm")
    except (KernelError, PinError) as error:
        return f"{SKIP_REASONS['vm']}: {error}"
    return None


@functools.cache
def missing_for_systemd() -> str | None:
    """Return why no machine with systemd can be made of namespaces here; None when one can."""
    from tests.vm.container import find_missing as find_missing_for_container

    missing = find_missing_for_container()
    return None if missing is None else f"{SKIP_REASONS['systemd']}: {missing}"


def data_folder() -> Path:
    """Return where the research captures would be."""
    override = os.environ.get("WAKEGUARD_DATA")
    return Path(override) if override else ROOT.parent / "shared" / "data"


_NEEDS = {
    "kernel": missing_for_kernel,
    "alsa": missing_for_alsa,
    "audio": missing_for_audio,
    "promtool": missing_for_promtool,
    "prometheus": missing_for_prometheus,
    "amtool": missing_for_amtool,
    "grafana": missing_for_grafana,
    "tshark": missing_for_tshark,
    "captures": missing_for_captures,
    "vm": missing_for_vm,
    "systemd": missing_for_systemd,
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
def recordings() -> Path:
    """Return the folder of the recordings of speech."""
    if (reason := missing_for_audio()) is not None:
        pytest.skip(reason)
    return data_folder() / "audio"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the top of the checkout."""
    return ROOT
