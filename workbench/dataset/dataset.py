"""Which examples to put aside, so that the score on them shows no memorisation.

What belongs together (equal prompts, a customer's or document's rows, near-duplicates) stays on one side:
rows that are linked, even by way of others, are a family, and families are dealt out whole.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, overload

from workbench.display import bar, beside, folded, histogram, table
from workbench.errors import DataError


def put_aside(
    prompts: Sequence[str],
    held_out: float,
    seed: int,
    *,
    name: str,
    groups: Sequence[str | None] | None = None,
    classes: Sequence[str] | None = None,
    together: Sequence[Sequence[int]] = (),
) -> frozenset[int]:
    """The positions of about ``held_out`` of the examples (a share), always the same for the same seed.

    ``groups`` and ``classes`` have one entry an example. A group's rows stay together, and ``None`` is no
    group. Of each class about the same share is put aside, as far as families allow.
    """
    if not 0 < held_out < 1:
        raise DataError(f"held_out is {held_out}; give a share between 0 and 1, such as 0.15.")
    families = _families(prompts, groups, together)
    if len(families) < 2:
        things = "different prompt" if len(set(prompts)) < 2 else "independent group"
        count = f"{len(families)} {things}{'' if len(families) == 1 else 's'}"
        raise DataError(f"{name} has {count}; a split needs two at least.")
    wanted = min(max(1, round(held_out * len(prompts))), len(prompts) - 1)
    smallest = min(map(len, families))
    if smallest > wanted and (groups is not None or together):
        raise DataError(
            f"{name}: the smallest of {len(families)} groups has {smallest:,} of {len(prompts):,} examples, "
            f"more than the {wanted:,} to put aside; give a held_out of {smallest / len(prompts):.2f} "
            "or more, or a finer group."
        )
    random.Random(seed).shuffle(families)
    kinds = [""] * len(prompts) if classes is None else classes
    return frozenset(_dealt(families, kinds, wanted))


def _families(
    prompts: Sequence[str], groups: Sequence[str | None] | None, together: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Positions that are linked by an equal prompt, an equal group or by name; in order of their first."""
    earlier: dict[int, int] = {}
    for labels in (prompts, groups or ()):
        seen: dict[str, int] = {}
        for position, label in enumerate(labels):
            if label is not None:
                join(earlier, seen.setdefault(label, position), position)
    for family in together:
        for position in family[1:]:
            join(earlier, family[0], position)
    return joined(earlier, len(prompts))


def join(earlier: dict[int, int], one: int, other: int) -> None:
    """Make one family of two positions; ``earlier`` links each of a family but its first to one before it."""
    first, second = sorted((root(earlier, one), root(earlier, other)))
    if first != second:
        earlier[second] = first


def root(earlier: dict[int, int], position: int) -> int:
    """The first of the family; the links on the way are made shorter."""
    while position in earlier:
        above = earlier[position]
        if above in earlier:
            earlier[position] = earlier[above]
        position = above
    return position


def joined(earlier: dict[int, int], size: int) -> list[list[int]]:
    """All families, those of one member too, in order of their first."""
    families: dict[int, list[int]] = {}
    for position in range(size):
        families.setdefault(root(earlier, position), []).append(position)
    return list(families.values())


def _dealt(families: Sequence[list[int]], kinds: Sequence[str], wanted: int) -> set[int]:
    """Families that fit into what is wanted of each kind; the smallest one if none does."""
    places = _shares(Counter(kinds), wanted)
    aside: set[int] = set()
    left: list[list[int]] = []
    for family in families:
        needs = Counter(kinds[position] for position in family)
        if all(number <= places[kind] for kind, number in needs.items()):
            aside.update(family)
            places.subtract(needs)
        else:
            left.append(family)
    # Families of several kinds may fit nowhere exactly: take those that bring the shares closer.
    for family in left if len(places) > 1 else ():
        needs = Counter(kinds[position] for position in family)
        closer = sum(abs(places[kind]) - abs(places[kind] - number) for kind, number in needs.items())
        if closer > 0 and len(aside) + len(family) < len(kinds):
            aside.update(family)
            places.subtract(needs)
    return aside or set(sorted(families, key=len)[0])


