"""A job's result file, of any length and in any dialect, as a curve: read by pyarrow, put in order by pandas.

Azure gives plain UTF-8, OpenAI's platform wraps it in base64, and a spreadsheet saves it as UTF-16. What is
no table of numbers is named with its line; a last line that breaks off is left out, and the curve's notes say
so. Every reader of curves ends in ``tidied``: one row a step, rising, and gaps where nothing was measured.
"""

import base64
import binascii
import codecs
import csv
import io
import json
import math
import re
import tomllib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from workbench.errors import DataError
from workbench.training.curve import (
    ACCURACIES,
    AXES,
    FULL_PREFERENCES,
    LENGTHS,
    LOSSES,
    PREFERENCES,
    REWARDS,
    SEQUENCES,
    Curve,
    is_loss,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from numpy.typing import NDArray
    from openai.types.fine_tuning import FineTuningJobEvent
    from pandas.api.extensions import ExtensionArray

    from workbench.dataset.dataset import JSON

Cells: TypeAlias = "list[pa.Array] | array[float]"
Marks: TypeAlias = "list[NDArray[np.bool]]"

NAMES = frozenset(
    ("step", *AXES, *LOSSES, *ACCURACIES, *SEQUENCES, *REWARDS, *PREFERENCES, *FULL_PREFERENCES, *LENGTHS)
)

_DIALECTS = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
_ALIASES: Mapping[str, str] = {
    **{f"train_{name}": name for name in PREFERENCES},  # the local service's
    **tomllib.loads(_DIALECTS)["column"],
}
# Azure writes -1 where it measured nothing, and none of these can be below 0.
_NOT_NEGATIVE = (*ACCURACIES, *SEQUENCES, *LENGTHS)  # nor any loss
_LARGEST_STEP = 2**53  # above it, numbers read as floats skip whole numbers

_WORDS = ("", "-", "N/A", "n/a", "NA", "null", "NULL", "None")  # "not measured"; a NaN was measured
_MISSING = [*_WORDS, *(f" {word}" for word in _WORDS)]
_HEAD = 2**16  # bytes in which the header and the first row stand
_BLOCK_BYTES = 2**20  # bytes read at once; no line is longer
_MOST_COLUMNS = 500  # a reinforcement job with many tools writes some dozens
_MOST = 100_000_000  # cells: 800 MB

_NAMES_STEP = re.compile(rb"[^\n]*\bstep\b", re.IGNORECASE)
_OPEN = "is no table: a quotation mark is never closed; download it again."
# As pyarrow 26 says it when it reads on one thread.
_BAD_CELL = re.compile(r"CSV column #(\d+): Row #(\d+): .*?(?:invalid value '(.*)')?\Z", re.DOTALL)


def known(column: str) -> str:
    """The curve's name for a column: of ``train_accuracy`` it is ``train_mean_token_accuracy``.

    Azure's documentation says "validation" where its files say "valid". A Trainer's ``eval_`` metrics are
    means over the whole evaluation set, which the services call ``full_valid``. A name that nobody knows is
    left as it is.
    """
    own = column.strip()
    name = own.lower().replace("validation", "valid")
    name = _ALIASES.get(name, name)
    if name.startswith("eval_"):
        inner = name.removeprefix("eval_")
        name = f"full_valid_{_ALIASES.get(inner, inner).removeprefix('train_')}"
    return name if name in NAMES else own


def read_result_file(file: BinaryIO, name: str) -> Curve:
    """Read a curve from a result file that can be read from its start again.

    Raises ``DataError`` with the line for what is no such file.
    """
    written = _opened(file, name)
    texts: set[int] = set()
    while True:
        try:
            columns, nan, notes = _columns(written, texts)
            break
        except UnicodeError as error:
            raise DataError(f"{name} is not text; give the result file of a job.") from error
        except pa.ArrowInvalid as error:
            texts.add(_column_of_texts(written, error))  # and read again
    pa.default_memory_pool().release_unused()  # the blocks that were read are no longer needed
    frame, undefined = pd.DataFrame(), pd.DataFrame()
    for place, column in enumerate(written.columns):
        cells = columns.pop(0)  # and let go of it: ten million rows take 80 MB
        values = pd.Series(
            pa.chunked_array(cells, pa.string()).to_pandas() if place in texts else np.asarray(cells),
            copy=False,
        )
        if any(block.any() for block in nan[place]):
            undefined[column] = np.concatenate(nan[place]) | undefined.get(column, False)
        frame[column] = frame[column].where(frame[column].notna(), values) if column in frame else values
    curve = tidied(frame, undefined, written.place)
    return replace(curve, notes=(*curve.notes, *notes))


def tidied(frame: pd.DataFrame, undefined: pd.DataFrame, place: Callable[[int], str]) -> Curve:
    """Make a curve of a frame with a column ``step``, a row a place; its rows are counted from 0.

    A NaN is a cell without a value; ``undefined`` marks, by the names of losses, the cells where NaN was
    written. ``place`` tells where a row stands in its file. A step that is none raises ``DataError``.
    """
    notes = []
    for name in frame.columns:
        if not (name in _NOT_NEGATIVE or is_loss(name)) or frame[name].dtype.kind != "f":
            continue
        negative = (frame[name] < 0) & (frame[name] > -math.inf)
        if odd := int((negative & (frame[name] != -1)).sum()):
            notes.append(f"{name} is negative (rows: {odd:,}), which it cannot be: taken as not measured.")
        if negative.any():
            frame[name] = frame[name].mask(negative)
    if frame["step"].isna().any():
        frame = frame.dropna(how="all")
        undefined = undefined.loc[frame.index] if len(undefined) else undefined
    steps = frame.pop("step")
    # A NaN is no step either, so what is asked is what a step must be.
    wrong = steps[~((steps >= 0) & (steps <= _LARGEST_STEP) & (steps % 1 == 0))]
    if len(wrong):
        raise DataError(f"{place(wrong.index[0])}: step is '{wrong.iloc[0]:g}', not a step (a whole number).")
    at = steps.to_numpy().astype(np.int64)
    del steps, wrong
    if np.any(at[1:] < at[:-1]):
        notes.append("The rows were not in the order of their steps; here they are.")
        order = np.argsort(at, kind="stable")
        frame, undefined = (_by_column(each, lambda column: column[order]) for each in (frame, undefined))
        at = at[order]
        del order
    starts = np.flatnonzero(np.append(True, at[1:] != at[:-1])[: len(at)])
    if repeats := len(at) - len(starts):
        notes.append(f"Some steps are repeated (rows: {repeats:,}); the last value of each column counts.")
        frame = _by_column(frame, lambda column: _last_of_each(column, starts))
        undefined = _by_column(undefined, lambda marks: np.logical_or.reduceat(marks, starts))
        at = at[starts]
    frame.index = pd.Index(at, name="step")
    undefined.index = frame.index if len(undefined) else undefined.index
    marks = {str(name): (undefined[name] & frame[name].isna()).to_numpy(dtype=bool) for name in undefined}
    return Curve(frame, tuple(notes), marks)


def _by_column(frame: pd.DataFrame, change: "Callable[[Any], object]") -> pd.DataFrame:
    """Change each array of a frame and use it up: of ten million rows, one column is there twice."""
    columns = {name: change(frame.pop(name).array) for name in list(frame.columns)}
    return pd.DataFrame(columns, copy=False)


def _last_of_each(column: "ExtensionArray", starts: "NDArray[np.int64]") -> "ExtensionArray":
    """The last value in each run of rows; the runs begin at ``starts``."""
    rows = np.arange(len(column))
    rows[pd.isna(column)] = -1
    return column[np.maximum(np.maximum.reduceat(rows, starts), starts)]


@dataclass(frozen=True)
class _Written:
    """A result file of which the header is known."""

    file: BinaryIO
    name: str
    wrapped: bool
    encoding: str
    header: int  # the line it stands in, from 1
    columns: tuple[str, ...]  # under the curve's names
    has_rows: bool

    def content(self) -> BinaryIO:
        """Open the CSV at its first byte."""
        self.file.seek(0)
        return io.BufferedReader(_Unwrapped(self.file), 4 * _BLOCK_BYTES) if self.wrapped else self.file

    def place(self, row: int) -> str:
        """Tell where a row stands; rows are counted from 0 and without blank lines, lines as people do."""
        text = io.TextIOWrapper(self.content(), self.encoding, errors="replace")
        lines = (number for number, line in enumerate(text, 1) if number > self.header and line != "\n")
        found = next(islice(lines, row, None))
        text.detach()  # or it closes the file, which others read on
        return f"{self.name} line {found}"


def _opened(file: BinaryIO, name: str) -> _Written:
    """Find out how a file is written; what is no text or has no steps raises ``DataError``."""
    head = beginning = file.read(_HEAD)
    wrapped = not _NAMES_STEP.match(head) and bool(_NAMES_STEP.match(_whole(head)))
    if wrapped:
        head = _whole(head)
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    more = len(beginning) == _HEAD
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head, final=not more)
    except UnicodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{name} is not text; give the result file of a job.")
    filled = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()][:2]
    if not filled and not more:
        raise DataError(f"{name} is empty; a result file begins with a line like 'step,train_loss,…'.")
    if len(filled) < 2 and more:
        raise DataError(f"{name} is no table: its header does not end within 64 KB; download it again.")
    columns = tuple(known(column) for column in next(csv.reader([filled[0][1]])))
    if "step" not in columns:
        shown = ", ".join(columns)[:80]
        raise DataError(f"{name} has no column 'step'; it has {shown}. Give the result file of a job.")
    if len(columns) > _MOST_COLUMNS:
        raise DataError(
            f"{name} has {len(columns):,} columns, more than {_MOST_COLUMNS}; keep those you need."
        )
    return _Written(file, name, wrapped, encoding, filled[0][0], columns, len(filled) > 1)


