"""Which files a sealed process may open on Linux: Python and its packages to read, one folder to write.

Landlock takes rights away from a process itself; it needs no root, and cannot be undone. It also keeps the
process from looking into others (their environment, their memory). Source: the kernel's
userspace-api/landlock.rst; in Linux since 5.13.
"""

import ctypes
import os
import struct
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on all machines
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _READ_FILE | _READ_DIR
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL  # the rights that a single file can have
_TCP, _SCOPES = 3, 3  # bind and connect; abstract sockets and signals


def restrict(readable: Iterable[str], writable: Iterable[str]) -> bool:
    """Leave this process only these folders and files; False where the kernel cannot do that."""
    c = ctypes.CDLL(None, use_errno=True)
    version = c.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    # Each version of the interface knows more rights; see the table in landlock.rst.
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack("=QQQ", rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = c.syscall(_CREATE, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    for paths, allowed in ((readable, _READ), (writable, rights & ~_EXECUTE)):
        for path in paths:
            _allow(c, ruleset, path, allowed)
    done = c.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and c.syscall(_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return bool(done)


def _allow(c: ctypes.CDLL, ruleset: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    if not os.path.isdir(path):
        allowed &= _FILE
    c.syscall(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, place), 0)
    os.close(place)
