"""Reviewing rows by hand: in which order, and what a person decided about each, kept in a file."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from workbench import jsonl_log
from workbench.dataset.chat_formats import uploaded_example
from workbench.dataset.check.report import LEVELS, Report
from workbench.dataset.check.row import Row
from workbench.dataset.dataset import JSON, Dataset, Example, counted, identity
from workbench.display import table
from workbench.errors import DataError
from workbench.project import Project

# Which rows come first, when there are more than anybody will read.
#
# An order is a list of positions in a dataset. It holds every row once, and it is
# the same for the same dataset, so that a review goes on tomorrow where it stopped.

ORDERS = ("file", "random", "longest", "similar", "suspicious")


def ordered(dataset: Dataset, by: str, *, seed: int = 0, report: Report | None = None) -> list[int]:
    """Give me the positions of all rows in one of ``ORDERS``.

    ``similar``: near duplicates side by side, the largest families first. ``suspicious``: the rows with
    the most errors in ``report`` first, then the most warnings. What an order says nothing about keeps
    the order of the file. ``seed`` is that of ``random``.
    """
    positions = list(range(len(dataset)))
    if by not in ORDERS:
        raise DataError(f"There is no order '{by}'; there are {', '.join(ORDERS)}.")
    if by == "random":
        random.Random(seed).shuffle(positions)
    elif by == "longest":
        lengths = [_length(row) for row in _rows(dataset)]
        positions.sort(key=lambda position: -lengths[position])
    elif by == "similar":
        positions = _families_first(dataset)
    elif by == "suspicious":
        if report is None:
            raise DataError("The order suspicious follows a report; give one: report=check(dataset).")
        blame = _blame(dataset, report)
        positions.sort(key=lambda position: blame[position])
    return positions


def _rows(dataset: Dataset) -> list[Row]:
    return [Row(position, example.wire) for position, example in enumerate(dataset)]


def _length(row: Row) -> int:
    """How many characters its texts have, the tool calls' arguments among them."""
    return sum(len(turn.text) for turn in row.turns)


def _families_first(dataset: Dataset) -> list[int]:
    from workbench.dataset.check.duplicates import families

    # Without the system message: it is the same in all rows, and would make them all one family.
    found = families([f"{row.asked}\n{row.answer}" for row in _rows(dataset)])
    related = sorted((sorted(family) for family in found if len(family) > 1), key=lambda f: (-len(f), f))
    first = [position for family in related for position in family]
    seen = set(first)
    return first + [position for position in range(len(dataset)) if position not in seen]


def _blame(dataset: Dataset, report: Report) -> list[tuple[int, ...]]:
    """For each row the numbers of its findings, the worst level first, negative so that most sorts first."""
    counts = {example.origin: [0] * len(LEVELS) for example in dataset}
    for group in report.groups:
        level = LEVELS.index(group.finding.level)
        for line in group.lines:
            if (count := counts.get(f"{group.file}:{line}")) is not None:
                count[level] -= 1
    return [tuple(counts[example.origin]) for example in dataset]


# What a person decided about the rows of a dataset: keep, drop, edit, rate.
#
# Decisions are lines of a file in the project's folder; it only grows, and the
# latest line about a row counts. A row is known by its content, so a decision
# survives that the file is sorted, extended or read again; rows with the same
# content share one.

