"""The few nfnetlink messages that no library sends for us, built by hand.

``linux/netfilter/nfnetlink.h``, ``nfnetlink_queue.h``, ``nfnetlink_conntrack.h`` and ``nf_tables_compat.h``
name the constants.
Attribute values are big-endian, headers are in the machine's order.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final, Literal

_NETLINK_NETFILTER: Final = 12
_NLM_F_REQUEST: Final = 1
_NLM_F_ACK: Final = 4
_NLM_F_DUMP: Final = 0x300
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_NFNL_SUBSYS_QUEUE: Final = 3
_NFNL_SUBSYS_NFT_COMPAT: Final = 11

_NFQNL_MSG_CONFIG: Final = 2
_NFQA_CFG_MASK: Final = 4
_NFQA_CFG_FLAGS: Final = 5
NFQA_CFG_F_FAIL_OPEN: Final = 1

_NFNL_SUBSYS_NFTABLES: Final = 10
_NFNL_MSG_BATCH_BEGIN: Final = 0x10
_NFNL_MSG_BATCH_END: Final = 0x11
_NFNL_BATCH_GENID: Final = 1
_NFT_MSG_GETTABLE: Final = 1
_NFT_MSG_DELTABLE: Final = 2
_NFT_MSG_GETGEN: Final = 16
_NFTA_TABLE_NAME: Final = 1
_NFTA_TABLE_USE: Final = 3
_NFTA_GEN_ID: Final = 1

_NFNL_SUBSYS_CTNETLINK: Final = 1
_IPCTNL_MSG_CT_NEW: Final = 0
_IPCTNL_MSG_CT_GET: Final = 1
_CTA_TUPLE_ORIG: Final = 1
_CTA_MARK: Final = 8
_CTA_ZONE: Final = 18
_CTA_MARK_MASK: Final = 21
_CONNECTION: Final = (_CTA_TUPLE_ORIG, _CTA_ZONE)  # what tells a connection from all others
_NLA_TYPE_MASK: Final = 0x3FFF

_NFNL_MSG_COMPAT_GET: Final = 0
_NFTA_COMPAT_NAME: Final = 1
_NFTA_COMPAT_REV: Final = 2
_NFTA_COMPAT_TYPE: Final = 3
_KINDS: Final = {"match": 0, "target": 1}

_HEADER: Final = struct.Struct("=LHHLL")  # nlmsghdr: length, type, flags, sequence, port
_ERROR: Final = struct.Struct("=l")
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
    code, _ = _ask(message)
    if code in (errno.EPERM, errno.EACCES):
        raise PermissionError(code, os.strerror(code))
    if code in (errno.ENOENT, errno.EPROTONOSUPPORT):
        return False
    return True if code == 0 else None


def clear_connmarks(value: int, mask: int, *, clear: int) -> None:
    """Clear the bits ``clear`` in the marks of the connections whose mark is ``value`` under ``mask``.

    OSError where the kernel lets nobody ask (no nf_conntrack_netlink, no CAP_NET_ADMIN).
    """
    wanted = _attribute(_CTA_MARK, struct.pack(">L", value))
    wanted += _attribute(_CTA_MARK_MASK, struct.pack(">L", mask))
    kind = _NFNL_SUBSYS_CTNETLINK << 8
    listing = _message(kind | _IPCTNL_MSG_CT_GET, _NLM_F_REQUEST | _NLM_F_DUMP, socket.AF_UNSPEC, 0, wanted)
    cleared = _attribute(_CTA_MARK, struct.pack(">L", 0))
    cleared += _attribute(_CTA_MARK_MASK, struct.pack(">L", clear))
    for family, attributes in _list(listing):
        connection = b"".join(whole for name, whole in _split(attributes) if name in _CONNECTION)
        message = _message(
            kind | _IPCTNL_MSG_CT_NEW, _NLM_F_REQUEST | _NLM_F_ACK, family, 0, connection + cleared
        )
        code, _ = _ask(message)
        if code not in (0, errno.ENOENT):  # one that has ended meanwhile has no mark
            raise OSError(code, os.strerror(code))


def get_generation() -> int | None:
    """Return the number of nf_tables' present state, which every change raises; None without nf_tables."""
    code, attributes = _ask(_nftables(_NFT_MSG_GETGEN, _NLM_F_REQUEST, socket.AF_UNSPEC, b""))
    return None if code else _number(attributes, _NFTA_GEN_ID)


