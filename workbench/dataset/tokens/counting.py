"""Counting the tokens of examples as a model does: in a dataset, or row by row of a file of any size."""

from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench import catalog
from workbench.dataset.examples import Dataset
from workbench.dataset.rows import Finding, Row, Source
from workbench.dataset.tokens import chat_template
from workbench.dataset.tokens.counters import TemplateCounter, TokenCounter, VocabularyCounter
from workbench.dataset.tokens.counts import TokenCounts
from workbench.dataset.tokens.layout import PER_IMAGE
from workbench.errors import SetupError

NEWEST = "o200k_base"  # the vocabulary of gpt-4o and later, for who names no model
OUTLIER = 10  # times the median; a person should look, and a look costs little (our own choice)
ENOUGH = 10  # examples from which a median says something: the least that a service takes
AT_ONCE = 1_000  # rows; enough for the counting to be fast, few enough to be small


def counter(model: str | None) -> TokenCounter:
    """Count as this model does; without a model as gpt-4o and later models do.

    A model whose tokenizer is on this machine is counted exactly. ``SetupError`` when the catalogue does
    not know the name, or says how to get the tokenizer.
    """
    if model is None:
        return VocabularyCounter(NEWEST)
    if chat_template.is_here(model):
        return TemplateCounter(model)
    encoding = catalog.model(model).encoding
    return VocabularyCounter(encoding) if encoding else TemplateCounter(model)


def count_tokens(dataset: Dataset, model: str | None = None) -> TokenCounts:
    """How many tokens does this model make of my data?"""
    method = dataset[0].method if len(dataset) else "sft"
    counter(model)  # what is missing is said, where a check would go on without
    tokens = Tokens(model, method)
    for start in range(0, len(dataset), AT_ONCE):
        some = dataset.examples[start : start + AT_ONCE]
        tokens.add([Row(number, example.wire) for number, example in enumerate(some, start)])
    return tokens.counts(dataset.name)


class Tokens:
    """The tokens of the rows of one file: a ``Collector`` with two numbers a row."""

    def __init__(self, model: str | None, method: str) -> None:
        """``SetupError`` for a name the catalogue does not know; without a tokenizer it goes on uncounted."""
        self.model = model
        self.method = method
        self.totals = array("q")
        """The tokens of each row; 0 where a row cannot be counted."""
        self.trained = array("q")
        """Of each row the tokens that are learnt."""
        self.uncounted = ""
        """Why nothing is counted; empty when it is."""
        self._numbers = array("q")
        self._at_least = array("q")
        try:
            self._exact = self._counter.exact
        except SetupError as error:
            catalog.model(model or "")  # a misspelt name stops everything; a missing tokenizer does not
            self._exact, self.uncounted = True, str(error)

    @property
    def total(self) -> int:
        """All tokens, each read once an epoch."""
        return sum(self.totals)

    @property
    def total_trained(self) -> int:
        """The tokens that are learnt."""
        return sum(self.trained)

    @property
    def limit(self) -> int | None:
        """The longest example that the model takes, in tokens; ``None`` where nobody says."""
        if self.model is None:
            return None
        if self._exact:
            return chat_template.context_of(self.model)
        return catalog.model(self.model).max_example_tokens

    def add(self, rows: Sequence[Row]) -> None:
        """Count the next rows; a thousand at a time are counted fastest."""
        if self.uncounted:
            return
        total, trained, at_least = self._counter.count_rows(rows)
        self.totals.frombytes(total.tobytes())
        self.trained.frombytes(trained.tobytes())
        self._numbers.extend(row.number for row in rows)
        self._at_least.extend(rows[int(place)].number for place in np.flatnonzero(at_least))

    def merge(self, later: "Tokens") -> None:
        """Take over what was counted in the stretch behind this one."""
        self.totals.extend(later.totals)
        self.trained.extend(later.trained)
        self._numbers.extend(later._numbers)
        self._at_least.extend(later._at_least)

    def counts(self, name: str) -> TokenCounts:
        """The sum and the spread, without the rows that cannot be counted."""
        countable = self._array(self.totals) > 0
        total, trained = (
            array("q", self._array(each)[countable].tobytes()) for each in (self.totals, self.trained)
        )
        how = self.uncounted or self._counter.how
        return TokenCounts(name, self.model, self.method, how, self._exact, self.limit, total, trained)

    def found(self, source: Source) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Rows that are too long, far longer than the others, or not counted in full."""
        if self.uncounted:
            fix = "do that to have tokens counted, or go on without"
            yield Finding("warning", "not_counted", "", self.uncounted.rstrip("."), fix), ()
            return
        yield from self._not_counted()
        totals = self._array(self.totals)
        limit = self.limit
        if limit is not None:
            message = f"longer than the {limit:,} tokens an example that {self._says(limit)}"
            fix = "shorten or split the conversation"
            yield from self._rows(totals > limit, Finding("error", "too_long", "messages", message, fix))
        countable = totals[totals > 0]
        if len(countable) >= ENOUGH:
            usual = OUTLIER * float(np.median(countable))
            message = f"more than {OUTLIER} times as many tokens as half of the examples have"
            far = (totals > usual) & (totals <= (limit or totals.max()))
            fix = "look whether it belongs here; the longest example sets what a batch costs"
            yield from self._rows(far, Finding("warning", "token_outlier", "messages", message, fix))

    def __getstate__(self) -> dict[str, object]:
        """Without the counter, which every process makes for itself."""
        return {key: value for key, value in vars(self).items() if key != "_counter"}

    @cached_property
    def _counter(self) -> TokenCounter:
        return counter(self.model)

    def _not_counted(self) -> Iterator[tuple[Finding, Sequence[int]]]:
        if self._exact:
            message = "the model's chat template cannot write the conversation, so its tokens are not counted"
            fix = "use a role and a text in every message, and no images"
            unwritten = self._array(self.totals) == 0
            yield from self._rows(unwritten, Finding("warning", "not_counted", "messages", message, fix))
        if self._at_least:
            message = f"an image not in low detail takes more than the {PER_IMAGE} tokens counted for it"
            fix = "set detail to low, or expect a higher price"
            yield Finding("info", "not_counted", "messages", message, fix), self._at_least

    def _rows(self, chosen: NDArray[np.bool_], finding: Finding) -> Iterator[tuple[Finding, Sequence[int]]]:
        numbers = array("q", self._array(self._numbers)[chosen].tobytes())
        if numbers:
            yield finding, numbers

    def _says(self, limit: int) -> str:
        if self._exact or self.model is None:
            return f"{self.model} reads"
        source = catalog.model(self.model).sources["max_example_tokens"]
        return f"{self.model} takes, says {source}"

    @staticmethod
    def _array(numbers: "array[int]") -> NDArray[np.int64]:
        return np.frombuffer(numbers, dtype=np.int64) if numbers else np.zeros(0, dtype=np.int64)
