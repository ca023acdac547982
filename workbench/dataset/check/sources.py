"""Where the rows to check come from: a dataset in memory, or a file line by line.

Both are judged alike: an example by its line in the file that would be uploaded, which is not read again.
"""

import os
import re
import tempfile
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Protocol

from workbench.dataset.check.report import Findings
from workbench.dataset.check.row import (
    DEEPEST,
    LARGE,
    LONGEST,
    TOO_DEEP,
    TOO_LONG,
    Collector,
    Finding,
    Row,
    RowSource,
    breaks,
    parsed,
)
from workbench.dataset.dataset import JSON, Dataset, Example, line_of
from workbench.dataset.json_text import SAMPLE, content, decoded, encoding_of, opened, other_encoding
from workbench.errors import DataError

# A source comes in pieces, each small enough to be sent to another process or machine.


class Piece(Protocol):
    """A stretch of rows, small enough to be sent to another process or machine."""

    @property
    def bytes(self) -> int:
        """How much there is to do."""

    def rows(self, seen: "Scanned") -> Iterator[Row]:
        """The rows whose lines hold an object; ``seen`` learns the lines' length and what is wrong there."""


class Cuttable(RowSource, Protocol):
    """A source that comes in pieces."""

    @property
    def bytes(self) -> int:
        """How large it is, in a dataset as an estimate."""

    @property
    def notes(self) -> Sequence[Finding]:
        """What is the matter with the whole of it."""

    def pieces(self) -> Iterator[Piece]:
        """All of it, in order."""

    def places(self, numbers: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
        """Files with the lines of these rows; without lines where an origin names none."""

    def hold(self) -> None:
        """Raise a ``DataError`` when it is no longer what it was."""


class Scanned:
    """What was seen in a stretch: rows, bytes, what is wrong with the lines, and by the collectors."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        """Nothing yet."""
        self.examples = 0
        self.bytes = 0
        self.lines = Findings()
        self.collectors = tuple(collectors)

    def add(self, rows: Sequence[Row]) -> None:
        """Show all collectors the next rows."""
        self.examples += len(rows)
        for collector in self.collectors:
            collector.add(rows)

    def merge(self, later: "Scanned") -> None:
        """Take over what was seen in the stretch behind this one."""
        self.examples += later.examples
        self.bytes += later.bytes
        self.lines.merge(later.lines)
        for collector, other in zip(self.collectors, later.collectors, strict=True):
            collector.merge(other)


# A JSONL file that may be larger than memory: cut into pieces at its line ends, and read line by line.
#
# Line numbers start at 1, as editors count them. However long a line is, no more of it is held than may be.

PIECE = 16 * 2**20  # bytes that one process looks at in one go
_BLOCK = 2**16  # bytes between two known places of a file, so about the most that is read to find a row
_CHARACTERS = 2**20  # that are copied at once

WINDOWS_LINES = breaks(
    "line_ends",
    "",
    "lines end with a carriage return and a line feed, as Windows writes them",
    "leave them, services take them; `python -m workbench fix` makes them line feeds",
)


@dataclass(frozen=True)
class FilePiece:
    """A stretch of whole lines of a file."""

    path: Path
    name: str
    start: int
    end: int
    """In bytes, as ``start``."""
    first: int
    """The number of the first line."""

    @property
    def bytes(self) -> int:
        """Its length."""
        return self.end - self.start

    def rows(self, seen: Scanned) -> Iterator[Row]:
        """One a line; lines of white space are passed over, and one that is too long is never held whole."""
        seen.bytes += self.bytes
        for number, line in enumerate(_lines(self.path, self.name, self.start, self.end), self.first):
            if line is None:
                seen.lines.add(TOO_LONG, (number,))
                continue
            value, findings = parsed(line)
            if findings:
                if not line.strip():
                    continue
                for finding in findings:
                    seen.lines.add(finding, (number,))
            if type(value) is dict:
                yield Row(number, value)


class FileSource:
    """The lines of a JSONL file, numbered from 1; in another encoding than UTF-8, those of a copy."""

    def __init__(self, path: str | Path) -> None:
        """Look at how the file begins."""
        self.path = Path(path)
        self.name = self.path.name
        self._state = _state(self.path)
        self.notes: tuple[Finding, ...] = ()
        self._read_from = self.path
        with opened(self.path) as file:
            sample = file.read(SAMPLE)
        encoding = encoding_of(sample, self.name, whole=False)
        self._start = encoding.mark
        if encoding.name != "utf-8":
            self._read_from = _in_utf_8(self.path, encoding.name)
            weakref.finalize(self, self._read_from.unlink, missing_ok=True)
            self.notes = (other_encoding(encoding, sample),)
        elif b"\r\n" in sample:
            self.notes = (WINDOWS_LINES,)
        self._end = self._read_from.stat().st_size
        # Lines whose place in the file is known, and those places: about one in each block.
        self._known, self._places = array("q", (1,)), array("q", (self._start,))

    @property
    def bytes(self) -> int:
        """Its length in UTF-8, without the byte order mark."""
        return self._end - self._start

    def pieces(self) -> Iterator[FilePiece]:
        """All of it, in order; on the way the places of some lines are kept for ``row``."""
        first, start, at, lines = 1, self._start, self._start, 0
        with opened(self._read_from) as file:
            file.seek(start)
            while block := file.read(min(_BLOCK, PIECE, self._end - at)):
                lines += block.count(b"\n")
                ends = at + block.rfind(b"\n") + 1
                at += len(block)
                if ends <= at - len(block):
                    continue  # within a long line
                if first + lines > self._known[-1]:
                    self._known.append(first + lines)
                    self._places.append(ends)
                if at - start >= PIECE:
                    yield FilePiece(self._read_from, self.name, start, ends, first)
                    first, start, lines = first + lines, ends, 0
        if start < at:
            yield FilePiece(self._read_from, self.name, start, at, first)

    def origin(self, number: int) -> str:
        """``faq.jsonl:12``."""
        return f"{self.name}:{number}"

    def places(self, numbers: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
        """This file, and the numbers."""
        yield self.name, numbers

    def row(self, number: int) -> Row:
        """This line once more."""
        known = bisect_right(self._known, number) - 1
        lines = _lines(self._read_from, self.name, self._places[known], self._end)
        for at, line in enumerate(lines, self._known[known]):
            if at == number:
                value = None if line is None else parsed(line)[0]
                if isinstance(value, dict):
                    return Row(number, value)
                break
        raise _changed(self.name)

    def hold(self) -> None:
        """Raise a ``DataError`` when the file is no longer what it was when the check began."""
        if _state(self.path) != self._state:
            raise _changed(self.name)


def _lines(path: Path, name: str, start: int, end: int) -> Iterator[bytes | None]:
    """The lines of a stretch; ``None`` for one that is too long to be read."""
    with opened(path) as file:
        file.seek(start)
        while start < end:
            line = file.readline(LONGEST + 1)
            start += len(line)
            if not line:
                raise _changed(name)
            if len(line) <= LONGEST:
                yield line
                continue
            while not line.endswith(b"\n") and (line := file.readline(_BLOCK)):
                start += len(line)
            yield None


def _in_utf_8(path: Path, encoding: str) -> Path:
    """A temporary copy of the file in UTF-8; what cannot be read in it becomes the replacement character."""
    number, copy = tempfile.mkstemp(prefix="workbench-", suffix=".jsonl")
    with (
        os.fdopen(number, "w", encoding="utf-8", newline="", errors="replace") as written,
        open(path, encoding=encoding, errors="replace", newline="") as read,
    ):
        while text := read.read(_CHARACTERS):
            written.write(text)
    return Path(copy)


def _state(path: Path) -> tuple[int, int, int]:
    """What changes when somebody writes to the file."""
    with opened(path) as file:
        facts = os.fstat(file.fileno())
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _changed(name: str) -> DataError:
    return DataError(f"{name} changed while it was checked; check it again when nothing writes to it.")


EXAMPLES = 4_000  # of a dataset that one process looks at in one go
LINES = (".jsonl", ".ndjson", ".txt", ".log", "")  # what is read line by line; ``read`` reads all else
PROSE = (".txt", ".md")  # a corpus in paragraphs


def source_of(data: Dataset | str | Path) -> Cuttable:
    """A dataset as it is, a JSONL file line by line, and any other file as ``read`` understands it."""
    if isinstance(data, Dataset):
        return DatasetSource(data)
    path = Path(data)
    if path.suffix.lower() in LINES or not path.is_file():
        return FileSource(path)
    from workbench.dataset.read import read

    return DatasetSource(read(path))


Content = bytes  # in the classes below ``bytes`` is a number


@dataclass(frozen=True)
class DatasetPiece:
    """Neighbouring examples."""

    examples: Sequence[Example]
    first: int
    """The position of the first of them."""
    content: Content | None
    """Their lines in the file that would be uploaded; ``None``: one of the dataset has no line."""

    @property
    def bytes(self) -> int:
        """The length of the lines, or a guess: a kilobyte each."""
        return 1_000 * len(self.examples) if self.content is None else len(self.content)

    def rows(self, seen: Scanned) -> Iterator[Row]:
        """One for each example, numbered on from the position of the first."""
        lines = map(_written, self.examples) if self.content is None else BytesIO(self.content)
        for number, (example, line) in enumerate(zip(self.examples, lines, strict=True), self.first):
            if isinstance(line, Finding):
                seen.lines.add(line, (number,))
                continue
            seen.bytes += len(line)
            value, findings = _read(example, line)
            for finding in findings:
                seen.lines.add(finding, (number,))
            if isinstance(value, dict):
                yield Row(number, value, example.metadata)


@dataclass(frozen=True)
class DatasetSource:
    """The examples of a dataset; rows are numbered by position, from 0."""

    dataset: Dataset

    @property
    def name(self) -> str:
        """The dataset's."""
        return self.dataset.name

    @property
    def bytes(self) -> int:
        """The length of the file that would be uploaded, or a guess: a kilobyte an example."""
        content = _content_of(self.dataset)
        return 1_000 * len(self.dataset) if content is None else len(content)

    @property
    def notes(self) -> Sequence[Finding]:
        """Nothing: a dataset has no encoding."""
        return ()

    def pieces(self) -> Iterator[DatasetPiece]:
        """All of it, in order."""
        whole = _content_of(self.dataset)
        lines = None if whole is None else BytesIO(whole)
        for first in range(0, len(self.dataset), EXAMPLES):
            examples = self.dataset.examples[first : first + EXAMPLES]
            content = None if lines is None else b"".join(islice(lines, len(examples)))
            yield DatasetPiece(examples, first, content)

    def origin(self, number: int) -> str:
        """Where the example came from: ``faq.csv:12``."""
        return self.dataset[number].origin

    def places(self, numbers: Sequence[int]) -> Iterator[tuple[str, Sequence[int]]]:
        """The files that the examples came from, with their lines there."""
        lines: dict[str, array[int]] = {}
        for number in numbers:
            origin = self.origin(number)
            file, _, line = origin.rpartition(":")
            named = bool(file) and line.isdecimal() and len(line) < 19
            lines.setdefault(file if named else origin, array("q")).extend((int(line),) if named else ())
        yield from lines.items()

    def row(self, number: int) -> Row:
        """This example once more."""
        example = self.dataset[number]
        line = _written(example)
        value = None if isinstance(line, Finding) else _read(example, line)[0]
        return Row(number, value if isinstance(value, dict) else {}, example.metadata)

    def hold(self) -> None:
        """A dataset cannot change."""


def corpus_source(corpus: Dataset | str | Path | Sequence[str]) -> Cuttable:
    """What is looked up: chats, or texts, or the paragraphs of a text file, each as if a user said it."""
    name, texts = "corpus", corpus
    if isinstance(corpus, str | Path) and Path(corpus).suffix.lower() in PROSE:
        path = Path(corpus)
        name, texts = path.name, re.split(r"\n\s*\n", decoded(content(path), path.name)[0])
    if isinstance(texts, Dataset | str | Path):
        return source_of(texts)
    said = (
        Example(({"role": "user", "content": text},), f"{name}:{number}")
        for number, text in enumerate(texts, 1)
    )
    return DatasetSource(Dataset(name, tuple(said)))


def tell_apart(sources: Sequence[Cuttable]) -> None:
    """Call files of the same name in different folders by their whole paths."""
    names = [source.name for source in sources]
    for source in sources:
        if isinstance(source, FileSource) and names.count(source.name) > 1:
            source.name = str(source.path)


def _content_of(dataset: Dataset) -> bytes | None:
    """The file that would be uploaded; ``None`` where an example cannot be written as JSON."""
    try:
        return dataset.to_jsonl()
    except (TypeError, ValueError, RecursionError):
        return None


def _written(example: Example) -> bytes | Finding:
    """The example's line, or why it has none."""
    try:
        return line_of(example)
    except RecursionError:
        return TOO_DEEP
    except (TypeError, ValueError) as error:
        finding = f"the example cannot be written as JSON: {error}"
        return breaks("object", "", finding, "keep to texts, numbers, lists and objects")


def _read(example: Example, line: bytes) -> tuple[JSON, list[Finding]]:
    """What its line holds: the example as it is, without reading the line where that is known to be sound."""
    value = example.wire
    if len(line) > LARGE or line.count(b"{") + line.count(b"[") > DEEPEST or _ODD.search(line):
        return parsed(line)
    try:
        for message in (value, *example.messages):
            "".join(message)
    except TypeError:  # a key that is no text, or a message that is no object
        return parsed(line)
    return value, []


# What a line of ours may have that JSON does not take, or nobody means: see ``row.parsed``.
_ODD = re.compile(rb"NaN|Infinity|\\[bfu]")
