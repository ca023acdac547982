"""One row while it is checked: its line read, its texts with their places, what a finding says of it.

A row holds whatever its line holds, right or wrong, so nothing here trusts a shape. Rows come from a dataset
in memory or, one after the other, from a file that may be larger than memory.
"""

import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple, Protocol, Self, TypeGuard

import msgspec

from workbench.dataset.dataset import JSON, OUTPUTS, SYSTEM, items_of, mapping_of

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


def breaks(rule: str, path: str, message: str, fix: str = "") -> Finding:
    """A finding with the first level of its rule and, unless it has advice of its own, the rule's way out.

    Both stand in the table of rules, and ``rules.completed`` fills them in.
    """
    return Finding("", rule, path, message, fix)


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
    *_, last = (None, *items_of(value.get("messages")))
    return "rft" if mapping_of(last).get("role") == "user" else "sft"


class Collector(Protocol):
    """One aspect of the rows of one file: it sees each row once, in order.

    Two that saw neighbouring stretches merge into one, so that stretches can be
    checked in several processes; however a file is cut, the findings are the
    same. It can be pickled, and its memory does not grow with the texts.
    """

    def add(self, rows: Sequence[Row]) -> None:
        """Look at the next rows."""

    def merge(self, later: Self) -> None:
        """Take over what was seen in the stretch behind this one."""

    def found(self, source: "RowSource") -> Iterator[tuple[Finding, Sequence[int]]]:
        """Each finding with the numbers of its rows; no numbers: it is about the whole file."""


class Tally:
    """A collector whose fields add up: numbers, arrays, and what can be merged itself."""

    def merge(self, later: Self) -> None:
        """Take over what was seen in the stretch behind this one."""
        for name in vars(self).keys() & vars(later).keys():
            mine, theirs = vars(self)[name], vars(later)[name]
            if type(mine) is int:
                setattr(self, name, mine + theirs)
            elif isinstance(mine, array | bytearray):
                mine.extend(theirs)
            elif hasattr(mine, "merge"):
                mine.merge(theirs)


class RowSource(Protocol):
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
        yield from _said(given.get("messages"), "input.messages")
        for key, part in zip(OUTPUTS, ("answer", "rejected"), strict=True):
            yield from _said(value.get(key), key, part)
    else:
        yield from _said(value.get("messages"), "messages")


def calls_of(message: Mapping[str, JSON]) -> Iterator[tuple[int, Mapping[str, JSON]]]:
    """Each tool call of a message that is an object, with its number, and the function that it calls."""
    for number, call in enumerate(items_of(message.get("tool_calls"))):
        yield number, mapping_of(mapping_of(call).get("function"))


def _said(messages: JSON, path: str, part: str = "") -> Iterator[Turn]:
    last = len(items_of(messages)) - 1
    for position, message in enumerate(items_of(messages)):
        if not isinstance(message, Mapping):
            continue
        role = message.get("role")
        role = role if isinstance(role, str) else ""
        if part:
            is_part = part
        elif role in SYSTEM:
            is_part = "system"
        else:
            is_part = "answer" if role == "assistant" and position == last else "prompt"
        content = message.get("content")
        if isinstance(content, str):
            yield Turn(role, content, f"{path}[{position}].content", is_part)
        else:
            for number, piece in enumerate(items_of(content)):
                if isinstance(text := mapping_of(piece).get("text"), str):
                    yield Turn(role, text, f"{path}[{position}].content[{number}].text", is_part)
        for number, function in calls_of(message) if "tool_calls" in message else ():
            if isinstance(arguments := function.get("arguments"), str):
                place = f"{path}[{position}].tool_calls[{number}].function.arguments"
                yield Turn(role, arguments, place, is_part)


# What most messages are, and the images in some.

_SIMPLE_ROLES = (*SYSTEM, "user", "assistant")