def _columns(written: _Written, texts: set[int]) -> tuple[list[Cells], list[Marks], tuple[str, ...]]:
    """The cells column by column, where a loss was written as NaN, and a note of a row that breaks off."""
    places = range(len(written.columns))
    columns: list[Cells] = [[] if place in texts else array("d") for place in places]
    nan: list[Marks] = [[] for _ in places]
    if not written.has_rows:
        return columns, nan, ()
    types = {str(place): pa.string() if place in texts else pa.float64() for place in places}
    odd: list[pa.csv.InvalidRow] = []

    def uneven(row: pa.csv.InvalidRow) -> Literal["skip", "error"]:
        """Pass over one short row, for it may be the last one, broken off."""
        odd.append(row)
        return "error" if len(odd) > 1 or row.actual_columns > row.expected_columns else "skip"

    count = 0
    try:
        reader = pa.csv.open_csv(
            written.content(),
            read_options=pa.csv.ReadOptions(
                use_threads=False,  # threads do not count rows
                block_size=_BLOCK_BYTES,
                skip_rows=written.header,
                column_names=list(types),
                encoding=written.encoding,
            ),
            parse_options=pa.csv.ParseOptions(invalid_row_handler=uneven),
            convert_options=pa.csv.ConvertOptions(
                column_types=types, null_values=_MISSING, strings_can_be_null=True
            ),
        )
        for batch in reader:
            count += len(batch)
            if count * len(types) > _MOST:
                raise DataError(f"{written.name} has more than {_MOST:,} cells; keep the steps you need.")
            for name, cells, kept, marks in zip(written.columns, batch.columns, columns, nan, strict=True):
                if isinstance(kept, list):
                    kept.append(cells)
                    continue
                values = cells.to_numpy(zero_copy_only=False)
                kept.frombytes(memoryview(values).cast("B"))
                if is_loss(name):
                    marks.append(np.isnan(values) & cells.is_valid().to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        if not odd or (len(odd) == 1 and odd[0].actual_columns < odd[0].expected_columns):
            raise
    too_long = odd and odd[0].actual_columns > odd[0].expected_columns
    if odd and (too_long or len(odd) > 1 or odd[0].number != written.header + count + 1):
        place = written.place(odd[0].number - written.header - 1)
        raise DataError(
            f"{place} has {odd[0].actual_columns} cells, others {odd[0].expected_columns}, so this is no "
            "table; download it again."
        )
    words = (cells for place in texts for cells in columns[place])
    if any(pa.compute.any(pa.compute.match_substring(cells, "\n")).as_py() for cells in words):
        raise DataError(f"{written.name} {_OPEN}")
    broken = odd[0].text.strip() if odd else ""
    notes = (f"The last line breaks off ('{odd[0].text[:40]}') and was left out.",) if broken else ()
    return columns, nan, notes


def _column_of_texts(written: _Written, error: pa.ArrowInvalid) -> int:
    """The column, unknown and so far taken for numbers, that has a text; any other finding is raised."""
    found = _BAD_CELL.search(str(error))
    if found is None:
        raise DataError(f"{written.name} is no table ({error}); download it again.") from error
    column, cell = int(found[1]), found[3] or ""
    name = written.columns[column]
    if name not in NAMES and "\n" not in cell:
        return column
    place = written.place(int(found[2]) - written.header - 1)
    if "\n" in cell:
        raise DataError(f"{place} {_OPEN}") from error
    what = "a step (a whole number)" if name == "step" else "a number"
    raise DataError(f"{place}: {name} is '{cell[:40]}', not {what}.") from error


def _whole(wrapped: bytes) -> bytes:
    """Unwrap the part of base64 that is complete; nothing where it is none."""
    letters = b"".join(wrapped.split())
    try:
        return base64.b64decode(letters[: len(letters) // 4 * 4], validate=True)
    except binascii.Error:
        return b""


class _Unwrapped(io.RawIOBase):
    """What base64 wraps, read as it is asked for; an incomplete end is left out."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        space = memoryview(buffer).cast("B")
        while read := self._file.read(len(space)):
            letters = self._rest + b"".join(read.split())
            whole = len(letters) // 4 * 4
            self._rest = letters[whole:]
            if found := _whole(letters[:whole]):
                space[: len(found)] = found
                return len(found)
        return 0


# Reading a curve from a result file, from events or from a Trainer's log, whatever dialect they come in.
#
# Names, order, repeated steps, blanks and -1 for "not measured" are put right; a
# column nobody knows is kept. What cannot be read is named with its line.

_JSON_MOST = 64_000_000  # bytes; as Python objects they take ten times that

_STEP = re.compile(r"Step (\d+)(?:/\d+)?\s*[:,]")
_PAIR = re.compile(r"([a-z][a-z ]*)=(nan|-?inf(?:inity)?|[-+]?[\d.]+(?:[eE][-+]?\d+)?)", re.IGNORECASE)
_OF_THE_JOB = ("total_steps", "trained_tokens")  # in an event's data, and measured at no step
_NOT_FINITE = ("nan", "inf", "infinity", "-inf", "-infinity")  # which some services write as texts


def read_curve(source: "bytes | str | Path | Iterable[FineTuningJobEvent]") -> Curve:
    """Read a curve from a file's content, from the file at a path, or from a job's events.

    A file is a job's ``results.csv`` (of Azure, real or documented, or OpenAI; plain or base64), the JSON of
    a job's events or checkpoints, or a Trainer's ``trainer_state.json``. Raises ``DataError`` with the place
    for what is none of these.
    """
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), "results.csv")
    if isinstance(source, str | Path):
        path = Path(source)
        try:
            file = path.open("rb")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        with file:
            return _read(file, path.name)
    rows = [row for event in source if (row := _measured(event.message, event.data))]
    return _curve(rows, "event")


def _read(file: BinaryIO, name: str) -> Curve:
    start = file.read(1024).decode("utf-8-sig", errors="replace").lstrip()
    file.seek(0)
    if not start.startswith(("{", "[")):
        return read_result_file(file, name)
    content = file.read(_JSON_MOST + 1)
    if len(content) > _JSON_MOST:
        raise DataError(f"{name} has more than {_JSON_MOST // 10**6} MB of JSON; give the job's results.csv.")
    try:
        value: JSON = json.loads(content, parse_int=float)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no JSON ({error}); save it again.") from error
    if isinstance(value, Mapping) and "log_history" in value:
        return _curve(list(_logged(value["log_history"], name)), name)
    items = value.get("data") if isinstance(value, Mapping) else value
    if not isinstance(items, Sequence) or not all(_is_listed(item) for item in items):
        raise DataError(f"{name} has no events, checkpoints or log_history; give a list of a job's events.")
    return _curve([row for item in items if isinstance(item, Mapping) and (row := _listed(item))], name)


def _curve(rows: Sequence[Mapping[str, float]], name: str) -> Curve:
    """Make a curve of rows; that they overlap and come newest first is their nature, and needs no note."""
    frame = pd.DataFrame(rows, columns=None if rows else ["step"], dtype=float)
    written = pd.DataFrame([dict.fromkeys(row, 1.0) for row in rows]).notna()  # NaN, or nothing at all
    losses = [name for name in frame.columns if is_loss(name) and (frame[name].isna() & written[name]).any()]
    undefined = frame[losses].isna() & written[losses] if losses else pd.DataFrame()
    return replace(tidied(frame, undefined, lambda row: f"{name} {row + 1}"), notes=())


def _logged(history: "JSON", name: str) -> Iterator[dict[str, float]]:
    """The measurements of a Trainer's log (``log_history`` of transformers 5, TRL's included), a row a line.

    Its training numbers are means over the steps since the line before; what it calls ``eval_`` was measured
    on the whole evaluation set. In reinforcement ``loss`` keeps its name: it is what the optimiser follows,
    may be negative, and says nothing about how well answers are predicted.
    """
    if not isinstance(history, Sequence) or isinstance(history, str):
        raise DataError(f"{name}: log_history is no list; give the trainer_state.json of a checkpoint.")
    reinforced = any(isinstance(line, Mapping) and "reward" in line for line in history)
    for number, line in enumerate(history):
        if not isinstance(line, Mapping) or not isinstance(line.get("step"), float):
            raise DataError(f"{name}: log_history[{number}] has no step; give what a Trainer saved.")
        # The last line sums the run up: its train_loss is the mean over all steps, and belongs to none.
        if "train_runtime" in line:
            continue
        numbers = {key: value for key, value in line.items() if isinstance(value, float)}
        yield {key if reinforced and key == "loss" else known(key): value for key, value in numbers.items()}


def _is_listed(item: "JSON") -> bool:
    """Whether this looks like an event, which has a message, or like a checkpoint, which has metrics."""
    return isinstance(item, Mapping) and ("message" in item or "metrics" in item)


def _listed(item: "Mapping[str, JSON]") -> dict[str, float]:
    """The numbers of an event, or of a checkpoint, in a saved list."""
    message = item.get("message")
    return _measured(message if isinstance(message, str) else "", item.get("data") or item.get("metrics"))


def _measured(message: str, data: object) -> dict[str, float]:
    """The numbers of an event: its data, else those in its text ("Step 10: training loss=0.72")."""
    row: dict[str, float] = {}
    if step := _STEP.match(message):
        row = {known(_column(name)): float(value) for name, value in _PAIR.findall(message)}
        row["step"] = float(step[1])
    if isinstance(data, Mapping):
        # Where one metric stands there twice, its flat name counts, not the nested one.
        numbers = sorted(_numbers(data, ""), key=lambda found: "." not in found[0])
        row |= {known(path): number for path, number in numbers if path not in _OF_THE_JOB}
    return row if row.get("step", -1) >= 0 and len(row) > 1 else {}


def _numbers(value: object, path: str) -> Iterator[tuple[str, float]]:
    """All numbers in nested data with their paths: ``timing.step.eval``, ``scores.graders.exact.reward``."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            name = inner.get("name", place) if isinstance(inner, Mapping) else place
            yield from _numbers(inner, f"{path}.{name}")
    elif type(value) in (int, float) or (isinstance(value, str) and value.lower() in _NOT_FINITE):
        yield path, float(value)  # type: ignore[arg-type]


def _column(words: str) -> str:
    """The column that an event's text means: "full validation loss" is ``full_valid_loss``."""
    return words.strip().lower().replace("training", "train").replace("validation", "valid").replace(" ", "_")
