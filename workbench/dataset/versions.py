"""Two versions of a dataset, row by row: what came, what went, and which answers changed.

Rows are told by their content, so another order or another file name is no difference.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workbench.dataset.examples import Dataset, Example, counted
from workbench.dataset.repairing.differences import difference
from workbench.tables import table

SHOWN = 10


@dataclass(frozen=True, repr=False)
class RowChanges:
    """What differs between two versions of a dataset."""

    added: tuple[Example, ...]
    removed: tuple[Example, ...]
    changed: tuple[tuple[Example, Example], ...]
    """Rows that ask the same and answer otherwise: as they were, and as they are."""
    same: int
    """Rows that both versions have."""

    def __len__(self) -> int:
        """How many rows were added, removed or changed."""
        return len(self.added) + len(self.removed) + len(self.changed)

    @property
    def verdict(self) -> str:
        """Say it in a sentence."""
        if not len(self):
            return f"The same {counted(self.same, 'row')} in both."
        return (
            f"{counted(len(self.added), 'row')} added, {len(self.removed):,} removed, "
            f"{len(self.changed):,} with another answer, {self.same:,} the same."
        )

    def __repr__(self) -> str:
        """The sentence, then the first differences as they are shown of repairs."""
        shown = [f"{origin}\n{told}" for _, origin, told in list(self._rows())[:SHOWN]]
        return "\n\n".join((self.verdict, *shown))

    def _repr_html_(self) -> str:
        rows = list(self._rows())
        more = f" The first {SHOWN} of them:" if len(rows) > SHOWN else ""
        return table(self.verdict + more, ("", "row", "difference"), rows[:SHOWN])

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for before, after in self.changed:
            yield "changed", after.origin, difference(before.wire, after.wire)
        for example in self.removed:
            yield "removed", example.origin, difference(example.wire, None)
        for example in self.added:
            yield "added", example.origin, _as_added(example)


def row_changes(before: Dataset, after: Dataset) -> RowChanges:
    """Tell what was added, removed or answered otherwise from one version to the next.

    A row that occurs several times counts as often; of rows with one question the first go together.
    """
    same, gone, come = _partners(before, after, lambda example: _text(example.wire))
    changed, removed, added = _partners(gone, come, lambda example: _text(example.prompt))
    return RowChanges(tuple(added), tuple(removed), tuple(changed), len(same))


def _partners(
    before: Sequence[Example], after: Sequence[Example], key: Callable[[Example], str]
) -> tuple[list[tuple[Example, Example]], list[Example], list[Example]]:
    """The pairs with the same key, and those of either side that found no partner."""
    waiting: dict[str, deque[Example]] = defaultdict(deque)
    for example in after:
        waiting[key(example)].append(example)
    pairs, gone = [], []
    for example in before:
        partners = waiting[key(example)]
        if partners:
            pairs.append((example, partners.popleft()))
        else:
            gone.append(example)
    unmet = {id(example) for partners in waiting.values() for example in partners}
    return pairs, gone, [example for example in after if id(example) in unmet]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=dict)


def _as_added(example: Example) -> str:
    dropped = difference(example.wire, None).splitlines()
    return "\n".join(f"+{line.removeprefix('-')}" for line in dropped)