def is_simple(message: JSON) -> TypeGuard[dict[str, str]]:
    """Whether it is a role and a text and nothing else, as most messages are; such a one is right."""
    if type(message) is not dict or len(message) != 2 or message.get("role") not in _SIMPLE_ROLES:
        return False
    content = message.get("content")
    return type(content) is str and content != "" and not content.isspace()


def image_parts(messages: JSON) -> Iterator[tuple[int, int, JSON, Mapping[str, JSON]]]:
    """Each image of a conversation: number of its message and its part, who sends it, and the part."""
    for number, message in enumerate(map(mapping_of, items_of(messages))):
        for position, part in enumerate(items_of(message.get("content"))):
            if mapping_of(part).get("type") == "image_url":
                yield number, position, message.get("role"), mapping_of(part)


# How a finding names a value, a place and what was probably meant.
#
# Findings that say the same are shown as one, so a value is quoted short, and a
# list or an object is only called so.

_QUOTED = 40  # characters of a text that a finding repeats
_WORD = 64  # no name anybody meant is longer
_PLAIN_NAME = re.compile(r"[^\W\d][\w-]*")


def shown(value: JSON) -> str:
    """A value as a finding names it: ``'bot'``, ``0.5``, ``null``, ``a list``."""
    if isinstance(value, str):
        return repr(value) if len(value) <= _QUOTED else repr(value[:_QUOTED]) + "…"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**15 else "a very large number"
    return repr(value) if isinstance(value, float) else kind(value)


