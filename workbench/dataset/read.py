"""Which column is the question and which the answer: as the user says, or guessed from usual names.

A column may be named, or several put together in a template: ``"{title}\n\n{body}"``. A brace that is
meant as a brace is written twice.
"""

import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workbench.dataset import chat_formats, json_text, tables
from workbench.dataset.chat_formats import AS_THEY_ARE, CHAT, ChatShape, checked, shape_of, unknown
from workbench.dataset.dataset import EXPORTED, JSON, OUTPUTS, SYSTEM, TOOLS, Dataset, Example, Message
from workbench.dataset.json_text import content, decoded, place_of, require_utf_8, said, text
from workbench.dataset.tables import Records, usable
from workbench.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

# How people name their columns, the clearest first. A "query" is an answer beside a question, and asks alone.
KNOWN = {
    "question": (
        *("question", "prompt", "instruction", "input", "problem", "request", "user", "user_message"),
        *("text", "query"),
    ),
    "answer": (
        *("answer", "completion", "output", "response", "reply", "target", "solution", "assistant"),
        *("ground_truth", "label", "query"),
    ),
    "preferred": ("preferred", "chosen", "preferred_output", "preferred_completion"),
    "rejected": ("rejected", "non_preferred", "non_preferred_output", "non_preferred_completion"),
}
EXPECTED = frozenset(name for names in KNOWN.values() for name in names)
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


class Wanted(NamedTuple):
    """What the user said about the columns; ``None`` leaves it to be guessed."""

    question: str | None = None
    answer: str | None = None
    system: str | None = None
    preferred: str | None = None
    rejected: str | None = None
    reference: tuple[str, ...] = ()

    @property
    def are_named(self) -> bool:
        """Whether any column was named; a system message is mostly no column."""
        return any((self.question, self.answer, self.preferred, self.rejected, self.reference))

    @property
    def expected(self) -> frozenset[str]:
        """The names by which a header is recognised."""
        given = [each for each in (self.question, self.answer, self.preferred, self.rejected) if each]
        named = {place[1] for each in given for place in _PLACE.finditer(each) if place[1]}
        return frozenset({*given, *named, *self.reference} or EXPECTED)


class Template(NamedTuple):
    """Text around columns: each part is some text and the column behind it, if any."""

    parts: tuple[tuple[str, str | None], ...]

    @property
    def column(self) -> str | None:
        """The one column that this is, without any text around it."""
        return self.parts[0][1] if len(self.parts) == 1 and not self.parts[0][0] else None

    def of(self, record: Mapping[str, JSON]) -> str:
        """The text for this row."""
        return "".join(before + text(record.get(column) if column else "") for before, column in self.parts)


@dataclass(frozen=True)
class Columns:
    """What the columns of one file are for."""

    question: Template
    answer: Template | None
    preferred: Template | None
    rejected: Template | None
    reference: tuple[str, ...]
    notes: tuple[str, ...]

    def example(self, record: Mapping[str, JSON], origin: str) -> Example:
        """The example on this row; what is no part of it becomes metadata."""
        templates = [each for each in (self.question, self.answer, self.preferred, self.rejected) if each]
        used = [*(each.column for each in templates if each.column), *self.reference]
        missing = next((column for column in used if column not in record), None)
        if missing is not None:
            raise DataError(f"{place_of(origin)} has no {missing!r}; it has {_listed(list(record))}.")
        asked = said("user", self.question.of(record))
        metadata = {column: value for column, value in record.items() if column not in used}
        if self.preferred and self.rejected:
            more: dict[str, JSON] = {
                "preferred_output": [said("assistant", self.preferred.of(record))],
                "non_preferred_output": [said("assistant", self.rejected.of(record))],
            }
            return Example((asked,), origin, more, metadata)
        more = {column: record[column] for column in self.reference}
        messages: tuple[Message, ...] = (asked,)
        if self.answer:
            messages = (asked, said("assistant", self.answer.of(record)))
        return Example(messages, origin, more, metadata)


