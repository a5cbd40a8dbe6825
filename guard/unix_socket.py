"""Unix sockets in the file system: bound without stealing, removed without leaving anything.

A socket somebody listens on is never taken over, and a file that is no socket is never removed; only
what a killed gate left behind is. Who speaks is asked of the kernel (SO_PEERCRED, SCM_CREDENTIALS).
"""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from guard.errors import ConfigError
from guard.remedies import fault

_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid
CREDENTIALS_SPACE: Final = socket.CMSG_SPACE(_CREDENTIALS.size)

_MODE_OWN = 0o660  # the gate's user and its group
_MODE_LISTED = 0o666  # users are listed by name: the kernel's credentials decide, not the file's mode


class UnixSocket:
    """A bound socket file that goes away with ``close``, its directory too when we made it."""

    def __init__(self, path: Path, kind: socket.SocketKind, *, key: str, listed: bool) -> None:
        """Bind ``path``; ``key`` is the setting to blame. ConfigError when it cannot be had."""
        self.path = path
        self._made: Path | None = None
        if not path.parent.exists():
            try:
                path.parent.mkdir(mode=0o755)
            except OSError as error:
                raise _fault(key, path, error) from None
            self._made = path.parent
        self.socket = socket.socket(socket.AF_UNIX, kind)
        try:
            self.socket.settimeout(0)
            _remove_stale(path, kind, key)
            self.socket.bind(str(path))
            path.chmod(_MODE_LISTED if listed else _MODE_OWN)
        except OSError as error:
            self.socket.close()
            self._remove_directory()
            raise _fault(key, path, error) from None
        except ConfigError:
            self.socket.close()
            self._remove_directory()
            raise
        self._inode = path.stat().st_ino

    def close(self) -> None:
        """Close the socket and remove its file, if it is still ours."""
        self.socket.close()
        try:
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        except OSError:
            return  # gone already: that is what was wanted
        self._remove_directory()

    def _remove_directory(self) -> None:
        if self._made is not None:
            try:
                self._made.rmdir()
            except OSError:
                return  # somebody else's file is in it


def get_uids(users: Sequence[str], *, key: str) -> frozenset[int]:
    """Return the user ids of the names under ``key``. ConfigError for a user unknown here."""
    uids = set()
    for user in users:
        try:
            uids.add(pwd.getpwnam(user).pw_uid)
        except KeyError:
            raise fault(key, f'"{user}" is no user of this machine') from None
    return frozenset(uids)


def get_peer_uid(connection: socket.socket) -> int:
    """Return the user id of the process that connected."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


def get_sender_uid(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    """Return the user id of a datagram's sender; None when the kernel gave none."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
            return int(_CREDENTIALS.unpack_from(data)[1])
    return None


def _fault(key: str, path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{key} {path} cannot be bound: {error.strerror}; choose a path in a directory the gate may write to"
    )


def _remove_stale(path: Path, kind: socket.SocketKind, key: str) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{key} {path} exists and is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(0)
        result = probe.connect_ex(str(path))
    if result != errno.ECONNREFUSED:
        raise ConfigError(
            f"{key} {path} is in use ({os.strerror(result) if result else 'a process listens there'}); "
            "stop that process or choose another path"
        )
    path.unlink()
