"""Slices of a comparison: where the tuned model is better and where worse, and which labels it confuses.

A slice is the items with one value in one column of the test. Many slices are compared, so their p-values
are corrected together (Holm) and their intervals are wider (Bonferroni). A file apart because an average
needs none of this: a comparison is about all of its items.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import Literal, NamedTuple

from workbench.dataset.dataset import Dataset, counted
from workbench.decide.power import LEVEL
from workbench.display import Shown, Table
from workbench.errors import DataError
from workbench.evaluation.compare import Comparison, points
from workbench.evaluation.evaluate import questions
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.failures import closed_set
from workbench.evaluation.scores import Pairs
from workbench.evaluation.statistics import Difference, Interval, difference, holm, p_in_words
from workbench.project import JSON

# Ours: what one chart can show, and what is worth an interval.
MOST_COLUMNS = 4
MOST_VALUES = 8
FEWEST_ITEMS = 5
LONGEST_VALUE = 40  # letters


class Slice(NamedTuple):
    """The items with one value in one column."""

    column: str
    value: str
    found: Difference
    p_value: float
    """Corrected for all slices (Holm)."""
    interval: Interval
    """Of the difference; all intervals hold together with 95 % confidence, or more (Bonferroni)."""

    @property
    def base(self) -> float:
        """The base model's mean score, 0 to 1."""
        return fmean(self.found.base)

    @property
    def tuned(self) -> float:
        """The tuned model's mean score, 0 to 1."""
        return fmean(self.found.tuned)

    @property
    def outcome(self) -> Literal["better", "worse", "not shown"]:
        """Whether a difference is shown, after the correction."""
        if self.p_value > LEVEL or not self.found.value:
            return "not shown"
        return "better" if self.found.value > 0 else "worse"

    @property
    def facts(self) -> dict[str, JSON]:
        """The same as JSON."""
        low, high = self.interval
        numbers: dict[str, JSON] = {"items": self.found.items, "base": self.base, "tuned": self.tuned}
        numbers |= {"difference": self.found.value, "low": low, "high": high, "p_value": self.p_value}
        return {"column": self.column, "value": self.value, **numbers, "outcome": self.outcome}


@dataclass(frozen=True)
class Confusion:
    """Which label a model gave to items of which; all right answers are taken from ``labels``."""

    name: str
    """``base`` or ``tuned``."""
    labels: tuple[str, ...]
    """In plain spelling, the most frequent right answer first."""
    counts: Mapping[tuple[str, str], int]
    """By the right label and the one given; the empty text is an answer that is no label."""

    @property
    def worst(self) -> tuple[tuple[str, str], int] | None:
        """The most frequent mistake, and how often it was made."""
        wrong = {pair: count for pair, count in self.counts.items() if pair[0] != pair[1]}
        return max(wrong.items(), key=lambda each: each[1], default=None)


@dataclass(frozen=True, repr=False)
class Slices(Shown):
    """A comparison slice by slice, and where answers are labels, what each model confuses."""

    slices: tuple[Slice, ...]
    confusion: tuple[Confusion, ...] = ()
    """Of the base and of the tuned model; none where answers are no labels."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values are compared, in the order of the test."""
        return tuple(dict.fromkeys(each.column for each in self.slices))

    @property
    def verdict(self) -> str:
        """Where it is worse, where it is better, and where it is weakest, in a few sentences."""
        if not self.slices:
            return (
                f"The test has no column to slice by: none with 2 to {MOST_VALUES} short values that have "
                f"{FEWEST_ITEMS} items or more and most of the items, beside the cluster."
            )
        worse, better = (
            [each for each in self.slices if each.outcome == outcome] for outcome in ("worse", "better")
        )
        losses = ", ".join(f"{e.column} = {e.value} ({points(e.found.value)} points)" for e in worse)
        weakest = min(self.slices, key=lambda each: each.tuned)
        return (
            (f"Worse where {losses}. " if worse else "Shown to be worse in no slice. ")
            + f"Shown to be better in {len(better)} of {counted(len(self.slices), 'slice')}. The tuned model "
            f"is weakest where {weakest.column} = {weakest.value}: {100 * weakest.tuned:.0f} % of "
            f"{counted(weakest.found.items, 'item')} right."
        )

    def tables(self) -> list[Table]:
        """Each slice with both scores, the difference and its test."""
        rows = [
            (
                f"{each.column} = {each.value}",
                each.found.items,
                f"{100 * each.base:.1f} %",
                f"{100 * each.tuned:.1f} %",
                points(each.found.value),
                f"{points(each.interval.low)} to {points(each.interval.high)}",
                p_in_words(each.p_value),
                each.outcome,
            )
            for each in self.slices
        ]
        looks = f"p after Holm's correction and intervals for {counted(len(self.slices), 'slice')} together"
        columns = ("slice", "items", "base", "tuned", "points", "interval", "p", "difference")
        return [(f"{self.verdict} {looks}.", columns, rows)]


