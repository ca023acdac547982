"""One sandbox: a process that runs one source of Python for us, and is killed when it goes too far.

It has no network, starts no process, sees nothing of our environment, reads only Python and its packages,
writes only into a folder of its own, and has limits of time, memory and disk. On Linux the kernel holds it
to that (seccomp, Landlock, rlimits). Elsewhere Python's audit hook does, which C code can go around, and
memory and disk are only looked at ten times a second: grade a stranger's code on Linux.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 0.1  # seconds between two looks at memory and disk
_START = 60.0  # seconds for Python to start; not the grader's time
_LONGEST_REPLY = 64 * 1024  # bytes
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from sandbox.child import main
main(memory=int(sys.argv[2]), disk=int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Limits:
    """What one call of a python grader may use; the defaults are the service's own.

    Source: Microsoft Learn, "Reinforcement fine-tuning" (10/05/2026), python graders.
    """

    seconds: float = 120.0
    memory: int = 2 * 1024**3
    """Bytes of address space, with Python itself and what the grader imports."""
    disk: int = 1024**3
    """Bytes in its own folder."""


class SandboxError(Exception):
    """The process ended, or had to: ``kind`` is timeout, memory, disk, output, exit, closed or start."""

    def __init__(self, kind: str, finding: str) -> None:
        """``finding`` completes the sentence "the grader …"."""
        super().__init__(finding)
        self.kind = kind


class Sandbox:
    """A running process; ask it from one thread at a time, and end it after any ``SandboxError``."""

    def __init__(self, limits: Limits) -> None:
        """Start it; it is killed when the thread that does this ends. Raises ``OSError``."""
        self._limits = limits
        self._folder = tempfile.mkdtemp(prefix="workbench-grader-")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-X", "utf8", "-c", _PROGRAM, *_arguments(limits)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self._folder,
                env=_environment(self._folder),
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

    def hello(self) -> None:
        """Wait until it is sealed; ``guards`` then says by whom. Raises ``SandboxError``."""
        try:
            self.guards = _mapping(self._exchange(b"", _START)["guards"])
        except SandboxError as error:
            raise SandboxError("start", f"got no sandbox: its process {error}") from error

    def ask(self, request: bytes) -> Mapping[str, object]:
        """Send one request (``as_line``) and wait for its reply; raises ``SandboxError``."""
        reply = self._exchange(request, self._limits.seconds)
        try:
            if os.listdir(self._folder):
                self._sweep()
        except (OSError, RecursionError) as error:
            raise SandboxError("disk", f"left a folder that cannot be emptied: {error}") from error
        return reply

    def kill(self) -> None:
        """End the process at once; whoever waits for its reply is told. From any thread."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and remove its folder."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            shutil.rmtree(self._folder, ignore_errors=True)
        except RecursionError:  # folders in folders, thousands deep
            subprocess.run(["rm", "-rf", "--", self._folder], check=False)

    def _exchange(self, request: bytes, seconds: float) -> Mapping[str, object]:
        end = time.monotonic() + seconds
        unsent, reply = self._send(request), bytearray()
        while not reply.endswith(b"\n"):
            ready = dict(self._poll.poll(1000 * min(_PATIENCE, seconds)))
            if time.monotonic() > end:
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
            else:
                self._inspect()
        try:
            return _mapping(json.loads(reply))
        except ValueError as error:
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

    def _inspect(self) -> None:
        import psutil

        with suppress(psutil.Error):  # it just ended, which shows when it is read from
            if psutil.Process(self._process.pid).memory_info().rss > self._limits.memory:
                raise SandboxError("memory", f"took more than {self._limits.memory / 1024**2:,.0f} MB")
        with suppress(RecursionError):  # too deep to be measured now; it cannot be emptied either
            self._measure()

    def _measure(self) -> None:
        size = 0
        for folder, _, names in os.walk(self._folder):
            for name in names:
                with suppress(OSError):  # gone meanwhile
                    size += os.lstat(os.path.join(folder, name)).st_size
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


def _arguments(limits: Limits) -> tuple[str, ...]:
    return str(Path(__file__).parent), str(limits.memory), str(limits.disk)


def _environment(folder: str) -> dict[str, str]:
    """Nothing of ours, so no key of ours; sets in the same order in every run."""
    return {
        "PATH": os.defpath,
        "PYTHONHASHSEED": "0",
        "HOME": folder,
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        **_THREADS,
    }


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise SandboxError("output", "replied with something that is no reply")
    return value
