"""Two ways to count the tokens of examples: with the model's own template, or by OpenAI's published rule.

The first is exact, for models whose tokenizer lies on this machine. The second counts every text exactly
and adds what is known to stand between the texts, which is near what a service bills, not equal to it.
"""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench import catalog
from workbench.dataset import chat_template
from workbench.dataset.check.row import Finding, Row, RowSource, Tally, breaks
from workbench.dataset.dataset import Dataset, Message, counted
from workbench.dataset.tokenizers import PER_IMAGE, conversations, laid_out, vocabulary
from workbench.display import beside, histogram, table
from workbench.errors import DataError, SetupError

REMEMBERED_FROM = 4  # rows at the beginning of each batch whose system messages are counted once
MOST_REMEMBERED = 1_000


class Counted(NamedTuple):
    """The tokens of some rows, in their order."""

    total: NDArray[np.int64]
    """All that is read, of a preference the prompt and both answers; 0 where a row cannot be counted."""
    trained: NDArray[np.int64]
    """What is learnt: the assistant's turns but those of weight 0, both answers of a preference; of a
    prompt for reinforcement nothing, because there the model learns from answers of its own."""
    at_least: NDArray[np.bool_]
    """Whether a row takes more than that: it has an image in other than low detail."""


class VocabularyCounter:
    """Counts by OpenAI's published rule; the texts exactly, what stands between them as far as known."""

    exact = False
    """Whether examples are counted as the model reads them, not by a rule that comes near."""

    def __init__(self, encoding: str) -> None:
        """``encoding`` as ``tiktoken`` calls it."""
        self.encoding = encoding
        self._known: dict[str, int] = {}  # system messages: mostly the same in all rows

    @property
    def how(self) -> str:
        """The vocabulary, the library, and what is approximate."""
        library = vocabulary(self.encoding).counted_by
        return f"texts exactly with {self.encoding} by {library}; what stands between them by OpenAI's rule"

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text alone."""
        return vocabulary(self.encoding).count(texts)

    def count_rows(self, rows: Sequence[Row]) -> Counted:
        """3 tokens an example, 3 a message with its role and content, 1 for a name (see ``layout``)."""
        layout = laid_out(rows, self._known)
        tokens = np.array(self.count(layout.texts), dtype=np.int64)
        self._remember(rows)
        row_of = np.repeat(np.arange(len(rows)), layout.texts_of)
        learnt = tokens * np.frombuffer(layout.trained, dtype=np.uint8)
        total = np.array(layout.beside, dtype=np.int64)
        trained = np.zeros(len(rows), dtype=np.int64)
        np.add.at(total, row_of, tokens)
        np.add.at(trained, row_of, learnt)
        larger = np.frombuffer(layout.larger_images, dtype=np.bool_)
        return Counted(total, trained, larger)

    def _remember(self, rows: Sequence[Row]) -> None:
        """Count the system messages of the last rows once and for all, while there are few of them."""
        new = {turn.text for row in rows[:REMEMBERED_FROM] for turn in row.turns if turn.part == "system"}
        if len(self._known) < MOST_REMEMBERED and (new := new - self._known.keys()):
            texts = sorted(new)
            self._known |= zip(texts, self.count(texts), strict=True)


class TemplateCounter:
    """Counts with the tokenizer and chat template of a model on this machine."""

    exact = True

    def __init__(self, model: str) -> None:
        """``SetupError`` says how to get a tokenizer that is not here."""
        self._tokenizer = chat_template.tokenizer_of(model)
        self.encoding = model

    @property
    def how(self) -> str:
        """Whose template."""
        return f"exactly, with the tokenizer and chat template of {self.encoding}"

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text alone."""
        if not texts:
            return []
        whole = [text.encode("utf-8", "replace").decode() for text in texts]
        return [len(ids) for ids in self._tokenizer(whole, add_special_tokens=False)["input_ids"]]

    def count_rows(self, rows: Sequence[Row]) -> Counted:
        """The template's own text of each row; a preference's prompt counts once."""
        total = np.zeros(len(rows), dtype=np.int64)
        trained = np.zeros(len(rows), dtype=np.int64)
        for number, row in enumerate(rows):
            for text, learnt, is_again in self._texts(row):
                tokens = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
                learns = sum(chat_template.Conversation(text, learnt).learns(tokens["offset_mapping"]))
                total[number] += learns if is_again else len(tokens["input_ids"])
                trained[number] += learns
        return Counted(total, trained, np.zeros(len(rows), dtype=np.bool_))

    def _texts(self, row: Row) -> Iterator[tuple[str, tuple[tuple[int, int], ...], bool]]:
        """Each text the model reads, its learnt stretches, and whether its prompt was read before."""
        lists = [[m for m in messages if isinstance(m, Mapping)] for messages, _ in conversations(row.value)]
        if not lists:
            return
        given = row.value.get("input")
        tools = chat_template.tools_in(given if isinstance(given, Mapping) else row.value)
        try:
            for again, messages in enumerate(_read_together(lists)):
                yield (*chat_template.written(self._tokenizer, messages, tools), again > 0)
        except DataError:  # counted as 0, which the collector tells of
            return


