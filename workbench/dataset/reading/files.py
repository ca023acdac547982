"""From a file or a DataFrame to a dataset: the front door of reading.

A file is taken as it is or refused with the line that is wrong; what the texts in it are worth is for
``check`` to say.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.dataset.examples import Dataset, Example
from workbench.dataset.reading import delimited, frames, lines, shapes, workbooks
from workbench.dataset.reading.columns import Wanted
from workbench.dataset.reading.mapping import dataset_of
from workbench.dataset.reading.records import Records, usable
from workbench.dataset.reading.text import content, decoded, require_utf_8
from workbench.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

LINES = (".jsonl", ".ndjson")
KINDS = (*delimited.SEPARATORS, *workbooks.KINDS, *frames.KINDS, *LINES, ".json")


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
    elif frames.is_frame(source):
        records = frames.from_frame(source)
    else:
        raise DataError(f"a {type(source).__name__} is nothing to read; give a path or a DataFrame.")
    if not records.values:
        finding = "has no examples" if records.columns is None else "has a header and no rows"
        raise DataError(f"{records.name} {finding}; add the examples to learn from.")
    return dataset_of(records, wanted)


def parse_jsonl(data: bytes, name: str) -> Dataset:
    """Read an uploaded file that is already in memory: chats and preference pairs, nothing converted.

    As a service does, it takes UTF-8 only, with a byte order mark or without.
    """
    require_utf_8(io.BytesIO(data), name)
    text, notes = decoded(data, name)

    def example(numbered: tuple[int, str]) -> Example:
        number, line = numbered
        return shapes.uploaded_example(lines.parsed(line, name, number), f"{name}:{number}")

    return Dataset(name, tuple(usable(lines.lines(text), example)), notes)


def _records(path: Path, wanted: Wanted, sheet: str | None) -> Records:
    kind = path.suffix.lower()
    if kind not in KINDS and not path.is_dir():  # a folder is told below
        raise DataError(
            f"{path} is none of the files that can be read ({', '.join(KINDS)}); "
            "save the data as one of them."
        )
    if sheet is not None and kind not in workbooks.KINDS:
        raise DataError(f"{path.name} has no sheets, so sheet={sheet!r} means nothing; leave it out.")
    data = content(path)
    if kind in workbooks.KINDS:
        return workbooks.records(data, path.name, sheet)
    if kind in frames.KINDS:
        return frames.from_parquet(data, path.name)
    text, notes = decoded(data, path.name)
    if kind in delimited.SEPARATORS:
        records = delimited.records(text, path.name, delimited.SEPARATORS[kind], wanted.expected)
    elif kind in LINES:
        values = usable(lines.lines(text), lambda each: (each[0], lines.parsed(each[1], path.name, each[0])))
        records = Records(path.name, None, values)
    else:
        records = Records(path.name, None, list(lines.values(text, path.name)))
    return records._replace(notes=(*notes, *records.notes))