class _Group(NamedTuple):
    column: str
    value: str
    places: tuple[int, ...]
    """Of its items in the comparison."""


def slices(comparison: Comparison, test: Dataset, *, by: Sequence[str] | None = None) -> Slices:
    """Compare the two models once more in each slice of the test.

    ``by`` names columns; ``None`` takes the first four with 2 to 8 short values that have five items or more
    and most of the items. The column by which items belong together is none of them, as each of its values
    is one observation only. Values with fewer items are put together. A test that has not all the items, and
    a column that the test does not have, are a ``DataError``.
    """
    examples = {item.id: place for place, item in enumerate(questions(test))}
    items = comparison.base.items
    unknown = [item.id for item in items if item.id not in examples]
    if unknown:
        raise DataError(
            f"{test.name} has no item {unknown[0]} of this comparison; give the test that both answered."
        )
    order = [examples[item.id] for item in items]
    known = dict.fromkeys(chain.from_iterable((*e.metadata, *e.more) for e in test))
    pairs = Pairs(comparison.base, comparison.tuned)
    groups: list[_Group] = []
    partitions = [_partition(pairs.clusters)]
    for column in known if by is None else by:
        cells = test.column(column)
        values = ["" if cells[place] is None else str(cells[place]).strip() for place in order]
        found = _groups(column, values)
        if by is None and (not _is_readable(values, found) or _partition(values) in partitions):
            continue
        partitions.append(_partition(values))
        groups += found
        if by is None and len(partitions) > MOST_COLUMNS:
            break
    return Slices(_compared(pairs, groups), _confusions(comparison))


def _groups(column: str, values: Sequence[str]) -> list[_Group]:
    places: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        if value:
            places.setdefault(value, []).append(place)
    large = [_Group(column, value, tuple(p)) for value, p in places.items() if len(p) >= FEWEST_ITEMS]
    large.sort(key=lambda group: -len(group.places))
    small = [place for p in places.values() if len(p) < FEWEST_ITEMS for place in p]
    rest = f"{len(places) - len(large)} other values"
    return [*large, _Group(column, rest, tuple(small))] if len(small) >= FEWEST_ITEMS else large


def _is_readable(values: Sequence[str], groups: Sequence[_Group]) -> bool:
    """Whether a column has few short values that are large enough, and most items have one of these."""
    often = Counter(value for value in values if value)
    large = [value for value, items in often.items() if items >= FEWEST_ITEMS]
    few = 2 <= len(large) <= MOST_VALUES and len(groups) <= MOST_VALUES + 1
    short = all(len(value) <= LONGEST_VALUE and "\n" not in value for value in large)
    return few and short and 2 * sum(often[value] for value in large) >= len(values)


def _partition(values: Sequence[str]) -> tuple[int, ...]:
    """Which items share a value, whatever it is called."""
    first: dict[str, int] = {}
    return tuple(first.setdefault(value, place) for place, value in enumerate(values))


def _compared(pairs: Pairs, groups: Sequence[_Group]) -> tuple[Slice, ...]:
    base, tuned = ([item.score for item in side.items] for side in (pairs.base, pairs.tuned))
    found = []
    for group in groups:
        mine, theirs = ([scores[place] for place in group.places] for scores in (base, tuned))
        found.append(difference(mine, theirs, [pairs.clusters[place] for place in group.places]))
    corrected = holm([each.p_value for each in found])
    confidence = 1 - LEVEL / max(len(groups), 1)
    return tuple(
        Slice(group.column, group.value, each, p, each.interval(confidence))
        for group, each, p in zip(groups, found, corrected, strict=True)
    )


def _confusions(comparison: Comparison) -> tuple[Confusion, ...]:
    labels = closed_set([item.reference for item in comparison.base.items])
    sides = {"base": comparison.base, "tuned": comparison.tuned}
    return tuple(_confusion(name, side, labels) for name, side in sides.items()) if labels else ()


def _confusion(name: str, side: Evaluation, labels: frozenset[str]) -> Confusion:
    def plain(text: str) -> str:
        return " ".join(text.casefold().split())

    given = ((plain(item.reference), plain(item.answer)) for item in side.items)
    counts = Counter((right, said if said in labels else "") for right, said in given)
    often = Counter(plain(item.reference) for item in side.items)
    ordered = sorted(labels, key=lambda label: (-often[label], label))
    return Confusion(name, tuple(ordered), dict(counts))
