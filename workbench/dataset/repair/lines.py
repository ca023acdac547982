"""The rows that a repair starts from: the lines of a file as they stand, or the examples of a dataset.

A file is read one line after the other, and each line keeps its own text to the
byte, so that what nobody repairs is written back as it was.
"""

import ast
import codecs
import hashlib
import io
import json
import math
import re
import tokenize
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise, repeat
from pathlib import Path
from typing import NamedTuple, TypeAlias

from workbench.dataset.check.row import LONGEST, TOLERANT, Repeating, parsed
from workbench.dataset.dataset import JSON, Dataset, Example
from workbench.dataset.json_text import SAMPLE, encoding_of, is_deep, opened
from workbench.errors import DataError

Value: TypeAlias = Mapping[str, JSON]
"""What one line of the uploaded file holds, right or wrong."""

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class RepairLine(NamedTuple):
    """One row before a repair."""

    position: int
    """From 0: in the dataset, or among all lines of the file, blank ones too."""
    origin: str
    raw: str | None
    """The line with its end, bytes that are no UTF-8 as lone surrogates; ``None`` in a dataset."""
    value: Value | None
    """``None`` where something must be done to the line before it can be read."""
    metadata: Value

    @property
    def is_blank(self) -> bool:
        """Whether nothing stands in this line of a file."""
        return self.raw is not None and not self.raw.strip("\ufeff \t\r\n")

    @property
    def is_plain(self) -> bool:
        """Whether it can be read, and all its characters are ASCII ones that are seen."""
        raw = self.raw
        return raw is not None and self.value is not None and raw.isascii() and "\\u" not in raw


