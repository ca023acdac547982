"""Every fix there is: the rule it repairs, what it does, and whether it is proposed unasked.

Proposed unasked is what changes the form of a row and keeps what it says. Rows are only dropped unasked
when nothing is lost with them: blank ones, and those equal to an earlier one. What takes a decision
(which answer is right, which row has to go, what must not be in the file) has to be named. The table is
apart because ``repair`` applies whatever stands in it, and a new fix is an entry here.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from secrets import token_bytes
from typing import NamedTuple

from workbench.dataset.check import privacy
from workbench.dataset.check.methods import METHODS
from workbench.dataset.check.minhash import hashed, texts_of
from workbench.dataset.check.personal_data import normal
from workbench.dataset.check.report import LEVELS, Report
from workbench.dataset.check.row import Row
from workbench.dataset.check.rules import Rules
from workbench.dataset.check.texts import is_broken, is_refusal
from workbench.dataset.dataset import JSON, SYSTEM, Message
from workbench.dataset.repair import chats, lines
from workbench.dataset.repair.chats import in_answers, in_conversations, in_texts
from workbench.dataset.repair.lines import RepairLine, Value
from workbench.errors import DataError

# Fixes that need to know the other rows: which to drop, and what all of them should share.
#
# Each gives the rows that it changes, with what becomes of them; ``None``: the row is dropped.

BATCH = 1_000  # rows whose texts are normalised at once


class Current(NamedTuple):
    """A row as the fixes before have left it."""

    line: RepairLine
    """As it was at first."""
    value: Value | None
    """``None`` where it cannot be read."""


@dataclass(frozen=True)
class Wish:
    """What a repair is to go by beside the rows themselves."""

    method: str
    report: Report | None = None
    system: str | None = None
    """The system message that all rows shall have; ``None``: the most frequent one."""

    def places(self, rules: Collection[str], levels: Collection[str]) -> frozenset[str]:
        """Where the report has findings by these rules, of these levels."""
        if self.report is None:
            raise DataError(
                f"{next(iter(rules))!r} goes by what a check has found; give its report: "
                "propose(data, check(data), rules=...)."
            )
        problems = (problem for rule in rules for problem in self.report.of(rule))
        return frozenset(problem.origin for problem in problems if problem.level in levels)


Rows = Iterable[Current]
Outcome = Iterator[tuple[Current, Value | None]]
Choice = Callable[[Rows, Wish], Outcome]


def without_equals(rows: Rows, wish: Wish) -> Outcome:
    """Of rows that are equal in all they say, the first stays."""
    known: set[bytes] = set()
    for row in rows:
        if row.value is not None:
            text = json.dumps(row.value, sort_keys=True, default=dict)
            said = hashlib.blake2b(text.encode(), digest_size=16).digest()
            if said in known:
                yield row, None
            known.add(said)


def without_reported(*rules: str, levels: Collection[str] = ("error", "warning")) -> Choice:
    """Rows in which the check has found this are dropped; what is only worth knowing drops none."""

    def chosen(rows: Rows, wish: Wish) -> Outcome:
        places = wish.places(rules, levels)
        yield from ((row, None) for row in rows if row.line.origin in places)

    return chosen


def without_refusals(rows: Rows, wish: Wish) -> Outcome:
    """Rows whose answer declines to answer are dropped."""
    for row in rows:
        if row.value is not None and is_refusal(Row(row.line.position, row.value).answer):
            yield row, None


def without_contradictions(rows: Rows, wish: Wish) -> Outcome:
    """Where the check has found one prompt with several answers, all of its rows go: none is trusted."""
    places = wish.places(["contradiction"], LEVELS)
    prompts = {prompt for prompt, row in _with_prompts(rows) if row.line.origin in places}
    yield from ((row, None) for prompt, row in _with_prompts(rows) if prompt in prompts)


def without_errors(rows: Rows, wish: Wish) -> Outcome:
    """Rows that a service would still refuse are dropped."""
    rules = Rules(wish.method)
    for row in rows:
        if row.value is None or _is_refused(row.value, rules):
            yield row, None


def with_one_system(rows: Rows, wish: Wish) -> Outcome:
    """Every row starts with the same system message."""
    system = wish.system if wish.system is not None else _most_frequent(rows)
    for row in rows:
        if row.value is not None:
            value = in_conversations(row.value, lambda messages: _with_system(messages, system))
            if value is not row.value:
                yield row, value


def with_placeholders(rule: str) -> Choice:
    """What the check calls sensitive is replaced, the same by the same everywhere."""

    def chosen(rows: Rows, wish: Wish) -> Outcome:
        readable = [(row, row.value) for row in rows if row.value is not None]
        values = redacted((value for _, value in readable), (rule,))
        for (row, before), after in zip(readable, values, strict=True):
            if after is not before:
                yield row, after

    return chosen


def _is_refused(value: Value, rules: Rules) -> bool:
    return not rules.plain(value) and any(finding.level == "error" for finding in rules.findings(value))


def _with_prompts(rows: Rows) -> Iterator[tuple[tuple[int, int], Current]]:
    """Each row with what it asks, as numbers that are equal where the check calls two prompts equal."""
    readable = (row for row in rows if row.value is not None)
    while batch := list(islice(readable, BATCH)):
        said = [texts_of(Row(row.line.position, row.value or {})) for row in batch]
        system = hashed([text.system for text in said]).exact.tolist()
        asked = hashed([text.asked for text in said]).exact.tolist()
        yield from zip(zip(system, asked, strict=True), batch, strict=True)


def _most_frequent(rows: Rows) -> str | None:
    """The system message of most rows; ``None`` if most have none."""
    systems = Counter[str | None](
        Row(row.line.position, row.value).system or None for row in rows if row.value is not None
    )
    return systems.most_common(1)[0][0] if systems else None


def _with_system(messages: Sequence[JSON], system: str | None) -> Sequence[JSON]:
    own = [message for message in messages if _is_system(message)]
    wanted: list[Message] = [{"role": "system", "content": system}] if system else []
    same = [message.get("content") for message in own if isinstance(message, Mapping)]
    if same == [message["content"] for message in wanted]:
        return messages
    return [*wanted, *(message for message in messages if not _is_system(message))]


def _is_system(message: JSON) -> bool:
    return isinstance(message, Mapping) and message.get("role") in SYSTEM


# Fixes of the texts in a line: characters that went wrong on their way, and white space around answers.

ROUNDS = 3  # a text can have been garbled more than once

# Not backspace and form feed: they are what is left of \\beta and \\frac after one backslash too few.
_INVISIBLE = re.compile("[\x00-\x07\x0b\x0e-\x1f]")
_INDENTED = re.compile(r"\n[ \t]+\S")


def _unmixed(text: str) -> str:
    if not is_broken(text):
        return text
    from ftfy import fix_encoding

    for _ in range(ROUNDS):
        before, text = text, fix_encoding(text)
        if before == text:
            break
    return text


def _trimmed(text: str) -> str:
    if not text or text.isspace():
        return text  # there is nothing to keep, and an empty answer is a finding of its own
    return text.rstrip().lstrip("\r\n") if _INDENTED.search(text) else text.strip()


# Personal data and secrets, replaced: the same value by the same placeholder, everywhere.
#
# ``jane@contoso.com`` becomes ``[EMAIL_1]`` in the question, in the answer and in the arguments of a tool,
# in every row. Which value a placeholder stood for is forgotten when the work is done, and was never held
# in clear.

DEEPEST = 200
"""Levels of nesting that a row may have; a chat has ten."""

_PLACEHOLDER = re.compile(r"\[([A-Z_]+)_([0-9]{1,9})\]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)  # of JSON
_AGAIN = 10  # looks at one text; a placeholder may free what stood beside the value


def redacted(
    values: Iterable[Mapping[str, JSON]], kinds: Collection[str] = ("pii", "secret")
) -> Iterator[Mapping[str, JSON]]:
    """Each row with placeholders; a row that holds nothing of these kinds comes back itself.

    A kind is a name in ``privacy.SENSITIVE_KINDS`` (``email``, ``api_key``), or ``pii`` or ``secret`` for all
    of these.
    """
    unknown = sorted(set(kinds) - set(privacy.SENSITIVE_KINDS) - {"pii", "secret"})
    if unknown:
        raise DataError(
            f"{unknown[0]!r} cannot be redacted; the kinds are {', '.join(privacy.SENSITIVE_KINDS)}."
        )
    rows = tuple(values)
    placeholders = _Placeholders(frozenset(kinds))
    for row in rows:
        placeholders.leave_alone(row)
    for start in range(0, len(rows), BATCH):
        block = rows[start : start + BATCH]
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
        key = kind, hashlib.blake2b(plain, key=self._salt).digest()
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


@dataclass(frozen=True)
class Fix:
    """What is done about the findings of one rule."""

    rule: str
    """As the check calls it."""
    title: str
    """What happens to the data, for people."""
    by_default: bool = True
    edit: Callable[[Value], Value | None] | None = None
    """One row put right by itself: the same object when there is nothing to do, ``None`` to drop it."""
    choose: Choice | None = None
    """Rows put right by what the others are. With neither it is a fix of lines that cannot be read."""
    is_rare: bool = False
    """Whether there is nothing to do for it in a line of ASCII without escapes of other characters."""
    methods: Collection[str] = METHODS
    """Where it applies."""


def _each(edit: Callable[[Message], Message]) -> Callable[[Value], Value]:
    """The edit of each message of a row."""
    return lambda value: chats.in_messages(value, edit)


def _all(edit: Callable[[Sequence[JSON]], Sequence[JSON]]) -> Callable[[Value], Value]:
    """The edit of a row's messages together."""
    return lambda value: in_conversations(value, edit)


