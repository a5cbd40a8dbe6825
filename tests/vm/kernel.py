"""Debian's newest kernel with gpio-sim and snd-aloop: fetched once, kept under ``build/vm``.

The kernels of the stable releases have neither. trixie-backports has both, and its version moves: the one
that the metapackage points at is taken, and what is there already is not asked for again. apt verifies
the signatures as always, but with state, lists, cache and sources in a folder of ours: the machine's own
are neither read for versions nor written.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

SUITE = "trixie-backports"
ARCHITECTURE = "amd64"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DOWNLOAD_S = 300.0
_METAPACKAGE = f"linux-image-{ARCHITECTURE}"
_PACKAGES = ("linux-binary", "linux-modules")
_HOOKS = ("APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success")  # are about the machine's own lists
_RELEASE = re.compile(rf"^Depends:.*\blinux-image-([\w.+~-]+-{ARCHITECTURE})\b", re.MULTILINE)


class KernelError(Exception):
    """The kernel cannot be had; the text says why, in one line."""


class Kernel(NamedTuple):
    """An unpacked kernel: its release as uname says it, its image, and the folder of its modules."""

    release: str
    image: Path
    modules: Path


def find_kernel(cache: Path) -> Kernel | None:
    """Return the kernel that ``cache`` has."""
    for image in sorted(cache.glob("kernel-*/usr/lib/modules/*/vmlinuz")):
        return Kernel(image.parent.name, image, image.parent)
    return None


def get_kernel(cache: Path) -> Kernel:
    """Return a kernel, fetched into ``cache`` if it is not there; KernelError when it cannot be had."""
    kernel = find_kernel(cache)
    if kernel is not None:
        return kernel
    work = cache / f"fetching-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        release = _fetch(work)
        _unpack(work, release)
        (work / "root").rename(cache / f"kernel-{release}")
    except OSError as error:
        raise KernelError(f"{error.filename or 'disk'}: {error.strerror}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    kernel = find_kernel(cache)
    if kernel is None:
        raise KernelError("the packages hold no kernel image where one was expected")
    return kernel


def get_sources(mirror: str) -> str:
    """Return the one line of apt sources."""
    return f"deb [signed-by={KEYRING} arch={ARCHITECTURE}] {mirror} {SUITE} main\n"


def parse_release(text: str) -> str | None:
    """Return the kernel release that the metapackage in ``apt-cache show``'s ``text`` depends on."""
    match = _RELEASE.search(text)
    return None if match is None else match[1]


def _fetch(work: Path) -> str:
    for name in ("state/lists/partial", "cache/archives/partial", "packages", "empty", "root"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    if not KEYRING.exists():
        raise KernelError(f"{KEYRING} is missing: install debian-archive-keyring")
    (work / "sources.list").write_text(get_sources(os.environ.get("WAKEGUARD_DEBIAN", DEFAULT_MIRROR)))
    options = ("-c", str(_write_apt_configuration(work)))
    _run("apt-get", *options, "update", folder=work)
    release = parse_release(_run("apt-cache", *options, "show", _METAPACKAGE, folder=work))
    if release is None:
        raise KernelError(f"{SUITE} has no {_METAPACKAGE}")
    packages = [f"{name}-{release}" for name in _PACKAGES]
    _run("apt-get", *options, "download", *packages, folder=work / "packages")
    return release


def _write_apt_configuration(work: Path) -> Path:
    settings = {
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": work / "empty",
        "Dir::Etc::preferencesparts": work / "empty",
        "APT::Architecture": ARCHITECTURE,
        "APT::Architectures": ARCHITECTURE,
        "APT::Sandbox::User": "",  # it could not write here
        "APT::Update::Error-Mode": "any",  # an index that could not be had is an error
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Quiet": "1",
    }
    lines = [f"#clear {key};" for key in _HOOKS] + [f'{key} "{value}";' for key, value in settings.items()]
    path = work / "apt.conf"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _unpack(work: Path, release: str) -> None:
    root = work / "root"
    for package in sorted((work / "packages").glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(root), folder=work)
    modules = root / "usr" / "lib" / "modules" / release
    image = modules / "vmlinuz"
    boot = root / "boot" / f"vmlinuz-{release}"  # where kernels before 7 had it
    if not image.exists() and boot.exists():
        shutil.move(boot, image)
    if not modules.is_dir():
        raise KernelError(f"the packages hold no modules of {release}")
    _run("depmod", "-b", str(root / "usr"), release, folder=work)


def _run(*command: str, folder: Path) -> str:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_S,
            check=False,
        )
    except FileNotFoundError:
        raise KernelError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise KernelError(f"{command[0]} took longer than {DOWNLOAD_S:.0f} s") from None
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines() or ["it says nothing"]
        errors = [line for line in said if line.startswith("E: ")]  # apt's; the first has the cause
        raise KernelError(f"{command[0]} failed: {[*errors, said[-1]][0]}")
    return result.stdout
