"""Does a network card merge packets before the kernel sees them? ethtool's ioctl, which no library here has.

Generic receive offload (GRO) merges, too, but the kernel cuts its packets again for a queue that does not ask
for merged ones, as ours does not. Large receive offload (LRO) loses what the cut would need.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from typing import Final

_SIOCETHTOOL: Final = 0x8946
_ETHTOOL_GFLAGS: Final = 0x25
_ETH_FLAG_LRO: Final = 1 << 15
_REQUEST = struct.Struct("16sP")  # ifreq: name, pointer to the value
_VALUE = struct.Struct("II")  # ethtool_value: command, data


def read_large_receive(name: str) -> bool | None:
    """Tell whether LRO is on for interface ``name``; None when its driver does not say."""
    value = array.array("B", _VALUE.pack(_ETHTOOL_GFLAGS, 0))
    request = _REQUEST.pack(name.encode(), value.buffer_info()[0])
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            fcntl.ioctl(asker, _SIOCETHTOOL, request)
    except OSError:
        return None
    return bool(_VALUE.unpack(value.tobytes())[1] & _ETH_FLAG_LRO)
