"""A virtual machine with the host's files and a kernel of its own: one script in, its exit status out.

QEMU without KVM, which not every machine that runs tests has. The guest sees the host's root read-only;
what it writes stays in its memory and dies with it. QEMU dies with ``timeout``, and ``timeout`` with us.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.vm.initramfs import MODULES_TAG, ROOT_TAG, SHARE_TAG, make_initramfs
from tests.vm.kernel import Kernel, KernelError, get_kernel

QEMU = "qemu-system-x86_64"
MEMORY_MB = 1024
# All that QEMU can do, less what only costs an emulator time.
PROCESSORS = 1  # a second costs more than it helps
CPU = "max,-la57,-smap,-smep,-pku"
PROGRAMS = {
    QEMU: "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "setpriv": "util-linux",
    "timeout": "coreutils",
}


class Outcome(NamedTuple):
    """How the script ended: its exit status (None: it did not get there), what it and the console said."""

    status: int | None
    output: str
    console: str

    def __str__(self) -> str:
        """Return what a failed test should show."""
        return f"status {self.status}\n{self.output[-8000:]}\nconsole:\n{self.console[-3000:]}"


def find_missing() -> str | None:
    """Return what a machine cannot be made without here, in one line; None when nothing is missing."""
    if platform.machine() != "x86_64":
        return f"the guest shares the host's programs, and those are for {platform.machine()}, not for x86_64"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian package {package})"
    return None


def prepare(cache: Path) -> Kernel:
    """Return the kernel, fetched into ``cache`` if need be; KernelError when a machine cannot be made."""
    missing = find_missing()
    if missing is not None:
        raise KernelError(missing)
    cache.mkdir(parents=True, exist_ok=True)
    return get_kernel(cache)


def run_in_machine(script: str, *, cache: Path, share: Path, seconds: float) -> Outcome:
    """Run ``script`` by sh in a new machine; ``share`` is at /run/share in there, for files both ways.

    The kernel comes from ``cache``, as ``prepare`` says.
    """
    kernel = prepare(cache)
    initramfs = make_initramfs(kernel, share / "initramfs")
    status, output, console = share / "status", share / "output", share / "console"
    status.unlink(missing_ok=True)
    (share / "script").write_text(script)
    command = [
        *("setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=5", str(seconds)),
        *("setpriv", "--pdeathsig", "KILL", QEMU, "-accel", "tcg", "-cpu", CPU, "-M", "q35"),
        *(
            "-m",
            str(MEMORY_MB),
            "-smp",
            str(PROCESSORS),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
        ),
        *("-no-reboot", "-monitor", "none", "-serial", f"file:{console}", "-device", "virtio-rng-pci"),
        *("-kernel", str(kernel.image), "-initrd", str(initramfs)),
        *(
            "-append",
            "console=ttyS0 panic=-1 quiet loglevel=4 random.trust_cpu=on mitigations=off nokaslr nopti",
        ),
        *_share("/", ROOT_TAG, options="readonly=on,multidevs=remap"),
        *_share(kernel.modules, MODULES_TAG, options="readonly=on"),
        *_share(share, SHARE_TAG, options="readonly=off"),
    ]
    with (share / "qemu").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.terminate()  # `timeout` hands it on to QEMU
                process.wait()
    said = "".join(file.read_text(errors="replace") for file in (console, share / "qemu") if file.exists())
    return Outcome(
        int(status.read_text()) if status.exists() else None,
        output.read_text(errors="replace") if output.exists() else "",
        said,
    )


def _share(path: Path | str, tag: str, *, options: str) -> list[str]:
    return ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none,{options}"]