Verdict: TypeAlias = Literal["keep", "drop", "edit", "open"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
RATINGS = range(1, 6)


@dataclass(frozen=True)
class RowDecision:
    """What somebody thinks of one row; ``open``: only rated or commented on so far."""

    verdict: Verdict
    rating: int | None = None
    """From 1, bad, to 5, good."""
    edited: Mapping[str, JSON] | None = None
    """With ``edit``: the line that takes the row's place."""
    comment: str = ""
    at: str = ""
    """UTC, ISO 8601."""

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        if self.verdict not in VERDICTS:
            raise DataError(f"There is no verdict '{self.verdict}'; there are {', '.join(VERDICTS)}.")
        if self.rating is not None and (type(self.rating) is not int or self.rating not in RATINGS):
            raise DataError(f"{self.rating!r} is no rating; give a whole number from 1 to 5.")
        if (self.edited is not None) != (self.verdict == "edit"):
            raise DataError("An edited line belongs to the verdict edit; give both or neither.")

    def applied(self, example: Example) -> Example | None:
        """What becomes of the row: nothing if it is dropped, the edited line at its old place if edited."""
        if self.verdict == "drop":
            return None
        if self.edited is None:
            return example
        try:
            found = uploaded_example(self.edited, example.origin)
        except DataError as error:
            raise DataError(f"The edited row cannot be used: {error}") from error
        return replace(found, metadata=example.metadata)


class Decisions:
    """The latest decision about each row; what other kernels decide shows up too."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or written yet."""
        self.path = path
        self._latest: dict[str, RowDecision] = {}
        self._read_to = 0  # bytes of the file that are in _latest
        # JupyterLab lets a widget answer from a thread of its own while a cell runs.
        self._reading = Lock()

    @property
    def latest(self) -> Mapping[str, RowDecision]:
        """What counts now about each row, by ``key_of(example)``; the row decided last stands at the end."""
        with self._reading:
            self._catch_up()
            return MappingProxyType(self._latest)

    def __len__(self) -> int:
        """About how many rows there is a decision."""
        return len(self.latest)

    def of(self, example: Example) -> RowDecision | None:
        """What was decided about this row, if anything."""
        return self.latest.get(key_of(example))

    def decide(
        self,
        example: Example,
        verdict: Verdict,
        *,
        rating: int | None = None,
        edited: Mapping[str, JSON] | None = None,
        comment: str = "",
    ) -> RowDecision:
        """Decide about a row, in place of what was decided before; it is on disk when this returns."""
        return self.write(example, RowDecision(verdict, rating, edited, comment))

    def write(self, example: Example, decision: RowDecision) -> RowDecision:
        """Decide about a row as ``decide`` does, and give the decision with the time of its writing."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.loads(json.dumps(decision.edited, default=dict))  # as it will be read back
        written = replace(decision, edited=line, at=now)
        written.applied(example)  # an edited line that is no example is refused here, not at the upload
        self._append({"row": key_of(example), **vars(written)})
        return written

    def forget(self, example: Example) -> None:
        """Take back what was decided about a row; the file still tells that it was."""
        self._append({"row": key_of(example), "verdict": None})

    def apply(self, dataset: Dataset) -> Dataset:
        """The dataset as decided: without what was dropped, with what was edited, all else as it was."""
        latest = self.latest
        decided = ((example, latest.get(key_of(example))) for example in dataset)
        kept = (decision.applied(example) if decision else example for example, decision in decided)
        return replace(dataset, examples=tuple(example for example in kept if example))

    def ratings(self, dataset: Dataset) -> tuple[int | None, ...]:
        """The rating of each row, ``None`` where there is none."""
        latest = self.latest
        decided = (latest.get(key_of(example)) for example in dataset)
        return tuple(decision.rating if decision else None for decision in decided)

    def counts(self) -> dict[Verdict, int]:
        """About how many rows there is which verdict."""
        found = Counter(decision.verdict for decision in self.latest.values())
        return {verdict: found[verdict] for verdict in VERDICTS}

    def __repr__(self) -> str:
        """The file and the numbers."""
        return f"Decisions({self.path.name}: {counts_in_words(self.counts())})"

    def _repr_html_(self) -> str:
        caption = f"{self.path.name}: {counted(len(self), 'row')} reviewed"
        decided = list(self.latest.values())
        rows = []
        for verdict in VERDICTS:
            these = [decision for decision in decided if decision.verdict == verdict]
            rated = [decision.rating for decision in these if decision.rating is not None]
            mean = f"{sum(rated) / len(rated):.1f}" if rated else ""
            rows.append((_IN_WORDS[verdict], len(these), len(rated), mean))
        return table(caption, ("verdict", "rows", "of them rated", "mean rating"), rows)

    def _append(self, content: Mapping[str, object]) -> None:
        jsonl_log.append(self.path, json.dumps(content, default=dict).encode())

    def _catch_up(self) -> None:
        """Read the lines that this or another kernel has written since."""
        lines, end = jsonl_log.new_lines(self.path, self._read_to)
        if end == self._read_to:
            return
        # A new mapping: somebody may be going through the old one. It begins empty where the file did.
        latest = dict(self._latest) if end > self._read_to else {}
        for line in lines:
            self._take(line, latest)
        self._latest, self._read_to = latest, end

    def _take(self, line: bytes, latest: dict[str, RowDecision]) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            return  # the first half of a line whose writing a crash cut short
        try:
            key = found.pop("row")
            decision = RowDecision(**found) if found["verdict"] else None
        except (DataError, LookupError, TypeError, AttributeError) as error:
            shown = line[:80].decode("utf-8", "replace")
            raise DataError(f"{self.path} holds a line that is no decision: {shown}; remove it.") from error
        latest.pop(key, None)
        if decision:
            latest[key] = decision


_IN_WORDS: dict[Verdict, str] = {"keep": "kept", "drop": "dropped", "edit": "edited", "open": "open"}


def open_review(project: Project, name: str = "review") -> Decisions:
    """Open the decisions of a project; one project can hold several reviews by different names."""
    return Decisions(project.log_file("review", name))


def key_of(example: Example) -> str:
    """What a row is known by: the hash of its content, whatever the order of its keys."""
    return hashlib.sha256(identity([example.wire]).encode()).hexdigest()


def counts_in_words(counts: Mapping[Verdict, int]) -> str:
    """``12 kept, 3 dropped, 1 edited, 4 open``."""
    return ", ".join(f"{counts.get(verdict, 0):,} {_IN_WORDS[verdict]}" for verdict in VERDICTS)
