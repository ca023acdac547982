"""Attempts to get out of the sandbox of python graders, and the victim that would show it.

Run as a script it makes them as the user who runs it: ``sandbox_attacks.py FOLDER`` prints what succeeded.
"""

import json
import os
import platform
import socket
import sys
from pathlib import Path

from workbench.evaluation.graders.sandbox import close_sandboxes, run_python

# Every call that is not allowed, with its number on x86_64 and on aarch64 (asm/unistd_64.h of Linux 6.1,
# asm-generic/unistd.h; from 451 on include/uapi/asm-generic/unistd.h of Linux 6.17).
REFUSED = """
_sysctl 156 -, accept 43 202, accept4 288 242, acct 163 89, add_key 248 217, adjtimex 159 171,
afs_syscall 183 -, bind 49 200, bpf 321 280, cachestat 451 451, capget 125 90, capset 126 91,
chmod 90 -, chown 92 -, chroot 161 51, clock_adjtime 305 266, clock_settime 227 112, clone3 435 435,
close_range 436 436, connect 42 203, create_module 174 -, delete_module 176 106,
epoll_ctl_old 214 -, epoll_wait_old 215 -, execve 59 221, execveat 322 281, fallocate 285 47,
fanotify_init 300 262, fanotify_mark 301 263, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452,
fchown 93 55, fchownat 260 54, fgetxattr 193 10, file_getattr 468 468, file_setattr 469 469,
finit_module 313 273, flistxattr 196 13, flock 73 32, fork 57 -, fremovexattr 199 16,
fsconfig 431 431, fsetxattr 190 7, fsmount 432 432, fsopen 430 430, fspick 433 433,
futex_requeue 456 456, futex_wait 455 455, futex_wake 454 454, futimesat 261 -,
get_kernel_syms 177 -, get_robust_list 274 100, get_thread_area 211 -, getpmsg 181 -,
getxattr 191 8, getxattrat 464 464, init_module 175 105, inotify_add_watch 254 27,
inotify_init 253 -, inotify_init1 294 26, inotify_rm_watch 255 28, io_cancel 210 3,
io_destroy 207 1, io_getevents 208 4, io_pgetevents 333 292, io_setup 206 0, io_submit 209 2,
io_uring_enter 426 426, io_uring_register 427 427, io_uring_setup 425 425, ioperm 173 -, iopl 172 -,
ioprio_get 252 31, ioprio_set 251 30, kcmp 312 272, kexec_file_load 320 294, kexec_load 246 104,
keyctl 250 219, kill 62 129, landlock_add_rule 445 445, landlock_create_ruleset 444 444,
landlock_restrict_self 446 446, lchown 94 -, lgetxattr 192 9, link 86 -, linkat 265 37,
listen 50 201, listmount 458 458, listxattr 194 11, listxattrat 465 465, llistxattr 195 12,
lookup_dcookie 212 18, lremovexattr 198 15, lsetxattr 189 6, lsm_get_self_attr 459 459,
lsm_list_modules 461 461, lsm_set_self_attr 460 460, map_shadow_stack 453 453, mbind 237 235,
memfd_create 319 279, memfd_secret 447 447, migrate_pages 256 238, mknod 133 -, mknodat 259 33,
mlock 149 228, mlock2 325 284, mlockall 151 230, modify_ldt 154 -, mount 165 40,
mount_setattr 442 442, move_mount 429 429, move_pages 279 239, mq_getsetattr 245 185,
mq_notify 244 184, mq_open 240 180, mq_timedreceive 243 183, mq_timedsend 242 182,
mq_unlink 241 181, msgctl 71 187, msgget 68 186, msgrcv 70 188, msgsnd 69 189, munlock 150 229,
munlockall 152 231, name_to_handle_at 303 264, nfsservctl 180 42, open_by_handle_at 304 265,
open_tree 428 428, open_tree_attr 467 467, openat2 437 437, perf_event_open 298 241,
personality 135 92, pidfd_getfd 438 438, pidfd_open 434 434, pidfd_send_signal 424 424,
pivot_root 155 41, pkey_alloc 330 289, pkey_free 331 290, pkey_mprotect 329 288,
process_madvise 440 440, process_mrelease 448 448, process_vm_readv 310 270,
process_vm_writev 311 271, ptrace 101 117, putpmsg 182 -, query_module 178 -, quotactl 179 60,
quotactl_fd 443 443, readahead 187 213, reboot 169 142, recvmmsg 299 243, recvmsg 47 212,
remap_file_pages 216 234, removexattr 197 14, removexattrat 466 466, request_key 249 218,
rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, sched_getattr 315 275,
sched_setaffinity 203 122, sched_setattr 314 274, sched_setparam 142 118,
sched_setscheduler 144 119, seccomp 317 277, security 185 -, semctl 66 191, semget 64 190,
semop 65 193, semtimedop 220 192, sendmmsg 307 269, sendmsg 46 211, set_mempolicy 238 237,
set_mempolicy_home_node 450 450, set_thread_area 205 -, setdomainname 171 162, setfsgid 123 152,
setfsuid 122 151, setgid 106 144, setgroups 116 159, sethostname 170 161, setns 308 268,
setpgid 109 154, setpriority 141 140, setregid 114 143, setresgid 119 149, setresuid 117 147,
setreuid 113 145, setrlimit 160 164, setsid 112 157, setsockopt 54 208, settimeofday 164 170,
setuid 105 146, setxattr 188 5, setxattrat 463 463, shmat 30 196, shmctl 31 195, shmdt 67 197,
shmget 29 194, socket 41 198, splice 275 76, statmount 457 457, swapoff 168 225, swapon 167 224,
symlink 88 -, symlinkat 266 36, sync 162 81, sync_file_range 277 84, sync_file_range2 - 84,
syncfs 306 267, sysfs 139 -, syslog 103 116, tee 276 77, timer_create 222 107, timer_delete 226 111,
timer_getoverrun 225 109, timer_gettime 224 108, timer_settime 223 110, tkill 200 130,
tuxcall 184 -, umount2 166 39, unshare 272 97, uselib 134 -, userfaultfd 323 282, ustat 136 -,
utime 132 -, utimensat 280 88, utimes 235 -, vfork 58 -, vhangup 153 58, vmsplice 278 75,
vserver 236 -, wait4 61 260, waitid 247 95
"""
NUMBERS = {
    name: {"x86_64": int(x86) if x86 != "-" else -1, "aarch64": int(arm) if arm != "-" else -1}
    for name, x86, arm in (entry.split() for entry in REFUSED.replace("\n", " ").split(","))
}

