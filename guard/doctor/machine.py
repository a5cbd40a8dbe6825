"""What the machine must have before a gate can run: programs, kernel features, a clock, its own files."""

from __future__ import annotations

import ctypes
import importlib.util
import time
from pathlib import Path
from typing import Final

from guard.config import FastPath
from guard.core.verdict import Mode
from guard.doctor.finding import Finding, absent, fault, note, ok
from guard.doctor.situation import Situation
from guard.errors import ConfigError, NetfilterError
from guard.netfilter import interface, kernel, netlink, programs
from guard.rules import models_path

_PROGRAMS: Final = ("ip", "iptables-save", "iptables-restore", "ip6tables-save", "ip6tables-restore")
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 256  # more than struct timex on any architecture


def check_programs(situation: Situation) -> Finding:
    """See that the firewall's programs are there, and write the firewall that the gate's user may write."""
    wanted = [*_PROGRAMS]
    if situation.config is not None and situation.kind not in (None, interface.Kind.PLAIN):
        wanted.append("nft")
    try:
        for name in wanted:
            programs.find_program(name)
        version = programs.run("iptables", "--version").strip()
    except NetfilterError as error:
        text, _, remedy = str(error).partition(": ")
        return fault(text, remedy)
    if "legacy" in version and situation.managed:
        return fault(
            f"{version} writes the old firewall, which only root may",
            "update-alternatives --set iptables /usr/sbin/iptables-nft, and the same for ip6tables",
        )
    return ok(version)


def check_kernel(situation: Situation) -> Finding:
    """See that the kernel has every match and target that enforce uses, in both families."""
    wanted = [*kernel.EXTENSIONS, kernel.MAC]
    if situation.kind is interface.Kind.BRIDGE_PORT:
        wanted.append(kernel.PHYSDEV)
    if situation.config is not None and situation.config.fast_path != FastPath():
        wanted += kernel.FAST_PATH
    missing = []
    for extension in wanted:
        for family, number in programs.FAMILY_NUMBERS.items():
            try:
                present = netlink.has_extension(number, extension.kind, extension.name, extension.revision)
            except PermissionError:
                return fault("no right to ask the kernel", "run as root: sudo wakeguard doctor")
            except OSError:
                return note("the kernel cannot be asked (no nfnetlink)", "`wakeguard run` tries it itself")
            if present is False:
                missing.append(f"{family} {extension.name} ({extension.option})")
    if missing:
        return fault(
            f"the kernel lacks {', '.join(missing)}", "install Debian's or Raspberry Pi OS' own kernel"
        )
    return ok(f"{len(wanted)} matches and targets in both families")


def check_settings(situation: Situation) -> Finding:
    """See that the kernel's settings are those that enforce needs; on a bridge there are more."""
    spec = situation.get_spec(Mode.ENFORCE)
    try:
        kernel.check_settings(spec, situation.kind or interface.Kind.PLAIN)
    except NetfilterError as error:
        text, _, remedy = str(error).rpartition(": ")
        return fault(text, remedy)
    bridged = situation.kind not in (None, interface.Kind.PLAIN)
    return ok("frames on the bridge come by iptables" if bridged else "as enforce needs them")


def check_clock(
    _situation: Situation, *, now: float | None = None, synchronised: bool | None = None
) -> Finding:
    """See that the clock is plausible: a Pi without one starts in the past, and the journal would, too."""
    installed = Path(__file__).stat().st_mtime
    if (time.time() if now is None else now) < installed:
        return fault(
            "the clock stands before the day on which Wakeguard was installed",
            "have it set: timedatectl set-ntp true, and let this machine reach a time server",
        )
    if not (_is_synchronised() if synchronised is None else synchronised):
        return note("the clock is not synchronised", "timedatectl set-ntp true; verdicts do not depend on it")
    return ok("synchronised")


def check_models(situation: Situation, *, folder: Path | None = None) -> Finding:
    """See that the models are there and that the gate could read its own."""
    try:
        models = models_path() if folder is None else folder
    except ConfigError as error:
        return fault(*_split(error))
    names = sorted(path.parent.name for path in models.glob("*/CARD.md"))
    if not names:
        return fault(f"{models} holds no model", "install wakeguard again")
    empty = [name for name in names if not any(_is_weights(path) for path in (models / name).iterdir())]
    if empty:
        return fault(f"the model {empty[0]} is without its weights", "install wakeguard again")
    failures = {} if situation.status is None else situation.status.get("failures", {})
    if failures.get("model_missing"):
        return fault(
            "the gate runs without its voice model: balanced acts as strict", "see `journalctl -u wakeguard`"
        )
    return ok(", ".join(names))


def check_journal(situation: Situation) -> Finding:
    """See that what happened is being kept, and that there is room for it."""
    import shutil

    config = situation.get_config()
    if not config.journal.enabled:
        return absent("journal.enabled is false")
    folder = config.get_journal_directory()
    if not folder.is_dir():
        return absent(f"{folder} is made by the gate's first start")
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        return fault(
            f"{folder} has {free // 1_000_000} MB left: nothing can be kept",
            "make room: `journalctl --vacuum-size=100M`, `apt clean`",
        )
    state = "on" if situation.status is None else situation.status.get("journal", "off")
    if state not in ("on", "off"):
        return fault(f"the journal cannot be written ({state})", "`journalctl -u wakeguard` says why")
    return ok(f"{free // 1_000_000} MB free in {folder}")


MIN_FREE_BYTES: Final = 100_000_000


def check_packages(_situation: Situation, *, names: tuple[str, ...] = ("netfilterqueue",)) -> Finding:
    """See that the package that reads the queue is there: it has no wheels and is easily left out."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        return fault(
            f"the Python package {missing[0]} is not installed",
            "apt install gcc python3-dev libnetfilter-queue-dev, then install wakeguard again",
        )
    return ok(", ".join(names))


def _is_weights(path: Path) -> bool:
    return path.suffix in {".onnx", ".npz", ".json", ".tflite"} and path.stat().st_size > 0


def _is_synchronised() -> bool:
    """Ask adjtimex(2), which the standard library lacks; modes 0 only reads."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    return int(ctypes.CDLL(None).adjtimex(buffer)) != _TIME_ERROR


def _split(error: Exception) -> tuple[str, str]:
    text, _, remedy = str(error).partition(": ")
    return text, remedy or "install wakeguard again"