def chosen(wanted: Wanted, names: Sequence[str], file: str) -> Columns:
    """What each column is for; what was guessed stands in the notes."""
    _refuse_contradictions(wanted, names, file)
    notes: list[str] = []

    def column(role: str, named: str | None, taken: Sequence[str | None] = ()) -> Template | None:
        if named is not None:
            return template(named, names, file)
        guess = _guess(role, names, taken)
        if guess is None:
            return None
        notes.append(f"the {role} is guessed: the column {guess!r}")
        return template(guess, names, file)

    pair = (wanted.preferred, wanted.rejected)
    preferred, rejected = (template(each, names, file) if each is not None else None for each in pair)
    question = column("question", wanted.question, [wanted.answer, *pair, *wanted.reference])
    if question is None:
        raise _unguessed("question", "asks", names, file)
    if preferred or wanted.reference:
        return Columns(question, None, preferred, rejected, wanted.reference, tuple(notes))
    answer = column("answer", wanted.answer, [question.column])
    if answer is None:
        preferred, rejected = column("preferred", None), column("rejected", None)
        if preferred is None or rejected is None:
            raise _unguessed("answer", "answers", names, file)
    return Columns(question, answer, preferred, rejected, (), tuple(notes))


def can_be_guessed(names: Sequence[str]) -> bool:
    """Whether both sides of an example have usual names."""
    question = _guess("question", names, ())
    is_pair = all(_guess(role, names, ()) for role in ("preferred", "rejected"))
    return question is not None and (is_pair or _guess("answer", names, (question,)) is not None)


def template(named: str, names: Sequence[str], file: str) -> Template:
    """A column, or the text around several; one that is not there is an error that lists those that are."""
    if named in names:
        if names.count(named) > 1:
            raise DataError(f"{file} has the column {named!r} twice; rename one of them.")
        return Template((("", named),))
    places = list(_PLACE.finditer(named))
    if not any(place[1] for place in places):
        raise DataError(f"{file} has no column {named!r}; it has {_listed(names)}.")
    parts: list[tuple[str, str | None]] = []
    before, position = "", 0
    for place in places:
        before += named[position : place.start()]
        position = place.end()
        if place[1] is None:
            before += place[0][0]
            continue
        if place[1] not in names:
            raise DataError(
                f"{file} has no column {place[1]!r}, which {named[:80]!r} asks for; it has {_listed(names)}."
            )
        parts.append((before, place[1]))
        before = ""
    return Template((*parts, (before + named[position:], None)))


def system_template(system: str, names: Sequence[str], file: str) -> Template:
    """A system message: a column or a template if it names one, else the text as it stands."""
    named = [place[1] for place in _PLACE.finditer(system) if place[1]]
    if system in names or any(name in names for name in named):
        return template(system, names, file)
    return Template(((system, None),))


def _guess(role: str, names: Sequence[str], taken: Sequence[str | None]) -> str | None:
    by_name = {name.casefold().replace(" ", "_"): name for name in reversed(names) if name not in taken}
    return next((by_name[known] for known in KNOWN[role] if known in by_name), None)


def _refuse_contradictions(wanted: Wanted, names: Sequence[str], file: str) -> None:
    if (wanted.preferred is None) != (wanted.rejected is None):
        given, other = ("preferred", "rejected") if wanted.preferred else ("rejected", "preferred")
        raise DataError(f"{given} is given without {other}; a preference pair has both.")
    if wanted.answer is not None and (wanted.preferred is not None or wanted.reference):
        other = "preferred and rejected" if wanted.preferred else "reference"
        raise DataError(f"answer is given beside {other}; leave it out, there is no single answer then.")
    if wanted.preferred is not None and wanted.reference:
        raise DataError("reference is given beside preferred and rejected; choose one of them.")
    for column in wanted.reference:
        if column not in names:
            raise DataError(f"{file} has no column {column!r}; it has {_listed(names)}.")
        if column == "messages":
            raise DataError(f"{file}: a reference cannot be named 'messages'; rename the column.")


