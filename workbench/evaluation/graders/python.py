"""Python graders: a source with ``grade(sample, item)``, run in sandboxes that stay open for the next answer.

Each source has sandboxes of its own, so no grader meets another. A process that hangs or dies takes only
the answer at hand with it. Which packages a grader may import differs: here those installed beside the
workbench, on the service those that it lists.
"""

import atexit
import math
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from workbench.errors import SetupError
from workbench.evaluation.graders.sandboxes import Limits, Sandbox, SandboxError, as_line

LONGEST_SOURCE = 256 * 1024  # bytes; the service's own limit
LIMITS = Limits()
_AT_ONCE = max(2, os.cpu_count() or 2)  # of one source; each works as hard as a thread of ours
_OPEN = 16  # of all sources, some 20 MB each


class Ran(NamedTuple):
    """What came of one answer: a score, or a problem and its kind."""

    score: float
    reason: str
    """In the grader's own words, when it has a function ``explain(sample, item)``; else empty."""
    problem: str
    kind: str
    """Empty; ``code`` when the source raised or returned no number; else as in ``SandboxError``."""


def run_python(source: str, output_text: str, item: Mapping[str, object], limits: Limits = LIMITS) -> Ran:
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


def load_problem(source: str, limits: Limits = LIMITS) -> str:
    """What keeps this source from being a grader; empty when nothing does. Loads it in a sandbox."""
    size = len(source.encode("utf-8", "replace"))
    if size > LONGEST_SOURCE:
        return f"it has {size:,} bytes; at most {LONGEST_SOURCE:,} run"
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


def _need_start(error: SandboxError) -> None:
    if error.kind == "start":
        raise SetupError(f"Python graders cannot run on this machine: a grader {error}.") from error


class _Unloadable(Exception):  # noqa: N818 (of a source, not an accident)
    """The source is no grader."""


_Key: TypeAlias = tuple[str, Limits]


@dataclass
class _Pool:
    """The open sandboxes of this process; idle ones wait by source."""

    owner: int = field(default_factory=os.getpid)
    change: threading.Condition = field(default_factory=threading.Condition)
    idle: dict[_Key, list[Sandbox]] = field(default_factory=dict)  # the source used last comes last
    busy: Counter[_Key] = field(default_factory=Counter)
    alive: set[Sandbox] = field(default_factory=set)
    closed: bool = False
    # A sandbox is killed when the thread that started it ends; this one ends with us.
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "grader-start"))

    @contextmanager
    def sandbox(self, source: str, limits: Limits) -> Iterator[Sandbox]:
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

    def _open(self, limits: Limits) -> Sandbox:
        try:
            sandbox = self.starter.submit(Sandbox, limits).result()
        except (OSError, RuntimeError) as error:  # no such interpreter; closed meanwhile
            raise SandboxError("start", f"got no sandbox: {error}") from error
        with self.change:
            self.alive.add(sandbox)
            if self.closed:
                sandbox.kill()
        return sandbox

    def _give_back(self, key: _Key, sandbox: Sandbox | None, usable: bool) -> None:
        leaving = []
        with self.change:
            self.busy[key] -= 1
            if not self.busy[key]:
                del self.busy[key]
            if sandbox is not None and usable and not self.closed:
                self.idle[key] = [*self.idle.pop(key, []), sandbox]
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
        if len(waiting) == 1:
            del self.idle[key]
        return waiting.pop(0)


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