def kind(value: JSON) -> str:
    """What a person calls it: ``a text``, ``a number``, ``null``, ``a list``."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    return "an object" if isinstance(value, Mapping) else "a list"


def within(place: str, *steps: str | int) -> str:
    """The path of something inside: ``within("tools[0]", "function", "name")``."""
    for step in steps:
        if isinstance(step, int):
            place += f"[{step}]"
        elif _PLAIN_NAME.fullmatch(step):
            place += f".{step}" if place else step
        else:
            place += f"[{shown(step)}]"
    return place


def meant(word: str, known: Iterable[str]) -> str | None:
    """Which of the known names this is a slip of; ``None`` when it is like none of them."""
    return _meant(word, tuple(known)) if len(word) <= _WORD else None


@lru_cache(maxsize=1_024)
def _meant(word: str, known: tuple[str, ...]) -> str | None:
    lowered = {name.casefold(): name for name in known}
    matches = get_close_matches(word.strip().casefold(), lowered, n=1, cutoff=0.7)
    return lowered[matches[0]] if matches else None


# Why a line is no JSON: the usual mistakes, known by what stands where reading stopped.

NO_UTF_8 = re.compile(r"[\udc80-\udcff]")  # how Python keeps a byte that is none
CONVERT = "convert the file with `python -m workbench build`"

_PYTHON = re.compile(r"(True|False|None)\b")
_KEY = re.compile(r'"[^"\\]*"\s*:')
_NAME = re.compile(r"\w+\s*:")
_SHOWN = 12  # characters of the place where reading stopped


def fault_of(text: str, position: int) -> Finding:
    """Say what is wrong at this position (from 0), where a JSON reader gave up."""
    place, message, fix = _usual_mistake(text, position) or _place_of(text, position)
    return breaks("json", place, message, fix)


def _usual_mistake(text: str, position: int) -> tuple[str, str, str] | None:
    place = f"character {position + 1}"
    before, rest = text[:position].rstrip(), text[position:].lstrip()
    here, last = rest[:1], before[-1:]
    if not text.strip():
        return "", "the line is empty", "take it out"
    if _is_part(text.strip(), rest):
        return "", "the line holds a part of an object; each example must stand on one line", CONVERT
    if text.strip()[0] not in '{["':
        return "", "the line is no JSON: it does not begin with a brace", CONVERT
    if last == ":" and here in (",", "}", "]"):
        return place, "the value is missing", "write one, or null"
    if last == "," and here == ",":
        return place, "two commas follow each other", "take one of them out"
    if (last == "," and here in ("}", "]")) or (here == "," and rest[1:].lstrip()[:1] in ("}", "]")):
        # Newer Pythons stop at the comma, older ones at the bracket.
        return place, "a comma stands in front of the closing bracket", "take the comma out"
    if here == "'":
        return place, "the text stands in single quotes, as in Python", 'use double quotes: "…"'
    if _PYTHON.match(rest):
        return place, "this is Python, not JSON", "write true, false or null, with json.dumps for instance"
    if last in ("}", "]") and here == "{":
        return place, "several objects stand in one line", "give each a line of its own"
    if last == "}" and here in (",", "}", "]") and _is_whole(before):
        return place, "something follows behind the object", f"end the line with the object, or {CONVERT}"
    if last in ("{", ",") and _NAME.match(rest):
        return place, "a key stands without quotation marks", "put it in double quotes"
    if rest.startswith(("//", "/*", "#")):
        return place, "a comment stands in the line, and JSON has none", "take it out"
    if last == "\\" or (here == "\\" and last != '"'):
        return place, "a backslash stands in front of a letter that it does not escape", "double it"
    return None


def _place_of(text: str, position: int) -> tuple[str, str, str]:
    place = f"character {position + 1}"
    before, rest = text[:position].rstrip(), text[position:]
    if not rest.strip():
        return place, "the line ends in the middle of an object", "complete it, or leave it out"
    if rest[0] == '"' and not re.search(r'(?<!\\)"', rest[1:]):
        return place, "a text is opened here and never closed", 'end it with ", and write those within as \\"'
    if before.endswith('"') and rest[0] not in ",:}]":
        fix = 'put a comma between the two, or write a quotation mark within a text as \\"'
        return place, "a text ends too early, or a comma is missing", fix
    shown = rest[:_SHOWN].strip() + ("…" if len(rest) > _SHOWN else "")
    return place, f"{shown!r} is not what JSON expects here", "write it with json.dumps, or leave it out"


def _is_part(line: str, rest: str) -> bool:
    """Whether this looks like a line of an object or a list that is spread over several."""
    if not line.strip("{}[], \t\r"):
        return line[0] != "{" or line[-1] != "}"
    if line[0] == '"':
        return _KEY.match(line) is not None
    return not rest and line[-1] in ",{["


def _is_whole(text: str) -> bool:
    return text.lstrip()[:1] == "{" and text.count("{") == text.count("}")


# One line of a file: the value it holds, and all that is wrong with it as JSON.
#
# Whatever the bytes are, nothing is raised, and what can still be understood is handed on, so that the
# rules about conversations see it too. A sound line costs one pass of msgspec and a few counts; only a
# line that looks wrong is read a second time, slowly, to say what and where.

DEEPEST = 100  # lists and objects in each other; no documented format comes near it
LONGEST = 64 * 2**20  # bytes of a line: several large pictures fit in
LARGE = 2**20  # bytes from which on a line is asked how many values it holds
MOST_VALUES = 2_000_000  # in one line: each takes up to thirty times its bytes in memory

TOO_DEEP = breaks(
    "depth",
    "",
    f"lists and objects stand in each other more than {DEEPEST} deep",
    "write what is so deep as a text, or leave the line out",
)
TOO_LONG = breaks(
    "long_line",
    "",
    f"the line is longer than {LONGEST // 2**20} MB",
    "put every example on a line of its own, and link to large pictures instead of copying them in",
)

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ESCAPED_CONTROL = re.compile(rb"\\b|\\f|\\u00[01]")  # as JSON writes the rare ones; it may be \\\\b as well
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_RAW_CONTROL = re.compile(r"[\x00-\x1f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_ALL_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in _STEPS)

_decoded = msgspec.json.Decoder().decode


def parsed(line: bytes) -> tuple[JSON, list[Finding]]:
    """Tell me what this line holds and everything that is wrong with it.

    The value is ``None`` where it cannot be known. What JSON cannot hold is put right in it: a number
    that is not finite becomes ``None``, half a surrogate pair the replacement character, and a byte that
    is not UTF-8 the letter that it stands for in Windows-1252.
    """
    if len(line) > LARGE and (too_much := _too_much(line)):
        return None, [too_much]
    try:
        value: JSON = _decoded(line)
        texts = _texts(value, DEEPEST)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _examined(line)
    # Each key and each text stands between two quotation marks: more of them, and a key stands twice.
    if b"\\" in line:
        if _without_escapes(line).count(b'"') != 2 * texts:
            return _examined(line)
        if _ESCAPED_CONTROL.search(line):
            return value, [*_no_object(value), *_in_texts(value, "")]
    elif line.count(b'"') != 2 * texts:
        return _examined(line)
    return value, [] if type(value) is dict else _no_object(value)


def _too_much(line: bytes) -> Finding | None:
    if len(line) > LONGEST:
        return TOO_LONG
    if line.count(b",") < MOST_VALUES or _structure(line).count(b",") < MOST_VALUES:
        return None
    return breaks("long_line", "", f"the line holds more than {MOST_VALUES:,} values")


def _examined(line: bytes) -> tuple[JSON, list[Finding]]:
    """Read a line that is not as it should be, as far as it goes."""
    found: list[Finding] = []
    wrong = wrong_byte(line.decode("utf-8", "surrogateescape"))  # at its place, whatever is taken out below
    if b"\0" in line:
        finding = "the line holds NUL bytes, as files do that are damaged or partly UTF-16"
        found.append(breaks("control", "", finding, "take them out, or save the file as UTF-8"))
        line = line.replace(b"\0", b"")
    if line.startswith(_BYTE_ORDER_MARK):
        finding = "a byte order mark stands in front of the line, as where files were joined"
        found.append(breaks("encoding", "character 1", finding, "take it out"))
        line = line.removeprefix(_BYTE_ORDER_MARK)
    text = line.decode("utf-8", "surrogateescape")
    if wrong:
        found.append(wrong)
        text = windows_1252(text)
    if _deep(line):
        return None, [*found, TOO_DEEP]
    try:
        value: JSON = TOLERANT.decode(text)
    except json.JSONDecodeError as error:
        return None, [*found, fault_of(text, error.pos)]
    except RecursionError:
        return None, [*found, TOO_DEEP]
    except ValueError:  # Python reads no number of more than 4,300 digits
        finding = "a number has thousands of digits"
        return None, [*found, breaks("not_finite", "", finding, "write it as a text")]
    found += [*_unescaped(text), *_no_object(value), *_in_texts(value, "")]
    return _sound(value), found


class Repeating(dict[str, JSON]):
    """An object with a key that stands there twice."""

    twice: tuple[str, ...] = ()
    contradicts = False
    """Whether one of these keys has two values."""


def _object_of(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    repeating = Repeating(value)
    keys = [key for key, _ in pairs]
    repeating.twice = tuple(key for key in value if keys.count(key) > 1)
    repeating.contradicts = any(json.dumps(value[key]) != json.dumps(part) for key, part in pairs)
    return repeating


# It takes NaN, control characters and keys that stand twice, so that all of them are named at once.
TOLERANT = json.JSONDecoder(object_pairs_hook=_object_of, strict=False)


def _no_object(value: JSON) -> list[Finding]:
    if isinstance(value, Mapping):
        return []
    fix = 'write {"messages": [...]}'
    if isinstance(value, list):
        fix = "put each example on a line of its own; `python -m workbench build` does it"
    return [breaks("object", "", f"the line holds {kind(value)} where an object should be", fix)]


def _in_texts(value: JSON, path: str) -> Iterator[Finding]:
    """What no service takes, or nobody means, wherever it stands in the value."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            finding = "half a surrogate pair stands in the text, which UTF-8 cannot hold"
            yield breaks("surrogate", path, finding, "write the whole character, or take it out")
        if character := _CONTROL.search(value):
            finding = f"the control character \\u{ord(character[0]):04x} stands in the text"
            fix = "take it out" if character[0] not in "\b\f" else "double the backslash if one was meant"
            yield Finding("warning", "control", path, finding, fix)
    elif isinstance(value, float) and not math.isfinite(value):
        kind = "NaN" if math.isnan(value) else "Infinity"
        yield breaks("not_finite", path, f"{kind} is no number in JSON")
    elif isinstance(value, dict):
        for key in value.twice if isinstance(value, Repeating) else ():
            finding = "the key stands twice, and only the last one counts"
            place, fix = within(path, _sound_text(key)), "keep the one that is right"
            yield breaks("duplicate_key", place, finding, fix)
        for key, inner in value.items():
            if _SURROGATE.search(key):
                finding = "half a surrogate pair stands in a key, which UTF-8 cannot hold"
                yield breaks("surrogate", path, finding, "rename the key")
            yield from _in_texts(inner, within(path, _sound_text(key)))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            if isinstance(inner, str | float | dict | list):
                yield from _in_texts(inner, f"{path}[{position}]")


