"""Prompts: instructions, few-shot examples and retrieved passages around each question of a dataset.

The same questions are asked with several prompts, so that the base model meets the tuned one with its own
best. Retrieval is BM25, over solved examples or over passages of documents.
"""

import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from workbench.dataset import json_text, tables
from workbench.dataset.dataset import JSON, OUTPUTS, TOOLS, Dataset, Example, counted
from workbench.dataset.json_text import content, decoded
from workbench.display import table
from workbench.errors import DataError

# Retrieval by words (BM25, Robertson & Zaragoza 2009): it needs no model, costs nothing, and the same
# question always finds the same examples or passages.

_WORD = r"(?u)\b\w+\b"


@dataclass(frozen=True)
class Nearest:
    """Solved examples whose questions share the rarest words with the one that is asked."""

    pool: tuple[Example, ...]
    k: int

    def shots(self, example: Example) -> tuple[Example, ...]:
        """At most ``k`` of them, the most alike last; never one that asks the very question."""
        same = self._same.get(plain(example.question), ())
        found = self._index.best(example.question, self.k, same)
        return tuple(self.pool[place] for place in reversed(found))

    @cached_property
    def _index(self) -> "_Index":
        return _Index([example.question for example in self.pool])

    @cached_property
    def _same(self) -> dict[str, list[int]]:
        """Where the examples with each question stand."""
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

        words = _words(texts)
        self._known = {word for each in words for word in each}
        if self._known:
            self._ranking = bm25s.BM25()
            self._ranking.index(words, show_progress=False)

    def best(self, text: str, k: int, without: Collection[int]) -> list[int]:
        """The places of the ``k`` best texts that share a word, best first, of equal ones the earlier."""
        wanted = [word for word in _words([text])[0] if word in self._known]
        if not wanted:
            return []
        scores = self._ranking.get_scores(wanted)
        order = map(int, (-scores).argsort(kind="stable"))
        return list(islice((place for place in order if scores[place] > 0 and place not in without), k))


def _words(texts: Sequence[str]) -> list[list[str]]:
    from bm25s import tokenize

    # Stop words differ from language to language; the ranking gives frequent words little weight anyway.
    as_words = {"stopwords": None, "token_pattern": _WORD, "return_ids": False, "show_progress": False}
    words: list[list[str]] = tokenize(list(texts), **as_words)
    return words


def plain(question: str) -> str:
    """The question but for case and white space: by it, two are the same."""
    return " ".join(question.casefold().split())


def is_text(value: object) -> bool:
    """Whether it is a text that says anything."""
    return isinstance(value, str) and bool(value.strip())


# Documents: cut into passages that fit into a prompt; a passage keeps its file and line.

TEXTS = (".md", ".txt")
TABLES = tuple(tables.SEPARATORS)
LINES = (".jsonl", ".ndjson")
COLUMNS = ("text", "content", "passage", "document", "body")  # how people call it, the clearest first
PASSAGE = 1_200  # characters, about 300 tokens of English: a few of them fit into any prompt


def read_documents(source: str | Path, *, column: str | None = None, k: int = 3) -> Documents:
    """Read what answers can be looked up in: a folder of texts, a text, or a table with a passage a row.

    Of a folder, ``.txt`` and ``.md`` files are read, at any depth; their texts are cut into passages
    of at most 1,200 characters, at blank lines where there are some. In CSV, TSV and JSONL each row is one
    passage, from ``column``; ``None`` takes the first column called text, content, passage, document or body.
    """
    if k < 1:
        raise DataError(f"{k} passages are none to look up; ask for 1 or more.")
    path = Path(source)
    kind = path.suffix.lower()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in TEXTS and file.is_file())
        found = [passage for file in files for passage in _of_text(file, str(file.relative_to(path)))]
    elif kind in TEXTS:
        found = list(_of_text(path, path.name))
    elif kind in (*TABLES, *LINES):
        found = list(_of_rows(path, column))
    else:
        known = ", ".join((*TEXTS, *TABLES, *LINES))
        raise DataError(f"{path} is neither a folder nor a file that can be read ({known}).")
    if not found:
        documents = f"documents are {' and '.join(TEXTS)} files or rows of a table"
        raise DataError(f"{path} holds no text; {documents}.")
    return Documents(tuple(found), k)


def _of_text(path: Path, name: str) -> Iterator[Passage]:
    data = content(path)
    if not data.strip():
        return  # an empty file beside others harms nobody
    text = decoded(data, name)[0].replace("\r\n", "\n")
    start = 0
    while start < len(text):
        end = _end_of_passage(text, start)
        if passage := text[start:end].strip():
            begins = text.index(passage[0], start)
            yield Passage(passage, f"{name}:{text.count(chr(10), 0, begins) + 1}")
        start = end


