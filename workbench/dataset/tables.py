"""What a file holds before anybody has said which column is what: numbered rows of named values."""

import csv
import datetime
import io
import math
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeGuard, TypeVar

from workbench.dataset.dataset import JSON, counted
from workbench.dataset.json_text import DEPTH
from workbench.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

Item = TypeVar("Item")
Made = TypeVar("Made")


class Records(NamedTuple):
    """The rows of a table, or the objects of a JSON file."""

    name: str
    """The file's, as it stands in every origin."""
    columns: tuple[str, ...] | None
    """A table's header; ``None`` for JSON, where each object names its own."""
    values: Sequence[tuple[int, JSON]]
    """Each with its number: the line, the row of the sheet, the position in the DataFrame."""
    notes: tuple[str, ...] = ()


def usable(items: Iterable[Item], make: Callable[[Item], Made]) -> list[Made]:
    """Something made of every item; the first that is unusable is raised, with the number of the others."""
    made: list[Made] = []
    first: DataError | None = None
    further = 0
    for item in items:
        try:
            made.append(make(item))
        except DataError as error:
            further += first is not None
            first = first or error
    if first is not None and further:
        rest = f"{counted(further, 'further line')} cannot be used either; check lists them all."
        raise DataError(f"{first} {rest}") from None
    if first is not None:
        raise first
    return made


def header(cells: Sequence[JSON], name: str) -> tuple[str, ...]:
    """The names of the columns; a column without one keeps its place as ''."""
    names = tuple("" if cell is None else str(cell).strip() for cell in cells)
    if not any(names):
        raise DataError(f"{name} has no header; its first line should name the columns.")
    return names


def record(names: Sequence[str], cells: Sequence[JSON], missing: JSON) -> dict[str, JSON]:
    """A row by its columns' names; what no cell is there for is ``missing``."""
    filled = [*cells[: len(names)], *[missing] * (len(names) - len(cells))]
    return {name: cell for name, cell in zip(names, filled, strict=True) if name}


def plain(value: object, allowed: int = DEPTH) -> JSON:
    """A value of a spreadsheet, a Parquet file or a DataFrame as JSON can hold it; dates as ISO 8601."""
    if not allowed:
        raise DataError(f"A cell holds lists and objects nested more than {DEPTH} deep; flatten it.")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(content, allowed - 1) for key, content in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(content, allowed - 1) for content in value]
    if isinstance(value, datetime.datetime) and value.time() == datetime.time() and value.tzinfo is None:
        return value.date().isoformat()  # spreadsheets know a day only as its midnight
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return _text_of(value)
    to_list = getattr(value, "tolist", None)  # numpy's arrays and numbers
    return plain(to_list(), allowed - 1) if callable(to_list) else str(value)


def _text_of(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"({counted(len(value), 'byte')})"


# CSV and TSV: rows of text between separators, each with the line on which it starts.

SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}  # the usual one first
SAID = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}


def records(text: str, name: str, separators: str, expected: Collection[str]) -> Records:
    """The rows of a table in text; ``expected`` are columns by which the right separator is known."""
    # The limit is there for quotes that are never closed; strict reading finds those, and texts may be long.
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    text, separator = _declared(text)
    notes: tuple[str, ...] = ()
    if separator is None:
        separator = _separator(text, separators, expected)
        if separator != separators[0]:
            notes = (f"the separator is guessed: {SAID[separator]}",)
    rows = _rows(text, name, separator)
    _, cells = next(rows, (1, []))
    names = header(cells, name)

    def of_row(numbered: tuple[int, list[str]]) -> tuple[int, JSON]:
        line, cells = numbered
        if any(cell.strip() for cell in cells[len(names) :]):
            raise DataError(
                f"{name} line {line} has {len(cells)} cells where the header has {len(names)}; "
                "put a text that holds the separator in double quotes."
            )
        return line, record(names, cells, "")

    return Records(name, names, usable(rows, of_row), notes)


def _declared(text: str) -> tuple[str, str | None]:
    """Excel's own first line ``sep=;``, emptied so that all lines keep their numbers."""
    first = text[:6].rstrip("\r\n")
    if len(first) == 5 and first.lower().startswith("sep=") and first[4] in SAID:
        return text[5:], first[4]
    return text, None


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


def _separator(text: str, separators: str, expected: Collection[str]) -> str:
    """The separator that shows most expected columns, then the one that cuts two rows into as many cells."""

    def evidence(separator: str) -> tuple[int, int]:
        rows = _begin(text, separator)
        names = {cell.strip().casefold() for cell in rows[0]} if rows else set()
        found = sum(name.casefold() in names for name in expected)
        width = len(rows[0]) if len({len(row) for row in rows}) == 1 else 1
        return found, width

    return max(separators, key=evidence)