# A grader that makes attempts: each is Python that raises OSError when it is refused.
SOURCE = """
import ctypes, errno, fcntl, os, socket, struct
c = ctypes.CDLL(None, use_errno=True)
found, home = [], os.getcwd()

def call(name, *arguments):
    number = name if isinstance(name, int) else numbers[name]
    if number < 0:
        raise OSError(errno.ENOSYS, "not on this machine")
    ctypes.set_errno(0)
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    done = c.syscall(ctypes.c_long(number), *given)
    if done == -1:
        raise OSError(ctypes.get_errno(), name)
    return done

def grade(sample, item):
    global numbers
    numbers = item["numbers"]
    found.clear()
    for attempt in item["attempts"]:
        os.chdir(home)
        with open("own", "w") as file:
            file.write("mine")
        names = dict(globals(), **item["names"])
        try:
            exec(attempt, names)
            found.append(attempt)
        except OSError as error:
            if error.errno in (errno.EFAULT, errno.EINVAL, errno.EBADF, errno.ESRCH, errno.ECHILD):
                found.append(f"{attempt}: {error}")
        except BaseException as error:
            found.append(f"{attempt}: {error!r}")
    return len(found)

def explain(sample, item):
    return " | ".join(found)
"""

# What an ordinary program of the same user may do to the file and the folder of the victim.
ON_FILES = [
    "open(v).read()",
    "open(v, 'w')",
    "open(v, 'a')",
    "os.open(v, os.O_RDWR)",
    "os.listdir(d)",
    "list(os.scandir(d))",
    "os.chmod(v, 0o666)",
    "os.chmod(f'/proc/self/fd/{os.open(v, os.O_PATH)}', 0o666)",
    "os.chmod(d, 0o777)",
    "os.chown(v, os.getuid(), os.getgid())",
    "os.lchown(v, -1, -1)",
    "os.utime(v)",
    "os.utime(v, (1, 1), follow_symlinks=False)",
    "os.setxattr(v, 'user.mine', b'1')",
    "call('chmod', v.encode(), 0o666)",
    "call('fchmodat', -100, v.encode(), 0o666)",
    "call('chown', v.encode(), os.getuid(), -1)",
    "call('lchown', v.encode(), os.getuid(), -1)",
    "call('fchownat', -100, v.encode(), os.getuid(), -1, 0)",
    "call('utime', v.encode(), None)",
    "call('utimes', v.encode(), None)",
    "call('futimesat', -100, v.encode(), None)",
    "call('utimensat', -100, v.encode(), None, 0)",
    "call('setxattr', v.encode(), b'user.mine', b'1', 1, 0)",
    "call('lsetxattr', v.encode(), b'user.mine', b'1', 1, 0)",
    "call('inotify_add_watch', call('inotify_init1', 0), v.encode(), 2)",
    "call('linkat', -100, v.encode(), -100, (d + '/link').encode(), 0)",
    "call('symlinkat', v.encode(), -100, (d + '/symlink').encode())",
    "call('mknodat', -100, (d + '/fifo').encode(), 0o010600, 0)",
    "os.link(v, d + '/hard')",
    "os.symlink(v, d + '/soft')",
    "os.mkfifo(d + '/pipe')",
    "os.mkdir(d + '/made')",
    "open(d + '/new', 'w')",
    "__import__('shutil').copyfile(v, 'copy')",
    "os.truncate(v, 0)",
    "os.replace('own', d + '/moved')",
    "os.rename(v, d + '/away') or os.rename(d + '/away', v)",
    "os.rmdir(d + '/sub')",
    "os.remove(v)",
]
# What no grader needs. Some would fail for other users anyway, none may fail for its arguments only.
OTHERS = [
    # Files, by other ways.
    "open('/proc/self/root' + v)",
    "open('/proc/self/cwd/../..' + v)",
    "open(f'/proc/{p}/root' + v)",
    "os.chdir(d) or open(os.path.basename(v))",
    "os.open(os.path.basename(v), 0, dir_fd=os.open(d, os.O_PATH))",
    "open(f'/proc/self/fd/{os.open(v, os.O_PATH)}')",
    "call('openat2', -100, v.encode(), struct.pack('QQQ', 0, 0, 0), 24)",
    "call('fchmodat2', -100, v.encode(), 0o666, 0)",
    "call('setxattrat', -100, v.encode(), 0, b'user.mine', struct.pack('QII', 0, 0, 0), 16)",
    "call('file_setattr', -100, v.encode(), bytes(24), 24, 0)",
    "call('name_to_handle_at', -100, v.encode(), bytes(200), bytes(8), 0)",
    "call('open_by_handle_at', -100, bytes(200), 0)",
    "call('fanotify_init', 0, 0)",
    "os.chmod(os.__file__, 0o666)",
    "os.utime(os.__file__)",
    "call('fchmod', os.open(os.__file__, 0), 0o666)",
    "call('fchown', os.open(os.__file__, 0), -1, -1)",
    "call('flock', os.open(os.__file__, 0), 6)",
    "fcntl.fcntl(os.open(os.__file__, 0), 1024, 0)",
    "fcntl.ioctl(os.open(os.__file__, 0), 0x40086602, struct.pack('l', 0))",
    "call('symlink', b'/etc/passwd', b'link')",
    "call('quotactl', 0, None, 0, None)",
    "call('fallocate', os.open('own', 2), 1, 0, 10**6)",
    "call('swapon', v.encode(), 0)",
    "call('acct', v.encode())",
    "call('chroot', d.encode())",
    "call('mount', d.encode(), d.encode(), None, 4096, None)",
    "call('open_tree', -100, d.encode(), 1)",
    "call('fsopen', b'tmpfs', 0)",
    "open('/etc/passwd')",
    "open('/etc/hostname')",
    "os.listdir('/')",
    "os.listdir(os.path.expanduser('~root'))",
    "os.rmdir(os.getcwd())",
    # What others are and do, in /proc and /dev.
    *(f"open('/proc/{whose}/{file}', 'rb').read(1)" for whose, file in (
        ("self/net", "tcp"), ("self/task/self", "comm"), ("self", "mountinfo"), ("self", "environ"),
        ("net", "unix"), ("sys/kernel", "hostname"), ("1", "environ"), ("1", "cmdline"))),
    *(f"open(f'/proc/{{p}}/{file}', 'rb').read(1)" for file in ("environ", "mem", "maps", "cmdline", "stat")),
    "os.listdir(f'/proc/{p}/fd')",
    "open('/proc/self/oom_score_adj', 'w')",
    "open('/proc/self/mem', 'r+b')",
    "open('/dev/kmsg')",
    "open('/dev/mem')",
    "open('/dev/tty')",
    "os.listdir('/dev/shm')",
    # Signals.
    "os.kill(p, 0)",
    "os.killpg(os.getpgid(p), 0)",
    "call('kill', p, 0)",
    "call('kill', -1, 0)",
    "call('tkill', p, 0)",
    "call(234 if m == 'x86_64' else 131, p, p, 0)",
    "call('rt_sigqueueinfo', p, 0, bytes(128))",
    "call('pidfd_open', p, 0)",
    "call('pidfd_send_signal', 0, 0, None, 0)",
    "fcntl.fcntl(os.pipe()[0], 8, p)",
    "fcntl.fcntl(os.pipe()[0], 10, 9)",
    "fcntl.fcntl(os.pipe()[0], 15, struct.pack('ii', 1, p))",
    "fcntl.ioctl(socket.socketpair()[0], 0x8901, struct.pack('i', p))",
    "fcntl.ioctl(socket.socketpair()[0], 0x8902, struct.pack('i', p))",
    "call('timer_create', 0, None, bytes(8))",
    # Processes.
    "os.fork()",
    "call('fork')",
    "call('vfork')",
    "call(56 if m == 'x86_64' else 220, 17, 0, 0, 0, 0)",
    "call(56 if m == 'x86_64' else 220, 0x3D0B00, 0, 0, 0, 0)",
    "call('clone3', struct.pack('11Q', *[0] * 4, 17, *[0] * 6), 88)",
    "os.posix_spawn('/bin/true', ['true'], {})",
    "os.execv('/bin/true', ['true'])",
    "call('execve', b'/bin/true', None, None)",
    "call('execveat', -100, b'/bin/true', None, None, 0)",
    "os.system('true')",
    "__import__('subprocess').run(['true'])",
    "call('wait4', -1, None, 1, None)",
    "call('setsid')",
    "call('setpgid', 0, 0)",
    "call('unshare', 0x400)",
    "call('unshare', 0x10000000)",
    "call('close_range', 3, 4, 2)",
    "call('setns', 0, 0)",
    # Others' memory, files and priorities.
    "call('ptrace', 16, p, 0, 0)",
    "call('ptrace', 0x4206, p, 0, 0)",
    "call('process_vm_readv', p, bytes(16), 1, bytes(16), 1, 0)",
    "call('process_vm_writev', p, bytes(16), 1, bytes(16), 1, 0)",
    "call('process_madvise', 0, None, 0, 0, 0)",
    "call('pidfd_getfd', 0, 0, 0)",
    "call('kcmp', os.getpid(), p, 0, 0, 0)",
    "call('get_robust_list', p, bytes(8), bytes(8))",
    "call('move_pages', p, 0, None, None, None, 0)",
    "call('migrate_pages', p, 0, None, None)",
    "os.setpriority(os.PRIO_PROCESS, p, 19)",
    "os.nice(1)",
    "os.sched_setaffinity(p, {0})",
    "os.sched_setscheduler(p, os.SCHED_BATCH, os.sched_param(0))",
    "call('sched_setattr', p, bytes(48), 0)",
    "call('ioprio_set', 1, p, 0x6000)",
    "call(302 if m == 'x86_64' else 261, p, 7, struct.pack('QQ', 9, 9), None)",
    "call(302 if m == 'x86_64' else 261, 0, 1, struct.pack('QQ', 2**63, 2**63), None)",
    "call('setrlimit', 7, struct.pack('QQ', 4096, 4096))",
    # Another user, other rights.
    "os.setuid(os.getuid())",
    "os.setgid(os.getgid())",
    "os.setgroups([])",
    "call('setresuid', -1, -1, -1)",
    "call('setfsuid', 0)",
    "call('capset', bytes(8), bytes(24))",
    "call('personality', 0x0400000)",
    *(f"call(157 if m == 'x86_64' else 167, {option}, {value}, 0, 0, 0)"
      for option, value in ((1, 0), (4, 0), (22, 2), (24, 0), (36, 1), (62, 0), (67, 1))),
    # Network.
    "socket.socket()",
    *(f"call('socket', {family}, {kind}, 0)" for family, kind in (
        (1, 1), (2, 1), (2, 3), (10, 2), (16, 3), (17, 3), (38, 5), (40, 1))),
    "call(53 if m == 'x86_64' else 199, 2, 1, 0, bytes(8))",
    "call(53 if m == 'x86_64' else 199, 30, 1, 0, bytes(8))",
    "call('connect', 0, bytes(16), 16)",
    "call('bind', socket.socketpair()[0].fileno(), struct.pack('H', 1), 2)",
    "call('listen', socket.socketpair()[0].fileno(), 1)",
    "call('accept4', 0, None, None, 0)",
    "call(44 if m == 'x86_64' else 206, socket.socketpair(type=socket.SOCK_DGRAM)[0].fileno(), b'x', 1, 0,"
    " struct.pack('H', 1) + b'\\0' + a.encode(), 3 + len(a))",
    "call('sendmsg', 0, bytes(56), 0)",
    "call('setsockopt', socket.socketpair()[0].fileno(), 1, 8, struct.pack('i', 10**7), 4)",
    "socket.getaddrinfo('example.com', 80)",
    # Memory and disk that nobody counts.
    "call('memfd_create', b'x', 0)",
    "call('memfd_secret', 0)",
    "call('shmget', 0, 4096, 0o1600)",
    "call('semget', 0, 1, 0o1600)",
    "call('msgget', 0, 0o1600)",
    "call('mq_open', b'x', 0o102, 0o600, None)",
    "call('io_setup', 1, bytes(8))",
    "call('mlockall', 1)",
    "call('vmsplice', 1, None, 0, 0)",
    "call('splice', 0, None, 1, None, 1, 0)",
    "fcntl.fcntl(os.pipe()[1], 1031, 2**20)",
    "call('add_key', b'user', b'x', b'y', 1, -3)",
    "call('request_key', b'user', b'x', None, 0)",
    "call('keyctl', 0, -3, 1)",
    "__import__('multiprocessing.shared_memory').shared_memory.SharedMemory(create=True, size=9)",
    "__import__('multiprocessing').Lock()",
    # The machine.
    "call('bpf', 0, None, 0)",
    "call('io_uring_setup', 1, bytes(120))",
    "call('userfaultfd', 1)",
    "call('perf_event_open', bytes(128), 0, -1, -1, 0)",
    "call('seccomp', 2, 0, None)",
    "call('landlock_create_ruleset', None, 0, 1)",
    "call('sethostname', b'mine', 4)",
    "call('setdomainname', b'mine', 4)",
    "call('syslog', 10, None, 0)",
    "call('adjtimex', bytes(208))",
    "call('clock_adjtime', 0, bytes(208))",
    "call('settimeofday', None, None)",
    "call('clock_settime', 0, None)",
    "call('umount2', b'/nowhere', 0)",
    "call('swapoff', b'/nowhere')",
    "call('reboot', 1, 2, 3, None)",
    "call('kexec_load', 0, 0, None, 0)",
    "call('init_module', None, 0, b'')",
    "call('delete_module', b'none', 0)",
    "call('iopl', 0)",
    "call('modify_ldt', 0, None, 0)",
    "call('vhangup')",
    "call('sync')",
    "call(0x40000000 + 90, v.encode(), 0o666)",
    "call(9999)",
]  # fmt: skip


