"""Give up, for good, what a sensing process never needs: the right to touch the firewall.

CAP_NET_ADMIN and CAP_NET_RAW leave every capability set, and no program started later can get them back.
Linux only, through prctl(2) and capset(2): the standard library has neither.
"""

from __future__ import annotations

import ctypes
import os

from hardware.errors import HardwareError

CAP_NET_ADMIN = 12
CAP_NET_RAW = 13
GIVEN_UP = (CAP_NET_ADMIN, CAP_NET_RAW)

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def give_up_firewall() -> None:
    """Drop the capabilities from this process and all it starts; HardwareError if the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_LINUX_CAPABILITY_VERSION_3, 0)
    sets = (_Sets * 2)()
    _call(libc.capget(ctypes.byref(header), sets), "capget")
    mask = sum(1 << capability for capability in GIVEN_UP)
    if sets[0].effective & (1 << 8):  # CAP_SETPCAP: who lacks it has a bounding set of no use to it
        for capability in GIVEN_UP:
            _call(libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "prctl")
    for name in ("effective", "permitted", "inheritable"):
        setattr(sets[0], name, getattr(sets[0], name) & ~mask)
    _call(libc.capset(ctypes.byref(header), sets), "capset")
    _call(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def _call(result: int, name: str) -> None:
    if result != 0:
        raise HardwareError(
            f"the right to touch the firewall cannot be given up ({name}: "
            f"{os.strerror(ctypes.get_errno())}); run sense as a user of its own"
        )
