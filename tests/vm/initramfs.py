"""The guest's first minute: an initramfs that makes the host's root the guest's, writable in memory only.

busybox, the modules that reaching 9p takes, and two scripts. ``/init`` mounts the host's root read-only
under an overlay on tmpfs and switches to it; ``SECOND_STAGE`` is process 1 from then on. It runs the
script of the share, leaves its exit status there and powers off. No status file means that it failed.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import subprocess
from pathlib import Path

from tests.vm.kernel import Kernel, KernelError

ROOT_TAG, SHARE_TAG, MODULES_TAG = "hostroot", "share", "modules"
SHARE = "/run/share"
BOOT_MODULES = ("virtio_pci", "virtio_rng", "9pnet_virtio", "9p", "overlay")
_NINE_P = "trans=virtio,version=9p2000.L,msize=512000"
_OVERLAY = "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work"

_INIT = f"""#!/busybox sh
/busybox mkdir -p /proc /dev /lower /rw /new
/busybox mount -t proc proc /proc
/busybox mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
while read -r module; do
  /busybox insmod "/modules/$module" || echo "init: $module is not loaded"
done </modules/list
/busybox mount -t 9p -o ro,cache=loose,{_NINE_P} {ROOT_TAG} /lower || /busybox poweroff -f
/busybox mount -t tmpfs -o mode=0755 rw /rw
/busybox mkdir /rw/upper /rw/work
/busybox mount -t overlay -o {_OVERLAY} root /new || /busybox poweroff -f
/busybox mkdir -p /new/proc /new/sys /new/dev /new/run
/busybox mount -t tmpfs run /new/run
/busybox mkdir -p /new{SHARE} /new/run/busybox
/busybox cp /busybox /second-stage /new/run/busybox/
/busybox mount -t 9p -o {_NINE_P} {SHARE_TAG} /new{SHARE} || /busybox poweroff -f
/busybox umount /proc
/busybox mount --move /dev /new/dev
exec /busybox switch_root /new /run/busybox/busybox sh /run/busybox/second-stage
"""

_SECOND_STAGE = f"""
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm /run/tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mkdir -p /lib/modules/$(uname -r)
mount -t 9p -o ro,cache=loose,{_NINE_P} {MODULES_TAG} /lib/modules/$(uname -r)
ip link set lo up
export TMPDIR=/run/tmp PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run/tmp
/bin/sh {SHARE}/script >{SHARE}/output 2>&1 </dev/null
echo $? >{SHARE}/status
sync
/run/busybox/busybox poweroff -f
"""


def make_initramfs(kernel: Kernel, path: Path) -> Path:
    """Write the initramfs for ``kernel`` to ``path`` and return it; KernelError when a part is missing."""
    busybox = shutil.which("busybox", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/bin", "/bin")))
    if busybox is None:
        raise KernelError("busybox is not installed")
    tree = path.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "modules").mkdir(parents=True)
    shutil.copy(busybox, tree / "busybox")
    for name, text in (("init", _INIT), ("second-stage", _SECOND_STAGE)):
        (tree / name).write_text(text)
        (tree / name).chmod(0o755)
    names = []
    for module in list_modules(kernel, BOOT_MODULES):
        data = module.read_bytes()
        name = module.name.partition(".")[0] + ".ko"
        (tree / "modules" / name).write_bytes(lzma.decompress(data) if module.suffix == ".xz" else data)
        names.append(name)
    (tree / "modules" / "list").write_text("".join(f"{name}\n" for name in names))
    files = "".join(f"{file.relative_to(tree)}\n" for file in [*sorted(tree.rglob("*"))])
    archive = subprocess.run(
        ("cpio", "--quiet", "--create", "--format=newc", "--owner=0:0"),
        cwd=tree,
        input=files.encode(),
        capture_output=True,
        check=True,
    )
    path.write_bytes(gzip.compress(archive.stdout, compresslevel=1))
    shutil.rmtree(tree)
    return path


def list_modules(kernel: Kernel, names: tuple[str, ...]) -> list[Path]:
    """Return the files of the modules called ``names`` and of what they need, in the order of loading.

    What is built into the kernel has no file and is left out.
    """
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (kernel.modules / "modules.dep").read_text(encoding="utf-8").splitlines():
        file, _, others = line.partition(":")
        needs[Path(file).name.partition(".")[0].replace("-", "_")] = (file, others.split())
    wanted: dict[str, None] = {}
    for name in names:
        if name in needs:
            file, needed = needs[name]
            wanted |= dict.fromkeys([*reversed(needed), file])
    return [kernel.modules / file for file in wanted]
