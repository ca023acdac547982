"""What a check found: findings grouped by what they say, so that a million of them stay readable.

A ``Problem`` is one finding at one place. A ``Report`` keeps the places of equal
findings together, and lists them one by one where that is asked for.
"""

import json
from array import array
from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import le
from typing import NamedTuple

from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import JSON, counted
from workbench.display import Shown, Table, bar, folded, table

LEVELS = ("error", "warning", "info")
KINDS = 1_000  # different findings of a rule that are kept of a stretch of rows
SHOWN = 50  # findings in a notebook; all of them are in report.problems
PLACES = 4  # lines that are named where a rule found something


@dataclass(frozen=True)
class Problem:
    """One finding: how bad, by which rule, where, what is the matter and what to do about it."""

    level: str
    rule: str
    file: str
    line: int | None
    """The line in the file, from 1; ``None`` when the finding is about the whole file."""
    path: str
    message: str
    fix: str

    @property
    def origin(self) -> str:
        """The place as examples name theirs: ``faq.csv:12``."""
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        """The finding as one line."""
        place = f"{self.origin} {self.path}".strip()
        return f"{self.level}: {place}: {self.message}; {self.fix}."


@dataclass(frozen=True)
class Group:
    """The places of one file where the same is the matter."""

    finding: Finding
    file: str
    lines: Sequence[int] = ()
    """Ascending; empty when the finding is about the whole file."""

    def __len__(self) -> int:
        """How many problems these are."""
        return max(1, len(self.lines))

    def problems(self) -> Iterator[Problem]:
        """One by one."""
        level, rule, path, message, fix = self.finding
        for line in self.lines or (None,):
            yield Problem(level, rule, self.file, line, path, message, fix)


@dataclass(frozen=True)
class FileFacts:
    """What was counted in one file or dataset."""

    name: str
    role: str
    """``training``, ``validation``, ``test``, ``few-shot`` or ``corpus``."""
    examples: int
    tokens: int | None = None
    """As the model's own tokenizer counts them; ``None`` where they were not counted."""
    trained_tokens: int | None = None
    counted_by: str | None = None
    """The tokenizer that counted, and how near it comes."""
    bytes: int | None = None


@dataclass(frozen=True, repr=False)
class Report:
    """All that ``check`` found, the worst first."""

    files: tuple[FileFacts, ...]
    groups: tuple[Group, ...]
    method: str
    model: str | None = None
    explained: Mapping[str, str] = field(default_factory=dict)
    """What each rule that found something asks, in a sentence."""

    @property
    def name(self) -> str:
        """What was checked."""
        return self.files[0].name

    @property
    def examples(self) -> int:
        """How many examples there are to learn from."""
        return self.files[0].examples

    @property
    def tokens(self) -> int | None:
        """How many tokens these have; ``None`` where they were not counted."""
        return self.files[0].tokens

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way of training."""
        return self.counts["error"] == 0

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Every finding at every place."""
        return tuple(problem for group in self.groups for problem in group.problems())

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What must be put right."""
        return tuple(problem for problem in self.problems if problem.level == "error")

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many problems there are of each level."""
        found = Counter[str]()
        for group in self.groups:
            found[group.finding.level] += len(group)
        return {level: found[level] for level in LEVELS}

    @property
    def bad(self) -> frozenset[str]:
        """Where the errors are, for ``dataset.without(report.bad)``."""
        return frozenset(problem.origin for problem in self.errors)

    def of(self, rule: str) -> tuple[Problem, ...]:
        """The problems by this rule."""
        return tuple(p for group in self.groups if group.finding.rule == rule for p in group.problems())

    def to_json(self) -> Iterator[str]:
        """The report as JSON, piece by piece, because it can be longer than memory is large."""
        facts: dict[str, JSON] = {
            "ok": self.ok,
            "examples": self.examples,
            "tokens": self.tokens,
            "method": self.method,
            "model": self.model,
            "counts": dict(self.counts),
            "files": [dict(vars(file)) for file in self.files],
        }
        yield json.dumps(facts)[:-1] + ', "problems": ['
        between = ""
        for group in self.groups:
            for problem in group.problems():
                yield between + json.dumps(vars(problem))
                between = ", "
        yield "]}\n"

    def __str__(self) -> str:
        """The sum in a sentence."""
        counts = self.counts
        return (
            f"{self.name}: {counted(self.examples, 'example')}, "
            f"{counted(counts['error'], 'error')}, {counted(counts['warning'], 'warning')}"
        )

    def __repr__(self) -> str:
        """The sum, and the first findings line by line."""
        shown = [
            f"{level}: {place} {path}".strip() + f": {message}; {fix}."
            for (level, _, path, message, fix), place in self._kinds[:SHOWN]
        ]
        return "\n".join([str(self) + self._cut(), *shown])

    def _repr_html_(self) -> str:
        if not self.groups:
            return table(str(self), ("", ""), [("none", "Nothing to complain about.")])
        columns = ("level", "rule", "places", "finding", "where", "fix")
        found = table(str(self), columns, [_row_of(rule, self._most) for rule in self.by_rule])
        rows = [
            (level, rule, f"{place} {path}".strip(), message, fix)
            for (level, rule, path, message, fix), place in self._kinds[:SHOWN]
        ]
        each = table(self._cut().removeprefix(", "), ("level", "rule", "where", "finding", "fix"), rows)
        asked = table("", ("rule", "what it asks, or why"), list(self.explained.items()))
        more = folded("Every kind of finding", each) if len(rows) > len(self.by_rule) else ""
        return found + more + (folded("What these rules ask", asked) if self.explained else "")

    @cached_property
    def by_rule(self) -> tuple["RuleFindings", ...]:
        """The findings of each rule and level together, the worst first, then the most frequent."""
        found: dict[tuple[str, str], list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.finding[:2], []).append(group)
        each = (RuleFindings(*key, tuple(groups)) for key, groups in found.items())
        return tuple(sorted(each, key=lambda rule: (LEVELS.index(rule.level), -rule.places)))

    @property
    def _most(self) -> int:
        return max(rule.places for rule in self.by_rule)

    def since(self, before: "Report") -> "ReportChange":
        """What became of the findings of an earlier check."""
        return ReportChange(before, self)

    def left_out(self, keep: Collection[str] = ()) -> "LeftOutRows":
        """The rows with an error, which cannot be used; those that only break a rule in ``keep`` stay."""
        return LeftOutRows(tuple(p for p in self.errors if p.line is not None and p.rule not in keep))

    @cached_property
    def _kinds(self) -> list[tuple[Finding, str]]:
        """What a person reads: the first of those that say the same at whatever path, and how many follow."""
        alike: dict[tuple[str, Finding], list[Group]] = {}
        for group in self.groups:
            alike.setdefault((group.file, group.finding._replace(path="")), []).append(group)
        return [
            (groups[0].finding, _summed(groups[0], sum(map(len, groups)) - 1)) for groups in alike.values()
        ]

    def _cut(self) -> str:
        rest = len(self._kinds) - SHOWN
        return f", the first {SHOWN} of {len(self._kinds):,} kinds" if rest > 0 else ""


class RuleFindings(NamedTuple):
    """What one rule found at one level."""

    level: str
    rule: str
    groups: tuple[Group, ...]

    @property
    def places(self) -> int:
        """At how many places."""
        return sum(map(len, self.groups))

    @property
    def where(self) -> str:
        """The first places: ``faq.csv, lines 3, 7, 9 and 5 more``."""
        file = self.groups[0].file
        lines = sorted({line for group in self.groups if group.file == file for line in group.lines})
        if not lines:
            return file
        rest = len(lines) - PLACES
        named = ", ".join(f"{line:,}" for line in lines[:PLACES])
        return f"{file}, line{'' if len(lines) == 1 else 's'} {named}" + (
            f" and {rest:,} more" if rest > 0 else ""
        )


def _row_of(rule: RuleFindings, most: int) -> tuple[object, ...]:
    finding, others = rule.groups[0].finding, len({group.finding.message for group in rule.groups}) - 1
    more = f"; {counted(others, 'other finding')} of this rule" if others else ""
    number = bar(rule.places / most, f"{rule.places:,}", rule.level)
    return (rule.level, rule.rule, number, f"{finding.message}{more}", rule.where, finding.fix)


@dataclass(frozen=True, repr=False)
class ReportChange:
    """What became of findings: two checks of the same data, before and after a repair."""

    before: Report
    after: Report

    @property
    def verdict(self) -> str:
        """Say it in a sentence."""
        was, now = self.before.counts, self.after.counts
        parts = (f"{counted(was[level], level)} before, {now[level]:,} now" for level in LEVELS[:2])
        return f"{self.after.name}: {'; '.join(parts)}"

    def __repr__(self) -> str:
        """The sentence, then what is left."""
        return f"{self.verdict}.\n{self.after!r}"

    def _repr_html_(self) -> str:
        was, now = ({rule[:2]: rule.places for rule in each.by_rule} for each in (self.before, self.after))
        most = max((*was.values(), *now.values()), default=1)
        keys = sorted({**was, **now}, key=lambda key: (LEVELS.index(key[0]), -was.get(key, 0)))
        rows = [
            (*key, *(bar(each.get(key, 0) / most, f"{each.get(key, 0):,}", key[0]) for each in (was, now)))
            for key in keys
        ]
        changed = table(self.verdict, ("level", "rule", "before", "after"), rows)
        return changed + folded("What is left, with its lines", self.after._repr_html_())


@dataclass(frozen=True, repr=False)
class LeftOutRows(Shown):
    """Rows that cannot be used because an error is left in them, and by which rule."""

    problems: tuple[Problem, ...]

    @property
    def origins(self) -> frozenset[str]:
        """Where they stand, for ``dataset.without(left_out.origins)``."""
        return frozenset(problem.origin for problem in self.problems)

    @property
    def verdict(self) -> str:
        """How many rows are left out, by which rules, and how to choose otherwise."""
        if not self.problems:
            return "No row is left out: none has an error any more."
        rules = ", ".join(rule for rule, *_ in self._rows())
        return (
            f"{counted(len(self.origins), 'row')} left out, because an error is left there ({rules}). Repair "
            "them, or name the rule in KEEP to use them as they are"
        )

    def tables(self) -> Iterator[Table]:
        """A row for each rule."""
        yield self.verdict, ("rule", "rows", "where", "what to do"), self._rows() or [("none", "0", "", "")]

    def _rows(self) -> list[tuple[str, str, str, str]]:
        by_rule: dict[str, list[Problem]] = {}
        for problem in self.problems:
            by_rule.setdefault(problem.rule, []).append(problem)
        return [
            (rule, f"{len(found):,}", ", ".join(p.origin for p in found[:PLACES]), found[0].fix)
            for rule, found in by_rule.items()
        ]


class Findings:
    """Collects findings in bounded memory: equal ones share one list of lines.

    Every place is kept, at eight bytes each. Of each rule only so many different findings are: those that
    sort first, so that what is kept does not depend on how a file was cut.
    """

    def __init__(self, kinds: int = KINDS) -> None:
        """Nothing found yet; ``kinds``: different findings of a rule that are kept."""
        self.kinds = kinds
        self._numbers: dict[Finding, array[int]] = {}
        self._kinds: dict[str, list[Finding]] = {}
        self._further: dict[tuple[str, str], array[int]] = {}

    def add(self, finding: Finding, numbers: Sequence[int]) -> None:
        """Keep a finding at these rows; no rows: it is about the whole file."""
        known = self._numbers.get(finding)
        if known is None and not self._has_room(finding):
            known = self._further.setdefault((finding.level, finding.rule), array("q"))
        elif known is None:
            known = self._numbers.setdefault(finding, array("q"))
        known.extend(numbers)

    def merge(self, later: "Findings") -> None:
        """Take over what was found further on in the same file."""
        for finding, numbers in later._numbers.items():
            self.add(finding, numbers)
        for key, numbers in later._further.items():
            self._further.setdefault(key, array("q")).extend(numbers)

    def __iter__(self) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Each finding once, with its rows in ascending order."""
        for finding, numbers in self._numbers.items():
            yield finding, ascending(numbers)
        for (level, rule), numbers in self._further.items():
            yield _beyond(level, rule), ascending(numbers)

    def _has_room(self, finding: Finding) -> bool:
        """Whether a new finding is among the first of its rule; the last one then gives way to it."""
        if finding == _beyond(finding.level, finding.rule):
            return False
        kinds = self._kinds.setdefault(finding.rule, [])
        if len(kinds) >= self.kinds:
            if finding > kinds[-1]:
                return False
            last = kinds.pop()
            self._further.setdefault((last.level, last.rule), array("q")).extend(self._numbers.pop(last))
        insort(kinds, finding)
        return True


def _beyond(level: str, rule: str) -> Finding:
    message = "something else by this rule, of which there are too many different ones to keep"
    return Finding(level, rule, "", message, "put the others right, then check again")


def ascending(numbers: Iterable[int]) -> "array[int]":
    """The numbers in eight bytes each, from small to large."""
    kept = numbers if isinstance(numbers, array) and numbers.typecode == "q" else array("q", numbers)
    return kept if all(map(le, kept, kept[1:])) else array("q", sorted(kept))


def in_order(groups: Sequence[Group]) -> tuple[Group, ...]:
    """The worst first, then as they stand in the file; what is about the whole file leads its level."""

    def place(group: Group) -> tuple[int, int]:
        return LEVELS.index(group.finding.level), group.lines[0] if group.lines else -1

    return tuple(sorted(groups, key=place))


def _summed(group: Group, more: int) -> str:
    first = f"{group.file}:{group.lines[0]}" if group.lines else group.file
    return first if not more else f"{first} and {counted(more, 'more place')}"