class Victim:
    """A file of the service's, its folder, and what a grader could do to them and to this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "victim"
        (self.folder / "sub").mkdir(parents=True)
        self.folder.chmod(0o755)
        self.file = self.folder / "service.json"
        self.file.write_text("secret")
        self.file.chmod(0o600)
        os.utime(self.file, (5, 5))
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = f"workbench-victim-{os.getpid()}"
        self.listening.bind(f"\0{self.address}")
        self.listening.setblocking(False)
        self.before = self.state()

    def state(self) -> dict[str, object]:
        import resource

        one = self.file.stat()
        try:
            heard = self.listening.recv(10)
        except BlockingIOError:
            heard = b""
        return {
            "content": self.file.read_text(),
            "stat": (one.st_mode, one.st_uid, one.st_gid, one.st_mtime, one.st_ctime_ns, one.st_nlink),
            "names": sorted(path.name for path in self.folder.rglob("*")),
            "xattr": os.listxattr(self.file),
            "mode of the folder": self.folder.stat().st_mode,
            "mode of a package": os.stat(os.__file__).st_mode,
            "limits": [resource.getrlimit(kind) for kind in range(16)],
            "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "processors": sorted(os.sched_getaffinity(0)),
            "host": socket.gethostname(),
            "heard": heard,
        }

    def item(self, attempts: list[str]) -> dict[str, object]:
        names = {"v": str(self.file), "d": str(self.folder), "a": self.address}
        return item(attempts, **names)


def item(attempts: list[str], **names: str) -> dict[str, object]:
    """What ``SOURCE`` reads: v the file, d its folder, a an abstract socket, p the parent, m the machine."""
    machine = platform.machine()
    numbers = {name: number[machine] for name, number in NUMBERS.items()}
    return {"attempts": attempts, "names": {"p": os.getpid(), "m": machine, **names}, "numbers": numbers}


def attack(folder: Path) -> dict[str, object]:
    """What succeeded, in a sandbox, and what is different afterwards."""
    victim = Victim(folder)
    ran = run_python(SOURCE, "", victim.item([*ON_FILES, *OTHERS]))
    after = victim.state()
    victim.listening.close()
    changed = {key: (value, after[key]) for key, value in victim.before.items() if after[key] != value}
    return {"problem": ran.problem, "succeeded": ran.reason, "changed": changed}


def main(folder: str) -> None:
    try:
        outcome = attack(Path(folder))
    finally:
        close_sandboxes()
    print(json.dumps({"uid": os.getuid(), **outcome}))


if __name__ == "__main__":
    main(sys.argv[1])
