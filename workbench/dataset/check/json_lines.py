"""Why a line is no JSON: the usual mistakes, told by what stands where reading stopped."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

import msgspec

from workbench.dataset.check.report import within
from workbench.dataset.check.row import Finding
from workbench.dataset.dataset import JSON
from workbench.dataset.json_text import windows_1252, wrong_byte

CONVERT = "convert the file with `python -m workbench build`"

_PYTHON = re.compile(r"(True|False|None)\b")
_KEY = re.compile(r'"[^"\\]*"\s*:')
_NAME = re.compile(r"\w+\s*:")
_SHOWN = 12  # characters of the place where reading stopped


def fault_of(text: str, position: int) -> Finding:
    """Say what is wrong at this position (from 0), where a JSON reader gave up."""
    place, message, fix = _usual_mistake(text, position) or _place_of(text, position)
    return Finding("error", "json", place, message, fix)


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

TOO_DEEP = Finding(
    "error",
    "depth",
    "",
    f"lists and objects stand in each other more than {DEEPEST} deep",
    "write what is so deep as a text, or leave the line out",
)
TOO_LONG = Finding(
    "error",
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
    finding = f"the line holds more than {MOST_VALUES:,} values"
    return Finding("error", "long_line", "", finding, "put every example on a line of its own")


def _examined(line: bytes) -> tuple[JSON, list[Finding]]:
    """Read a line that is not as it should be, as far as it goes."""
    found: list[Finding] = []
    wrong = wrong_byte(line.decode("utf-8", "surrogateescape"))  # at its place, whatever is taken out below
    if b"\0" in line:
        finding = "the line holds NUL bytes, as files do that are damaged or partly UTF-16"
        found.append(Finding("error", "control", "", finding, "take them out, or save the file as UTF-8"))
        line = line.replace(b"\0", b"")
    if line.startswith(_BYTE_ORDER_MARK):
        finding = "a byte order mark stands in front of the line, as where files were joined"
        found.append(Finding("error", "encoding", "character 1", finding, "take it out"))
        line = line.removeprefix(_BYTE_ORDER_MARK)
    text = line.decode("utf-8", "surrogateescape")
    if wrong:
        found.append(wrong)
        text = windows_1252(text)
    if _deep(line):
        return None, [*found, TOO_DEEP]
    try:
        value: JSON = _TOLERANT.decode(text)
    except json.JSONDecodeError as error:
        return None, [*found, fault_of(text, error.pos)]
    except RecursionError:
        return None, [*found, TOO_DEEP]
    except ValueError:  # Python reads no number of more than 4,300 digits
        finding = "a number has thousands of digits"
        return None, [*found, Finding("error", "not_finite", "", finding, "write it as a text")]
    found += [*_unescaped(text), *_no_object(value), *_in_texts(value, "")]
    return _sound(value), found


class _Repeating(dict[str, JSON]):
    """An object with a key that stands there twice."""

    twice: tuple[str, ...] = ()


def _object_of(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    repeating = _Repeating(value)
    keys = [key for key, _ in pairs]
    repeating.twice = tuple(key for key in value if keys.count(key) > 1)
    return repeating


# It takes NaN, control characters and keys that stand twice, so that all of them can be told at once.
_TOLERANT = json.JSONDecoder(object_pairs_hook=_object_of, strict=False)


def _no_object(value: JSON) -> list[Finding]:
    if isinstance(value, Mapping):
        return []
    kind, fix = "a " + ("number" if isinstance(value, int | float) else "text"), 'write {"messages": [...]}'
    if isinstance(value, list):
        kind, fix = "a list", "put each example on a line of its own; `python -m workbench build` does it"
    elif value is None or isinstance(value, bool):
        kind = "null" if value is None else str(value).lower()
    return [Finding("error", "object", "", f"the line holds {kind} where an object should be", fix)]


def _in_texts(value: JSON, path: str) -> Iterator[Finding]:
    """What no service takes, or nobody means, wherever it stands in the value."""
    if isinstance(value, str):
        if _SURROGATE.search(value):
            finding = "half a surrogate pair stands in the text, which UTF-8 cannot hold"
            yield Finding("error", "surrogate", path, finding, "write the whole character, or take it out")
        if character := _CONTROL.search(value):
            finding = f"the control character \\u{ord(character[0]):04x} stands in the text"
            fix = "take it out" if character[0] not in "\b\f" else "double the backslash if one was meant"
            yield Finding("warning", "control", path, finding, fix)
    elif isinstance(value, float) and not math.isfinite(value):
        kind = "NaN" if math.isnan(value) else "Infinity"
        finding = f"{kind} is no number in JSON"
        yield Finding("error", "not_finite", path, finding, "write a number, or null")
    elif isinstance(value, dict):
        for key in value.twice if isinstance(value, _Repeating) else ():
            finding = "the key stands twice, and only the last one counts"
            place, fix = within(path, _sound_text(key)), "keep the one that is right"
            yield Finding("warning", "duplicate_key", place, finding, fix)
        for key, inner in value.items():
            if _SURROGATE.search(key):
                finding = "half a surrogate pair stands in a key, which UTF-8 cannot hold"
                yield Finding("error", "surrogate", path, finding, "rename the key")
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
            yield Finding("error", "control", f"character {error.pos + 1}", finding, fix)


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
