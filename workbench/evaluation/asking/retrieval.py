"""What is looked up for each question: solved examples like it, or passages that may hold the answer.

Looking up is by words (BM25, Robertson & Zaragoza 2009): it needs no model, costs
nothing, and the same question always finds the same. What is found is put into
the prompt; how, is said in ``prompts``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from workbench.dataset.examples import Example, counted
from workbench.errors import DataError
from workbench.tables import table

_WORD = r"(?u)\b\w+\b"


@dataclass(frozen=True)
class Nearest:
    """Solved examples whose questions share the rarest words with the one that is asked."""

    pool: tuple[Example, ...]
    k: int

    def shots(self, example: Example) -> tuple[Example, ...]:
        """At most ``k`` of them, the most alike last; never one that asks the very question."""
        same = self._places.get(plain(example.question), ())
        found = self._index.best(example.question, self.k, same)
        return tuple(self.pool[place] for place in reversed(found))

    @cached_property
    def _index(self) -> "_Index":
        return _Index([example.question for example in self.pool])

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for place, known in enumerate(self.pool):
            places.setdefault(plain(known.question), []).append(place)
        return places

    def __repr__(self) -> str:
        """How many of how many."""
        return f"the {self.k} nearest of {counted(len(self.pool), 'example')}"


@dataclass(frozen=True)
class Passage:
    """Some text of a document, and where it stands."""

    text: str
    origin: str


@dataclass(frozen=True)
class Documents:
    """Passages to look answers up in; ``k`` of them are put in front of each question."""

    passages: tuple[Passage, ...]
    k: int = 3

    def texts(self, example: Example) -> tuple[str, ...]:
        """At most ``k`` passages that share words with the question, the best first."""
        return tuple(self.passages[place].text for place in self.places(example.question))

    def places(self, text: str) -> list[int]:
        """Where among the passages those stand that share words with a text, the best first."""
        return self._index.best(text, self.k, ())

    @cached_property
    def _index(self) -> "_Index":
        return _Index([passage.text for passage in self.passages])

    def __repr__(self) -> str:
        """How many of how many."""
        return f"the {self.k} best of {counted(len(self.passages), 'passage')}"

    def _repr_html_(self) -> str:
        shown = self.passages[:10]
        caption = f"{counted(len(self.passages), 'passage')}, the first {len(shown)}"
        return table(caption, ("origin", "text"), [(each.origin, each.text) for each in shown])


@dataclass(frozen=True)
class Gold:
    """The passage that holds the answer, from a column of the test: what perfect retrieval would find."""

    column: str

    def texts(self, example: Example) -> tuple[str, ...]:
        """The passage of this question."""
        beside = {**example.more, **example.metadata}
        if self.column not in beside:
            has = ", ".join(beside)[:300] or "no further column"
            raise DataError(f"{example.origin} has no column {self.column!r}; it has {has}.")
        found = beside[self.column]
        texts = [found] if isinstance(found, str) else found
        if not isinstance(texts, Sequence) or not texts or not all(is_text(each) for each in texts):
            raise DataError(
                f"{example.origin}: {self.column} is {found!r}; it should be the passage with the answer."
            )
        return tuple(str(each) for each in texts)

    def __repr__(self) -> str:
        """The column."""
        return f"the right passage, from the column {self.column}"


class _Index:
    """Texts by their words."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        words = self._words(texts)
        self._known = {word for each in words for word in each}
        if self._known:
            self._ranking = bm25s.BM25()
            self._ranking.index(words, show_progress=False)

    def best(self, text: str, k: int, without: Collection[int]) -> list[int]:
        """The places of the ``k`` best texts that share a word, best first, of equal ones the earlier."""
        [asked] = self._words([text])
        wanted = [word for word in asked if word in self._known]
        if not wanted:
            return []
        scores = self._ranking.get_scores(wanted)
        order = (-scores).argsort(kind="stable")
        found = (int(place) for place in order if scores[place] > 0 and int(place) not in without)
        return list(islice(found, k))

    def _words(self, texts: Sequence[str]) -> list[list[str]]:
        from bm25s import tokenize

        # Stop words differ from language to language; the ranking gives frequent words little weight anyway.
        words: list[list[str]] = tokenize(
            list(texts), stopwords=None, token_pattern=_WORD, return_ids=False, show_progress=False
        )
        return words


def plain(question: str) -> str:
    """The question but for case and white space: by it, two are the same."""
    return " ".join(question.casefold().split())


def is_text(value: object) -> bool:
    """Whether it is a text that says anything."""
    return isinstance(value, str) and bool(value.strip())
