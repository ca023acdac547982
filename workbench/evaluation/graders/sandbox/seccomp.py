"""What a sealed process may not ask the Linux kernel for: network, other processes, side doors.

A seccomp filter is a small program that the kernel runs at every system call of a process and of all its
threads; it cannot be taken off again. Source: seccomp(2) and the kernel's seccomp_filter.rst; the numbers
are those of ``asm/unistd_64.h`` (x86_64) and ``asm-generic/unistd.h`` (aarch64).
"""

import ctypes
import errno
import platform
import struct

# Each call with its number on x86_64 and on aarch64; -1: that machine has none.
_DENIED = {
    # Network. A socket pair stays: it leads nowhere, and asyncio needs one.
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    # New processes (clone is judged by its flags below), and signals to those there are.
    "fork": (57, -1),
    "vfork": (58, -1),
    "execve": (59, 221),
    "execveat": (322, 281),
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "setpriority": (141, 140),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    # What belongs to other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    # Memory that no limit counts, or that stays behind.
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    # The limits themselves, and side doors into the kernel.
    "setrlimit": (160, 164),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
}
_CLONE, _CLONE3, _PRCTL, _PRLIMIT = (56, 220), (435, 435), (157, 167), (302, 261)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH_…

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000

# Classic BPF, linux/bpf_common.h: load a word, compare, return.
_LOAD, _EQUAL, _ABOVE, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000
_NR, _ARCH, _ARGUMENTS = 0, 4, 16  # struct seccomp_data


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict() -> bool:
    """Forbid all of the above to this process, for good; False where the machine has no such filter."""
    column, arch = _MACHINES.get(platform.machine(), (-1, 0))
    if column < 0:
        return False
    code = _filter(column, arch)
    program = _Program(len(code) // 8, code)
    c = ctypes.CDLL(None, use_errno=True)
    if c.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(c.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def end_with_parent() -> None:
    """Be killed as soon as the thread that started this process ends, whatever runs here then."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def _filter(column: int, arch: int) -> bytes:
    no, unknown = _refusal(errno.EPERM), _refusal(errno.ENOSYS)
    steps = [_step(_LOAD, _ARCH), _step(_EQUAL, arch, 1, 0), no, _step(_LOAD, _NR)]
    if column == 0:
        steps += [_step(_ABOVE, _X32, 0, 1), no]  # the same calls once more, under other numbers
    for numbers in _DENIED.values():
        if numbers[column] >= 0:
            steps += [_step(_EQUAL, numbers[column], 0, 1), no]
    # A thread is allowed, a process is not. clone3 hides its flags from a filter; glibc then takes clone.
    steps += [_step(_EQUAL, _CLONE3[column], 0, 1), unknown]
    steps += [_step(_EQUAL, _CLONE[column], 0, 4), _step(_LOAD, _ARGUMENTS)]
    steps += [_step(_SET, _CLONE_THREAD, 1, 0), no, _step(_RETURN, _ALLOW)]
    # It must go on ending with its parent.
    steps += [_step(_EQUAL, _PRCTL[column], 0, 4), _step(_LOAD, _ARGUMENTS)]
    steps += [_step(_EQUAL, _PR_SET_PDEATHSIG, 0, 1), no, _step(_RETURN, _ALLOW)]
    # Limits may be read, not set: the third argument (64 bits) is empty then.
    steps += [_step(_EQUAL, _PRLIMIT[column], 0, 5)]
    steps += [_step(_LOAD, _ARGUMENTS + 16), _step(_EQUAL, 0, 0, 2)]
    steps += [_step(_LOAD, _ARGUMENTS + 20), _step(_EQUAL, 0, 1, 0), no, _step(_RETURN, _ALLOW)]
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _refusal(number: int) -> bytes:
    return _step(_RETURN, 0x00050000 | number)


def _step(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_so, if_not, value)