def _shares(numbers: Counter[str], wanted: int) -> Counter[str]:
    """``wanted`` places dealt to the kinds by their numbers; the largest remainders get what is left over."""
    total = sum(numbers.values())
    exact = {kind: number * wanted / total for kind, number in numbers.items()}
    shares = Counter({kind: int(share) for kind, share in exact.items()})
    by_remainder = sorted(exact, key=lambda kind: int(exact[kind]) - exact[kind])
    for kind in by_remainder[: wanted - sum(shares.values())]:
        shares[kind] += 1
    return shares


# Training examples in the chat format, and the datasets they make up.
#
# An example is one conversation that ends with the answer we want to hear. A
# dataset is a named, ordered, immutable collection of them. Both keep to the
# wire format, so what a notebook prints is what is uploaded.

# What JSON can hold. A message stays the plain mapping of the wire format, with whatever else it carries.
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
Message: TypeAlias = Mapping[str, JSON]

ROWS_SHOWN, COLUMNS_SHOWN = 10, 8
MANY = 20  # examples from which on their spread is worth a picture
MOST_LABELS = 20  # different answers that are counted as labels
_EMPTY: Mapping[str, JSON] = MappingProxyType({})
EXPORTED = ("origin", "messages", "more", "metadata")  # the columns of the Parquet file

TOOLS = ("tools", "parallel_tool_calls")  # what belongs to the messages, wherever these stand
OUTPUTS = ("preferred_output", "non_preferred_output")  # of a preference pair


@dataclass(frozen=True)
class Example:
    """One example, and where it came from (``faq.csv:12``).

    Supervised (``sft``): ``messages`` end with the answer to learn. Preference (``dpo``): they are the
    prompt, and ``more`` holds ``preferred_output`` and ``non_preferred_output``. Reinforcement (``rft``):
    they end with the user, and ``more`` holds the reference fields that a grader reads.
    """

    messages: tuple[Message, ...]
    origin: str
    more: Mapping[str, JSON] = field(default_factory=dict)
    """What else the line holds beside its messages (``tools``, for instance), kept as it is."""
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    """What the source says of it (a customer, a template): to split and look by, never uploaded."""

    @property
    def method(self) -> str:
        """What it can teach by: ``sft``, ``dpo`` or ``rft``."""
        if "preferred_output" in self.more or "non_preferred_output" in self.more:
            return "dpo"
        return "rft" if self.messages and _role(self.messages[-1]) == "user" else "sft"

    @property
    def wire(self) -> dict[str, JSON]:
        """The object that its line of the uploaded file holds."""
        if self.method != "dpo":
            return {"messages": self.messages, **self.more}
        given = {key: value for key, value in self.more.items() if key in TOOLS}
        rest = {key: value for key, value in self.more.items() if key not in TOOLS}
        return {"input": {"messages": self.messages, **given}, **rest}

    @property
    def question(self) -> str:
        """What the user said last."""
        said = [text_of(message) for message in self.messages if _role(message) == "user"]
        return said[-1] if said else ""

    @property
    def answer(self) -> str:
        """What we want the model to say: the last message, or the preferred one; nothing for ``rft``."""
        if self.method == "dpo":
            preferred = self.more.get("preferred_output")
            last = preferred[-1] if isinstance(preferred, Sequence) and preferred else None
            return text_of(last) if isinstance(last, Mapping) else ""
        return text_of(self.messages[-1]) if self.messages and self.method == "sft" else ""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """What the model is given: everything before the answer."""
        return self.messages[:-1] if self.method == "sft" else self.messages

    def _repr_html_(self) -> str:
        from workbench.dataset.check.privacy import masked  # here: it takes time to load

        rows = [(str(_role(message)), masked(text_of(message))) for message in self.messages]
        rows += [(key, masked(value)) for key, value in _beside(self).items()]
        return table(self.origin, ("role", "content"), rows)


