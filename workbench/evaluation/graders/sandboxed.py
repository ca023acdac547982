"""The process that runs one grader of unknown origin, one answer at a time, until its parent ends it.

It confines itself first: resource limits, Landlock for files, a seccomp filter for system calls, and an
audit hook. Then it reads lines of JSON and answers each with one: first the source, then answers with their
items. Started by path, without the rest of the workbench: it uses nothing beyond the standard library.
Whoever starts and asks such a process is in ``workbench.evaluation.graders.sandbox``.
"""

import errno
import json
import math
import os
import platform
import struct
import sys
import traceback
import types
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import ctypes

READABLE = ("output_text", "output_json", "output_tools", "output_reasoning_summary", "choices")
"""What a template may name after ``sample.``; deeper places are the answer's own, below ``output_json``."""

_NAME = "grader"
_FILE = "<grader.source>"
_LONGEST = 2_000  # characters of an error or a reason

Reply = Mapping[str, object]


def main(memory: int, disk: int) -> None:
    """Confine this process, then serve; the working folder is the one that may be written."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    _say(replies, confine(os.getcwd(), memory=memory, disk=disk))
    grader = types.ModuleType(_NAME)
    sys.modules[_NAME] = grader  # dataclasses look their module up
    for line in requests:
        _say(replies, _answer(grader, line))


def sample_of(output_text: str) -> Mapping[str, object]:
    """Show the answer as a service shows it to graders; ``output_json`` is None when it is not JSON."""
    try:
        output_json = json.loads(output_text)
    except (ValueError, RecursionError):  # an answer of a thousand brackets is no JSON either
        output_json = None
    return {
        "output_text": output_text,
        "output_json": output_json,
        "output_tools": [],
        "output_reasoning_summary": None,
        "choices": [{"message": {"role": "assistant", "content": output_text}}],
    }


def _answer(grader: types.ModuleType, line: bytes) -> Reply:
    try:
        asked = json.loads(line)
    except RecursionError:
        return {"problem": "the item is nested too deeply to be read"}
    if "source" in asked:
        return _load(grader, asked["source"])
    return _grade(grader, asked["output_text"], asked["item"])


def _load(grader: types.ModuleType, source: str) -> Reply:
    try:
        exec(compile(source, _FILE, "exec"), grader.__dict__)
    except BaseException as error:  # noqa: BLE001 (a stranger's code may raise anything)
        return {"problem": _in_words(error)}
    if not callable(getattr(grader, "grade", None)):
        return {"problem": "it defines no function grade(sample, item); add one"}
    return {"loaded": True}


def _grade(grader: types.ModuleType, output_text: str, item: object) -> Reply:
    try:
        score = grader.grade(sample_of(output_text), item)
        if not isinstance(score, Real):
            return {"problem": f"grade returned {_shown(score)}; it must return a finite number"}
        number = float(score)
        if not math.isfinite(number):
            return {"problem": f"grade returned {number}; it must return a finite number"}
    except BaseException as error:  # noqa: BLE001 (a stranger's code may raise anything)
        return {"problem": _in_words(error)}
    return {"score": number, "reason": _reason(grader, output_text, item)}


def _reason(grader: types.ModuleType, output_text: str, item: object) -> str:
    """What the grader itself says about this answer, when it has a function for that."""
    explain = getattr(grader, "explain", None)
    if not callable(explain):
        return ""
    try:
        return str(explain(sample_of(output_text), item))[:_LONGEST]
    except BaseException:  # noqa: BLE001 (the score stands; only its reason is missing)
        return ""


def _shown(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {repr(value)[:100]}"


def _in_words(error: BaseException) -> str:
    """Name an error with its line in the source; an error that cannot even be shown, by its kind."""
    kind = type(error).__name__
    try:
        words = f"{kind}: {error}".removesuffix(": ")
        if isinstance(error, SyntaxError):
            line = error.lineno
        else:
            frames = traceback.extract_tb(error.__traceback__)
            line = next((frame.lineno for frame in reversed(frames) if frame.filename == _FILE), None)
    except BaseException:  # noqa: BLE001 (its __str__ is a stranger's code as well)
        return kind
    return words[:_LONGEST] + (f", line {line} of grader.source" if line else "")


def _say(replies: BinaryIO, reply: Reply) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()


# Confining this process

# What Python and the numerical libraries look up on Linux. Nothing here is anybody's own.
_SYSTEM = (
    "/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo",
    "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu",
    "/dev/urandom", "/dev/random", "/dev/zero",
    # Of this process only what is about itself: /proc/self/net would show everybody's connections.
    *(f"/proc/self/{file}" for file in ("maps", "status", "stat", "statm", "cgroup", "cmdline", "fd")),
)  # fmt: skip


def confine(folder: str, *, memory: int, disk: int) -> Mapping[str, str]:
    """Take from this process what a grader does not need; bytes for both limits.

    Returns who guards what: ``kernel`` cannot be got around, ``python`` only stops what goes through
    Python, ``nobody`` is left to whoever started this process.
    """
    linux = sys.platform == "linux"
    if linux:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)  # end with the thread that started it
    readable = _readable()
    memory_guard = "kernel" if _limit(memory, disk) else "nobody"
    files = linux and restrict_files(readable, (folder, "/dev/null"))
    calls = linux and restrict_calls()
    install_hook(readable, folder, reading=not files)
    return {
        "network": "kernel" if calls else "python",
        "processes": "kernel" if calls else "python",
        "files": "kernel" if files and calls else "python",
        "memory": memory_guard,
    }


def _limit(memory: int, disk: int) -> bool:
    """Set what POSIX can limit; False when the memory cannot be (macOS)."""
    import resource

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
    import site
    import sysconfig

    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    if "/usr" in python:
        python = (python - {"/usr"}) | set(sysconfig.get_paths().values())
    python |= {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()}
    return (*sorted(path for path in python if os.path.isdir(path)), *_SYSTEM)


# Files: Landlock takes rights away from a process itself; it needs no root, and cannot be undone. It also
# keeps the process from looking into others (their environment, their memory). Source: the kernel's
# userspace-api/landlock.rst; in Linux since 5.13. It does not cover chmod, chown, utime, xattr, ioctl, fcntl
# and flock: those are the filter's below.

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on all machines
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1, 2, 4, 8, 16, 32
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE, _IOCTL = 1 << 7, 1 << 8, 1 << 13, 1 << 14, 1 << 15
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL  # the rights that a file can have
_TCP, _SCOPES = 3, 3  # bind and connect; abstract sockets and signals


def restrict_files(readable: Iterable[str], writable: Iterable[str]) -> bool:
    """Leave this process only these folders and files; False where the kernel cannot do that."""
    import ctypes

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
    for paths, allowed in ((readable, _READ), (writable, rights & _WRITE)):
        for path in paths:
            _allow_beneath(c, ruleset, path, allowed)
    done = c.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and c.syscall(_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return bool(done)


def _allow_beneath(c: "ctypes.CDLL", ruleset: int, path: str, allowed: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine
    if not os.path.isdir(path):
        allowed &= _OF_FILES
    c.syscall(_ADD, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, place), 0)
    os.close(place)


# System calls: a seccomp filter is a small program that the kernel runs at every call of a process and of all
# its threads; it cannot be taken off again. What is not listed here is refused, so a call that a newer kernel
# adds is, too. Source: seccomp(2) and the kernel's seccomp_filter.rst; the numbers are those of
# ``asm/unistd_64.h`` (x86_64) and ``asm-generic/unistd.h`` (aarch64), -1 where that machine has none.

_ALLOWED = {
    # What is open already, and pipes.
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "preadv": (295, 69), "pwritev": (296, 70), "preadv2": (327, 286),
    "pwritev2": (328, 287), "lseek": (8, 62), "close": (3, 57), "dup": (32, 23), "dup2": (33, -1),
    "dup3": (292, 24), "pipe": (22, -1), "pipe2": (293, 59), "sendfile": (40, 71),
    "copy_file_range": (326, 285), "fsync": (74, 82), "fdatasync": (75, 83), "fadvise64": (221, 223),
    # Files by name, where Landlock lets it: opening, listing, and in its own folder making and removing.
    "open": (2, -1), "openat": (257, 56), "creat": (85, -1), "stat": (4, -1), "fstat": (5, 80),
    "lstat": (6, -1), "newfstatat": (262, 79), "statx": (332, 291), "access": (21, -1),
    "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, -1), "readlinkat": (267, 78),
    "getdents": (78, -1), "getdents64": (217, 61), "getcwd": (79, 17), "chdir": (80, 49),
    "fchdir": (81, 50), "statfs": (137, 43), "fstatfs": (138, 44), "umask": (95, 166),
    "rename": (82, -1), "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, -1),
    "mkdirat": (258, 34), "rmdir": (84, -1), "unlink": (87, -1), "unlinkat": (263, 35),
    "truncate": (76, 45), "ftruncate": (77, 46),
    # Its own memory, as far as its limit goes.
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "brk": (12, 214),
    "madvise": (28, 233), "msync": (26, 227), "mincore": (27, 232), "get_mempolicy": (239, 236),
    "membarrier": (324, 283), "mseal": (462, 462),
    # Its own threads (``clone`` is judged below) and their order; others' priorities can be read only.
    "futex": (202, 98), "futex_waitv": (449, 449), "set_robust_list": (273, 99),
    "set_tid_address": (218, 96), "rseq": (334, 293), "arch_prctl": (158, -1), "exit": (60, 93),
    "exit_group": (231, 94), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126),
    "sched_rr_get_interval": (148, 127), "getpriority": (140, 141), "getcpu": (309, 168),
    # Its own signals, alarms and clocks: a grader may set itself a time limit.
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139),
    "rt_sigpending": (127, 136), "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133),
    "sigaltstack": (131, 132), "restart_syscall": (219, 128), "pause": (34, -1), "alarm": (37, -1),
    "setitimer": (38, 103), "getitimer": (36, 102), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, -1),
    # Waiting, and a socket pair (judged below) to wait on, as asyncio does. It leads nowhere.
    "poll": (7, -1), "ppoll": (271, 73), "select": (23, -1), "pselect6": (270, 72),
    "epoll_create": (213, -1), "epoll_create1": (291, 20), "epoll_ctl": (233, 21),
    "epoll_wait": (232, -1), "epoll_pwait": (281, 22), "epoll_pwait2": (441, 441), "eventfd": (284, -1),
    "eventfd2": (290, 19), "timerfd_create": (283, 85), "timerfd_settime": (286, 86),
    "timerfd_gettime": (287, 87), "signalfd": (282, -1), "signalfd4": (289, 74), "recvfrom": (45, 207),
    "shutdown": (48, 210), "getsockname": (51, 204), "getpeername": (52, 205), "getsockopt": (55, 209),
    # Who and where it is, and what it has used.
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174),
    "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "getresuid": (118, 148),
    "getresgid": (120, 150), "getgroups": (115, 158), "getpgrp": (111, -1), "getpgid": (121, 155),
    "getsid": (124, 156), "uname": (63, 160), "sysinfo": (99, 179), "times": (100, 153),
    "getrusage": (98, 165), "getrlimit": (97, 163), "getrandom": (318, 278),
}  # fmt: skip
# Allowed only when one argument (counted from 0) has one of these values; None: when it is a null pointer.
_OWN = -1  # stands for the number of this process
_JUDGED: Mapping[str, tuple[tuple[int, int], int, tuple[int, ...] | None]] = {
    # Exactly a thread, as glibc and musl make it: no process, no namespace, no open files of its own.
    "clone": ((56, 220), 0, (0x3D0F00, 0x7D0F00)),
    # Signals to its own threads: abort() and raise() are that.
    "tgkill": ((234, 131), 0, (_OWN,)),
    # A pair of Unix sockets, and only to its other end.
    "socketpair": ((53, 199), 0, (1,)),
    "sendto": ((44, 206), 4, None),
    # Duplicates, flags, record locks. Not: who gets a signal (F_SETOWN, F_SETSIG), leases, larger pipes.
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)),
    # Is it a terminal, how large, how much is there to read, close it on exec, do not block.
    "ioctl": ((16, 29), 1, (0x5401, 0x5413, 0x802C542A, 0x541B, 0x5421, 0x5450, 0x5451)),
    # Names (of threads, of memory) and questions.
    "prctl": ((157, 167), 0, (2, 3, 15, 16, 21, 23, 39, 51, 56, 0x53564D41)),
    # Limits can be read, not set.
    "prlimit64": ((302, 261), 2, None),
}
# What is refused, then, by families. Network: socket, connect, sendmsg (which could hide open files in a
# socket), setsockopt. Processes: fork, execve, clone3 (whose flags a filter cannot see; libc then takes
# clone), wait4, setsid, setuid and its kin. What is others': kill, ptrace, process_vm_*, pidfd_*, kcmp,
# setpriority, sched_set*, ioprio_set, migrate_pages. Files that are not its own, which Landlock leaves
# open: chmod, chown, utimes, *xattr, file_setattr, flock, link, symlink, mknod, name_to_handle_at, inotify,
# fanotify, quotactl. Memory or disk that no limit counts: memfd, shm, sem, msg, mq, fallocate, vmsplice,
# io_setup, mlock, keys. The machine: mount and its kin, reboot, kexec, modules, swap, acct, clocks, host
# names, syslog. Wide doors into the kernel: bpf, io_uring, userfaultfd, perf_event_open, seccomp,
# landlock_*, modify_ldt. close_range could give a thread open files of its own, which are checked then
# by nobody; Python closes one by one instead.
_MACHINES = {"x86_64": (0, 0xC000003E, 334), "aarch64": (1, 0xC00000B7, 294)}
"""Column above, AUDIT_ARCH_…, and the last number of the time before both had the same."""

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_X32 = 0x40000000

# Classic BPF, linux/bpf_common.h: load a word, compare, return.
_LOAD, _EQUAL, _ABOVE, _AT_LEAST, _RETURN = 0x20, 0x15, 0x25, 0x35, 0x06
_ALLOW = 0x7FFF0000
_NR, _ARCH, _ARGUMENTS = 0, 4, 16  # struct seccomp_data


def restrict_calls() -> bool:
    """Refuse every other system call to this process, for good; False where there is no such filter."""
    import ctypes

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    if platform.machine() not in _MACHINES:
        return False
    code = call_filter(platform.machine(), os.getpid())
    program = Program(len(code) // 8, code)
    c = ctypes.CDLL(None, use_errno=True)
    if c.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(c.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def call_filter(machine: str, own: int) -> bytes:
    """The filter as BPF, 8 bytes an instruction, for ``x86_64`` or ``aarch64`` and the process ``own``."""
    column, arch, last = _MACHINES[machine]
    no, yes = _refusal(errno.EPERM), _step(_RETURN, _ALLOW)
    steps = [_step(_LOAD, _ARCH), _step(_EQUAL, arch, 1, 0), no, _step(_LOAD, _NR)]
    if machine == "x86_64":
        steps += [_step(_AT_LEAST, _X32, 0, 1), no]  # the same calls once more, under other numbers
    for numbers in _ALLOWED.values():
        if numbers[column] >= 0:
            steps += [_step(_EQUAL, numbers[column], 0, 1), yes]
    for numbers, argument, values in _JUDGED.values():
        place = _ARGUMENTS + 8 * argument
        if values is None:  # both halves of a pointer
            inner = [_step(_LOAD, place), _step(_EQUAL, 0, 0, 3), _step(_LOAD, place + 4)]
            inner += [_step(_EQUAL, 0, 0, 1), yes, no]
        else:  # flags and numbers, of which the kernel reads the lower half
            inner = [_step(_LOAD, place)]
            for value in values:
                inner += [_step(_EQUAL, own if value == _OWN else value, 0, 1), yes]
            inner.append(no)
        steps += [_step(_EQUAL, numbers[column], 0, len(inner)), *inner]
    # As a kernel answers that does not know a call yet; libc then takes an older one.
    steps += [_step(_ABOVE, last, 0, 1), _refusal(errno.ENOSYS), no]
    return b"".join(steps)


def _refusal(number: int) -> bytes:
    return _step(_RETURN, 0x00050000 | number)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_so, if_not, value)


# What Python itself refuses, with a sentence that says so. An audit hook sees every attempt that goes through
# Python, on every system; it cannot be taken off, but C code can go around it (PEP 578), and so can code that
# changes Python's own modules. On Linux the kernel stands behind it; elsewhere it is what there is.

_REFUSED = {
    **dict.fromkeys(
        ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"),
        "a grader may start no process",
    ),
    **dict.fromkeys(("os.kill", "os.killpg"), "a grader may send no signal"),
    **dict.fromkeys(
        ("os.chmod", "os.chown", "os.chflags", "os.utime", "os.setxattr", "os.removexattr", "os.link",
         "os.symlink"),
        "a grader may change no permissions, owners or times, and make no links",
    ),
}  # fmt: skip
_CHANGES = ("os.remove", "os.rmdir", "os.rename", "os.truncate", "os.mkdir", "shutil.rmtree", "shutil.move")
_READS = ("os.listdir", "os.scandir", "os.chdir")


def install_hook(readable: Sequence[str], folder: str, *, reading: bool) -> None:
    """Refuse network, processes, signals and changes from now on, and with ``reading`` reads outside, too."""
    import socket

    realpath, unix = os.path.realpath, socket.AF_UNIX
    inside = tuple(realpath(path) for path in (*readable, folder))

    def within(path: object, folders: Sequence[str]) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a number of an open file
        real = realpath(os.fsdecode(path))
        return any(real == place or real.startswith(place + os.sep) for place in folders)

    def refuse(event: str, values: tuple[object, ...]) -> None:
        if event.startswith("socket."):
            pair = event == "socket.__new__" and values[1] == unix
            if not pair:
                raise PermissionError("a grader has no network")
        elif event in _REFUSED:
            raise PermissionError(_REFUSED[event])
        elif event in _CHANGES and not all(within(path, inside[-1:]) for path in values[:2]):
            raise PermissionError(f"a grader may not change {values[0]!r}")
        elif reading and (event in _READS or event == "open") and not within(values[0], inside):
            raise PermissionError(f"a grader may not read {values[0]!r}")
        elif reading and event == "open" and _writes(values) and not within(values[0], inside[-1:]):
            raise PermissionError(f"a grader may not write {values[0]!r}")

    sys.addaudithook(refuse)


def _writes(values: tuple[object, ...]) -> bool:
    flags = values[2] if len(values) > 2 and isinstance(values[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