def _texts(edit: Callable[[str], str]) -> Callable[[Value], Value]:
    """The edit of every text of a row."""

    def edited(value: Value) -> Value:
        after = in_texts(value, edit)
        return after if isinstance(after, dict) else value

    return edited


# fmt: off
FIXES = (  # in the order in which they are applied
    Fix(lines.LINE_ENDS, "byte order mark, Windows line ends and blank lines removed"),
    Fix(lines.ENCODING, "UTF-16, and lines in Windows-1252, written as UTF-8"),
    Fix(lines.SYNTAX, "broken JSON completed: commas, quotes, Python dictionaries, array brackets"),
    Fix(lines.WRAPPED, "JSON that was put into a text taken out of it"),
    Fix(lines.REPEATED, "a key that stands twice with one value kept once"),
    Fix(lines.NOT_FINITE, "NaN and Infinity replaced by null"),
    Fix("surrogate", "half a surrogate pair replaced by \ufffd",
        edit=_texts(lambda text: lines.HALF.sub("\ufffd", text)), is_rare=True),
    Fix(lines.CONTROL, "control characters escaped or, where nobody sees them, removed",
        edit=_texts(lambda text: _INVISIBLE.sub("", text)), is_rare=True),
    Fix("outputs", "preferred_completion renamed, and answers written as messages", edit=chats.as_pair),
    Fix("messages", "other tools' forms (Alpaca, ShareGPT, prompt and completion) made chats",
        edit=chats.as_chat),
    Fix("role", "other names of a role or its field (human, bot, GPT, from) replaced",
        edit=_each(chats.with_known_role)),
    Fix("legacy", "functions and function_call made tools and tool_calls", edit=chats.with_tools),
    Fix("arguments", "arguments of a tool call written as JSON in a text",
        edit=_each(chats.with_written_arguments)),
    Fix("content", "numbers and single parts written as a message's content", edit=_each(chats.with_content)),
    Fix("weight", "weights made 1 or 0, and removed from others than the assistant",
        edit=_each(chats.with_whole_weight), methods=("sft",)),
    Fix("weight", "weights removed, which do nothing here",
        edit=_each(chats.without_weight), methods=("dpo", "rft")),
    Fix("mojibake", "garbled letters (CafÃ©) read again", edit=_texts(_unmixed), is_rare=True),
    Fix("whitespace", "white space around answers removed", edit=lambda value: in_answers(value, _trimmed)),
    Fix("system_place", "system messages moved to the front", edit=_all(chats.with_system_first)),
    Fix("last", "what follows the last answer cut off",
        edit=_all(chats.ending_with_an_answer), methods=("sft",)),
    Fix("order", "messages in a row by one speaker merged", edit=_all(chats.merged)),
    Fix("empty", "parts and rows without any text removed", edit=chats.without_blanks),
    Fix("system", "one system message for all rows", False, choose=with_one_system),
    Fix("pii", "personal data replaced by placeholders", False, choose=with_placeholders("pii")),
    Fix("secret", "keys and passwords replaced by placeholders", False, choose=with_placeholders("secret")),
    Fix("duplicate", "rows equal to an earlier one dropped", choose=without_equals),
    *(
        Fix(rule, title, False, choose=without_reported(rule, *more))
        for rule, title, *more in (
            ("near_duplicate", "rows that say nearly the same as another dropped", "duplicate"),
            ("reversed", "pairs dropped that prefer what another pair rejects"),
            ("too_long", "rows dropped that are longer than the model takes"),
            ("safety", "rows dropped that safety checks may refuse"),
        )
    ),
    *(
        Fix(rule, title, False, choose=without_reported(rule, levels=("error",)))
        for rule, title in (
            ("overlap", "rows dropped that the validation or test data has too"),
            ("near_overlap", "rows dropped that are close to validation or test data"),
            ("same_group", "rows dropped whose group is in the validation or test data"),
        )
    ),
    Fix("refusal", "rows dropped that teach to refuse", False, choose=without_refusals),
    Fix("contradiction", "all rows of a prompt with contradictory answers dropped",
        False, choose=without_contradictions),
    Fix("errors", "rows dropped that would still be refused", False, choose=without_errors),
)
# fmt: on

BY_DEFAULT = tuple(dict.fromkeys(fix.rule for fix in FIXES if fix.by_default))
"""The rules that are repaired unless others are named."""


def chosen(rules: Collection[str] | None) -> tuple[Fix, ...]:
    """The fixes for these rules, in the order in which they are applied; ``None``: those by default."""
    wanted = BY_DEFAULT if rules is None else rules
    known = list(dict.fromkeys(fix.rule for fix in FIXES))
    for rule in wanted:
        if rule not in known:
            raise DataError(f"there is no fix for {rule!r}; there are fixes for {', '.join(known)}.")
    return tuple(fix for fix in FIXES if fix.rule in wanted)