@dataclass(frozen=True, repr=False)
class Dataset(Sequence[Example]):
    """A named, ordered collection of examples."""

    name: str
    examples: tuple[Example, ...]
    notes: tuple[str, ...] = ()
    """What was guessed while reading: the encoding, the separator, the columns, the shape of the lines."""

    def __getstate__(self) -> dict[str, object]:
        """Without the bytes of the file, which another process can make again."""
        return {key: value for key, value in vars(self).items() if key != "_jsonl"}

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.examples)

    def __iter__(self) -> Iterator[Example]:
        """One example after the other."""
        return iter(self.examples)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...

    def __getitem__(self, index: int | slice) -> "Example | Dataset":
        """One example, or a dataset of some."""
        if isinstance(index, slice):
            return replace(self, examples=self.examples[index])
        return self.examples[index]

    def to_jsonl(self) -> bytes:
        """The file that is uploaded: UTF-8 without a byte order mark, one conversation a line; made once."""
        return self._jsonl

    def to_parquet(self, path: str | Path) -> Path:
        """Write everything, metadata and origins too, for ``read`` or for pandas to read again.

        Columns: ``origin`` as text; ``messages``, ``more`` and ``metadata`` as JSON.
        """
        import pyarrow
        from pyarrow import parquet

        rows = [(e.origin, list(e.messages), e.more, e.metadata) for e in self.examples]
        columns = [[json.dumps(cell, default=dict) for cell in column] for column in zip(*rows, strict=True)]
        columns = columns or [[] for _ in EXPORTED]
        columns[0] = [example.origin.encode("utf-8", "replace").decode() for example in self.examples]
        written = pyarrow.table([pyarrow.array(column, pyarrow.string()) for column in columns], EXPORTED)
        parquet.write_table(written, path)
        return Path(path)

    @cached_property
    def _jsonl(self) -> bytes:
        return b"".join(map(line_of, self.examples))

    @cached_property
    def sha256(self) -> str:
        """The hash of the uploaded file: equal for equal examples, wherever they came from."""
        return hashlib.sha256(self.to_jsonl()).hexdigest()

    def take(self, n: int) -> "Dataset":
        """The first ``n`` examples."""
        return self[: max(n, 0)]

    def without(self, origins: Collection[str]) -> "Dataset":
        """All examples but those from these places, for instance ``report.bad``."""
        return replace(self, examples=tuple(e for e in self.examples if e.origin not in origins))

    def column(self, name: str) -> tuple[JSON, ...]:
        """One value an example: of the metadata, of a field beside the messages, or its ``answer``."""
        known = {key: None for example in self for key in (*example.metadata, *example.more)}
        if name not in known and name != "answer":
            has = ", ".join([*known, "answer"])[:300]
            raise DataError(f"{self.name} has no column {name!r} to go by; it has {has}.")
        if name not in known:
            return tuple(example.answer for example in self)
        return tuple(example.metadata.get(name, example.more.get(name)) for example in self)

    def split(
        self,
        held_out: float = 0.15,
        seed: int = 0,
        *,
        stratify: str | None = None,
        group: str | None = None,
        together: Sequence[Sequence[int]] = (),
    ) -> "Split":
        """Put a share of the examples aside, always the same for the same seed.

        Examples with the same prompt stay on one side, so the held-out score shows no memorisation; so do
        those with the same value in the column ``group`` (a customer, a template), and the positions in
        each of ``together`` (``families`` of near-duplicates). The values of the column ``stratify`` keep
        their shares on both sides, as far as that leaves families whole.
        """
        prompts = [identity(example.prompt) for example in self.examples]
        classes = None if stratify is None else [_one_text(value) for value in self.column(stratify)]
        groups = None
        if group is not None:
            groups = [None if value in (None, "") else _one_text(value) for value in self.column(group)]
        aside = put_aside(
            prompts, held_out, seed, name=self.name, groups=groups, classes=classes, together=together
        )
        training = tuple(example for n, example in enumerate(self.examples) if n not in aside)
        held = tuple(example for n, example in enumerate(self.examples) if n in aside)
        return Split(
            replace(self, name=f"{self.name} (training)", examples=training),
            replace(self, name=f"{self.name} (held out)", examples=held),
        )

    def __repr__(self) -> str:
        """The name and the size."""
        return f"Dataset({self.name!r}, {len(self)} examples)"

    def _repr_html_(self) -> str:
        from workbench.dataset.check.privacy import masked  # here: it takes time to load

        caption = f"{self.name}: {counted(len(self), 'example')}"
        if len(self) > ROWS_SHOWN:
            caption += f", the first {ROWS_SHOWN}"
        shown = self.examples[:ROWS_SHOWN]
        rows = [{**_beside(e), "origin": e.origin, "question": e.question} for e in shown]
        rows = [row | ({"answer": e.answer} if e.answer else {}) for row, e in zip(rows, shown, strict=True)]
        columns = list(dict.fromkeys(["origin", "question", "answer", *(key for row in rows for key in row)]))
        columns = columns[:COLUMNS_SHOWN]
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        first = table(caption, columns, [[masked(row.get(key, "")) for key in columns] for row in rows])
        if len(self) < MANY:
            return first + notes
        return beside(*self._spread()) + folded(f"The first {ROWS_SHOWN} examples", first) + notes

    def _spread(self) -> Iterator[str]:
        """How the questions and answers are spread: by length, and answers that are labels by how often."""
        columns = ("characters", "examples")
        caption = f"{self.name}: {counted(len(self), 'example')}, by the length of the question"
        yield table(caption, columns, histogram(len(example.question) for example in self))
        answers = Counter(example.answer for example in self)
        if len(answers) > MOST_LABELS:
            yield table("By the length of the answer", columns, histogram(len(e.answer) for e in self))
        elif answers.keys() != {""}:
            most = max(answers.values())
            labels = [(label, bar(n / most, f"{n:,}")) for label, n in answers.most_common()]
            yield table("By the answer", ("answer", "examples"), labels)