def _end_of_passage(text: str, start: int) -> int:
    """Where to cut: at a blank line, else at a line's end, else between words, else right here."""
    last = start + PASSAGE
    if last >= len(text):
        return len(text)
    cuts = (text.rfind(mark, start + 1, last) for mark in ("\n\n", "\n", " "))
    return next((cut for cut in cuts if cut > 0 and text[start:cut].strip()), last)


def _of_rows(path: Path, column: str | None) -> Iterator[Passage]:
    text, _ = decoded(content(path), path.name)
    kind = path.suffix.lower()
    rows: Sequence[tuple[int, JSON]]
    if kind in TABLES:
        expected = COLUMNS if column is None else (column,)
        rows = tables.records(text, path.name, tables.SEPARATORS[kind], expected).values
    else:
        rows = [(number, json_text.parsed(line, path.name, number)) for number, line in json_text.lines(text)]
    for number, row in rows:
        place = f"{path.name} line {number}"
        if not isinstance(row, Mapping):
            raise DataError(f"{place} is no object; each line is one with a text in it.")
        wanted = column or next((name for name in COLUMNS if name in row), "")
        if wanted not in row:
            asked = column or " or ".join(COLUMNS)
            raise DataError(f"{place} has no {asked}; it has {', '.join(row)[:300]}.")
        if not is_text(row[wanted]):
            raise DataError(f"{place}: {wanted} is {row[wanted]!r}; it should be a text.")
        yield Passage(str(row[wanted]).strip(), f"{path.name}:{number}")


PASTED = "Answer with the help of this:\n\n{passages}\n\nThe question:\n\n"


@dataclass(frozen=True)
class Prompt:
    """What stands around a question.

    ``system`` takes the place of each example's own system message; None keeps
    the example's own, and the empty text sends none. ``shots`` are examples
    shown before the question as questions and answers, in their order; ``nearest``
    looks further ones up for each question. ``context`` puts passages into the
    question's own message, where they leave everything before it cacheable.
    """

    name: str
    system: str | None = None
    shots: tuple[Example, ...] = ()
    nearest: Nearest | None = None
    context: Documents | Gold | None = None

    def __post_init__(self) -> None:
        """Take any sequence of shots, a dataset too; of each, what is shown and where it came from."""
        object.__setattr__(self, "shots", tuple(Example(s.messages, s.origin) for s in self.shots))

    def messages(self, example: Example) -> list[dict[str, object]]:
        """Write the messages to send for an example: everything but its answer."""
        own = [message for message in example.prompt if _instructs(message)]
        leading = [_sent(message) for message in own]
        if self.system is not None:
            leading = [{"role": "system", "content": self.system}] if self.system else []
        shots = (*self.shots, *(self.nearest.shots(example) if self.nearest else ()))
        shown = [message for shot in shots for message in shot.messages]
        turns = [message for message in (*shown, *example.prompt) if not _instructs(message)]
        sent = [*leading, *(_sent(message) for message in turns)]
        passages = self.context.texts(example) if self.context else ()
        return _with_passages(sent, passages) if passages else sent

    @property
    def facts(self) -> dict[str, JSON]:
        """All of it as JSON; ``prompt_from`` makes it a prompt again."""
        facts: dict[str, JSON] = {"name": self.name, "system": self.system, "shots": _facts(self.shots)}
        if self.nearest is not None:
            facts["nearest"] = {"k": self.nearest.k, "pool": _facts(self.nearest.pool)}
        if isinstance(self.context, Gold):
            facts["gold"] = self.context.column
        elif self.context is not None:
            passages: JSON = [dict(vars(each)) for each in self.context.passages]
            facts["documents"] = {"k": self.context.k, "passages": passages}
        return facts

    def _repr_html_(self) -> str:
        system = "each example's own" if self.system is None else self.system or "none"
        rows = [("system", system)]
        for shot in self.shots:
            rows += [("user", shot.question), ("assistant", shot.answer)]
        rows += [("looked up", repr(part)) for part in (self.nearest, self.context) if part]
        return table(f"Prompt “{self.name}”", ("role", "content"), [*rows, ("user", "the question")])


AS_TRAINED = Prompt("as trained")
"""Each example's own system message and its question: how a tuned model was trained to be asked."""