def _unescaped(text: str) -> Iterator[Finding]:
    """The first control character that stands in a text as it is, where JSON wants ``\\n`` or ``\\u0001``."""
    if _RAW_CONTROL.search(text):
        try:
            json.loads(text)
        except json.JSONDecodeError as error:  # nothing else is left to be refused
            finding = f"the control character \\u{ord(text[error.pos]):04x} stands in a text unescaped"
            fix = "write it as an escape, such as \\n or \\t"
            yield breaks("control", f"character {error.pos + 1}", finding, fix)


def _sound(value: JSON) -> JSON:
    """The value with what JSON can hold only."""
    if isinstance(value, str):
        return _sound_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {_sound_text(key): _sound(inner) for key, inner in value.items()}
    return [_sound(inner) for inner in value] if isinstance(value, list) else value


def _sound_text(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _texts(value: JSON, levels: int) -> int:
    """How many texts there are, keys too; a ``RecursionError`` where it goes deeper than so many levels."""
    inner: Iterable[JSON]
    kind: type[object] = type(value)
    if kind is dict:
        number, inner = len(value), value.values()  # type: ignore[arg-type, union-attr]
    elif kind is list:
        number, inner = 0, value  # type: ignore[assignment]
    else:
        return 1 if kind is str else 0
    if not levels:
        raise RecursionError
    for part in inner:
        kind = type(part)
        if kind is str:
            number += 1
        elif kind is dict or kind is list:
            number += _texts(part, levels - 1)
    return number


def _without_escapes(line: bytes) -> bytes:
    """The line without the escaped backslashes and quotation marks in its texts."""
    return line.replace(rb"\\", b"").replace(rb"\"", b"")


def _structure(line: bytes) -> bytes:
    """The line without its texts: what stands outside of quotation marks."""
    return b"".join(_without_escapes(line).split(b'"')[::2])


def _deep(line: bytes) -> bool:
    brackets = _structure(line).translate(None, _ALL_BUT_BRACKETS)
    return any(depth > DEEPEST for depth in accumulate(map(_STEPS.__getitem__, brackets)))


def wrong_byte(text: str) -> Finding | None:
    """The first byte that was no UTF-8 in a text that was decoded with ``surrogateescape``."""
    wrong = NO_UTF_8.search(text)
    if wrong is None:
        return None
    return breaks(
        "encoding",
        f"character {wrong.start() + 1}",
        f"the byte 0x{ord(wrong[0]) - 0xDC00:02X} is not UTF-8",
        "write the right character there; `python -m workbench fix` tries Windows-1252",
    )


def windows_1252(text: str) -> str:
    """The same with each byte that was no UTF-8 as the letter that it is in Windows-1252."""
    return NO_UTF_8.sub(lambda byte: bytes([ord(byte[0]) - 0xDC00]).decode("cp1252", "replace"), text)
