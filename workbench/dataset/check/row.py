"""Examples while they are looked at: numbered rows, and the texts in them with their places.

A row holds whatever its line holds, right or wrong, so nothing here trusts a
shape. Rows come from a dataset in memory or, one after the other, from a file
that may be larger than memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol, Self

from workbench.dataset.dataset import JSON, OUTPUTS, SYSTEM

_OF_PAIRS = frozenset(("input", *OUTPUTS, "preferred_completion", "non_preferred_completion"))


_NOTHING: Mapping[str, JSON] = MappingProxyType({})


class Finding(NamedTuple):
    """What is the matter, before anybody asks at which place."""

    level: str
    """``error``: a service refuses it, or a score would be worthless. ``warning``: look. ``info``: know."""
    rule: str
    path: str
    """The place in the line's JSON (``messages[2].content``); empty for the whole line."""
    message: str
    """One sentence without a full stop, in the user's words."""
    fix: str
    """What to do about it, in the imperative."""


class Turn(NamedTuple):
    """One text of a row."""

    role: str
    text: str
    path: str
    """Where it stands in the line: ``messages[2].content``."""
    part: str
    """``system``, ``prompt``, ``answer`` or ``rejected``."""


class Row:
    """One line's value, and its number: line in a file (from 1) or position in a dataset (from 0).

    A plain class, because a frozen dataclass takes five times as long to make, and files have millions.
    """

    __slots__ = ("_turns", "metadata", "number", "value")

    def __init__(
        self, number: int, value: Mapping[str, JSON], metadata: Mapping[str, JSON] = _NOTHING
    ) -> None:
        """``metadata``: what the source says about it, as in ``Example.metadata``."""
        self.number = number
        self.value = value
        self.metadata = metadata
        self._turns: tuple[Turn, ...] | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All its texts, in order; what is no text is left out."""
        if self._turns is None:
            self._turns = tuple(_turns(self.value))
        return self._turns

    @property
    def asked(self) -> str:
        """What the model is given, without the system message."""
        return "\n".join(turn.text for turn in self.turns if turn.part == "prompt")

    @property
    def answer(self) -> str:
        """What it should say; empty in a row for reinforcement."""
        return "\n".join(turn.text for turn in self.turns if turn.part == "answer")

    @property
    def system(self) -> str:
        """The instruction in front."""
        return "\n".join(turn.text for turn in self.turns if turn.part == "system")


def method_of(value: Mapping[str, JSON]) -> str:
    """What a line, right or wrong, was meant to teach by: ``sft``, ``dpo`` or ``rft``."""
    if not _OF_PAIRS.isdisjoint(value):
        return "dpo"
    messages = value.get("messages")
    last = messages[-1] if isinstance(messages, list | tuple) and messages else None
    return "rft" if isinstance(last, Mapping) and last.get("role") == "user" else "sft"


class Collector(Protocol):
    """One aspect of the rows of one file: it sees each row once, in order.

    Two that saw neighbouring stretches merge into one, so that stretches can be
    looked at in several processes; however a file is cut, the findings are the
    same. It can be pickled, and its memory does not grow with the texts.
    """

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""

    def merge(self, later: Self) -> None:
        """Take over what was seen in the stretch behind this one."""

    def found(self, source: "Source") -> Iterator[tuple[Finding, Sequence[int]]]:
        """Each finding with the numbers of its rows; no numbers: it is about the whole file."""


class Source(Protocol):
    """Where rows come from, and where they can be had again."""

    @property
    def name(self) -> str:
        """The file's or dataset's name, as it stands in every message."""

    def origin(self, number: int) -> str:
        """The place of this row: ``faq.jsonl:12``."""

    def row(self, number: int) -> Row:
        """This row once more."""


def _turns(value: Mapping[str, JSON]) -> Iterator[Turn]:
    given = value.get("input")
    if "messages" not in value and isinstance(given, Mapping):
        yield from _said(given.get("messages"), "input.messages", ())
        yield from _said(value.get("preferred_output"), "preferred_output", ("answer",))
        yield from _said(value.get("non_preferred_output"), "non_preferred_output", ("rejected",))
        return
    messages = value.get("messages")
    yield from _said(messages, "messages", ())


def _said(messages: JSON, path: str, part: tuple[str, ...]) -> Iterator[Turn]:
    if not isinstance(messages, list | tuple):
        return
    last = len(messages) - 1
    for position, message in enumerate(messages):
        if not isinstance(message, Mapping):
            continue
        role = message.get("role")
        role = role if isinstance(role, str) else ""
        if part:
            is_part = part[0]
        elif role in SYSTEM:
            is_part = "system"
        else:
            is_part = "answer" if role == "assistant" and position == last else "prompt"
        content = message.get("content")
        if isinstance(content, str):
            yield Turn(role, content, f"{path}[{position}].content", is_part)
        elif isinstance(content, list | tuple):
            for number, piece in enumerate(content):
                text = piece.get("text") if isinstance(piece, Mapping) else None
                if isinstance(text, str):
                    yield Turn(role, text, f"{path}[{position}].content[{number}].text", is_part)
        calls = message.get("tool_calls")
        for number, call in enumerate(calls if isinstance(calls, list | tuple) else ()):
            function = call.get("function") if isinstance(call, Mapping) else None
            arguments = function.get("arguments") if isinstance(function, Mapping) else None
            if isinstance(arguments, str):
                place = f"{path}[{position}].tool_calls[{number}].function.arguments"
                yield Turn(role, arguments, place, is_part)