def shots_from(
    dataset: Dataset, k: int, *, test: Dataset | None = None, seed: int = 0
) -> tuple[Example, ...]:
    """Choose ``k`` examples to show, from short answers to long ones, and none whose question is tested.

    The examples are put in order of their answers' length and cut into ``k``
    bands; the seed draws one of each band. So the same call chooses the same.
    """
    free = _not_tested(dataset, k, test)
    free.sort(key=lambda example: len(example.answer))
    drawn = random.Random(seed)
    bands = [(len(free) * band // k, len(free) * (band + 1) // k) for band in range(k)]
    return tuple(free[drawn.randrange(start, end)] for start, end in bands)


def shots_of_each_answer(
    dataset: Dataset, k: int, *, test: Dataset | None = None, seed: int = 0
) -> tuple[Example, ...]:
    """Choose ``k`` examples to show whose answers differ, and none whose question is tested.

    One with each answer, the most frequent answers first, then a second one with each, and so on: of five
    labels, ten shots show every one twice. The seed draws which, and their order.
    """
    free, drawn = _not_tested(dataset, k, test), random.Random(seed)
    drawn.shuffle(free)
    often = Counter(example.answer.strip() for example in free)
    seen: Counter[str] = Counter()
    ranked = []
    for place, example in enumerate(free):
        answer = example.answer.strip()
        ranked.append((seen[answer], -often[answer], place))
        seen[answer] += 1
    return tuple(free[place] for place in sorted(place for *_, place in sorted(ranked)[:k]))


def _not_tested(dataset: Dataset, k: int, test: Dataset | None) -> list[Example]:
    """The examples that may be shown, of which there have to be ``k``."""
    asked = {example.question.strip() for example in test or ()}
    free = [example for example in dataset if example.question.strip() not in asked]
    if len(free) < k:
        raise DataError(
            f"{dataset.name} has {len(free)} examples whose question is not in the test set, "
            f"and {k} shots were asked for; ask for fewer."
        )
    return free


def nearest(dataset: Dataset, k: int, *, test: Dataset | None = None) -> Nearest:
    """Look up for each question the ``k`` examples most like it, and none whose question is tested."""
    if k < 1:
        raise DataError(f"{k} examples are none to look up; ask for 1 or more.")
    tested = {plain(example.question) for example in test or ()}
    answered = (example for example in dataset if example.method == "sft")
    free = tuple(Example(e.messages, e.origin) for e in answered if plain(e.question) not in tested)
    if not free:
        raise DataError(
            f"{dataset.name} has no example to show: none with an answer whose question is not tested."
        )
    return Nearest(free, k)


def answered_by(dataset: Dataset, column: str | None) -> Dataset:
    """The same questions with another column of the source as the answer; ``None`` leaves the answer.

    For a task whose reinforcement is about one part of the answer, such as a label.
    """
    if column is None:
        return dataset
    values = dataset.column(column)
    for example, value in zip(dataset, values, strict=True):
        if not is_text(value):
            raise DataError(f"{example.origin}: {column} is {value!r}; it should be the answer as a text.")
    answered = tuple(
        replace(example, messages=(*example.prompt, {"role": "assistant", "content": str(value).strip()}))
        for example, value in zip(dataset, values, strict=True)
    )
    return replace(dataset, examples=answered)


_LINE = ("messages", *TOOLS, *OUTPUTS)  # what a line of a training file holds beside reference fields


def with_references(
    dataset: Dataset, prompt: Prompt = AS_TRAINED, *, fields: Sequence[str] | None = None
) -> Dataset:
    """Prompts for reinforcement: what the model is asked, and beside it the fields that a grader reads.

    Solved examples become the prompt that ``prompt`` writes around their question, and the fields
    ``question``, ``answer`` and every other column of the source that a template can name. All of them are
    uploaded; ``fields`` names the few that are needed, and a row that lacks one of these is a ``DataError``.
    An example that the prompt shows is no prompt itself.
    """
    # By the question too: rows of two files of the same name have the same origin.
    shown = {(shot.origin, shot.question) for shot in prompt.shots}
    rows = tuple(_prompt_of(e, prompt, fields) for e in dataset if (e.origin, e.question) not in shown)
    if not rows:
        raise DataError(f"{dataset.name} has no prompt but those that are shown as examples; show fewer.")
    left = len(dataset) - len(rows)
    notes = [f"{counted(left, 'example')} left out, as every prompt shows them"] if left else []
    unnamed = {key for e in dataset for key in e.metadata if fields is None and not _nameable(key)}
    notes += [f"the column {key!r} is left out, as no template can name it" for key in sorted(unnamed)]
    return Dataset(f"{dataset.name} (prompts)", rows, (*dataset.notes, *notes))


def questions_alone(*datasets: Dataset) -> tuple[Dataset, ...]:
    """The same prompts without what all rows of all datasets show in front of their own turns.

    For comparing rows with each other: with ten solved examples in front, any two prompts are nearly alike.
    Instructions go too; the last message always stays.
    """
    turns = [[tuple(m for m in e.messages if not _instructs(m)) for e in each] for each in datasets]
    every = [row for rows in turns for row in rows]
    in_front = zip(*(row[:-1] for row in every), strict=False)
    shown = sum(1 for _ in takewhile(lambda places: all(m == places[0] for m in places), in_front))
    return tuple(
        replace(each, examples=tuple(replace(e, messages=t[shown:]) for e, t in zip(each, rows, strict=True)))
        for each, rows in zip(datasets, turns, strict=True)
    )


def _prompt_of(example: Example, prompt: Prompt, fields: Sequence[str] | None) -> Example:
    kept = {key: value for key, value in example.more.items() if key in TOOLS}
    columns = {**example.metadata, **{k: v for k, v in example.more.items() if k not in _LINE}}
    if example.method == "sft":
        columns |= {"question": example.question, "answer": example.answer.strip()}
    filled = {key: value for key, value in columns.items() if value not in (None, "")}
    for name in fields or ():
        if name not in filled:
            raise DataError(
                f"{example.origin} has no {name!r} for the grader to read; it has {', '.join(filled)[:300]}. "
                "Fill it in, or leave the row out."
            )
    names = [name for name in filled if _nameable(name)] if fields is None else fields
    asked: tuple[Mapping[str, Any], ...] = tuple(prompt.messages(example))
    return Example(asked, example.origin, {**kept, **{n: filled[n] for n in names}}, example.metadata)


def _nameable(column: str) -> bool:
    """Whether a template can name it: ``{{item.column}}``."""
    return re.fullmatch(r"\w+", column) is not None


def gold_context(prompt: Prompt, column: str) -> Prompt:
    """Give the prompt, in place of what it looks up in documents, the right passage: a column of the test."""
    return replace(prompt, name="gold context", context=Gold(column))


def prompt_from(facts: Mapping[str, JSON]) -> Prompt:
    """Make a prompt of its ``facts``; a ``KeyError``, ``TypeError`` or ``ValueError`` if they are none."""
    system, gold = facts["system"], facts.get("gold")
    context: Documents | Gold | None = None if gold is None else Gold(str(gold))
    for known in _objects([facts["documents"]] if "documents" in facts else []):
        passages = (Passage(str(each["text"]), str(each["origin"])) for each in _objects(known["passages"]))
        context = Documents(tuple(passages), int(str(known["k"])))
    nearest = None
    for known in _objects([facts["nearest"]] if "nearest" in facts else []):
        nearest = Nearest(_examples(known["pool"]), int(str(known["k"])))
    system = None if system is None else str(system)
    return Prompt(str(facts["name"]), system, _examples(facts["shots"]), nearest, context)


def _with_passages(sent: Sequence[dict[str, object]], passages: Sequence[str]) -> list[dict[str, object]]:
    """Put the passages in front of the last question, whether it is one text or a list of parts."""
    asked = max((place for place, message in enumerate(sent) if message["role"] == "user"), default=None)
    if asked is None:
        return list(sent)
    pasted = PASTED.format(passages="\n\n".join(passages))
    content = sent[asked]["content"]
    parts = content if isinstance(content, list | tuple) else ()
    joined = f"{pasted}{content}" if isinstance(content, str) else [{"type": "text", "text": pasted}, *parts]
    return [*sent[:asked], {**sent[asked], "content": joined}, *sent[asked + 1 :]]


def _facts(examples: Sequence[Example]) -> JSON:
    return [{"messages": [dict(message) for message in e.messages], "origin": e.origin} for e in examples]


def _examples(facts: JSON) -> tuple[Example, ...]:
    found = _objects(facts)
    return tuple(Example(tuple(_objects(each["messages"])), origin=str(each["origin"])) for each in found)


def _objects(facts: JSON) -> list[Mapping[str, JSON]]:
    found = [each for each in facts if isinstance(each, Mapping)] if isinstance(facts, list | tuple) else None
    if found is None or len(found) < len(facts):  # type: ignore[arg-type]
        raise TypeError("a list of objects was expected")
    return found


def _instructs(message: Mapping[str, object]) -> bool:
    return message["role"] in ("system", "developer")


def _sent(message: Mapping[str, object]) -> dict[str, object]:
    """Leave out ``weight``: it is for training, and a service refuses it in a question."""
    return {key: value for key, value in message.items() if key != "weight"}