TokenCounter: TypeAlias = VocabularyCounter | TemplateCounter
"""Counts as one model does: texts alone, and rows with all that stands around their texts."""


def _read_together(lists: Sequence[list[Message]]) -> Iterator[list[Message]]:
    prompt, *answers = lists
    if answers:
        unlearnt = [{**message, "weight": 0} for message in prompt]
        yield from ([*unlearnt, *answer] for answer in answers)
    elif prompt and prompt[-1].get("role") != "assistant":
        yield [{**message, "weight": 0} for message in prompt]
    else:
        yield prompt


# How many tokens a dataset has, how they are spread over its examples, and what is lost of them.
#
# Pure arithmetic on two numbers an example: all its tokens, and those that are learnt.

BAR = 30  # characters of the longest bar
BATCH_SIZES = (4, 16)  # what padding is shown for; most jobs seen lie between 1 and 16


class Bin(NamedTuple):
    """How many examples have ``low`` to ``high`` tokens, both counted in."""

    low: int
    high: int
    examples: int


@dataclass(frozen=True, repr=False)
class TokenCounts:
    """The tokens of a dataset as one model counts them."""

    name: str
    model: str | None
    method: str
    how: str
    """How they were counted, for people."""
    exact: bool
    """Whether this is what the model reads, or a rule that comes near."""
    limit: int | None
    """The longest example that the model takes, in tokens; ``None`` where nobody says."""
    totals: Sequence[int] = ()
    """The tokens of each example that can be counted, in the order of the file."""
    trained_of: Sequence[int] = ()
    """Of each example the tokens that are learnt."""

    @property
    def examples(self) -> int:
        """How many examples were counted."""
        return len(self.totals)

    @cached_property
    def total(self) -> int:
        """All tokens, each read once an epoch."""
        return int(self._sorted.sum())

    @cached_property
    def trained(self) -> int:
        """The tokens that are learnt: what the assistant says."""
        return sum(self.trained_of)

    @property
    def median(self) -> float:
        """Half of the examples have at most so many tokens."""
        return float(np.median(self._sorted)) if self.examples else 0.0

    @property
    def p95(self) -> int:
        """The smallest length that 95 % of the examples keep to."""
        return int(np.percentile(self._sorted, 95, method="inverted_cdf")) if self.examples else 0

    @property
    def longest(self) -> int:
        """The tokens of the longest example."""
        return int(self._sorted[-1]) if self.examples else 0

    @cached_property
    def histogram(self) -> tuple[Bin, ...]:
        """Examples by length, in bins that double: 0 to 63 tokens, 64 to 127, 128 to 255, and so on."""
        if not self.examples:
            return ()
        first, last = (max(int(n).bit_length(), 6) for n in (self._sorted[0], self._sorted[-1]))
        edges = [0 if power == 6 else 1 << (power - 1) for power in range(first, last + 1)] + [1 << last]
        inside = np.diff(np.searchsorted(self._sorted, edges))
        return tuple(
            Bin(low, high - 1, int(n)) for (low, high), n in zip(pairwise(edges), inside, strict=True)
        )

    def padding(self, batch_size: int) -> float:
        """The share of a batch that is padding when every example is filled up to the longest in it.

        For batches drawn by chance: 1 - mean length / expected longest of ``batch_size`` examples drawn
        without putting back, where the i-th shortest of n is the longest with probability
        C(i-1, b-1) / C(n, b). Sorting by length, as our own trainer does, wastes less.
        """
        n, b = self.examples, min(batch_size, self.examples)
        if b < 2:
            return 0.0
        ranks = np.arange(n, b, -1)
        # From the longest down: b/n, then each time the share of the ranks that have enough others below.
        chances = np.cumprod(np.concatenate(([b / n], (ranks - b) / (ranks - 1))))
        longest = float(chances @ self._sorted[::-1][: n - b + 1])
        return 1 - self.total / n / longest if longest else 0.0

    def truncated(self, context: int) -> float:
        """The share of all tokens that a model which reads ``context`` tokens an example would not see."""
        return float(np.maximum(self._sorted - context, 0).sum()) / self.total if self.total else 0.0

    def over(self, context: int) -> int:
        """How many examples are longer than ``context`` tokens."""
        return self.examples - int(np.searchsorted(self._sorted, context, side="right"))

    def __str__(self) -> str:
        """The sum in a sentence."""
        return (
            f"{self.name}: {counted(self.total, 'token')} in {counted(self.examples, 'example')}, "
            f"{self.trained:,} of them learnt"
        )

    def __repr__(self) -> str:
        """The sum, the spread and the histogram as plain lines."""
        lines = [f"{what}: {value}" for what, value in self._facts()]
        bars = [f"{low:>7,} to {high:>7,} {n:>7,} {bar}" for low, high, n, bar in self._bars()]
        return "\n".join([str(self), *lines, *bars])

    def _repr_html_(self) -> str:
        lengths = table("Examples by length", ("tokens", "examples"), histogram(self.totals))
        return beside(table(str(self), ("", "tokens"), self._facts()), lengths)

    @cached_property
    def _sorted(self) -> NDArray[np.int64]:
        return np.sort(np.array(self.totals, dtype=np.int64))

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("median", f"{self.median:,.0f}"),
            ("95 % have at most", f"{self.p95:,}"),
            ("longest", f"{self.longest:,}"),
            ("learnt", f"{self.trained:,} ({_share(self.trained / self.total if self.total else 0)} of all)"),
        ]
        if self.limit:
            over = f"{counted(self.over(self.limit), 'example')}, {_share(self.truncated(self.limit))} of all"
            facts.append((f"beyond the limit of {self.limit:,}", over))
        facts += [(f"padding in batches of {size}", _share(self.padding(size))) for size in BATCH_SIZES]
        return [*facts, ("counted", self.how)]

    def _bars(self) -> list[tuple[int, int, int, str]]:
        most = max((each.examples for each in self.histogram), default=1) or 1
        return [(*each, "█" * -(-each.examples * BAR // most)) for each in self.histogram]


def _share(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


# Counting the tokens of examples as a model does: in a dataset, or row by row of a file of any size.

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


class Tokens(Tally):
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

    def counts(self, name: str) -> TokenCounts:
        """The sum and the spread, without the rows that cannot be counted."""
        countable = self._array(self.totals) > 0
        total, trained = (
            array("q", self._array(each)[countable].tobytes()) for each in (self.totals, self.trained)
        )
        how = self.uncounted or self._counter.how
        return TokenCounts(name, self.model, self.method, how, self._exact, self.limit, total, trained)

    def found(self, source: RowSource) -> Iterator[tuple[Finding, Sequence[int]]]:
        """Rows that are too long, far longer than the others, or not counted in full."""
        if self.uncounted:
            fix = "do that to have tokens counted, or go on without"
            yield breaks("not_counted", "", self.uncounted.rstrip("."), fix), ()
            return
        yield from self._not_counted()
        totals = self._array(self.totals)
        limit = self.limit
        if limit is not None:
            message = f"longer than the {limit:,} tokens an example that {self._says(limit)}"
            fix = "shorten or split the conversation"
            yield from self._rows(totals > limit, breaks("too_long", "messages", message, fix))
        countable = totals[totals > 0]
        if len(countable) >= ENOUGH:
            usual = OUTLIER * float(np.median(countable))
            message = f"more than {OUTLIER} times as many tokens as half of the examples have"
            far = (totals > usual) & (totals <= (limit or totals.max()))
            fix = "look whether it belongs here; the longest example sets what a batch costs"
            yield from self._rows(far, breaks("token_outlier", "messages", message, fix))

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
            yield from self._rows(unwritten, breaks("not_counted", "messages", message, fix))
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
