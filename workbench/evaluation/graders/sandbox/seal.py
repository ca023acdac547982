"""Sealing this process: limits, files, system calls; and saying which of them the kernel enforces."""

import os
import resource
import site
import sys
import sysconfig
from collections.abc import Mapping

from . import hook, landlock, seccomp

# What Python and the numerical libraries look up on Linux. Nothing here is anybody's own.
_SYSTEM = (
    "/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu",
    "/dev/urandom", "/dev/random", "/dev/zero",
)  # fmt: skip


def seal(folder: str, *, memory: int, disk: int) -> Mapping[str, str]:
    """Take from this process what a grader does not need; bytes for both limits.

    Returns who guards what: ``kernel`` cannot be got around, ``python`` only stops what goes through
    Python, ``nobody`` is left to whoever started this process.
    """
    linux = sys.platform == "linux"
    if linux:
        seccomp.end_with_parent()
    readable = _readable()
    memory_guard = "kernel" if _limit(memory, disk) else "nobody"
    files = linux and landlock.restrict(readable, (folder, "/dev/null"))
    calls = linux and seccomp.restrict()
    hook.install(readable, folder, files=not files)
    return {
        "network": "kernel" if calls else "python",
        "processes": "kernel" if calls else "python",
        "files": "kernel" if files else "python",
        "memory": memory_guard,
    }


def _limit(memory: int, disk: int) -> bool:
    """Set what POSIX can limit; False when the memory cannot be (macOS)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    if sys.platform != "linux":  # there it would count threads, and the filter knows processes better
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ValueError, OSError):
        return False
    return sys.platform == "linux"


def _readable() -> tuple[str, ...]:
    """The folders of Python and of the installed packages, not the rest of ``sys.path``."""
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    if "/usr" in python:
        python = (python - {"/usr"}) | set(sysconfig.get_paths().values())
    python |= {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
    return (*sorted(path for path in python if os.path.isdir(path)), *_SYSTEM)