@dataclass
class Form:
    """How a file's text is written as bytes."""

    encoding: str = "utf-8"
    mark: bool = False
    """Whether a byte order mark comes first."""
    ends: list[tuple[str, int]] = field(default_factory=list)
    """The ends of its lines in runs: ``[("\\r\\n", 12), ("", 1)]``."""

    def count(self, end: str) -> None:
        """One more line, with this end."""
        if self.ends and self.ends[-1][0] == end:
            self.ends[-1] = (end, self.ends[-1][1] + 1)
        else:
            self.ends.append((end, 1))

    @property
    def facts(self) -> Value:
        """As JSON."""
        return {"encoding": self.encoding, "mark": self.mark, "ends": [list(run) for run in self.ends]}

    def with_facts(self, facts: Value) -> "Form":
        """The same, but for what these facts say."""
        runs = facts.get("ends")
        ends = (
            [(str(run[0]), int(str(run[1]))) for run in runs if isinstance(run, list)]
            if isinstance(runs, list)
            else self.ends
        )
        return Form(str(facts.get("encoding", self.encoding)), facts.get("mark", self.mark) is True, ends)

    def with_ends(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines with the ends that the form says."""
        ends = chain.from_iterable(repeat(end, number) for end, number in self.ends)
        return (body_of(line) + end for line, end in zip(lines, ends, strict=True))

    def written(self, lines: Iterable[str]) -> Iterator[bytes]:
        """Lines as the file's bytes."""
        if self.mark:
            yield "\ufeff".encode(self.encoding)
        for line in lines:
            yield line.encode(self.encoding, _errors(self.encoding))


def lines_of(data: Dataset | Path, form: Form | None = None) -> Iterator[RepairLine]:
    """The rows one after the other; how a file's bytes are written goes into ``form``."""
    if isinstance(data, Dataset):
        for position, example in enumerate(data):
            value = None if is_deep(example.wire) else example.wire
            yield RepairLine(position, example.origin, None, value, example.metadata)
        return
    _, lines = raw_lines(data, form)
    for position, raw in enumerate(lines):
        yield RepairLine(position, f"{data.name}:{position + 1}", raw, _value(raw), {})


def raw_lines(path: Path, form: Form | None = None) -> tuple[Form, Iterator[str]]:
    """How the file's bytes are written, and its lines with their ends."""
    form = form or Form()
    with opened(path) as stream:
        form.encoding, form.mark = encoding_in(stream, path.name)

    return form, _lines(path, form)


def encoding_in(stream: io.BufferedReader | io.BytesIO, name: str) -> tuple[str, bool]:
    """The encoding of the file, and whether it starts with a byte order mark."""
    sample = stream.read(SAMPLE)
    stream.seek(0)
    for mark, encoding in _MARKS.items():
        if sample.startswith(mark):
            return encoding, True
    return codecs.lookup(encoding_of(sample, name, whole=False).name).name, False


def texts_of(stream: io.BufferedReader | io.BytesIO, form: Form) -> Iterator[str]:
    """The lines with their ends, which are counted in ``form``; only a line feed parts them.

    A ``UnicodeError`` where the encoding could not write them back as they were.
    """
    before, again = hashlib.sha256(), hashlib.sha256()
    if form.encoding != "utf-8":  # which keeps every byte
        while block := stream.read(2**20):
            before.update(block)
        stream.seek(0)
    with io.TextIOWrapper(stream, form.encoding, _errors(form.encoding), newline="\n") as text:
        for number, line in enumerate(text):
            if form.encoding != "utf-8":
                again.update(line.encode(form.encoding, _errors(form.encoding)))
            if number == 0 and line.startswith("\ufeff"):
                form.mark, line = True, line[1:]
            form.count(end_of(line))
            yield line
    if before.digest() != again.digest():
        raise UnicodeError(f"{form.encoding} does not write back what it reads")


def body_of(raw: str) -> str:
    """A line without its end."""
    return raw.rstrip("\r\n")


def end_of(raw: str) -> str:
    """The end of a line: a line feed mostly, nothing on the last line of some files."""
    return raw[len(body_of(raw)) :]


def sha256_of(data: Dataset | Path) -> str:
    """The hash of the file, or of the file that the dataset is uploaded as."""
    if isinstance(data, Dataset):
        return data.sha256
    with opened(data) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def written(value: Value) -> str:
    """A value as the text of its line, without an end."""
    text = json.dumps(value, ensure_ascii=False, default=dict)
    # Half a surrogate pair is no UTF-8, and would be taken for a raw byte.
    return text if text.isascii() or not HALF.search(text) else json.dumps(value, default=dict)


def example_from(value: Value, origin: str, metadata: Value) -> Example:
    """The example whose ``wire`` is this value, whatever its messages are worth."""
    given = value.get("input")
    if "messages" not in value and isinstance(given, Mapping):
        inside = {key: part for key, part in given.items() if key != "messages"}
        rest = {key: part for key, part in value.items() if key != "input"}
        return Example(_messages(given.get("messages")), origin, {**rest, **inside}, metadata)
    rest = {key: part for key, part in value.items() if key != "messages"}
    return Example(_messages(value.get("messages")), origin, rest, metadata)


def _messages(value: JSON) -> tuple[Value, ...]:
    return tuple(m for m in value if isinstance(m, Mapping)) if isinstance(value, list | tuple) else ()


def _value(raw: str) -> Value | None:
    if len(raw) > LONGEST:
        return None
    value, findings = parsed(raw.encode("utf-8", "surrogateescape").rstrip(b"\r\n"))
    return value if isinstance(value, Mapping) and not findings else None


def _lines(path: Path, form: Form) -> Iterator[str]:
    with opened(path) as stream:
        try:
            yield from texts_of(stream, form)
        except UnicodeError:
            finding = f"{path.name} begins like {form.encoding} and goes on otherwise"
            raise DataError(f"{finding}; save it as UTF-8, then repair it.") from None


def _errors(encoding: str) -> str:
    """What to do with bytes that are no character; only in UTF-8 can they be known again."""
    return "surrogateescape" if encoding == "utf-8" else "strict"


# Lines that are no JSON object yet: what they were meant to say, where that is beyond doubt.
#
# A line is only put right when all that it says is still there afterwards, in the
# same order. A line that breaks off in the middle, or holds two
# objects, is left as it is: only its owner knows the rest.

LINE_ENDS, ENCODING, CONTROL = "line_ends", "encoding", "control"
SYNTAX, REPEATED, NOT_FINITE, WRAPPED = "json", "duplicate_key", "not_finite", "object"

DEEPEST = 90  # lists and objects in each other; Python's own parser stops at 100
LONGEST_GUESSED = 200_000  # characters of a line whose syntax is guessed at, which takes seconds a megabyte

HALF = re.compile("[\ud800-\udfff]")  # of a surrogate pair
_BYTES = re.compile("[\udc80-\udcff]+")  # bytes that are no UTF-8, as ``surrogateescape`` writes them
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_STRUCTURE = re.compile(r"""\\.|[\s{}\[\]:,"'\\]""")
_NO_NUMBER = re.compile(r"\b(NaN|Infinity)\b")


def repaired_line(raw: str, rules: Collection[str]) -> Iterator[tuple[str, Value | str | None]]:
    """Each rule by which this line is put right, with what it makes of the line; ``None``: it goes.

    Nothing, or nothing further, where the line cannot be understood.
    """
    if "\0" in raw and CONTROL in rules:  # damage, or UTF-16 among UTF-8
        # A carriage return before one would be a line end now.
        raw = body_of(raw).replace("\0", "").rstrip("\r\n") + end_of(raw)
        yield CONTROL, raw
    if not body_of(raw).strip("\ufeff \t\r\n"):
        if LINE_ENDS in rules:
            yield LINE_ENDS, None
        return
    if raw.startswith("\ufeff") and LINE_ENDS in rules:  # files that were put together carry one inside
        raw = raw.lstrip("\ufeff")
        yield LINE_ENDS, raw
    if _BYTES.search(raw):
        text = _from_windows(raw)
        if ENCODING not in rules or text is None:
            return
        raw = text
        yield ENCODING, raw
    if len(raw) > LONGEST or _depth(raw) > DEEPEST:
        return
    yield from _read(body_of(raw), rules)


def _read(text: str, rules: Collection[str]) -> Iterator[tuple[str, Value | None]]:
    if text.strip() in ("[", "]", "],") and SYNTAX in rules:  # what is left of an array around the lines
        yield SYNTAX, None
        return
    value, repeats, contradicts = _tolerant(text)
    if contradicts:
        return
    controls = value is not None and not _is_strict(text)
    if value is None and SYNTAX in rules:
        value = _meant(text)
        if value is not None:
            yield SYNTAX, value
    elif isinstance(value, str) and WRAPPED in rules:
        value, *_ = _tolerant(value)
        if isinstance(value, Mapping):
            yield WRAPPED, value
    if not isinstance(value, Mapping):
        return
    for rule, found in ((REPEATED, repeats), (CONTROL, controls)):
        if found and rule not in rules:
            return
        if found:
            yield rule, value
    if NOT_FINITE in rules:
        finite = _finite(value)
        if finite is not value and isinstance(finite, Mapping):
            yield NOT_FINITE, finite


def _tolerant(text: str) -> tuple[JSON, bool, bool]:
    """The value of a text that is nearly JSON; whether a key stands twice, and whether with another value."""
    try:
        value: JSON = TOLERANT.decode(text)
    except (ValueError, RecursionError):
        return None, False, False
    repeating = [part for part in _objects(value) if isinstance(part, Repeating)]
    return value, bool(repeating), any(part.contradicts for part in repeating)


def _objects(value: JSON) -> Iterator[JSON]:
    """The objects in a value, itself too."""
    parts: Iterable[JSON] = value if isinstance(value, list) else ()
    if isinstance(value, dict):
        yield value
        parts = value.values()
    for part in parts:
        yield from _objects(part)


def _is_strict(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _meant(text: str) -> Value | None:
    """The object that a line with broken syntax was meant to be."""
    text = text.strip().rstrip(",").rstrip()
    if not text.endswith("}") or not text.startswith("{") or len(text) > LONGEST_GUESSED:
        return None
    value, _, contradicts = _tolerant(text)
    if value is None:
        value = _from_python(text)
    if value is None:
        value = _guessed(text)
    return value if isinstance(value, Mapping) and not contradicts else None


def _from_python(text: str) -> JSON:
    """A dictionary that was printed instead of dumped: single quotes, ``None``, ``True``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that Python does not know means another language
            kinds = [token.type for token in tokenize.generate_tokens(io.StringIO(text).readline)]
            value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, SyntaxWarning, DeprecationWarning, tokenize.TokenError):
        return None
    # Python joins two neighbouring texts, where JSON misses a comma, and takes the last of two equal keys.
    joined = any(before == after == tokenize.STRING for before, after in pairwise(kinds))
    if joined or not _is_json(value) or _keys_repeat(text):
        return None
    found: JSON = json.loads(json.dumps(value))  # tuples become lists, and halves of a character whole again
    return found


def _guessed(text: str) -> JSON:
    """A dictionary with a comma, colon or quote too many or too few."""
    import json_repair

    if _NO_NUMBER.search(text):  # it would be taken for a text
        return None
    try:
        value: JSON = json_repair.loads(text, skip_json_loads=True)
        meant = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return value if _said(meant) == _said(text) else None


def _said(text: str) -> str:
    """All characters, in order, but for those that JSON is put together with."""
    plain = _ESCAPED.sub(lambda code: chr(int(code[1], 16)), text)
    plain = plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _STRUCTURE.sub("", plain).casefold()


def _keys_repeat(text: str) -> bool:
    dictionaries = (node for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Dict))
    keys = ([ast.dump(key) for key in node.keys if key] for node in dictionaries)
    return any(len(set(names)) < len(names) for names in keys)


def _from_windows(raw: str) -> str | None:
    """The line read as Windows-1252, if it looks like a language that is written in it.

    There, one or two letters in a row are not ASCII (café, naïve); in Greek or Chinese, many are.
    """
    if any(len(run) > 2 for run in _BYTES.findall(raw)):
        return None
    try:
        return raw.encode("utf-8", "surrogateescape").decode("cp1252")
    except UnicodeDecodeError:
        return None


def _finite(value: JSON) -> JSON:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        parts = {key: _finite(part) for key, part in value.items()}
        return parts if any(parts[key] is not value[key] for key in parts) else value
    if isinstance(value, list):
        items = [_finite(part) for part in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


def _is_json(value: object) -> bool:
    """Whether Python's literal holds nothing that JSON would write differently."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | int | float)


def _depth(text: str) -> int:
    """How deep brackets stand in each other, those inside texts counted as well."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{}\]]", text):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest
