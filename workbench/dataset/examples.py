"""Training examples in the chat format, and the datasets they make up.

An example is one conversation that ends with the answer we want to hear. A
dataset is a named, ordered, immutable collection of them. Both keep to the
wire format, so what a notebook prints is what is uploaded.
"""

import hashlib
import json
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, TypeAlias, overload

from workbench.errors import DataError
from workbench.tables import table

# What JSON can hold. A message stays the plain mapping of the wire format, with whatever else it carries.
JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
Message: TypeAlias = Mapping[str, JSON]

ROWS_SHOWN = 10


@dataclass(frozen=True)
class Example:
    """One conversation, and where it came from (``faq.csv:12``)."""

    messages: tuple[Message, ...]
    origin: str
    more: Mapping[str, JSON] = field(default_factory=dict)
    """What else the line holds beside its messages (``tools``, for instance), kept as it is."""

    @property
    def question(self) -> str:
        """What the user said last."""
        said = [_text(message) for message in self.messages if message.get("role") == "user"]
        return said[-1] if said else ""

    @property
    def answer(self) -> str:
        """The last message: what we want the model to say."""
        return _text(self.messages[-1]) if self.messages else ""

    @property
    def prompt(self) -> tuple[Message, ...]:
        """Everything before the answer: what the model is given."""
        return self.messages[:-1]

    def _repr_html_(self) -> str:
        rows = [(str(message.get("role")), _text(message)) for message in self.messages]
        return table(self.origin, ("role", "content"), rows)


@dataclass(frozen=True, repr=False)
class Dataset(Sequence[Example]):
    """A named, ordered collection of examples."""

    name: str
    examples: tuple[Example, ...]

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
            return Dataset(self.name, self.examples[index])
        return self.examples[index]

    def to_jsonl(self) -> bytes:
        """The file that is uploaded: UTF-8 without a byte order mark, one conversation a line."""
        return b"".join(_line({"messages": example.messages, **example.more}) for example in self.examples)

    @cached_property
    def sha256(self) -> str:
        """The hash of the uploaded file: equal for equal examples, wherever they came from."""
        return hashlib.sha256(self.to_jsonl()).hexdigest()

    def take(self, n: int) -> "Dataset":
        """The first ``n`` examples."""
        return Dataset(self.name, self.examples[: max(n, 0)])

    def without(self, origins: Collection[str]) -> "Dataset":
        """All examples but those from these places, for instance ``report.bad``."""
        return Dataset(self.name, tuple(e for e in self.examples if e.origin not in origins))

    def split(self, held_out: float = 0.15, seed: int = 0) -> "Split":
        """Put a share of the examples aside, always the same for the same seed.

        Examples with the same prompt stay on one side, so that the held-out score is no recital.
        """
        if not 0 < held_out < 1:
            raise DataError(f"held_out is {held_out}; give a share between 0 and 1, such as 0.15.")
        groups: dict[str, list[int]] = {}
        for position, example in enumerate(self.examples):
            groups.setdefault(identity(example.prompt), []).append(position)
        if len(groups) < 2:
            raise DataError(
                f"{self.name} has {counted(len(groups), 'different prompt')}; a split needs two at least."
            )
        shuffled = list(groups.values())
        random.Random(seed).shuffle(shuffled)
        wanted = min(max(1, round(held_out * len(self))), len(self) - 1)
        aside: set[int] = set()
        for group in shuffled:
            if len(aside) + len(group) <= wanted:
                aside.update(group)
        aside = aside or set(sorted(shuffled, key=len)[0])
        training = tuple(example for n, example in enumerate(self.examples) if n not in aside)
        held = tuple(example for n, example in enumerate(self.examples) if n in aside)
        return Split(Dataset(f"{self.name} (training)", training), Dataset(f"{self.name} (held out)", held))

    def __repr__(self) -> str:
        """The name and the size."""
        return f"Dataset({self.name!r}, {len(self)} examples)"

    def _repr_html_(self) -> str:
        caption = f"{self.name}: {counted(len(self), 'example')}"
        if len(self) > ROWS_SHOWN:
            caption += f", the first {ROWS_SHOWN}"
        rows = [(example.origin, example.question, example.answer) for example in self.take(ROWS_SHOWN)]
        return table(caption, ("origin", "question", "answer"), rows)


class Split(NamedTuple):
    """Two datasets that share no prompt."""

    training: Dataset
    held_out: Dataset


def counted(number: int, thing: str) -> str:
    """``1 example``, ``1,200 examples``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def identity(messages: Iterable[Message]) -> str:
    """One text that is equal for equal messages, whatever the order of their keys."""
    return json.dumps(list(messages), sort_keys=True, default=dict)


def _text(message: Message) -> str:
    """The words of a message, whether its content is one text or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _line(content: Mapping[str, object]) -> bytes:
    try:
        return json.dumps(content, ensure_ascii=False, default=dict).encode() + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, which UTF-8 cannot hold
        return json.dumps(content, default=dict).encode() + b"\n"