class Split(NamedTuple):
    """Two datasets that share no prompt."""

    training: Dataset
    held_out: Dataset


def line_of(example: Example) -> bytes:
    """The example's line of the uploaded file; an error of ``json`` where it holds what JSON cannot."""
    content = example.wire
    try:
        return json.dumps(content, ensure_ascii=False, default=dict).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot hold
        return json.dumps(content, default=dict).encode() + b"\n"


def counted(number: int, thing: str) -> str:
    """``1 example``, ``1,200 examples``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def text_of(message: Message) -> str:
    """The words of a message, whether its content is one text or a list of parts."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def items_of(value: JSON) -> Sequence[JSON]:
    """What a list holds; nothing where there should be one and is none."""
    return value if isinstance(value, list | tuple) else ()


def mapping_of(value: JSON) -> Mapping[str, JSON]:
    """An object; an empty one where there should be one and is none."""
    return value if isinstance(value, Mapping) else _EMPTY


def identity(messages: Iterable[Message]) -> str:
    """One text that is equal for equal messages, whatever the order of their keys."""
    return _one_text(list(messages))


def _role(message: Message) -> JSON:
    """Who speaks; nobody, if somebody's own code put something else in a message's place."""
    return message.get("role") if isinstance(message, Mapping) else None


def _one_text(value: JSON) -> str:
    """A value as JSON, equal for equal values."""
    return json.dumps(value, sort_keys=True, default=dict)


def _beside(example: Example) -> dict[str, str]:
    """What is worth showing beside question and answer: the rejected answer, reference fields, metadata."""
    held: dict[str, JSON] = {**example.more, **example.metadata}
    held.pop("preferred_output", None)
    rejected = held.pop("non_preferred_output", None)
    shown = {}
    if isinstance(rejected, Sequence) and rejected and isinstance(rejected[-1], Mapping):
        shown["not preferred"] = text_of(rejected[-1])
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, default=dict)
        for key, value in held.items()
    }
    return shown | texts


# Who speaks in a conversation, and what logs and other tools call the same speakers and fields.

SYSTEM = ("system", "developer")
ROLES = (*SYSTEM, "user", "assistant", "tool", "function")

OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("human", "prompter", "customer", "question"), "user"),
        **dict.fromkeys(("ai", "bot", "chatbot", "chatgpt", "gpt", "bard", "bing"), "assistant"),
        **dict.fromkeys(("model", "llm", "answer"), "assistant"),
        **dict.fromkeys(("observation", "tool_response"), "tool"),
    }
)
"""Of ShareGPT, Alpaca, OpenAssistant and the logs of chat programs; in lower case."""

OTHER_FIELDS: Mapping[str, str] = MappingProxyType(
    {"from": "role", "speaker": "role", "value": "content", "text": "content"}
)


def role_meant(name: str) -> str | None:
    """The role that goes by this name, however it is written; ``None`` where nobody knows."""
    plain = name.strip().casefold()
    return plain if plain in ROLES else OTHER_NAMES.get(plain)
