"""``check``: everything that is wrong with training data, and what is worth knowing about it, at once.

An error is what a service refuses or what would make a score worthless; a warning is what a person should
look at. Nothing that the data hold stops a check; what cannot be read at all, or changes meanwhile, does.
"""

import gc
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar

from workbench import catalog
from workbench.catalog.methods import method as method_named
from workbench.dataset.check import rules
from workbench.dataset.check.counts import no_validation, sizes
from workbench.dataset.check.duplicates import Repeats, overlap
from workbench.dataset.check.messages import prompt_in_use
from workbench.dataset.check.methods import METHODS, CheckTask, grader_findings, response_format_findings
from workbench.dataset.check.report import FileFacts, Findings, Group, Report, ascending, in_order
from workbench.dataset.check.row import Collector, Finding, Row, method_of
from workbench.dataset.check.rules import PHASES, Phase, completed, phases_of
from workbench.dataset.check.sources import Cuttable, Piece, Scanned, corpus_source, source_of, tell_apart
from workbench.dataset.dataset import JSON, Dataset
from workbench.dataset.tokens import Tokens, counter
from workbench.errors import SetupError
from workbench.settings import setting

if TYPE_CHECKING:
    from tqdm import tqdm

ASPECTS = PHASES[1:]
"""What can be checked beside the lines themselves."""

# Of a test only the form is judged; for the rest, and for what only shows examples, see what it shares.
CHECKED: Mapping[str, Collection[str]] = MappingProxyType(
    {
        "training": ASPECTS,
        "validation": ASPECTS,
        "test": ("format", "repeats"),
        "few-shot": ("repeats",),
        "corpus": ("repeats",),
    }
)


@dataclass(frozen=True)
class Collectors:
    """Makes the collectors for one file, as often as there are stretches of it to read."""

    task: CheckTask
    phases: frozenset[str]

    def __call__(self) -> list[Collector]:
        """Fresh ones."""
        asked = self.phases.intersection(CHECKED[self.task.role])
        return [Phase(phase, self.task) for phase in PHASES if phase in asked]


KINDS = 50_000  # different findings of a rule: a duplicate names the row that it repeats
GUESSED_FROM = 1_000  # rows at the beginning, when no method is named

T = TypeVar("T")


def check(
    data: Dataset | str | Path,
    *,
    validation: Dataset | str | Path | None = None,
    test: Dataset | str | Path | None = None,
    shots: Dataset | None = None,
    corpus: Dataset | str | Path | Sequence[str] | None = None,
    method: str | None = None,
    model: str | None = None,
    grader: Mapping[str, JSON] | None = None,
    response_format: Mapping[str, JSON] | None = None,
    group: str | None = None,
    prompt: Mapping[str, JSON] | None = None,
    only: Collection[str] = ASPECTS,
    executor: Executor | None = None,
) -> Report:
    """Tell me everything that is wrong with my training data.

    A path to a JSONL file is read piece by piece, so the file may be larger than memory. ``test``,
    ``shots`` (the examples in a prompt) and ``corpus`` (what is looked up) should share nothing with it.
    ``method``: ``sft``, ``dpo`` or ``rft``; else guessed from the first rows. ``model``: whose tokens are
    counted, and whose limits hold; else those of gpt-4o. ``grader``: for ``rft``, whose templates are
    resolved against every row; ``response_format``: the structure that its answers will have. ``group``:
    the field that ties examples together, such as a customer. ``prompt``: a request as it is sent today, with
    ``{question}`` and the like for what varies; rows that ask otherwise are named. ``only``: fewer aspects
    are faster; the ids of rules keep other findings out of the report. ``executor``: where to look; else all
    cores of this machine.
    """
    phases = phases_of(only)
    sources: dict[str, Cuttable] = {"training": source_of(data)}
    given = {"validation": validation, "test": test, "few-shot": shots}
    sources |= {role: source_of(other) for role, other in given.items() if other is not None}
    if corpus is not None:
        sources["corpus"] = corpus_source(corpus)
    tell_apart(list(sources.values()))
    guessed = _method_of(sources["training"], grader) if method is None else method_named(method).short
    vision = catalog.model(model).vision if model is not None and "format" in phases else None
    task = CheckTask(
        method_named(guessed).format,
        dict(grader) if grader is not None else None,
        vision,
        model,
        group,
        prompt=prompt_in_use(prompt) if prompt is not None else None,
    )
    with executor_for(list(sources.values()), executor) as where:
        tasks = {role: _task_of(role, source, task) for role, source in sources.items()}
        seen = {
            role: scan(source, Collectors(tasks[role], phases), where) for role, source in sources.items()
        }
    found = {role: Findings(KINDS) for role in sources}
    about_all = [*_about_all(task, phases, sources, guessed=method is None)]
    if response_format is not None:
        about_all += response_format_findings(response_format)
    for finding in about_all:
        found["training"].add(completed(finding), ())
    for role, source in sources.items():
        for finding, numbers in _found_in(source, role, seen[role]):
            found[role].add(completed(finding), numbers)
        for finding, numbers in _shared(sources, seen, role):
            found["training"].add(completed(finding), numbers)
    for source in sources.values():
        source.hold()
    groups = [group for role in sources for group in _groups(sources[role], found[role])]
    if ids := set(only) - set(PHASES):
        groups = [group for group in groups if _is_asked(group.finding.rule, only, ids)]
    files = tuple(_facts(source, role, seen[role], model) for role, source in sources.items())
    ordered = in_order(groups)
    asked = {group.finding.rule: rules.RULES[group.finding.rule].sentence for group in ordered}
    return Report(files, ordered, guessed, model, asked)


