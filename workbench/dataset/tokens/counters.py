"""Two ways to count the tokens of examples: with the model's own template, or by OpenAI's published rule.

The first is exact, for models whose tokenizer lies on this machine. The second counts every text exactly
and adds what is known to stand between the texts, which is near what a service bills, not equal to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.examples import Message
from workbench.dataset.rows import Row
from workbench.dataset.tokens import chat_template
from workbench.dataset.tokens.layout import conversations, laid_out
from workbench.dataset.tokens.vocabularies import vocabulary
from workbench.errors import DataError

REMEMBERED_FROM = 4  # rows at the beginning of each batch whose system messages are looked at
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


class TokenCounter(Protocol):
    """Counts as one model does."""

    @property
    def encoding(self) -> str:
        """The vocabulary's name."""

    @property
    def exact(self) -> bool:
        """Whether examples are counted as the model reads them, not by a rule that comes near."""

    @property
    def how(self) -> str:
        """How it counts, for people."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text alone."""

    def count_rows(self, rows: Sequence[Row]) -> Counted:
        """The tokens of each row with all that stands around its texts."""


class VocabularyCounter:
    """Counts by OpenAI's published rule; the texts exactly, what stands between them as far as known."""

    exact = False

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


def _read_together(lists: Sequence[list[Message]]) -> Iterator[list[Message]]:
    prompt, *answers = lists
    if answers:
        unlearnt = [{**message, "weight": 0} for message in prompt]
        yield from ([*unlearnt, *answer] for answer in answers)
    elif prompt and prompt[-1].get("role") != "assistant":
        yield [{**message, "weight": 0} for message in prompt]
    else:
        yield prompt
