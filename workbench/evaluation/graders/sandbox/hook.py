"""What Python itself refuses a stranger's grader, with a sentence that says so.

An audit hook sees every attempt that goes through Python, on every system; it cannot be taken off, but C
code can go around it (PEP 578). On Linux the kernel stands behind it; elsewhere it is what there is.
"""

import os
import socket
import sys
from collections.abc import Sequence

_PROCESSES = frozenset(
    ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
)
_SIGNALS = frozenset(("os.kill", "os.killpg", "signal.pthread_kill"))
_CHANGES = frozenset(
    ("os.remove", "os.rmdir", "os.rename", "os.truncate", "os.chmod", "os.chown", "os.link", "os.symlink",
     "os.mkdir", "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree", "shutil.move")
)  # fmt: skip
_READS = frozenset(("os.listdir", "os.scandir", "os.chdir"))


def install(readable: Sequence[str], folder: str, *, files: bool) -> None:
    """Refuse network, processes and signals from now on, and with ``files`` what lies outside, too."""
    inside = tuple(os.path.realpath(path) for path in (*readable, folder))

    def within(path: object, folders: Sequence[str]) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a number of an open file
        real = os.path.realpath(os.fsdecode(path))
        return any(real == place or real.startswith(place + os.sep) for place in folders)

    def refuse(event: str, values: tuple[object, ...]) -> None:
        if event.startswith("socket."):
            pair = event == "socket.__new__" and values[1] == socket.AF_UNIX
            if not pair:
                raise PermissionError("a grader has no network")
        elif event in _PROCESSES:
            raise PermissionError("a grader may start no process")
        elif event in _SIGNALS:
            raise PermissionError("a grader may send no signal")
        elif files and (event in _READS or event == "open") and not within(values[0], inside):
            raise PermissionError(f"a grader may not read {values[0]!r}")
        elif files and event == "open" and _writes(values) and not within(values[0], inside[-1:]):
            raise PermissionError(f"a grader may not write {values[0]!r}")
        elif files and event in _CHANGES and not all(within(path, inside[-1:]) for path in values[:2]):
            raise PermissionError(f"a grader may not change {values[0]!r}")

    sys.addaudithook(refuse)


def _writes(values: tuple[object, ...]) -> bool:
    flags = values[2] if len(values) > 2 and isinstance(values[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
