"""A machine with a real systemd, made of namespaces: this machine's files and kernel, a network of its own.

Its root is an overlay in memory over this machine's, so what is done in there dies with it; its cgroups are a
folder of this machine's. Wakeguard is there as an owner installs it: a virtual environment in /opt/wakeguard,
with the checkout and the packages of the tests' own environment, under names that no private /tmp hides.
"""

from __future__ import annotations

import itertools
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Final

from tests.block import ForABlock
from tests.conftest import ROOT
from tests.netns.household import Namespace, wait_until

SYSTEMD: Final = Path("/lib/systemd/systemd")
PROGRAMS: Final = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "pivot_root": "util-linux",
    "setpriv": "util-linux",
    "systemctl": "systemd",
    "systemd-analyze": "systemd",
    "useradd": "passwd",
}
PREFIX: Final = "/opt/wakeguard"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Nodes of its own: a mode that something in there sets (agetty does) is not this machine's.
_DEVICES: Final = {
    "null": "1 3",
    "zero": "1 5",
    "full": "1 7",
    "random": "1 8",
    "urandom": "1 9",
    "tty": "5 0",
    "console": "1 3",  # what is said there is heard by nobody
}
_TARGET: Final = """[Unit]
Description=What the container starts: the system without what this machine adds to it
Requires=basic.target
Wants=multi-user.target
After=basic.target
AllowIsolate=yes
"""
_DISK: Final = """set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=0755 disk {folder}
mkdir {folder}/upper {folder}/work {folder}/root
touch {folder}/ready
exec sleep infinity
"""
_BOOT: Final = """set -eu
umask 022
mount --make-rprivate /
mount -t overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work overlay {folder}/root
cd {folder}/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=0755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=0755 dev dev
{devices}
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
[ -e .{prefix}/bin/wakeguard ] || . {install}
{binds}
mkdir before
pivot_root . before
umount -l /before
rmdir /before
exec env -i container=wakeguard PATH={path} {systemd} --system --unit=container.target --show-status=0
"""
_INSTALL: Final = """find etc/systemd/system -mindepth 1 -delete
rm -rf var/lib/wakeguard etc/wakeguard
: >etc/machine-id
printf '%s' '{target}' >etc/systemd/system/container.target
ln -s /dev/null etc/systemd/system/console-getty.service
mkdir -p {places} .{prefix}/bin .{prefix}/lib/python{version}/site-packages
chmod go+x {closed}
ln -s {python} .{prefix}/bin/python3
printf 'home = {home}\\ninclude-system-site-packages = false\\nversion = {version}\\n' >.{prefix}/pyvenv.cfg
printf '%s' '{path_file}' >.{prefix}/lib/python{version}/site-packages/packages.pth
printf '#!{prefix}/bin/python3\\nimport sys\\nfrom guard.cli import main\\n' >.{prefix}/bin/wakeguard
printf 'sys.exit(main())\\n' >>.{prefix}/bin/wakeguard
chmod 755 .{prefix}/bin/wakeguard
"""


_counter = itertools.count()


def find_missing() -> str | None:
    """Return what a container cannot be made without here, in one line; None when nothing is missing."""
    if os.geteuid() != 0:
        return "not root"
    if not SYSTEMD.exists():
        return "systemd is not installed"
    for program, package in PROGRAMS.items():
        if shutil.which(program, path=_PATH) is None:
            return f"{program} is not installed (Debian package {package})"
    if get_cgroup_mount() is None:
        return "no cgroup2 file system is mounted"
    return None


