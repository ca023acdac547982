"""Personal data and secrets, replaced: the same value by the same placeholder, everywhere.

``jane@contoso.com`` becomes ``[EMAIL_1]`` in the question, in the answer and in
the arguments of a tool, in every row. Which value a placeholder stood for is
forgotten when the work is done, and was never held in clear.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from secrets import token_bytes

from workbench.dataset.check import privacy
from workbench.dataset.check.personal_data import normal
from workbench.dataset.dataset import JSON, Dataset, Message
from workbench.errors import DataError

DEEPEST = 200
"""Levels of nesting that a row may have; a chat has ten."""

_PLACEHOLDER = re.compile(r"\[([A-Z_]+)_([0-9]{1,9})\]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)  # of JSON
_AT_ONCE = 1_000  # rows
_AGAIN = 10  # looks at one text; a placeholder may free what stood beside the value


def redact(dataset: Dataset, kinds: Collection[str] = ("pii", "secret")) -> Dataset:
    """The dataset with a placeholder for each value of these kinds.

    A kind is a name in ``privacy.KINDS`` (``email``, ``api_key``), or ``pii`` or ``secret`` for all of these.
    Metadata stay as they are: they are never uploaded.
    """
    rows = [{"messages": example.messages, **example.more} for example in dataset]
    examples = (
        example if wire is row else replace(example, messages=_messages(wire), more=_more(wire))
        for example, row, wire in zip(dataset, rows, redacted(rows, kinds), strict=True)
    )
    return replace(dataset, examples=tuple(examples))


def redacted(
    values: Iterable[Mapping[str, JSON]], kinds: Collection[str] = ("pii", "secret")
) -> Iterator[Mapping[str, JSON]]:
    """Each row with placeholders; a row that holds nothing of these kinds comes back itself."""
    unknown = sorted(set(kinds) - set(privacy.SENSITIVE_KINDS) - {"pii", "secret"})
    if unknown:
        raise DataError(
            f"{unknown[0]!r} cannot be redacted; the kinds are {', '.join(privacy.SENSITIVE_KINDS)}."
        )
    rows = tuple(values)
    placeholders = _Placeholders(frozenset(kinds))
    for row in rows:
        placeholders.leave_alone(row)
    for start in range(0, len(rows), _AT_ONCE):
        block = rows[start : start + _AT_ONCE]
        promising = frozenset(privacy.promising(block))
        for position, row in enumerate(block):
            yield placeholders.in_row(row) if position in promising else row


class _Placeholders:
    """Hands out placeholders in the order in which values first appear."""

    def __init__(self, kinds: frozenset[str]) -> None:
        self._kinds = kinds
        self._salt = token_bytes(16)  # so that nobody can try values against what is kept
        self._numbers: dict[tuple[str, bytes], int] = {}
        self._highest = Counter[str]()

    def leave_alone(self, row: Mapping[str, JSON]) -> None:
        """Begin above the placeholders that stand in a row already: they are somebody else."""
        for _, text in privacy.texts(row):
            for found in _PLACEHOLDER.finditer(text) if "[" in text else ():
                kind, number = found.groups()
                self._highest[kind] = max(self._highest[kind], int(number))

    def in_row(self, row: Mapping[str, JSON]) -> Mapping[str, JSON]:
        changed = {key: self._within(value, key in privacy.CONVERSATION, 0) for key, value in row.items()}
        return row if changed == row else changed

    def _within(self, value: JSON, wire: bool, depth: int) -> JSON:
        if depth > DEEPEST:
            raise DataError(f"A row is nested more than {DEEPEST} levels deep; leave it out.")
        if isinstance(value, str):
            return self._in_text(value)
        if isinstance(value, Mapping):
            return {
                key: inner if wire and key in privacy.NO_TEXT else self._within(inner, wire, depth + 1)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return type(value)(self._within(inner, wire, depth + 1) for inner in value)
        return value

    def _in_text(self, text: str) -> str:
        for _ in range(_AGAIN):
            spans = [span for span in privacy.sensitive(text) if {span.kind, span.rule} & self._kinds]
            if not spans:
                break
            strings = _strings_of_json(text)
            parts, end = [], 0
            for start, stop, kind, _ in spans:
                placeholder = self._for(kind, text[start:stop])
                if strings is not None and not any(a < start and stop < b for a, b in strings):
                    placeholder = f'"{placeholder}"'  # a number becomes a string
                parts += [text[end:start], placeholder]
                end = stop
            text = "".join(parts) + text[end:]
        return text

    def _for(self, kind: str, value: str) -> str:
        plain = normal(kind, value).encode("utf-8", "surrogatepass")
        key = kind, blake2b(plain, key=self._salt).digest()
        if key not in self._numbers:
            self._highest[kind.upper()] += 1
            self._numbers[key] = self._highest[kind.upper()]
        return f"[{kind.upper()}_{self._numbers[key]}]"


def _strings_of_json(text: str) -> list[tuple[int, int]] | None:
    """Where the strings of a JSON text are, such as a tool's arguments; ``None``: it is no JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [found.span() for found in _STRING.finditer(text)]


def _messages(row: Mapping[str, JSON]) -> tuple[Message, ...]:
    messages = row["messages"]
    assert isinstance(messages, tuple)
    return messages


def _more(row: Mapping[str, JSON]) -> dict[str, JSON]:
    return {key: value for key, value in row.items() if key != "messages"}
