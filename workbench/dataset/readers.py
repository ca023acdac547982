"""The files that examples come from: tables with a question and an answer column, and chat files.

A file is taken as it is or refused with the line that is wrong; what the texts in it are worth
is for ``check`` to say. Every example keeps the line on which it starts as its origin.
"""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from workbench.dataset.examples import JSON, Dataset, Example, Message
from workbench.errors import DataError

TABLES = {".csv": ",;\t", ".tsv": "\t"}  # the separators to look for, the usual one first
CHATS = (".jsonl", ".ndjson", ".json")
DEPTH = 100  # of lists and objects in each other; no documented format comes near it


def read(
    path: str | Path, *, question: str = "question", answer: str = "answer", system: str | None = None
) -> Dataset:
    """Read my examples from a CSV or TSV file with two columns, or from a JSONL or JSON file of chats.

    ``system`` is put in front of every example that brings no system message of its own.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in TABLES and kind not in CHATS:
        raise DataError(
            f"{path} is none of the files that can be read ({', '.join([*TABLES, *CHATS])}); "
            "save the data as one of them."
        )
    text = _decoded(_content(path), path.name)
    if kind in TABLES:
        examples = _from_table(text, path.name, question, answer, TABLES[kind])
    elif kind == ".json" and text.lstrip().startswith("["):
        examples = _from_array(text, path.name)
    else:
        examples = _from_lines(text, path.name)
    found = tuple(example if system is None else _with_system(example, system) for example in examples)
    if not found:
        finding = "has a header and no rows" if kind in TABLES else "has no examples"
        raise DataError(f"{path.name} {finding}; add the examples to learn from.")
    return Dataset(path.name, found)


def parse_jsonl(data: bytes, name: str) -> Dataset:
    """Read the examples of a chat file that is already in memory; ``name`` stands in every message."""
    return Dataset(name, tuple(_from_lines(_decoded(data, name), name)))


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it.")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist (looked in {Path.cwd()}); check the name.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _decoded(data: bytes, name: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, label = "utf-16", "UTF-16"
    else:
        encoding, label = "utf-8-sig", "UTF-8"
        if b"\0" in data:
            line = _line_after(data[: data.index(0)].decode(encoding, "ignore"))
            raise DataError(
                f"{name} is not a text file: line {line} holds a NUL byte; save the data as UTF-8 text."
            )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = _line_after(error.object[: error.start].decode(encoding, "ignore"))
        raise DataError(
            f"{name} line {line}: the byte 0x{error.object[error.start]:02x} is not {label}; "
            "save the file as UTF-8 (in Excel: 'CSV UTF-8')."
        ) from None
    if not text.strip():
        raise DataError(f"{name} is empty; it should hold examples.")
    return text


def _line_after(text: str) -> int:
    """The line on which the next character stands, however lines end."""
    return io.StringIO(text, newline=None).read().count("\n") + 1


def _from_table(text: str, name: str, question: str, answer: str, separators: str) -> Iterator[Example]:
    # The limit is there for quotes that are never closed; strict reading finds those, and texts may be long.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    rows = _rows(text, name, _separator(text, question, answer, separators))
    _, header = next(rows, (1, []))
    names = [column.strip() for column in header]
    if not names:
        raise DataError(f"{name} has no header; its first line should name the columns.")
    for column in (question, answer):
        if column not in names:
            raise DataError(f"{name} has no column {column!r}; it has {', '.join(names)[:300]}.")
        if names.count(column) > 1:
            raise DataError(f"{name} has the column {column!r} twice; rename one of them.")
    for line, cells in rows:
        if any(cell.strip() for cell in cells[len(names) :]):
            raise DataError(
                f"{name} line {line} has {len(cells)} cells where the header has {len(names)}; "
                "put a text that holds the separator in double quotes."
            )
        row = dict(zip(names, [*cells, *[""] * len(names)], strict=False))
        yield Example((_said("user", row[question]), _said("assistant", row[answer])), f"{name}:{line}")


def _rows(text: str, name: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything, each with the line on which it starts."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            finding = "a quoted text is never closed" if "end of data" in str(error) else str(error)
            raise DataError(
                f"{name} line {line}: {finding}; a quote inside a quoted text is written twice."
            ) from None
        if any(cell.strip() for cell in cells):
            yield line, cells


def _separator(text: str, question: str, answer: str, separators: str) -> str:
    """The separator that makes both columns appear in the first line; the usual one if none does."""
    first = text.lstrip().splitlines()[0]
    for separator in separators:
        names = [column.strip() for column in next(csv.reader([first], delimiter=separator))]
        if question in names and answer in names:
            return separator
    return separators[0]


def _from_lines(text: str, name: str) -> Iterator[Example]:
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            value = _json(line, name, number)
            yield _chat(value, f"{name} line {number}", f"{name}:{number}")


def _from_array(text: str, name: str) -> Iterator[Example]:
    values = _json(text, name, 1)
    for position, value in enumerate(values if isinstance(values, list) else []):
        yield _chat(value, f"{name}[{position}]", f"{name}[{position}]")


def _json(text: str, name: str, line: int) -> JSON:
    try:
        value: JSON = json.loads(text, parse_constant=_no_json)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{name} line {line + error.lineno - 1}: not JSON ({error.msg}, character {error.colno}); "
            "each line of a JSONL file is one complete object."
        ) from None
    except RecursionError:
        raise DataError(f"{name} line {line}: lists and objects are nested too deeply.") from None
    except ValueError as error:
        raise DataError(f"{name} line {line}: not JSON ({error}).") from None
    return value


def _no_json(word: str) -> JSON:
    raise ValueError(f"{word} is no number in JSON; write null or a number")


def _chat(value: JSON, place: str, origin: str) -> Example:
    """One example; what its messages say is not looked at here."""
    if not isinstance(value, dict):
        raise DataError(f"{place} is {_kind(value)}; it should be an object with 'messages'.")
    if "messages" not in value:
        has = ", ".join(value)[:300] or "nothing"
        raise DataError(f"{place} has no 'messages' (it has {has}); a chat is {{\"messages\": [...]}}.")
    messages = value["messages"]
    if not isinstance(messages, list) or not messages:
        found = "empty" if messages == [] else _kind(messages)
        raise DataError(f"{place}: messages is {found}; it should be a list of messages.")
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            raise DataError(
                f"{place}: messages[{position}] is {_kind(message)}; "
                "it should be an object with 'role' and 'content'."
            )
    if _is_deep(value, DEPTH):
        raise DataError(f"{place}: lists and objects are nested more than {DEPTH} deep.")
    more = {key: content for key, content in value.items() if key != "messages"}
    return Example(tuple(messages), origin, more)


def _is_deep(value: JSON, allowed: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return allowed == 0 or any(_is_deep(part, allowed - 1) for part in inner)


def _kind(value: JSON) -> str:
    """What a person calls it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    return "an object" if isinstance(value, dict) else "a list"


def _said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _with_system(example: Example, system: str) -> Example:
    if any(message.get("role") in ("system", "developer") for message in example.messages):
        return example
    return Example((_said("system", system), *example.messages), example.origin, example.more)
