"""Rows are checked in pieces, on all cores or on many machines, and the results put together in order.

Where the pieces are checked is the business of an executor from the standard library's
``concurrent.futures``: none (in this process), its pool of processes, or the one of ``dask.distributed``
(``client.get_executor()``, whose workers must see the file under the same path). The findings are the
same, however the rows are cut.
"""

import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, NoReturn, ParamSpec, Protocol, TypeVar

from workbench.dataset.check.report import Findings
from workbench.dataset.check.row import Collector, Finding, Row, RowSource
from workbench.errors import SetupError
from workbench.settings import setting

if TYPE_CHECKING:
    from tqdm import tqdm

SMALL = 8 * 2**20  # bytes up to which starting processes takes longer than looking
BATCH = 256  # rows that collectors get at once
IN_FLIGHT = 32  # pieces that are under way at once, with an executor of unknown size

P = ParamSpec("P")
T = TypeVar("T")


class Piece(Protocol):
    """A stretch of rows, small enough to be sent to another process or machine."""

    @property
    def bytes(self) -> int:
        """How much there is to do."""

    def rows(self, seen: "Scanned") -> Iterator[Row]:
        """The rows whose lines hold an object; ``seen`` learns the lines' length and what is wrong there."""


class Cuttable(RowSource, Protocol):
    """A source that comes in pieces."""

    @property
    def bytes(self) -> int:
        """How large it is, in a dataset as an estimate."""

    @property
    def notes(self) -> Sequence[Finding]:
        """What is the matter with the whole of it."""

    def pieces(self) -> Iterator[Piece]:
        """All of it, in order."""

    def places(self, numbers: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
        """Files with the lines of these rows; without lines where an origin names none."""

    def hold(self) -> None:
        """Raise a ``DataError`` when it is no longer what it was."""


class Scanned:
    """What was seen in a stretch: rows, bytes, what is wrong with the lines, and by the collectors."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        """Nothing yet."""
        self.examples = 0
        self.bytes = 0
        self.lines = Findings()
        self.collectors = tuple(collectors)

    def add(self, rows: Sequence[Row]) -> None:
        """Show all collectors the next rows."""
        self.examples += len(rows)
        for collector in self.collectors:
            collector.add(rows)

    def merge(self, later: "Scanned") -> None:
        """Take over what was seen in the stretch behind this one."""
        self.examples += later.examples
        self.bytes += later.bytes
        self.lines.merge(later.lines)
        for collector, other in zip(self.collectors, later.collectors, strict=True):
            collector.merge(other)


# Makes fresh collectors; it is sent along with each piece.
Aspects = Callable[[], Sequence[Collector]]


def look(piece: Piece, aspects: Aspects) -> Scanned:
    """Look at one piece."""
    seen = Scanned(aspects())
    rows = piece.rows(seen)
    with _uncollected():
        while batch := list(islice(rows, BATCH)):
            seen.add(batch)
    return seen


@contextmanager
def _uncollected() -> Iterator[None]:
    """Spare the garbage collector millions of rows that hold no cycle; a piece is short enough for that."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def first_rows(source: Cuttable, n: int) -> list[Row]:
    """So many rows from the beginning."""
    return list(islice((row for piece in source.pieces() for row in piece.rows(Scanned(()))), n))


def scan(source: Cuttable, aspects: Aspects, executor: Executor) -> Scanned:
    """Look at all pieces of a source where the executor says, and put together what was seen."""
    seen = Scanned(aspects())
    under_way: deque[tuple[Piece, Future[Scanned]]] = deque()
    try:
        with _progress(source) as bar:
            for piece in source.pieces():
                under_way.append((piece, executor.submit(look, piece, aspects)))
                if len(under_way) >= _at_once(executor):
                    _merge_first(seen, under_way, bar)
            while under_way:
                _merge_first(seen, under_way, bar)
    except BrokenExecutor:
        raise SetupError(
            f"A process that checked {source.name} ended early: it ran out of memory, or this is a script "
            'without `if __name__ == "__main__":` around its calls; put it there, or pass an executor.'
        ) from None
    finally:
        for _, future in under_way:
            future.cancel()
    source.hold()
    return seen


@contextmanager
def executor_for(sources: Sequence[Cuttable], given: Executor | None) -> Iterator[Executor]:
    """The executor that was given; else this process for small sources and a pool of all cores for large."""
    if given is not None:
        yield given
    elif max(source.bytes for source in sources) <= SMALL or (os.cpu_count() or 1) == 1:
        yield ThisProcess()
    else:
        spawn = multiprocessing.get_context("spawn")  # forking a notebook's kernel would copy its locks
        pool = ProcessPoolExecutor(mp_context=spawn, initializer=_leave_interrupts_to_the_parent)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


class ThisProcess(Executor):
    """Does everything here and at once."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is done."""
        future = Future[T]()
        future.set_result(fn(*args, **kwargs))
        return future


def _at_once(executor: Executor) -> int:
    if isinstance(executor, ThisProcess):
        return 1
    return 2 * (os.cpu_count() or 1) if isinstance(executor, ProcessPoolExecutor) else IN_FLIGHT


def _merge_first(
    seen: Scanned, under_way: deque[tuple[Piece, Future[Scanned]]], bar: "tqdm[NoReturn]"
) -> None:
    piece, future = under_way[0]
    seen.merge(future.result())
    bar.update(piece.bytes)
    under_way.popleft()


def _progress(source: Cuttable) -> "tqdm[NoReturn]":
    """A bar that appears when looking takes more than two seconds."""
    from tqdm.auto import tqdm as widget
    from tqdm.std import tqdm as text

    # Headless, a line of text now and then: whoever runs the notebook shows it, and keeps it short.
    headless = setting("WORKBENCH_HEADLESS") == "1"
    bar: tqdm[NoReturn] = (text if headless else widget)(
        total=source.bytes,
        desc=f"Checking {source.name}",
        unit="B",
        unit_scale=True,
        delay=2,
        leave=False,
        mininterval=5 if headless else 0.1,
    )
    return bar


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