def _begin(text: str, separator: str) -> Sequence[list[str]]:
    """The first two rows, as far as they can be read with this separator."""
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text.lstrip(), newline=""), delimiter=separator, strict=True):
            if any(cell.strip() for cell in row):
                rows.append(row)
            if len(rows) == 2:
                break
    except csv.Error:  # not with this separator; whether with another, its rows show
        return rows
    return rows


# Parquet files and pandas DataFrames: columns with types, whose values become what JSON can hold.

PARQUET_SUFFIXES = (".parquet", ".pq")
FRAME = "DataFrame"  # the name in the origins; a DataFrame has none of its own


def from_parquet(data: bytes, name: str) -> Records:
    """The rows of a Parquet file, numbered from 1."""
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(pyarrow.BufferReader(data))
    except (pyarrow.ArrowException, OSError) as error:
        finding = str(error).split("\n")[0][:200]
        raise DataError(f"{name} is no Parquet file that can be read ({finding}); write it again.") from error
    names = header(table.column_names, name)
    columns = [map(plain, column.to_pylist()) for column in table.columns]
    rows = enumerate(zip(*columns, strict=True), 1)
    return Records(name, names, [(number, record(names, cells, None)) for number, cells in rows])


def from_frame(frame: "DataFrame") -> Records:
    """The rows of a DataFrame, numbered by their position from 0, as ``frame.iloc`` does."""
    names = header([str(column) for column in frame.columns], FRAME)
    filled = frame.astype(object).where(frame.notna(), None)  # NaN, NaT and NA are all nothing
    rows = enumerate(filled.itertuples(index=False, name=None))
    return Records(FRAME, names, [(n, record(names, list(map(plain, cells)), None)) for n, cells in rows])


def is_frame(source: object) -> "TypeGuard[DataFrame]":
    """Whether this is a DataFrame; whoever has one has loaded pandas already."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(source, pandas.DataFrame)


# Excel: the rows of one sheet, each with its number in that sheet.

EXCEL_SUFFIXES = (".xlsx", ".xlsm")
ROWS = 1_048_576  # the most that a sheet can have; a broken row number could be any

Numbered = tuple[int, list[JSON]]  # a row of the sheet


def excel_records(data: bytes, name: str, sheet: str | None) -> Records:
    """The rows below the header of ``sheet``; ``None``: the first sheet that holds anything.

    Of a formula the value counts that was last calculated; a cell without one is empty.
    """
    # What openpyxl raises on broken workbooks: of the archive, its XML (a SyntaxError), its parts.
    try:
        sheets, chosen, rows = _opened(data, name, sheet)
    except (zipfile.BadZipFile, zlib.error, SyntaxError, KeyError, TypeError, OSError, EOFError) as error:
        raise DataError(
            f"{name} is no Excel workbook that can be read ({error or type(error).__name__}); "
            "open it in Excel and save it as .xlsx without a password."
        ) from error
    if not rows:
        raise DataError(f"{name} is empty; it should hold examples.")
    (_, first), *rest = rows
    names = header(first, name)
    notes: tuple[str, ...] = ()
    if sheet is None and len(sheets) > 1:
        notes = (f"the sheet is guessed: {chosen!r} of {_listed(sheets)}",)
    return Records(name, names, [(row, record(names, cells, None)) for row, cells in rest], notes)


def _opened(data: bytes, name: str, sheet: str | None) -> tuple[list[str], str, list[Numbered]]:
    """The names of the sheets (charts are none), the chosen one's, and its rows that hold anything."""
    from openpyxl import load_workbook

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about looks and validation rules that openpyxl does not keep
        book = load_workbook(BytesIO(data), read_only=True, data_only=True)
        try:
            sheets = {each.title: each for each in book.worksheets}
            if sheet is not None and sheet not in sheets:
                raise DataError(f"{name} has no sheet {sheet!r}; it has {_listed(list(sheets))}.")
            for title in sheets if sheet is None else [sheet]:
                sheets[title].reset_dimensions()  # some programs write a wrong size
                numbered = enumerate(islice(sheets[title].iter_rows(values_only=True), ROWS), 1)
                rows = [(number, list(map(plain, row))) for number, row in numbered if _is_filled(row)]
                if rows:
                    return list(sheets), title, rows
            return list(sheets), "", []
        finally:
            book.close()


def _listed(sheets: list[str]) -> str:
    return ", ".join(sheets)[:300]


def _is_filled(cells: tuple[object, ...]) -> bool:
    return any(cell is not None and str(cell).strip() for cell in cells)