def get_cgroup_mount() -> Path | None:
    """Return where this machine's cgroup version 2 hierarchy is."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            return Path(fields.split()[4])
    return None


class Container(ForABlock):
    """systemd as process 1 in namespaces; ``with Container(folder, network) as machine``."""

    def __init__(self, folder: Path, network: Namespace) -> None:
        """``folder`` is empty and ours; ``network`` is the namespace that becomes the machine's network."""
        self._folder = folder
        self._network = network
        mount = get_cgroup_mount()
        assert mount is not None
        self._cgroup = mount / f"wakeguard-test-{os.getpid()}-{next(_counter)}"
        self._disk: subprocess.Popen[bytes] | None = None  # keeps the files while the machine is off
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0

    def close(self) -> None:
        """End it and all that runs in it, and forget its files."""
        self._pull_the_plug()
        disk, self._disk = self._disk, None
        if disk is not None:
            disk.kill()
            disk.wait()

    def reboot(self) -> None:
        """Take its power away and switch it on again; its files are as they were."""
        self._pull_the_plug()
        self._boot()

    def run(
        self,
        *command: str,
        text: str | None = None,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in there as root, as from a shell without a terminal unless ``stdin`` is one."""
        inside = ("nsenter", "-t", str(self._init), "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--net")
        environment = (
            *("env", "--chdir=/", "-i", f"PATH={PREFIX}/bin:{_PATH}", "HOME=/tmp", "LC_ALL=C.UTF-8"),
            *("PYTHONDONTWRITEBYTECODE=1", "COLUMNS=120"),
        )
        return subprocess.run(
            [*inside, *environment, *command],
            input=text,
            stdin=None if text is not None else stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def call(self, *command: str) -> str:
        """Run a program in there and return what it prints; fails loudly."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, unit: str, name: str) -> str:
        """Return a property of a unit, as systemd has it."""
        return self.call("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def read_journal(self, unit: str) -> str:
        """Return what a unit has said."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def _build(self) -> None:
        self._insert_disk()
        self._boot()

    def _insert_disk(self) -> None:
        self._folder.mkdir(parents=True)
        for name, text in (("install", _INSTALL), ("boot", _BOOT), ("disk", _DISK)):
            self._get_script(name).write_text(text.format(**self._describe()))
        self._disk = self._start(
            "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", self._get_script("disk")
        )
        ready = Path(f"/proc/{self._disk.pid}/root{self._folder}/ready")
        wait_until(ready.exists, seconds=10)

    def _boot(self) -> None:
        assert self._disk is not None
        self._cgroup.mkdir()
        join = f'echo $$ >"{self._cgroup}/cgroup.procs" && exec "$@"'
        namespaces = ("--mount", "--pid", "--fork", "--uts", "--ipc", "--cgroup", "--kill-child")
        self._process = self._start(
            *("sh", "-c", join, "sh", "nsenter", "-t", str(self._disk.pid), "--mount"),
            *(
                f"--net=/run/netns/{self._network.name}",
                "unshare",
                *namespaces,
                "sh",
                self._get_script("boot"),
            ),
        )
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        wait_until(lambda: children.read_text().strip() != "", seconds=10)
        self._init = int(children.read_text())
        wait_until(lambda: self._says_running() or self._process_ended(), seconds=60)
        assert not self._process_ended(), self._get_script("log").read_text()

    def _pull_the_plug(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if self._init:
                os.kill(self._init, signal.SIGKILL)  # its namespace's processes end with it
            else:
                process.kill()
            process.wait()
            self._init = 0
        for folder, _folders, _files in os.walk(self._cgroup, topdown=False):
            wait_until(lambda folder=folder: not (Path(folder) / "cgroup.procs").read_text())  # type: ignore[misc]  # bound now
            Path(folder).rmdir()

    def _get_script(self, name: str) -> Path:
        return self._folder.with_name(f"{self._folder.name}.{name}")

    def _start(self, *command: str | Path) -> subprocess.Popen[bytes]:
        with self._get_script("log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _says_running(self) -> bool:
        return self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}

    def _process_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _describe(self) -> dict[str, object]:
        """Return what the scripts are filled in with."""
        folders = [folder for folder in sys.path if folder.endswith("-packages")]
        places = {str(ROOT): "/opt/checkout"}
        places |= {folder: f"/opt/packages/{number}" for number, folder in enumerate(folders)}
        version = platform.python_version().rpartition(".")[0]
        python = Path(sys.base_prefix, "bin", f"python{version}")
        return {
            "folder": self._folder,
            "devices": "\n".join(
                f"mknod -m 666 dev/{name} c {numbers}" for name, numbers in _DEVICES.items()
            ),
            "install": self._get_script("install"),
            "target": _TARGET,
            "places": " ".join(f".{place}" for place in places.values()),
            "binds": "\n".join(f"mount --bind {folder} .{place}" for folder, place in places.items()),
            # The interpreter may lie in a home that only its owner enters; in here everybody may.
            "closed": " ".join(f".{parent}" for parent in python.parents if parent != Path("/")),
            "prefix": PREFIX,
            "python": python,
            "home": python.parent,
            "version": version,
            "path_file": "".join(f"{place}\n" for place in places.values()),
            "path": _PATH,
            "systemd": SYSTEMD,
        }
