"""The few nfnetlink messages that no library sends for us, built by hand.

``linux/netfilter/nfnetlink.h``, ``nfnetlink_queue.h`` and ``nf_tables_compat.h`` name the constants.
Attribute values are big-endian, headers are in the machine's order.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Final, Literal

_NETLINK_NETFILTER: Final = 12
_NLM_F_REQUEST: Final = 1
_NLM_F_ACK: Final = 4
_NLMSG_ERROR: Final = 2
_NFNL_SUBSYS_QUEUE: Final = 3
_NFNL_SUBSYS_NFT_COMPAT: Final = 11

_NFQNL_MSG_CONFIG: Final = 2
_NFQA_CFG_MASK: Final = 4
_NFQA_CFG_FLAGS: Final = 5
NFQA_CFG_F_FAIL_OPEN: Final = 1

_NFNL_MSG_COMPAT_GET: Final = 0
_NFTA_COMPAT_NAME: Final = 1
_NFTA_COMPAT_REV: Final = 2
_NFTA_COMPAT_TYPE: Final = 3
_KINDS: Final = {"match": 0, "target": 1}

_HEADER: Final = struct.Struct("=LHHLL")  # nlmsghdr: length, type, flags, sequence, port
_GENERIC: Final = struct.Struct("=BB2s")  # nfgenmsg: family, version, resource id (big-endian)
_ATTRIBUTE: Final = struct.Struct("=HH")


def set_queue_flags(descriptor: int, queue: int, flags: int, *, mask: int) -> None:
    """Set the flags in ``mask`` of a bound queue to ``flags``.

    Sent on the binding's own socket: the kernel takes it from no other. No acknowledgement is asked
    for, since the answer would land among the packets; the kernel has applied it when this returns.
    """
    attributes = _attribute(_NFQA_CFG_FLAGS, struct.pack(">L", flags))
    attributes += _attribute(_NFQA_CFG_MASK, struct.pack(">L", mask))
    kind = _NFNL_SUBSYS_QUEUE << 8 | _NFQNL_MSG_CONFIG
    os.write(descriptor, _message(kind, _NLM_F_REQUEST, socket.AF_UNSPEC, queue, attributes))


def has_extension(family: int, kind: Literal["match", "target"], name: str, revision: int) -> bool | None:
    """Tell whether the kernel has an xtables match or target; None where it cannot be asked so.

    The same question that iptables asks before it uses one. It loads the module when there is one.
    PermissionError without CAP_NET_ADMIN.
    """
    attributes = _attribute(_NFTA_COMPAT_NAME, name.encode() + b"\0")
    attributes += _attribute(_NFTA_COMPAT_REV, struct.pack(">L", revision))
    attributes += _attribute(_NFTA_COMPAT_TYPE, struct.pack(">L", _KINDS[kind]))
    message = _message(
        _NFNL_SUBSYS_NFT_COMPAT << 8 | _NFNL_MSG_COMPAT_GET,
        _NLM_F_REQUEST | _NLM_F_ACK,
        family,
        0,
        attributes,
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as link:
        link.settimeout(5)  # a module may have to be read from a slow card
        link.send(message)
        answer = link.recv(4096)
    _, answered, _, _, _ = _HEADER.unpack_from(answer)
    if answered != _NLMSG_ERROR:
        return True
    code = -struct.unpack_from("=l", answer, _HEADER.size)[0]
    if code in (errno.EPERM, errno.EACCES):
        raise PermissionError(code, os.strerror(code))
    if code in (errno.ENOENT, errno.EPROTONOSUPPORT):
        return False
    return True if code == 0 else None


def _message(kind: int, flags: int, family: int, resource: int, attributes: bytes) -> bytes:
    body = _GENERIC.pack(family, 0, struct.pack(">H", resource)) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)
