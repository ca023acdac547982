"""Python graders: a source with ``grade(sample, item)``, run in sandboxes that stay open for the next answer.

Each source has processes of its own (``sandboxed``), so no grader meets another; one that hangs or dies takes
only the answer at hand with it. A sandbox has no network, starts no process, sees nothing of our environment,
reads only Python and its packages, writes only into a folder of its own. On Linux the kernel holds it to that
(seccomp, Landlock, rlimits), and we look ten times a second at what no unprivileged limit covers: disk,
files, threads. Elsewhere Python's audit hook does the first, which C code can go around: grade code of
unknown origin on Linux. Which packages a grader may import differs: here those installed beside the
workbench, on the service those that it lists.
"""

import atexit
import json
import math
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from workbench.catalog.limits import of_provider
from workbench.errors import SetupError

_PATIENCE = 0.1  # seconds between two looks at what a process uses
_START = 60.0  # seconds for Python to start; not the grader's time
_LONGEST_REPLY = 64 * 1024  # bytes
_DEEPEST = 64  # folders in folders
_AT_ONCE = max(2, os.cpu_count() or 2)  # of one source; each works as hard as a thread of ours
_OPEN = 16  # of all sources, some 20 MB each
_LINUX = sys.platform == "linux"
# Nothing of ours, so no key of ours; sets in the same order in every run.
_ENVIRONMENT = {"PATH": os.defpath, "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
_ENVIRONMENT |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from sandboxed import main
sys.path.pop(0)  # what else lies there is not the grader's
main(memory=int(sys.argv[2]), disk=int(sys.argv[3]))
"""


@dataclass(frozen=True)
class SandboxLimits:
    """What one call of a python grader may use; the first three defaults are the service's own.

    Source: Microsoft Learn, "Reinforcement fine-tuning" (10/05/2026), python graders.
    """

    seconds: float = 120.0
    memory: int = 2 * 1024**3
    """Bytes of address space, with Python itself and what the grader imports."""
    disk: int = 1024**3
    """Bytes in its own folder, and in files that it deleted and still has open."""
    files: int = 10_000
    """Files and folders in its own folder."""
    threads: int = 64
    """Threads at a time, its main thread among them."""


LIMITS = SandboxLimits()


class Ran(NamedTuple):
    """What came of one answer: a score, or a problem and its kind."""

    score: float
    reason: str
    """In the grader's own words, when it has a function ``explain(sample, item)``; else empty."""
    problem: str
    kind: str
    """Empty; ``code`` when the source raised or returned no number; else as in ``SandboxError``."""


def run_python(
    source: str, output_text: str, item: Mapping[str, object], limits: SandboxLimits = LIMITS
) -> Ran:
    """Grade one answer; whatever the source does becomes a ``Ran``. Safe from several threads."""
    try:
        request = as_line({"output_text": output_text, "item": item})
    except (TypeError, ValueError, RecursionError) as error:
        return Ran(float("nan"), "", f"the item cannot be written as JSON: {error}", "code")
    try:
        with _pool().sandbox(source, limits) as sandbox:
            reply = sandbox.ask(request)
    except _Unloadable as error:
        return Ran(float("nan"), "", f"grader.source does not load: {error}", "code")
    except SandboxError as error:
        _need_start(error)
        return Ran(float("nan"), "", f"it {error}", error.kind)
    score = reply.get("score")
    if isinstance(score, float) and math.isfinite(score):
        return Ran(score, _said(reply.get("reason", "")), "", "")
    return Ran(float("nan"), "", _said(reply.get("problem", "it replied with no score")), "code")


def load_problem(source: str, limits: SandboxLimits = LIMITS) -> str:
    """What keeps this source from being a grader; empty when nothing does. Loads it in a sandbox."""
    size = len(source.encode("utf-8", "replace"))
    most = of_provider("azure").max_grader_bytes
    if most is not None and size > most:
        return f"it has {size:,} bytes; at most {most:,} run"
    try:
        with _pool().sandbox(source, limits):
            return ""
    except _Unloadable as error:
        return str(error)
    except SandboxError as error:
        _need_start(error)
        return f"it {error}"


def guards() -> Mapping[str, object]:
    """Who holds a grader to its limits on this machine: the kernel, only Python, or nobody."""
    with _pool().sandbox("def grade(sample, item):\n    return 1\n", LIMITS) as sandbox:
        return sandbox.guards


def close_sandboxes() -> None:
    """End every sandbox of this process; what is being graded in one ends with a problem."""
    global _current
    with _opening:
        pool, _current = _current, None
    if pool is not None and pool.owner == os.getpid():
        pool.close()


class SandboxError(Exception):
    """The process ended, or had to.

    ``kind`` is timeout, memory, disk, threads, output, exit, closed or start.
    """

    def __init__(self, kind: str, finding: str) -> None:
        """``finding`` completes the sentence "the grader …"."""
        super().__init__(finding)
        self.kind = kind


class Sandbox:
    """A running process; ask it from one thread at a time, and end it after any ``SandboxError``."""

    def __init__(self, limits: SandboxLimits) -> None:
        """Start it; it is killed when the thread that does this ends. Raises ``OSError``."""
        self._limits = limits
        self._folder = tempfile.mkdtemp(prefix="workbench-grader-")
        arguments = (str(Path(__file__).parent), str(limits.memory), str(limits.disk))
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-B", "-P", "-s", "-X", "utf8", "-c", _PROGRAM, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                env={**_ENVIRONMENT, "HOME": self._folder, "TMPDIR": self._folder},
                start_new_session=True,  # Ctrl-C is for us
            )
        except OSError:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._requests, False)
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)
        self.guards: Mapping[str, object] = {}
        self.stopped = False
        self.used = self._next_look = self._next_long_look = time.monotonic()

    def hello(self) -> None:
        """Wait until it is sealed; ``guards`` then says by whom. Raises ``SandboxError``."""
        try:
            self.guards = self._exchange(b"", _START)
        except SandboxError as error:
            raise SandboxError("start", f"got no sandbox: its process {error}") from error

    def ask(self, request: bytes) -> Mapping[str, object]:
        """Send one request (``as_line``) and wait for its reply; raises ``SandboxError``."""
        if self.stopped:
            self._process.send_signal(signal.SIGCONT)
            self.stopped = False
        reply = self._exchange(request, self._limits.seconds)
        try:
            if os.listdir(self._folder):
                self._sweep()
        except (OSError, RecursionError) as error:
            raise SandboxError("disk", f"left a folder that cannot be emptied: {error}") from error
        return reply

    def stop(self) -> None:
        """Let the process stand still until it is asked again, and look at what it holds.

        What a grader started (threads, alarms) would go on otherwise. Raises ``SandboxError``.
        """
        self._process.send_signal(signal.SIGSTOP)
        self.stopped = True
        self._look()

    def kill(self) -> None:
        """End the process at once; whoever waits for its reply gets an error. From any thread."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and remove its folder."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            shutil.rmtree(self._folder)
        except (OSError, RecursionError):  # folders that nobody may read, or thousands deep
            for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
                subprocess.run([*command, "--", self._folder], check=False, stderr=subprocess.DEVNULL)

    def _exchange(self, request: bytes, seconds: float) -> Mapping[str, object]:
        end = time.monotonic() + seconds
        unsent, reply = self._send(request), bytearray()
        while not reply.endswith(b"\n"):
            ready = dict(self._poll.poll(1000 * min(_PATIENCE, seconds)))
            now = time.monotonic()
            if now > end:
                raise SandboxError("timeout", f"ran longer than {seconds:g} seconds")
            if self._requests in ready:
                unsent = self._send(unsent)
            if self._replies in ready:
                piece = os.read(self._replies, _LONGEST_REPLY)
                reply += piece
                if not piece:
                    raise self._ended()
                if len(reply) > _LONGEST_REPLY:
                    raise SandboxError("output", f"replied with more than {_LONGEST_REPLY:,} bytes")
            if now > self._next_look:  # also between answers that take less than that
                self._look()
        try:
            return _mapping(json.loads(reply))
        except (ValueError, RecursionError) as error:
            raise SandboxError("output", "replied with something that is no reply") from error

    def _send(self, request: bytes) -> bytes:
        """Write what the pipe takes; what it does not take yet is left over."""
        sent = 0
        with suppress(BlockingIOError, BrokenPipeError):  # a process that ended shows when it is read from
            sent = os.write(self._requests, request) if request else 0
        left = request[sent:]
        with suppress(KeyError):
            self._poll.unregister(self._requests)
        if left:
            self._poll.register(self._requests, select.POLLOUT)
        return left

    def _look(self) -> None:
        """Hold the process to what the kernel does not count for us; raises ``SandboxError``."""
        start = time.monotonic()
        with suppress(OSError):  # it just ended, which shows when it is read from
            memory, threads, held = self._usage() if _LINUX else (_memory(self._process.pid), 1, 0)
            if memory > self._limits.memory:
                raise SandboxError("memory", f"took more than {self._limits.memory / 1024**2:,.0f} MB")
            if threads > self._limits.threads:
                raise SandboxError("threads", f"started more than {self._limits.threads} threads")
            self._measure(held)
        if _LINUX and start > self._next_long_look:
            if self._hides():
                time.sleep(0.05)  # a file may be closed, and a process may end, while we read
                if self._hides():
                    raise SandboxError("disk", "hid the files that it has open")
            self._next_long_look = time.monotonic() + 10 * _PATIENCE
        took = time.monotonic() - start
        self._next_look = start + max(_PATIENCE, 10 * took)

    def _usage(self) -> tuple[int, int, int]:
        """Its memory in bytes, its threads, and the bytes of files that it deleted and still has open."""
        fields = self._proc("stat").rpartition(b")")[2].split()  # proc(5), from its third field on
        held = {one.st_ino: _bytes(one) for one in self._opened() if not one.st_nlink}
        return int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), int(fields[17]), sum(held.values())

    def _hides(self) -> bool:
        """Whether what it has open cannot be seen: a file only mapped, or a main thread that is gone."""
        try:
            fields = self._proc("stat").rpartition(b")")[2].split()
            gone = [line for line in self._proc("maps").splitlines() if line.endswith(b" (deleted)")]
            # Its fields: addresses, rights, offset, device, inode, path.
            mapped = {int(line.split()[4]) for line in gone if os.fsencode(self._folder) in line}
            alone = mapped and mapped - {one.st_ino for one in self._opened()}
        except OSError:
            return False
        return bool(alone) or (fields[0] == b"Z" and int(fields[17]) > 1)

    def _opened(self) -> Iterator[os.stat_result]:
        """The regular files that it has open; its threads cannot have others."""
        for number in os.listdir(f"/proc/{self._process.pid}/fd"):
            with suppress(OSError):  # closed meanwhile
                one = os.stat(f"/proc/{self._process.pid}/fd/{number}")
                if stat.S_ISREG(one.st_mode):
                    yield one

    def _proc(self, file: str) -> bytes:
        return Path(f"/proc/{self._process.pid}/{file}").read_bytes()

    def _measure(self, held: int = 0) -> None:
        """Hold its folder, and ``held`` bytes beside it, to the limits of disk and files."""
        size, count, waiting = held, 0, [(self._folder, 0)]
        while waiting:
            folder, depth = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):
                            size += _bytes(entry.stat(follow_symlinks=False))
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((entry.path, depth + 1))
                        count += 1
                        if count > self._limits.files:
                            raise SandboxError(
                                "disk", f"made more than {self._limits.files:,} files and folders"
                            )
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone meanwhile
            except OSError as error:
                raise SandboxError("disk", f"made a folder that cannot be looked into: {error}") from error
            if depth > _DEEPEST:
                raise SandboxError("disk", f"made more than {_DEEPEST} folders in each other")
        if size > self._limits.disk:
            raise SandboxError("disk", f"wrote more than {self._limits.disk / 1024**2:,.0f} MB")

    def _sweep(self) -> None:
        """Every answer finds an empty folder."""
        self._measure()
        for entry in Path(self._folder).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

    def _ended(self) -> SandboxError:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return SandboxError("output", "closed the way on which it replies")
        if code < 0:
            return SandboxError("exit", f"ended its process ({signal.Signals(-code).name})")
        return SandboxError("exit", f"ended its process (exit code {code})")


def as_line(request: Mapping[str, object]) -> bytes:
    """A request as it is sent; what JSON does not know, such as a date, as its text.

    Raises what ``json.dumps`` raises: ``TypeError``, ``ValueError``, ``RecursionError``.
    """
    return json.dumps(request, default=str).encode() + b"\n"


def _mapping(value: object) -> Mapping[str, object]:
    """A reply, which is flat: a grader may have written it itself, a thousand brackets deep."""
    if not isinstance(value, Mapping) or any(isinstance(inner, list | dict) for inner in value.values()):
        raise SandboxError("output", "replied with something that is no reply")
    return value


def _bytes(file: os.stat_result) -> int:
    """What a file takes: holes count as well, and so do blocks beyond its end."""
    return max(file.st_size, 512 * getattr(file, "st_blocks", 0))


def _memory(pid: int) -> int:
    """Resident bytes, where there is no /proc. Raises ``OSError``."""
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error as error:
        raise OSError(str(error)) from error


def _need_start(error: SandboxError) -> None:
    if error.kind == "start":
        raise SetupError(f"Python graders cannot run on this machine: a grader {error}.") from error


class _Unloadable(Exception):  # noqa: N818 (of a source, not an accident)
    """The source is no grader."""


_Key: TypeAlias = tuple[str, SandboxLimits]


@dataclass
class _Pool:
    """The open sandboxes of this process; idle ones wait by source."""

    owner: int = field(default_factory=os.getpid)
    change: threading.Condition = field(default_factory=threading.Condition)
    idle: dict[_Key, list[Sandbox]] = field(default_factory=dict)  # the source used last comes last
    busy: Counter[_Key] = field(default_factory=Counter)
    alive: set[Sandbox] = field(default_factory=set)
    closed: bool = False
    used: threading.Event = field(default_factory=threading.Event)  # since ``_watch`` last found all stopped
    watcher: threading.Thread | None = None
    # A sandbox is killed when the thread that started it ends; this one ends with us.
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "grader-start"))

    @contextmanager
    def sandbox(self, source: str, limits: SandboxLimits) -> Iterator[Sandbox]:
        """Lend a sandbox in which ``source`` is loaded; it is ended when anything goes wrong in it."""
        key = (source, limits)
        sandbox = self._take(key)
        usable = False
        try:
            if sandbox is None:
                sandbox = self._open(limits)
                sandbox.hello()
                _load(sandbox, source)
            yield sandbox
            usable = True
        except SandboxError as error:
            if self.closed:
                raise SandboxError("closed", "was stopped, because sandboxes were closed") from error
            raise
        finally:
            self._give_back(key, sandbox, usable)

    def close(self) -> None:
        """End the idle ones, kill the busy ones: who waits for one ends it."""
        with self.change:
            self.closed = True
            idle = [sandbox for waiting in self.idle.values() for sandbox in waiting]
            self.idle.clear()
            self.alive.difference_update(idle)
            for sandbox in self.alive:
                sandbox.kill()
            self.change.notify_all()
            self.used.set()  # the watcher ends
        for sandbox in idle:
            sandbox.end()
        self.starter.shutdown(wait=False)

    def _take(self, key: _Key) -> Sandbox | None:
        """An idle one, or the right to open one."""
        with self.change:
            self.change.wait_for(lambda: self.closed or self.busy[key] < _AT_ONCE)
            if self.closed:
                raise SandboxError("closed", "was stopped before its turn")
            self.busy[key] += 1
            waiting = self.idle.pop(key, [])
            sandbox = waiting.pop() if waiting else None
            if waiting:
                self.idle[key] = waiting
            return sandbox

    def _open(self, limits: SandboxLimits) -> Sandbox:
        try:
            sandbox = self.starter.submit(Sandbox, limits).result()
        except (OSError, RuntimeError) as error:  # no such interpreter; closed meanwhile
            raise SandboxError("start", f"got no sandbox: {error}") from error
        with self.change:
            self.alive.add(sandbox)
            if self.closed:
                sandbox.kill()
            elif _LINUX and self.watcher is None:  # elsewhere a stopped process would outlive us
                self.watcher = threading.Thread(target=self._watch, name="grader-watch", daemon=True)
                self.watcher.start()
        return sandbox

    def _watch(self) -> None:
        """Stop what has been idle for a while, end what left too much behind; wait while all stand still."""
        while self.used.wait() and not self.closed:
            time.sleep(_PATIENCE)
            leaving = []
            with self.change:
                running = [(key, one) for key in self.idle for one in self.idle[key] if not one.stopped]
                if not running and not self.closed:
                    self.used.clear()
                for key, sandbox in running:
                    if time.monotonic() - sandbox.used < _PATIENCE:
                        continue
                    try:
                        sandbox.stop()
                    except SandboxError:
                        self._drop(key, sandbox)
                        leaving.append(sandbox)
                self.alive.difference_update(leaving)
            for one in leaving:
                one.end()

    def _drop(self, key: _Key, sandbox: Sandbox) -> None:
        self.idle[key].remove(sandbox)
        if not self.idle[key]:
            del self.idle[key]

    def _give_back(self, key: _Key, sandbox: Sandbox | None, usable: bool) -> None:
        leaving = []
        with self.change:
            self.busy[key] -= 1
            if not self.busy[key]:
                del self.busy[key]
            if sandbox is not None and usable and not self.closed:
                self.idle[key] = [*self.idle.pop(key, []), sandbox]
                sandbox.used = time.monotonic()
                if not self.used.is_set():
                    self.used.set()
                if sum(map(len, self.idle.values())) > _OPEN:
                    leaving = [self._oldest()]
            elif sandbox is not None:
                leaving = [sandbox]
            self.alive.difference_update(leaving)
            self.change.notify_all()  # who waits may wait for another source
        for one in leaving:
            one.end()

    def _oldest(self) -> Sandbox:
        """One of the source that was used longest ago, no longer kept."""
        key, waiting = next(iter(self.idle.items()))
        sandbox = waiting[0]
        self._drop(key, sandbox)
        return sandbox


def _load(sandbox: Sandbox, source: str) -> None:
    problem = sandbox.ask(as_line({"source": source})).get("problem")
    if problem is not None:
        raise _Unloadable(_said(problem))


def _said(text: object) -> str:
    """A stranger's words without halves of characters, which neither a file nor an answer can hold."""
    return str(text).encode("utf-8", "replace").decode()


_current: _Pool | None = None
_opening = threading.Lock()


def _pool() -> _Pool:
    """The pool of this process; a forked child leaves its parent's alone."""
    global _current
    with _opening:
        if _current is None or _current.owner != os.getpid():
            _current = _Pool()
        return _current


atexit.register(close_sandboxes)