def count_table_objects(family: int, table: str) -> int | None:
    """Return how many chains, sets and other objects an nf_tables table holds; None when there is none."""
    name = _attribute(_NFTA_TABLE_NAME, table.encode() + b"\0")
    code, attributes = _ask(_nftables(_NFT_MSG_GETTABLE, _NLM_F_REQUEST, family, name))
    return None if code else _number(attributes, _NFTA_TABLE_USE)


def delete_table(family: int, table: str, *, generation: int) -> bool:
    """Delete an nf_tables table if nothing at all has changed since ``generation``; tell whether it did."""
    begin = _message(
        _NFNL_MSG_BATCH_BEGIN,
        _NLM_F_REQUEST,
        socket.AF_UNSPEC,
        _NFNL_SUBSYS_NFTABLES,
        _attribute(_NFNL_BATCH_GENID, struct.pack(">L", generation)),
    )
    name = _attribute(_NFTA_TABLE_NAME, table.encode() + b"\0")
    delete = _nftables(_NFT_MSG_DELTABLE, _NLM_F_REQUEST | _NLM_F_ACK, family, name)
    end = _message(_NFNL_MSG_BATCH_END, _NLM_F_REQUEST, socket.AF_UNSPEC, _NFNL_SUBSYS_NFTABLES, b"")
    code, _ = _ask(begin + delete + end)
    return code == 0


def _nftables(message: int, flags: int, family: int, attributes: bytes) -> bytes:
    return _message(_NFNL_SUBSYS_NFTABLES << 8 | message, flags, family, 0, attributes)


def _ask(message: bytes) -> tuple[int, bytes]:
    """Return the kernel's first answer: an errno (0: done), and the attributes of what it told."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as link:
        link.settimeout(5)  # a module may have to be read from a slow card
        link.send(message)
        answer = link.recv(65536)
    length, answered, _, _, _ = _HEADER.unpack_from(answer)
    if answered == _NLMSG_ERROR:
        return -_ERROR.unpack_from(answer, _HEADER.size)[0], b""
    return 0, answer[_HEADER.size + _GENERIC.size : length]


def _list(message: bytes) -> list[tuple[int, bytes]]:
    """Return the family and the attributes of each object that the kernel lists. OSError when it does not."""
    found: list[tuple[int, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as link:
        link.settimeout(5)
        link.send(message)
        while True:
            answer = link.recv(65536)
            offset = 0
            while offset < len(answer):
                length, answered, _, _, _ = _HEADER.unpack_from(answer, offset)
                body = answer[offset + _HEADER.size : offset + length]
                if answered in (_NLMSG_DONE, _NLMSG_ERROR):
                    code = -_ERROR.unpack_from(body)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                found.append((body[0], body[_GENERIC.size :]))
                offset += length + 3 & ~3


def _split(attributes: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the kind of each attribute, and the whole of it with its header."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, offset)
        end = offset + max(length + 3 & ~3, _ATTRIBUTE.size)
        yield kind & _NLA_TYPE_MASK, attributes[offset:end]
        offset = end


def _number(attributes: bytes, wanted: int) -> int | None:
    """Return the 32-bit attribute of this kind."""
    for kind, whole in _split(attributes):
        if kind == wanted:
            return int.from_bytes(whole[_ATTRIBUTE.size :])
    return None


def _message(kind: int, flags: int, family: int, resource: int, attributes: bytes) -> bytes:
    body = _GENERIC.pack(family, 0, struct.pack(">H", resource)) + attributes
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + b"\0" * (-length % 4)