def _task_of(role: str, source: Cuttable, task: CheckTask) -> CheckTask:
    """What a file's rows are checked for: a test of questions and answers judges models of any method."""
    if role in ("training", "validation") or task.method == "sft":
        return replace(task, role=role)
    answered = _method_of(source, None) == "sft"
    return replace(task, role=role, method="sft" if answered else task.method)


def _method_of(source: Cuttable, grader: Mapping[str, JSON] | None) -> str:
    """What most of the first rows can teach by."""
    if grader is not None:
        return "rft"
    kinds = Counter(method_of(row.value) for row in first_rows(source, GUESSED_FROM))
    return max(METHODS, key=lambda kind: kinds[kind])


def _about_all(
    task: CheckTask, phases: Collection[str], sources: Mapping[str, Cuttable], guessed: bool
) -> Iterator[Finding]:
    """What is wrong with the job as a whole."""
    if guessed and task.method != "sft":
        kind = "preference pairs" if task.method == "dpo" else "prompts for reinforcement"
        finding = f"most rows are {kind}, so they were checked for {task.method}"
        yield Finding("info", "method", "", finding, "name another method if that is not meant")
    if "format" in phases:
        if task.grader is not None and task.method == "rft":
            yield from grader_findings(task.grader)
        if "validation" not in sources:
            yield from no_validation(task.method)


def _found_in(source: Cuttable, role: str, seen: Scanned) -> Iterator[tuple[Finding, Sequence[int]]]:
    for finding in source.notes:
        yield finding, ()
    if role in ("training", "validation"):
        for finding in sizes(seen.bytes):
            yield finding, ()
    yield from seen.lines
    for collector in seen.collectors:
        if role in ("training", "validation") or (
            isinstance(collector, Phase) and collector.name == "format"
        ):
            yield from collector.found(source)


def _is_asked(rule: str, only: Collection[str], ids: Collection[str]) -> bool:
    """Whether a report of these phases and rules shows it; what is wrong with the lines always is."""
    phase = rules.RULES[rule].phase
    return rule in ids or phase in only or phase == "lines"


def _shared(
    sources: Mapping[str, Cuttable], seen: Mapping[str, Scanned], role: str
) -> Iterator[tuple[Finding, Sequence[int]]]:
    """What training has in common with another file; the rows are those of training."""
    training, other = _of_kind(Repeats, seen["training"]), _of_kind(Repeats, seen[role])
    if role != "training" and training is not None and other is not None:
        yield from overlap(training, sources["training"], other, sources[role], role)


def _groups(source: Cuttable, found: Findings) -> Iterator[Group]:
    """The findings at their places; the rows of a dataset may come from several files."""
    for finding, numbers in found:
        if not numbers:
            yield Group(finding, source.name)
        for file, lines in source.places(numbers) if numbers else ():
            yield Group(finding, file, ascending(lines))


def _facts(source: Cuttable, role: str, seen: Scanned, model: str | None) -> FileFacts:
    tokens = _of_kind(Tokens, seen)
    if tokens is None or tokens.uncounted:
        return FileFacts(source.name, role, seen.examples, bytes=seen.bytes)
    how = counter(model).how
    return FileFacts(source.name, role, seen.examples, tokens.total, tokens.total_trained, how, seen.bytes)


def _of_kind(kind: type[T], seen: Scanned) -> T | None:
    phases = (phase for phase in seen.collectors if isinstance(phase, Phase))
    return next((part for phase in phases for part in phase.parts if isinstance(part, kind)), None)


# Rows are checked in pieces, on all cores or on many machines, and the results put together in order.
#
# Where the pieces are checked is the business of an executor from the standard library's
# ``concurrent.futures``: none (in this process), its pool of processes, or the one of ``dask.distributed``
# (``client.get_executor()``, whose workers must see the file under the same path). The findings are the
# same, however the rows are cut.

SMALL = 8 * 2**20  # bytes up to which starting processes takes longer than looking
BATCH = 256  # rows that collectors get at once
IN_FLIGHT = 32  # pieces that are under way at once, with an executor of unknown size

P = ParamSpec("P")

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
