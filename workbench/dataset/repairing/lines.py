"""The rows that a repair starts from: the lines of a file as they stand, or the examples of a dataset.

A file is read one line after the other, and each line keeps its own text to the
byte, so that what nobody repairs is written back as it was.
"""

import codecs
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple, TypeAlias

from workbench.dataset.checking.lines import LONGEST, parsed
from workbench.dataset.examples import JSON, Dataset, Example
from workbench.dataset.reading.messages import is_deep
from workbench.dataset.reading.text import SAMPLE, encoding_of
from workbench.errors import DataError

Value: TypeAlias = Mapping[str, JSON]
"""What one line of the uploaded file holds, right or wrong."""

_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Line(NamedTuple):
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


def lines_of(data: Dataset | Path, form: Form | None = None) -> Iterator[Line]:
    """The rows one after the other; how a file's bytes are written goes into ``form``."""
    if isinstance(data, Dataset):
        for position, example in enumerate(data):
            value = None if is_deep(example.wire) else example.wire
            yield Line(position, example.origin, None, value, example.metadata)
        return
    _, lines = raw_lines(data, form)
    for position, raw in enumerate(lines):
        yield Line(position, f"{data.name}:{position + 1}", raw, _value(raw), {})


def raw_lines(path: Path, form: Form | None = None) -> tuple[Form, Iterator[str]]:
    """How the file's bytes are written, and its lines with their ends."""
    form = form or Form()
    with opened(path) as stream:
        form.encoding, form.mark = encoding_in(stream, path.name)

    return form, _lines(path, form)


def opened(path: Path) -> io.BufferedReader:
    """The file to read, or a sentence that says why not."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it.")
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist (looked in {Path.cwd()}); check the name.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


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
    return text if text.isascii() or not _has_surrogates(text) else json.dumps(value, default=dict)


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
    """What to do with bytes that are no character; only in UTF-8 can they be told apart again."""
    return "surrogateescape" if encoding == "utf-8" else "strict"


def _has_surrogates(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
