"""Whether rows have the form that a service trains on: the rules of the format, and the numbers of rows."""

from collections.abc import Iterator, Sequence
from typing import Self

from workbench.dataset.checking.counts import Counts
from workbench.dataset.checking.prompts import Fields
from workbench.dataset.checking.report import Findings
from workbench.dataset.checking.rules import Rules
from workbench.dataset.rows import Finding, Row, Source


class Form:
    """A collector of what is wrong with each row, and with how many there are."""

    def __init__(self, rules: Rules, counts: Counts) -> None:
        """Nothing seen yet."""
        self._rules = rules
        self._counts = counts
        self._fields = Fields() if rules.method == "rft" and rules.grader is None else None
        self._found = Findings()

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows; most are plain, and a plain one has neither findings nor images."""
        plain = self._rules.plain
        others = [row for row in rows if not plain(row.value)]
        for row in others:
            for finding in self._rules.findings(row.value):
                self._found.add(finding, (row.number,))
        if self._fields is not None:
            self._fields.add(rows)
        self._counts.add(others)
        self._counts.examples += len(rows) - len(others)

    def merge(self, later: Self) -> None:
        """Take over what was seen in the stretch behind this one."""
        self._found.merge(later._found)
        self._counts.merge(later._counts)
        if self._fields is not None and later._fields is not None:
            self._fields.merge(later._fields)

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """The findings with their rows."""
        yield from self._counts.found(source)
        yield from self._found
        if self._fields is not None:
            yield from self._fields.found(source)