def _unguessed(role: str, does: str, names: Sequence[str], file: str) -> DataError:
    return DataError(
        f"{file} has the columns {_listed(names)}, and none has a usual name for what {does}; "
        f"name it with {role}=."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(name for name in names if name)[:300] or "no columns"


# Records become examples: each by its shape, and where it has none, by its columns.

CONVERSATIONS = ("messages", "conversations", "input", "prompt", "chosen", "rejected", "tools", *OUTPUTS)
INSIDE = ("role", "from", "messages", "function")  # one of these is in what is meant as more than a text


def dataset_of(records: Records, wanted: Wanted) -> Dataset:
    """The examples of a file, all or none; what was guessed and converted is in the notes."""
    name, header = records.name, records.columns
    values = records.values
    if header is not None:
        values = usable(values, lambda row: (row[0], _unfolded(row[1], f"{name}:{row[0]}")))
    shaped = [_shape(value, wanted) for _, value in values]
    plain = [value for (_, value), shape in zip(values, shaped, strict=True) if shape is None]
    names = list(header) if header is not None else _names(plain)
    columns = _columns(records, names, wanted, len(plain))
    system = None if wanted.system is None else system_template(wanted.system, names, name)

    def example(row: tuple[tuple[int, JSON], ChatShape | None]) -> Example:
        (number, value), shape = row
        origin = f"{name}:{number}"
        record = checked(value, origin)
        if shape is not None:
            made = shape.convert(record, origin)
            made = _of_a_row(made, shape) if header is not None else made
            made = _with_reference(made, wanted.reference)
        elif columns is not None:
            made = columns.example(record, origin)
        else:
            raise unknown(record, origin, f"{CHAT}, and question= and answer= name the fields of records")
        return made if system is None else _with_system(made, system, record)

    examples = usable(zip(values, shaped, strict=True), example)
    guessed = columns.notes if columns else ()
    return Dataset(name, tuple(examples), (*records.notes, *guessed, *_recognised(shaped, wanted)))


def _shape(value: JSON, wanted: Wanted) -> ChatShape | None:
    shape = shape_of(value)
    return None if shape is not None and shape.has_names and wanted.are_named else shape


def _names(values: Sequence[JSON]) -> list[str]:
    """All keys of all objects, in the order in which they first appear."""
    return list(dict.fromkeys(key for value in values if isinstance(value, Mapping) for key in value))


def _columns(records: Records, names: Sequence[str], wanted: Wanted, plain: int) -> Columns | None:
    """What the columns are for; ``None`` where no row needs it, or none of a JSON file's lines says it."""
    if not plain:
        return None
    if records.columns is None:
        is_mixed = plain < len(records.values)  # then these are conversations, and the others misspelt ones
        if is_mixed or not names or not (wanted.are_named or can_be_guessed(names)):
            return None
    return chosen(wanted, names, records.name)


def _unfolded(value: JSON, origin: str) -> JSON:
    """A row of a table, with conversations written as JSON in its cells taken out."""
    if not isinstance(value, Mapping) or set(value) == set(EXPORTED):
        return value
    return {
        key: _taken_out(key, cell, origin) if key in CONVERSATIONS else cell for key, cell in value.items()
    }


def _taken_out(key: str, cell: JSON, origin: str) -> JSON:
    if not isinstance(cell, str):
        return _without_nothing(cell)
    if not cell.lstrip().startswith(("[", "{")):
        return cell
    if key != "messages" and not any(f'"{inside}"' in cell for inside in INSIDE):
        return cell
    file, _, number = origin.rpartition(":")
    try:
        inside = json_text.parsed(cell, file, int(number))
    except DataError:
        if key == "messages":
            raise
        return cell  # a text that begins with a bracket
    first = inside[0] if isinstance(inside, list) and inside else inside
    is_meant = isinstance(first, Mapping) and any(each in first for each in INSIDE)
    return inside if is_meant or key == "messages" else cell


def _without_nothing(value: JSON) -> JSON:
    """Without the fields that a Parquet struct has for every message, and most messages do not fill."""
    if isinstance(value, Mapping):
        return {key: _without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value


def _of_a_row(example: Example, shape: ChatShape) -> Example:
    """In a table, other columns are not meant to be uploaded."""
    if shape.name == "exported example":
        return example
    kept = (*OUTPUTS, *TOOLS)
    more = {key: value for key, value in example.more.items() if key in kept and value not in (None, "")}
    rest = {key: value for key, value in example.more.items() if key not in kept}
    return replace(example, more=more, metadata={**rest, **example.metadata})


def _with_reference(example: Example, reference: Sequence[str]) -> Example:
    """The fields that a grader reads, at the top level."""
    if not reference:
        return example
    fields = {**example.metadata, **example.more}
    missing = next((name for name in reference if name not in fields), None)
    if missing is not None:
        has = ", ".join(fields)[:300] or "nothing"
        raise DataError(f"{place_of(example.origin)} has no {missing!r}; beside the messages it has {has}.")
    more = {**example.more, **{name: fields[name] for name in reference}}
    rest = {key: value for key, value in example.metadata.items() if key not in reference}
    return replace(example, more=more, metadata=rest)


def _with_system(example: Example, system: Template, record: Mapping[str, JSON]) -> Example:
    if any(message.get("role") in SYSTEM for message in example.messages):
        return example
    instruction = system.of(record)
    if not instruction.strip():
        return example
    return replace(example, messages=(said("system", instruction), *example.messages))


def _recognised(shaped: Sequence[ChatShape | None], wanted: Wanted) -> list[str]:
    """Which shapes there were, unless all rows are what is uploaded anyway."""
    found = Counter("plain record" if shape is None else shape.name for shape in shaped)
    if len(found) == 1 and (None in shaped or set(found) <= set(AS_THEY_ARE)):
        notes = []
    else:
        notes = [f"{number:,} × {name}" for name, number in found.items()]
    if wanted.are_named and None not in shaped:
        notes.append("the columns named were not needed: the rows hold whole conversations")
    return notes


# From a file or a DataFrame to a dataset: the front door of reading.
#
# A file is taken as it is or refused with the line that is wrong; what the texts in it are worth is for
# ``check`` to say.

LINES = (".jsonl", ".ndjson")
SUFFIXES = (*tables.SEPARATORS, *tables.EXCEL_SUFFIXES, *tables.PARQUET_SUFFIXES, *LINES, ".json")


def read(
    source: "str | os.PathLike[str] | DataFrame",
    *,
    question: str | None = None,
    answer: str | None = None,
    system: str | None = None,
    preferred: str | None = None,
    rejected: str | None = None,
    reference: str | Sequence[str] = (),
    sheet: str | None = None,
) -> Dataset:
    """Read my examples from a table (CSV, TSV, Excel, Parquet, DataFrame) or from JSON or JSONL.

    ``question`` and ``answer`` name columns, or fill a template with several (``"{title}\\n\\n{body}"``);
    ``None`` guesses them. ``preferred`` and ``rejected`` make preference pairs, ``reference`` columns make
    prompts for reinforcement. ``system`` is put in front of every example that brings no system message;
    it is a column, a template or the text itself. All other columns become ``Example.metadata``. Chats and
    what other tools write are recognised by their shape. Whatever was guessed stands in ``Dataset.notes``.
    """
    references = (reference,) if isinstance(reference, str) else tuple(reference)
    wanted = Wanted(question, answer, system, preferred, rejected, references)
    if isinstance(source, str | os.PathLike):
        records = _records(Path(source), wanted, sheet)
    elif tables.is_frame(source):
        records = tables.from_frame(source)
    else:
        raise DataError(f"a {type(source).__name__} is nothing to read; give a path or a DataFrame.")
    if not records.values:
        finding = "has no examples" if records.columns is None else "has a header and no rows"
        raise DataError(f"{records.name} {finding}; add the examples to learn from.")
    return dataset_of(records, wanted)


class Header(NamedTuple):
    """The columns of a file, and which of them hold question and answer; ``None`` where nobody can tell."""

    names: tuple[str, ...] | None
    question: str | None
    answer: str | None


def read_header(
    source: str | os.PathLike[str], *, question: str | None = None, answer: str | None = None
) -> Header:
    """Which columns has this file, and which would ``read`` take as question and answer?

    What is named comes back as it is, once it is known to be there. Rows that hold whole conversations need
    no columns, and objects in JSON name their own: there the names are ``None`` and nothing is guessed.
    """
    wanted = Wanted(question, answer)
    records = _records(Path(source), wanted, None)
    if records.columns is None or all(_shape(value, wanted) is not None for _, value in records.values):
        return Header(records.columns, question, answer)
    found = chosen(wanted, records.columns, records.name)
    guessed = found.answer.column if found.answer else None
    return Header(records.columns, question or found.question.column, answer or guessed)


def column_names(source: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """Which columns has this table? ``None`` for JSON, whose objects name their own."""
    return _records(Path(source), Wanted(), None).columns


def first_rows(
    source: str | os.PathLike[str], number: int
) -> tuple[tuple[str, ...] | None, list[Mapping[str, JSON]]]:
    """The columns of a table and its first rows; no columns and no rows where the rows are conversations."""
    records = _records(Path(source), Wanted(), None)
    rows = [value for _, value in records.values[:number] if isinstance(value, Mapping)]
    if records.columns is None or any(_shape(row, Wanted()) is not None for row in rows):
        return None, []
    return records.columns, rows


def parse_jsonl(data: bytes, name: str) -> Dataset:
    """Read an uploaded file that is already in memory: chats and preference pairs, nothing converted.

    As a service does, it takes UTF-8 only, with a byte order mark or without.
    """
    require_utf_8(io.BytesIO(data), name)
    text, notes = decoded(data, name)

    def example(numbered: tuple[int, str]) -> Example:
        number, line = numbered
        return chat_formats.uploaded_example(json_text.parsed(line, name, number), f"{name}:{number}")

    return Dataset(name, tuple(usable(json_text.lines(text), example)), notes)


def _records(path: Path, wanted: Wanted, sheet: str | None) -> Records:
    kind = path.suffix.lower()
    if kind not in SUFFIXES and not path.is_dir():  # a folder is refused below
        raise DataError(
            f"{path} is none of the files that can be read ({', '.join(SUFFIXES)}); "
            "save the data as one of them."
        )
    if sheet is not None and kind not in tables.EXCEL_SUFFIXES:
        raise DataError(f"{path.name} has no sheets, so sheet={sheet!r} means nothing; leave it out.")
    data = content(path)
    if kind in tables.EXCEL_SUFFIXES:
        return tables.excel_records(data, path.name, sheet)
    if kind in tables.PARQUET_SUFFIXES:
        return tables.from_parquet(data, path.name)
    text, notes = decoded(data, path.name)
    if kind in tables.SEPARATORS:
        records = tables.records(text, path.name, tables.SEPARATORS[kind], wanted.expected)
    elif kind in LINES:
        values = usable(
            json_text.lines(text), lambda each: (each[0], json_text.parsed(each[1], path.name, each[0]))
        )
        records = Records(path.name, None, values)
    else:
        records = Records(path.name, None, list(json_text.values(text, path.name)))
    return records._replace(notes=(*notes, *records.notes))
